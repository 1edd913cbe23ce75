//! The publisher gives records their sequence numbers, packs them into bus messages, and makes good for what the bus
//! refused.
//!
//! Each sequence number is used once and accounted for once: published in a record, covered by a gap, or (on a
//! conflated channel) superseded by a later record that says everything it said.

use bytes::Bytes;
use tickwire_bus::{PublishError, Subject};
use tickwire_wire::bus_frame::{BusHeader, HEADER_BYTES};
use tickwire_wire::{Body, Channel, Encoding, Gap, GapCause, Message, Record, Scale, encode_message};

use super::instrument::InstrumentState;
use super::sequencer::split_book;
use super::stats::Tally;

/// The place where bus messages go.
pub(crate) trait BusSink: Send {
    /// Publishes a message. It never waits.
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError>;

    /// Returns how many bytes one message may have.
    fn payload_max(&self) -> usize;
}

/// The most bytes that one level of a book takes: price and size, each as the longest variable-length integer.
const LEVEL_BYTES_MAX: usize = 20;
/// The most bytes that a record takes beside levels of a book: texts are bounded where they come in.
const RECORD_BYTES_MAX: usize = 1_024;

/// The most records in one bus message: beyond this a message is no cheaper per record.
pub(crate) const RUN_RECORDS_MAX: usize = 64;
/// The bytes beyond which a run is closed; one record may make it as much longer as it is itself.
pub(crate) const RUN_BYTES_MAX: usize = 16 * 1024;

/// The number of heartbeats that say a position that moved: a gateway that gets none of them in a row has found the
/// feed mute, and makes requests.
pub(crate) const HEARTBEATS_PER_MOVE: u8 = 3;

/// Records of one (instrument, channel) that will share a bus message.
#[derive(Debug)]
pub(crate) struct Run {
    channel: Channel,
    first_sequence: u64,
    last_sequence: u64,
    records: usize,
    /// The bytes of the message, which begin with room for the header.
    bytes: Vec<u8>,
}

pub(crate) struct Publisher<O> {
    pub(crate) bus: O,
    pub(crate) epoch: u64,
    pub(crate) encoding: Encoding,
    /// The time of this turn of the main loop, in nanoseconds since the Unix epoch.
    pub(crate) now: u64,
    pub(crate) tally: Tally,
    /// The instruments with an open run, by index; it may name one twice.
    open: Vec<u32>,
    /// The (instrument, channel) whose sequence moved lately.
    pub(crate) moved: Vec<(u32, Channel)>,
    /// The instruments with sequence numbers that the bus refused.
    damaged: Vec<u32>,
}

impl<O: BusSink> Publisher<O> {
    pub(crate) fn new(bus: O, epoch: u64, encoding: Encoding) -> Self {
        Self {
            bus,
            epoch,
            encoding,
            now: epoch,
            tally: Tally::default(),
            open: Vec::new(),
            moved: Vec::new(),
            damaged: Vec::new(),
        }
    }

    /// Gives the record the next sequence number of its channel and adds it to the instrument's run.
    pub(crate) fn emit(
        &mut self,
        state: &mut InstrumentState,
        event_time: u64,
        receive_time: u64,
        body: Body,
    ) {
        let mut record = Record { instrument: state.id, sequence: 0, event_time, receive_time, body };
        let channel = record.channel();
        record.sequence = self.take_sequence_numbers(state, channel, 1);
        let fits = state.run.as_ref().is_some_and(|run| {
            run.channel == channel && run.records < RUN_RECORDS_MAX && run.bytes.len() < RUN_BYTES_MAX
        });
        if !fits {
            self.close(state);
            self.open.push(state.index);
        }
        let run = state.run.get_or_insert_with(|| Run::new(channel, record.sequence));
        let (message, before) = (Message::Record(record), run.bytes.len());
        encode_message(self.encoding, &message, &Scale::default(), &mut run.bytes);
        if run.records > 0 && run.bytes.len() > self.payload_max() {
            // Together they are more than one message may carry.
            let last = run.bytes.split_off(before);
            self.close(state);
            self.open.push(state.index);
            let Message::Record(record) = &message else { unreachable!("it was made a record above") };
            state.run.insert(Run::new(channel, record.sequence)).bytes.extend_from_slice(&last);
        }
        let run = state.run.get_or_insert_with(|| unreachable!("it was made above"));
        run.records += 1;
        let Message::Record(record) = message else { unreachable!("it was made a record above") };
        run.last_sequence = record.sequence;
        self.tally.records += 1;
        self.tally.channels[channel as usize - 1] += 1;
        state.keep(record);
    }

    fn payload_max(&self) -> usize {
        self.bus.payload_max().max(BusHeader::PAYLOAD_LEAST)
    }

    /// Returns how many levels of a book, of both sides together, fit into one message whatever their values.
    pub(crate) fn book_levels_max(&self) -> usize {
        (self.payload_max() - HEADER_BYTES - RECORD_BYTES_MAX) / LEVEL_BYTES_MAX
    }

    /// Uses up `count` sequence numbers of a channel for events that never came, and says so. Returns the gap.
    pub(crate) fn emit_gap(
        &mut self,
        state: &mut InstrumentState,
        event_time: u64,
        receive_time: u64,
        channel: Channel,
        count: u64,
    ) -> Record {
        self.close(state);
        let last = self.take_sequence_numbers(state, channel, count);
        let range = (last + 1 - count, last);
        let record = gap(state.id, event_time, receive_time, channel, GapCause::Upstream, range);
        self.tally.records += 1;
        self.send_single(state, channel, range, &record);
        if channel.is_keyed() {
            // Nothing is known of any key behind a gap, so nothing is left to be told again but the gap.
            let missed = &mut state.sequence_mut(channel).missed;
            *missed = missed.filter(|(_, last)| *last == range.1).map(|_| range);
        }
        record
    }

    /// Forgets what is under way, because it begins anew.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
        self.moved.clear();
        self.damaged.clear();
    }

    /// Publishes the instrument's open run.
    pub(crate) fn close(&mut self, state: &mut InstrumentState) {
        if let Some(run) = state.run.take() {
            let range = (run.first_sequence, run.last_sequence);
            self.send(state, run.channel, range, run.bytes);
        }
    }

    /// Publishes all open runs, at the end of a turn.
    pub(crate) fn close_all(&mut self, instruments: &mut [Option<InstrumentState>]) {
        for index in std::mem::take(&mut self.open) {
            if let Some(state) = &mut instruments[index as usize] {
                self.close(state);
            }
        }
    }

    fn take_sequence_numbers(&mut self, state: &mut InstrumentState, channel: Channel, count: u64) -> u64 {
        state.sequence_mut(channel).last += count;
        self.mark_moved(state, channel);
        state.sequence(channel).last
    }

    /// Makes the next heartbeats say the position of this channel.
    pub(crate) fn mark_moved(&mut self, state: &mut InstrumentState, channel: Channel) {
        if std::mem::replace(&mut state.sequence_mut(channel).heartbeats_due, HEARTBEATS_PER_MOVE) == 0 {
            self.moved.push((state.index, channel));
        }
    }

    fn send(&mut self, state: &mut InstrumentState, channel: Channel, range: (u64, u64), bytes: Vec<u8>) {
        if let Some(missed) = state.sequence(channel).missed {
            // A lossless channel goes on behind the gap only, a book behind a fresh snapshot only (see `repair`). Every
            // other channel says everything anew with each record; where it has several keys, only of the record's own.
            if channel == Channel::Book || (channel.is_lossless() && !self.announce(state, channel, missed)) {
                self.miss(state, channel, range);
                return;
            }
        }
        if self.publish(state, channel, range, bytes) {
            if !channel.is_keyed() {
                state.sequence_mut(channel).missed = None;
            }
        } else {
            self.miss(state, channel, range);
        }
    }

    fn send_single(
        &mut self,
        state: &mut InstrumentState,
        channel: Channel,
        range: (u64, u64),
        record: &Record,
    ) {
        let bytes = self.single(record);
        self.send(state, channel, range, bytes);
    }

    fn single(&self, record: &Record) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        encode_message(self.encoding, &Message::Record(record.clone()), &Scale::default(), &mut bytes);
        bytes
    }

    /// Publishes the gap for sequence numbers that the bus refused.
    fn announce(&mut self, state: &mut InstrumentState, channel: Channel, missed: (u64, u64)) -> bool {
        let record = gap(state.id, self.now, self.now, channel, GapCause::Ingest, missed);
        let bytes = self.single(&record);
        let is_announced = self.publish(state, channel, missed, bytes);
        if is_announced {
            state.sequence_mut(channel).missed = None;
        }
        is_announced
    }

    fn publish(
        &mut self,
        state: &InstrumentState,
        channel: Channel,
        (first_sequence, last_sequence): (u64, u64),
        mut bytes: Vec<u8>,
    ) -> bool {
        let header = BusHeader {
            encoding: self.encoding,
            channel,
            instrument: state.id,
            epoch: self.epoch,
            first_sequence,
            last_sequence,
            publish_time: self.now,
        };
        let mut front = Vec::with_capacity(HEADER_BYTES);
        header.write(&mut front);
        bytes[..HEADER_BYTES].copy_from_slice(&front);
        let length = bytes.len() as u64;
        match self.bus.publish(state.subject(channel), bytes.into()) {
            Ok(()) => {
                self.tally.messages += 1;
                self.tally.bytes += length;
                true
            }
            Err(error) => {
                let refused = &mut self.tally.refused_messages;
                *refused += 1;
                // It logs one for each power of two, so that an outage does not flood the log.
                if refused.is_power_of_two() {
                    tracing::warn!(subject = %state.subject(channel), refused = *refused, %error, "bus refused");
                }
                false
            }
        }
    }

    fn miss(&mut self, state: &mut InstrumentState, channel: Channel, (first, last): (u64, u64)) {
        self.tally.missed_numbers += last + 1 - first;
        let missed = &mut state.sequence_mut(channel).missed;
        *missed = Some((missed.map_or(first, |(first, _)| first), last));
        if !std::mem::replace(&mut state.is_damaged, true) {
            self.damaged.push(state.index);
        }
    }

    /// Makes good for what the bus refused, as far as it takes it now.
    pub(crate) fn repair(&mut self, instruments: &mut [Option<InstrumentState>]) {
        let damaged = std::mem::take(&mut self.damaged);
        for (at, index) in damaged.iter().enumerate() {
            let Some(state) = &mut instruments[*index as usize] else { continue };
            state.is_damaged = false;
            self.close(state);
            if !self.repair_one(state) {
                // The bus still refuses: the others wait for the next attempt.
                if !std::mem::replace(&mut state.is_damaged, true) {
                    self.damaged.push(*index);
                }
                self.damaged.extend_from_slice(&damaged[at + 1..]);
                return;
            }
        }
    }

    fn repair_one(&mut self, state: &mut InstrumentState) -> bool {
        for channel in Channel::ALL {
            let Some(missed) = state.sequence(channel).missed else { continue };
            if channel == Channel::Book {
                if !self.repair_book(state, missed) {
                    return false;
                }
                continue;
            }
            if channel.is_lossless() && !self.announce(state, channel, missed) {
                return false;
            }
            let states = state.last_records(channel);
            if states.is_empty() && !channel.is_lossless() && !self.announce(state, channel, missed) {
                return false;
            }
            if channel.is_keyed() && !states.is_empty() {
                // What is refused again is marked again.
                state.sequence_mut(channel).missed = None;
            }
            for last in states {
                self.emit(state, last.event_time, last.receive_time, last.body);
            }
            self.close(state);
            if state.sequence(channel).missed.is_some() {
                return false;
            }
        }
        true
    }

    /// Publishes a fresh snapshot under sequence numbers of its own; where the book is broken, the gap that says so.
    fn repair_book(&mut self, state: &mut InstrumentState, missed: (u64, u64)) -> bool {
        let channel = Channel::Book;
        if !state.book.is_synced() {
            return self.announce(state, channel, missed);
        }
        let (times, levels) = (state.book_times, state.book.to_snapshot());
        for part in split_book(levels, self.book_levels_max()) {
            let sequence = self.take_sequence_numbers(state, channel, 1);
            let (event_time, receive_time) = times;
            let record =
                Record { instrument: state.id, sequence, event_time, receive_time, body: Body::Book(part) };
            let bytes = self.single(&record);
            self.tally.records += 1;
            state.carry_book_to(sequence);
            if !self.publish(state, channel, (sequence, sequence), bytes) {
                self.miss(state, channel, (sequence, sequence));
                return false;
            }
            state.sequence_mut(channel).missed = None;
        }
        true
    }
}

impl Run {
    fn new(channel: Channel, first_sequence: u64) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.resize(HEADER_BYTES, 0);
        Self { channel, first_sequence, last_sequence: first_sequence, records: 0, bytes }
    }
}

fn gap(
    instrument: u32,
    event_time: u64,
    receive_time: u64,
    channel: Channel,
    cause: GapCause,
    (first_sequence, last_sequence): (u64, u64),
) -> Record {
    let gap = Gap { channel: channel.into(), cause: cause.into(), first_sequence, last_sequence, epoch: 0 };
    Record { instrument, sequence: last_sequence, event_time, receive_time, body: Body::Gap(gap) }
}
