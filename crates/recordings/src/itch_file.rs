//! Files of Nasdaq TotalView-ITCH 5.0: as Nasdaq publishes them (BinaryFILE), and captures of MoldUDP64.

use std::io::{self, Read as _};

use crate::capture::{Capture, Packet};
use crate::day::{DAY_NANOS, Day};
use crate::framing::Sequences;
use crate::itch::{self, Itch};
use crate::mold::MoldPacket;
use crate::packed::{self, Content};
use crate::source::{Entry, Place, Source, Symbol};

/// The entries after which a turn ends.
const ENTRIES_MAX: usize = 256;
/// The room for messages that were read and not taken.
const BUFFER_BYTES: usize = 64 << 10;
/// The longest message that is believed; those of ITCH 5.0 have 50 bytes at most.
const MESSAGE_MAX: usize = 256;

/// Returns whether a file begins with whole messages of ITCH behind their lengths.
pub(crate) fn is_binary_file(begin: &[u8]) -> bool {
    let [high, low, kind, ..] = begin else { return false };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    itch::length(*kind) == Some(length) && {
        let next = begin.get(2 + length..).unwrap_or_default();
        match next {
            [high, low, kind, ..] => {
                itch::length(*kind) == Some(usize::from(u16::from_be_bytes([*high, *low])))
            }
            _ => true,
        }
    }
}

/// A reading of a file of messages behind their lengths.
pub(crate) struct ItchFile {
    content: Content,
    buffer: Vec<u8>,
    /// The bytes of the buffer that were taken.
    taken: usize,
    /// The offset of the buffer in the file.
    offset: u64,
    itch: Itch,
    messages: u64,
    is_over: bool,
}

impl ItchFile {
    /// Begins to read a file of a day.
    ///
    /// # Errors
    /// The day is not known, or before all others.
    pub(crate) fn new(content: Content, day: Option<Day>) -> Result<Self, String> {
        let day = day.ok_or(
            "its times are counted from midnight, and its name has no date as 01302020.NASDAQ_ITCH50 has; \
             give the day of trading with --date 2020-01-30",
        )?;
        let mut itch = Itch::default();
        itch.set_midnight(day.midnight()?);
        let (buffer, taken, offset) = (Vec::with_capacity(BUFFER_BYTES), 0, 0);
        Ok(Self { content, buffer, taken, offset, itch, messages: 0, is_over: false })
    }

    /// Reads more of the file behind what is left; returns whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.taken);
        self.offset += self.taken as u64;
        self.taken = 0;
        let room = (BUFFER_BYTES - self.buffer.len()) as u64;
        Ok((&mut self.content).take(room).read_to_end(&mut self.buffer)? > 0)
    }

    /// Ends the reading at a place that cannot be read.
    fn fail(&mut self, reason: String, entries: &mut Vec<Entry>) {
        entries.push(Entry::Fault(Place::Byte(self.offset + self.taken as u64), reason));
        self.is_over = true;
    }

    /// Takes the next message; returns whether it was whole.
    fn message(&mut self, entries: &mut Vec<Entry>) -> bool {
        let rest = &self.buffer[self.taken..];
        let Some((head, rest)) = rest.split_first_chunk::<2>() else { return false };
        let length = usize::from(u16::from_be_bytes(*head));
        if length == 0 {
            entries.push(Entry::Unused("ends of a session"));
            self.taken += 2;
            return true;
        }
        let Some(kind) = rest.first() else { return false };
        let right = itch::length(*kind);
        if right.map_or(length > MESSAGE_MAX, |right| right != length) {
            let reason = format!(
                "a message of type {kind:#04x} cannot have {length} bytes: the rest of the file is not read, because nobody knows where the next one begins"
            );
            self.fail(reason, entries);
            return true;
        }
        let Some(message) = rest.get(..length) else { return false };
        let place = Place::Byte(self.offset + self.taken as u64);
        self.messages += 1;
        self.itch.take(message, None, place, entries);
        self.taken += 2 + length;
        true
    }
}

impl Source for ItchFile {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        while !self.is_over && entries.len() < until {
            if self.message(entries) {
                continue;
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) if self.buffer.is_empty() => self.is_over = true,
                Ok(false) => self.fail("the file ends within a message".to_owned(), entries),
                // What was read before the damage is taken first.
                Err(error) => {
                    while !self.is_over && self.message(entries) {}
                    if !self.is_over {
                        self.fail(packed::damage(&error), entries);
                    }
                }
            }
        }
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.messages
    }

    fn symbols(&self) -> &[Symbol] {
        self.itch.symbols()
    }
}

/// A reading of a capture of MoldUDP64.
pub(crate) struct ItchCapture {
    capture: Capture,
    sequences: Sequences<[u8; 10]>,
    itch: Itch,
    messages: u64,
    is_over: bool,
}

impl ItchCapture {
    /// Begins to read a capture; the packets tell the day.
    ///
    /// # Errors
    /// Returns what is wrong with its head, in words.
    pub(crate) fn new(content: Content) -> Result<Self, String> {
        Ok(Self {
            capture: Capture::new(content)?,
            sequences: Sequences::default(),
            itch: Itch::default(),
            messages: 0,
            is_over: false,
        })
    }

    fn packet(&mut self, receive_time: u64, entries: &mut Vec<Entry>) -> Result<(), String> {
        let place = Place::Packet(self.capture.packets());
        let Some(datagram) = self.capture.datagram() else {
            entries.push(Entry::Unused("packets that are no datagrams of UDP"));
            return Ok(());
        };
        let packet = MoldPacket::parse(datagram)?;
        let midnight = self.itch.midnight();
        if midnight == 0 || !(midnight..midnight.saturating_add(DAY_NANOS)).contains(&receive_time) {
            let day = Day::at(receive_time).ok_or("its time is of no day")?;
            self.itch.set_midnight(day.midnight()?);
        }
        let order = self.sequences.take(packet.session, packet.first, packet.count)?;
        if order.missing > 0 {
            entries.push(Entry::Fault(place, format!("{} messages are missing", order.missing)));
            self.itch.lose(receive_time, entries);
        }
        if packet.is_end {
            entries.push(Entry::Unused("ends of a session"));
        } else if packet.count == 0 {
            entries.push(Entry::Unused("heartbeats"));
        }
        if order.repeated > 0 {
            entries.push(Entry::Unused("repeated messages"));
            if order.repeated == packet.count {
                return Ok(());
            }
        }
        for message in packet.messages().skip(usize::from(order.repeated)) {
            self.messages += 1;
            self.itch.take(message?, Some(receive_time), place, entries);
        }
        Ok(())
    }
}

impl Source for ItchCapture {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        while !self.is_over && entries.len() < until {
            let read = match self.capture.read() {
                Packet::At(receive_time) => self.packet(receive_time, entries),
                Packet::Timeless => Err("a packet has no time that can be used".to_owned()),
                Packet::End => {
                    self.is_over = true;
                    Ok(())
                }
                Packet::Failed(reason) => {
                    self.is_over = true;
                    Err(reason)
                }
            };
            if let Err(reason) = read {
                entries.push(Entry::Fault(Place::Packet(self.capture.packets()), reason));
            }
        }
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.messages
    }

    fn symbols(&self) -> &[Symbol] {
        self.itch.symbols()
    }
}
