//! A follower of the bus ends with the same state as the ingester, whatever the bus refuses.

use std::collections::HashMap;

use proptest::prelude::*;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Body, BookState, Channel, Encoding, Record};

use super::rig::{EPOCH, definition, happens, sequencer, sequencer_of, trade};
use crate::adapter::FeedEvent;
use crate::ingest::intervals::{BarIntervals, SECOND};
use crate::sim::{Sim, SimConfig};

/// A follower of the bus as a gateway would be.
#[derive(Default)]
struct Mirror {
    last: HashMap<(u32, Channel), u64>,
    books: HashMap<u32, BookState>,
    values: HashMap<(u32, Channel, u64), Record>,
}

impl Mirror {
    fn take(&mut self, header: BusHeader, records: Vec<Record>) {
        let last = self.last.entry((header.instrument, header.channel)).or_default();
        if header.channel.is_lossless() {
            assert_eq!(header.first_sequence, *last + 1, "{:?} is contiguous", header.channel);
        } else {
            assert!(header.first_sequence > *last);
        }
        *last = header.last_sequence;
        for record in records {
            match &record.body {
                Body::Book(book) => {
                    let _ = self.books.entry(record.instrument).or_default().apply(record.sequence, book);
                }
                Body::Bar(_) => {
                    let key = record.conflation_key();
                    self.values.insert((record.instrument, Channel::Bar, key), record);
                }
                Body::Gap(_) => {}
                _ => {
                    self.values.insert((record.instrument, header.channel, 0), record);
                }
            }
        }
    }
}

/// A bar that goes through makes good for its own interval only: what the bus refused of the others is told again.
#[test]
fn a_bar_makes_good_for_no_other_interval() {
    let (mut sequencer, bus) = sequencer_of(Encoding::Proto, BarIntervals::parse(&["1s", "1h"]).unwrap());
    sequencer.define(0, definition("A/B")).unwrap();
    let mut mirror = Mirror::default();
    bus.set_full(true);
    happens(&mut sequencer, trade(1));
    sequencer.tick(6_000);
    bus.set_full(false);
    // The second is over, and of the hour there is nothing new.
    sequencer.tick(4 * SECOND);
    bus.take().into_iter().for_each(|(header, records)| mirror.take(header, records));
    let state = sequencer.instruments[0].as_ref().unwrap();
    let bars = state.last_records(Channel::Bar);
    assert_eq!(bars.len(), 2);
    for record in bars {
        let key = record.conflation_key();
        assert_eq!(mirror.values.get(&(state.id, Channel::Bar, key)), Some(&record));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Checks that whatever the bus refuses, and when, who follows it ends with the ingester's state, and every
    /// sequence number of a lossless channel is accounted for.
    #[test]
    fn followers_converge_whatever_the_bus_refuses(
        seed in any::<u64>(),
        turns in prop::collection::vec((any::<bool>(), 1usize..20), 1..60),
    ) {
        let (mut sequencer, bus) = sequencer(Encoding::MsgPack);
        let config = SimConfig { seed, instruments: 3, halts_per_hour: 3_600.0, ..SimConfig::default() };
        let mut sim = Sim::new(config).unwrap();
        let mut mirror = Mirror::default();
        let mut events = Vec::new();
        let mut now = EPOCH;
        for (is_full, steps) in turns.into_iter().chain([(false, 1)]) {
            bus.set_full(is_full);
            (0..steps).for_each(|_| { sim.next_event(&mut events); });
            for event in events.drain(..) {
                match event {
                    FeedEvent::Define { index, definition } => sequencer.define(index, definition).unwrap(),
                    FeedEvent::Market(event) => sequencer.event(event).unwrap(),
                    other => panic!("{other:?}"),
                }
            }
            sequencer.end_turn();
            now += 1_000_000_000;
            sequencer.tick(now);
            bus.take().into_iter().for_each(|(header, records)| mirror.take(header, records));
        }
        for state in sequencer.instruments.iter().flatten() {
            prop_assert_eq!(&mirror.books[&state.id], &state.book);
            for channel in Channel::ALL {
                let published = state.sequence(channel).last;
                let seen = mirror.last.get(&(state.id, channel)).copied().unwrap_or(0);
                prop_assert_eq!(seen, published, "{:?}", channel);
                if channel == Channel::Book { continue; }
                for record in state.last_records(channel) {
                    let key = record.conflation_key();
                    prop_assert_eq!(&mirror.values[&(state.id, channel, key)], &record);
                }
            }
        }
    }
}
