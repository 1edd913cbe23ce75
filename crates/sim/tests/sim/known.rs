//! The records that an engine was told, noted beside it: what it hands to sockets is judged by them.

use std::collections::HashMap;

use tickwire_wire::{Batch, Body, Channel, Encoding, Message, Record};

use crate::Position;
use crate::frames::{BINARY, TEXT, take_frame};
use crate::truth::Key;
use tickwire_core::vocabulary::{Event, Update};

#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The ids of instruments, by index.
    ids: HashMap<u32, u32>,
    /// The epoch and last sequence number, by topic.
    at: HashMap<Key, Position>,
    /// The newest record of each conflation key.
    newest: HashMap<(Key, u64), Position>,
    /// The time at which a record became known, in milliseconds.
    arrived: HashMap<(Key, Position), u64>,
    pub(crate) judged: u64,
}

impl Known {
    pub(crate) fn note(&mut self, event: &Event, now: u64) {
        match event {
            Event::Update(update) => self.update(update, now),
            Event::State(state) => {
                let key = (self.ids[&state.topic.instrument_index()], state.topic.channel());
                self.forget(key);
                self.at.insert(key, (state.epoch, state.sequence));
                for update in &state.records {
                    self.record(key, update.epoch, update.record(), now);
                }
            }
            Event::Instrument(info) => {
                self.ids.insert(info.index, info.id);
            }
            Event::Feed(_) | Event::Ended(_) | Event::Unavailable { .. } | Event::Backfill(_) => {}
        }
    }

    fn update(&mut self, update: &Update, now: u64) {
        let key = (update.info().id, update.topic.channel());
        self.at.insert(key, (update.epoch, update.last));
        match &update.record().body {
            Body::Gap(gap) if gap.last_sequence == 0 => self.forget(key),
            Body::Gap(_) => {}
            _ => self.record(key, update.epoch, update.record(), now),
        }
    }

    /// Forgets a topic, which starts anew. It may be in a run that was followed before: its records become known once
    /// more.
    fn forget(&mut self, key: Key) {
        self.newest.retain(|(known, _), _| *known != key);
        self.arrived.retain(|(known, _), _| *known != key);
    }

    fn record(&mut self, key: Key, epoch: u64, record: &Record, now: u64) {
        let position = (epoch, record.sequence);
        self.newest.insert((key, record.conflation_key()), position);
        self.arrived.entry((key, position)).or_insert(now);
    }

    /// Judges promise 1: of what is conflated, only the newest may be handed over.
    pub(crate) fn judge(&mut self, encoding: Encoding, handed_over: &[u8]) {
        let mut bytes = handed_over.to_vec();
        while let Some(frame) = take_frame(&mut bytes) {
            if !matches!(frame.opcode, TEXT | BINARY) {
                continue;
            }
            for message in Batch::new(encoding, &frame.payload) {
                let Ok(Message::Record(record)) = message else { continue };
                let key = (record.instrument, record.channel());
                if key.1.is_lossless() || matches!(record.body, Body::Gap(_)) {
                    continue;
                }
                self.judged += 1;
                let newest = if key.1 == Channel::Book {
                    self.at.get(&key)
                } else {
                    self.newest.get(&(key, record.conflation_key()))
                };
                assert_eq!(
                    newest.map(|position| position.1),
                    Some(record.sequence),
                    "{key:?}: handed over, though the engine knows a newer one"
                );
            }
        }
        assert!(bytes.is_empty(), "whole frames");
    }

    /// Returns when the engine was told of a record.
    pub(crate) fn arrival(&self, key: Key, position: Position) -> Option<u64> {
        self.arrived.get(&(key, position)).copied()
    }
}
