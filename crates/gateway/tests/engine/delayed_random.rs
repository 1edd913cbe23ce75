//! Random beginnings of delayed views: whatever happens to them, nothing is younger than the delay, and at the end books are right.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use tickwire_core::engine::EngineLimits;
use tickwire_core::vocabulary::{TopicId, TopicInterest, Update};
use tickwire_wire::{Body, BookState, Channel, Command, Message, Record, TradingState, Unsubscribe};

use super::delayed::late;
use super::rig::{
    Client, EPOCH, Rig, SECOND, change, level, limits, quote, snapshot, status, subscribe, trade,
};

/// The sequence numbers that were published, and when.
#[derive(Default)]
struct Published {
    /// Sequence numbers by topic, each with its time.
    times: HashMap<TopicId, Vec<u64>>,
}

impl Published {
    /// Returns the last sequence number at a time.
    fn at(&self, id: TopicId, time: u64) -> u64 {
        self.times.get(&id).map_or(0, |times| times.partition_point(|at| *at <= time) as u64)
    }
}

const CHANNELS: [Channel; 4] = [Channel::Quote, Channel::Trade, Channel::Book, Channel::Status];

/// Checks that nothing of what a client got is younger than its delay.
fn check(
    rig: &mut Rig,
    client: Client,
    seconds: u64,
    published: &Published,
    books: &mut HashMap<u32, BookState>,
) {
    // A client that is never heard would be closed.
    rig.engine.on_ping(client.key, b"", rig.now);
    let then = rig.now - seconds * SECOND;
    let id = |instrument: u32, channel: i32| {
        TopicId::new(instrument - 100, Channel::try_from(channel).expect("a channel"))
    };
    for message in rig.read(client) {
        match message {
            Message::Record(Record { body: Body::Gap(gap), instrument, .. }) => {
                assert!(gap.last_sequence <= published.at(id(instrument, gap.channel), then), "{gap:?}");
            }
            Message::Record(record) => {
                assert!(record.receive_time <= then, "{record:?} at {}", rig.now);
                if let Body::Book(book) = &record.body {
                    let known = books.entry(record.instrument).or_default();
                    known.apply(record.sequence, book).expect("it applies, and its checksum is right");
                }
            }
            Message::Subscribed(response) => {
                for granted in response.granted {
                    let known = published.at(id(granted.instrument, granted.channel), then);
                    assert!(granted.sequence <= known, "{granted:?}, {known} were published");
                    assert_eq!(granted.delay_ms, seconds * 1_000);
                    if granted.channel == Channel::Book as i32 {
                        books.remove(&granted.instrument);
                    }
                }
            }
            Message::Heartbeat(heartbeat) => {
                for position in heartbeat.positions {
                    assert!(
                        position.sequence <= published.at(id(position.instrument, position.channel), then)
                    );
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Whenever a view begins, and whatever happens to it.
    #[test]
    fn nothing_is_younger_than_the_delay(steps in prop::collection::vec(any::<[u8; 3]>(), 1..300)) {
        const DELAYS: [u64; 4] = [0, 3, 12, 40];
        let mut rig = Rig::new(EngineLimits { delayed_bytes: 30_000, log_records_per_topic: 6, linger_ns: 2 * SECOND, ..limits() });
        let (mut published, mut books) = (Published::default(), vec![HashMap::new(); DELAYS.len()]);
        let mut clients: Vec<_> = DELAYS.iter().map(|delay| rig.open_as(late(*delay))).collect();
        let mut ingester: HashMap<TopicId, BookState> = HashMap::new();
        for [what, a, b] in steps {
            let (index, channel) = (u32::from(a) % 3, CHANNELS[usize::from(a / 3) % 4]);
            let (id, at) = (TopicId::new(index, channel), usize::from(b) % DELAYS.len());
            let symbol = rig.infos[index as usize].name.to_string();
            match what % 12 {
                0..=5 => {
                    let now = rig.now;
                    let times = published.times.entry(id).or_default();
                    times.push(now);
                    let number = times.len() as u64;
                    let body = match channel {
                        Channel::Quote => quote(i64::from(b)),
                        Channel::Trade => trade(i64::from(b)),
                        Channel::Book => {
                            let book = ingester.entry(id).or_default();
                            let body = if number == 1 {
                                snapshot(&[level(1, 1)], &[level(300, 1)])
                            } else {
                                change(&[level(i64::from(b), u64::from(a % 5))], &[])
                            };
                            if let Body::Book(change) = &body {
                                book.apply(number, change).expect("it follows");
                            }
                            body
                        }
                        _ => status(TradingState::Open),
                    };
                    rig.publish_now(index, number, body);
                }
                6..=7 => rig.send(clients[at], &subscribe(1, channel.name(), &[&symbol])),
                8 => {
                    if channel == Channel::Book {
                        books[at].remove(&(100 + index));
                    }
                    let (channel, symbols) = (channel.name().to_owned(), vec![symbol]);
                    rig.send(clients[at], &Command::Unsubscribe(Unsubscribe { id: 2, channel, symbols }));
                }
                9 => {
                    rig.engine.ended(clients[at].key, rig.now);
                    clients[at] = rig.open_as(late(DELAYS[at]));
                    books[at].clear();
                }
                _ => rig.pass(u64::from(b) % 16),
            }
            // The ingester answers with what it knows.
            let wants: Vec<_> = rig.engine.take_interests().collect();
            for want in wants {
                let TopicInterest::Want(id) = want else { continue };
                let times = published.times.get(&id).map_or(&[][..], Vec::as_slice);
                let body = match id.channel() {
                    Channel::Quote => Some(quote(0)),
                    Channel::Status => Some(status(TradingState::Open)),
                    Channel::Book => ingester.get(&id).map(|book| Body::Book(book.to_snapshot())),
                    _ => None,
                };
                let number = times.len() as u64;
                let record = body.zip(times.last()).map(|(body, at)| {
                    let record = Record { receive_time: *at, ..rig.record(id.instrument_index(), number, body) };
                    Arc::new(Update::from_record(
                        Arc::clone(&rig.infos[id.instrument_index() as usize]), EPOCH, number, record,
                    ))
                });
                rig.state(id, number, record.into_iter().collect());
            }
            for (at, client) in clients.iter().enumerate() {
                check(&mut rig, *client, DELAYS[at], &published, &mut books[at]);
            }
        }
        // At the end everybody has what there is.
        for _ in 0..90 {
            rig.pass(1);
            for (at, client) in clients.iter().enumerate() {
                check(&mut rig, *client, DELAYS[at], &published, &mut books[at]);
            }
        }
        for books in &books {
            for (instrument, book) in books {
                let id = TopicId::new(instrument - 100, Channel::Book);
                let truth = &ingester[&id];
                prop_assert!(book.bids().eq(truth.bids()) && book.asks().eq(truth.asks()));
            }
        }
    }
}
