//! Latency samples, the times of records on their way through: which records are sampled, and what is told of them.

use std::sync::Arc;

use tickwire_core::engine::{LATENCY_SAMPLE_ONE_IN, LatencySample, Pace};
use tickwire_core::vocabulary::{Event, TopicId, Update};
use tickwire_wire::{Body, Channel, Encoding, GapCause, Message, encode_message};

use super::rig::{Client, EPOCH, Rig, quote, subscribed, trade};

const MS: u64 = 1_000_000;
const RECEIVED: u64 = 9;

/// Publishes a record that came into the gateway a while ago.
fn publish(rig: &mut Rig, number: u64, body: Body, ago: u64) -> Arc<Update> {
    let record = rig.record(0, number, body);
    let mut bytes = Vec::new();
    let (info, channel) = (Arc::clone(&rig.infos[0]), record.channel());
    encode_message(Encoding::Proto, &Message::Record(record), &info.scale, &mut bytes);
    let update = Update::from_bus(info, channel, EPOCH, (number, number), Encoding::Proto, &bytes);
    let update = Arc::new(update.at(rig.now - ago));
    rig.event(Event::Update(Arc::clone(&update)));
    update
}

fn taken(rig: &mut Rig) -> Vec<LatencySample> {
    let taken = rig.engine.take_latency_samples().collect();
    assert!(!rig.engine.has_latency_samples());
    taken
}

/// Writes quotes behind a sequence number until the next write is one that is sampled; returns the last sequence
/// number.
fn up_to_the_turn(rig: &mut Rig, client: Client, mut number: u64) -> u64 {
    let mut write = |rig: &mut Rig| {
        number += 1;
        publish(rig, number, quote(1), MS);
        rig.read(client);
    };
    while !rig.engine.has_latency_samples() {
        write(rig);
    }
    assert_eq!(taken(rig).len(), 1);
    (1..LATENCY_SAMPLE_ONE_IN).for_each(|_| write(rig));
    assert_eq!(taken(rig), []);
    number
}

#[test]
fn one_write_in_so_many_is_looked_at_with_the_time_of_its_message() {
    let (mut rig, client) = subscribed(&[Channel::Quote]);
    let mut sent_times = Vec::new();
    for number in 1..=3 * u64::from(LATENCY_SAMPLE_ONE_IN) {
        rig.now += MS;
        publish(&mut rig, number, quote(number as i64), 7 * MS);
        let messages = rig.read(client);
        let Some(Message::Sent(sent)) = messages.last() else { panic!("{messages:?}") };
        if rig.engine.has_latency_samples() {
            sent_times.push((rig.now - 7 * MS, *sent));
            let (arrived, written) = sent_times[sent_times.len() - 1];
            let expected = LatencySample { received: RECEIVED, arrived, written, pace: Pace::Prompt };
            assert_eq!(taken(&mut rig), [expected]);
        }
    }
    assert_eq!(sent_times.len(), 3);
}

#[test]
fn all_records_of_that_turn_count_and_no_superseded_one() {
    let (mut rig, client) = subscribed(&[Channel::Quote, Channel::Trade]);
    let number = up_to_the_turn(&mut rig, client, 0);
    publish(&mut rig, number + 1, quote(1), 9 * MS);
    publish(&mut rig, 1, trade(1), 8 * MS);
    publish(&mut rig, number + 2, quote(2), 7 * MS);
    publish(&mut rig, 2, trade(2), 6 * MS);
    publish(&mut rig, number + 3, quote(3), 5 * MS);
    rig.read(client);
    let mut ago: Vec<_> =
        taken(&mut rig).iter().map(|latency_sample| (rig.now - latency_sample.arrived) / MS).collect();
    ago.sort_unstable();
    assert_eq!(ago, [5, 6, 8], "both trades and the newest quote");
}

#[test]
fn gaps_and_states_have_no_way_behind_them() {
    let (mut rig, client) = subscribed(&[Channel::Quote]);
    let number = up_to_the_turn(&mut rig, client, 0);
    rig.gap(0, Channel::Quote, GapCause::Bus, number + 1, number + 5, EPOCH);
    let info = Arc::clone(&rig.infos[0]);
    let record = rig.record(0, number + 6, quote(6));
    let known = Arc::new(Update::from_record(info, EPOCH, number + 6, record));
    rig.state(TopicId::new(0, Channel::Quote), number + 6, vec![known]);
    assert!(!rig.records(client).is_empty());
    assert_eq!(taken(&mut rig), []);
}

#[test]
fn nobody_who_takes_them_costs_no_memory_for_ever() {
    let (mut rig, client) = subscribed(&[Channel::Quote, Channel::Trade]);
    let (mut quotes, mut trades) = (0, 0);
    let kept: usize = (0..2)
        .map(|_| {
            quotes = up_to_the_turn(&mut rig, client, quotes);
            for turn in 0..10 * LATENCY_SAMPLE_ONE_IN {
                for _ in 0..if turn % LATENCY_SAMPLE_ONE_IN == 0 { 1_000 } else { 1 } {
                    trades += 1;
                    publish(&mut rig, trades, trade(1), MS);
                }
                rig.read(client);
            }
            taken(&mut rig).len()
        })
        .sum();
    assert_eq!(kept, 2 * 4_096);
}
