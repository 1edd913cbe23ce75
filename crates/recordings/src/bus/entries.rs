//! The file format of recordings of the bus: entries one after another, each with its time and a checksum. Little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | `TWBUS1\r\n`, once, at the beginning of the file |
//! | 0..4 | the length of what follows the checksum |
//! | 4..8 | CRC-32 (ISO-HDLC, as of gzip) of what follows |
//! | 8 | kind: 1 message, 2 response, 3 note |
//! | 9..17 | when it came, nanoseconds since the Unix epoch, by the recorder's clock |
//! | 17.. | a message: `u16` length of the subject, subject, payload; a response: the same, with a `u32` length of the request and the request in front of the payload; a note: JSON |
//!
//! The first entry is a [`Note::Begin`], the last one a [`Note::End`]: a file without one was cut, or is being written still.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// The first bytes of a file.
pub const MAGIC: [u8; 8] = *b"TWBUS1\r\n";
/// The most bytes of an entry: more than any response of an ingester has.
const ENTRY_BYTES_MAX: usize = 80 << 20;
const HEAD_BYTES: usize = 8;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message of a subject.
    Message = 1,
    /// A response to a request.
    Response = 2,
    /// Something that the recorder noted.
    Note = 3,
}

/// An entry of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded<'a> {
    /// When it came, in nanoseconds since the Unix epoch, by the recorder's clock.
    pub time: u64,
    /// The content.
    pub content: Content<'a>,
}

/// The content of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A message as it was published.
    Message {
        /// The subject.
        subject: &'a str,
        /// The payload.
        payload: &'a [u8],
    },
    /// A response that an ingester gave to the recorder.
    Response {
        /// The subject of the request.
        subject: &'a str,
        /// The request.
        request: &'a [u8],
        /// The response, put together where it came in parts.
        payload: &'a [u8],
    },
    /// A [`Note`], as JSON.
    Note(&'a [u8]),
}

/// A note of a recorder, beside what passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// The file begins.
    Begin {
        /// The venue, of which all of the file is.
        venue: String,
        /// The number of the file in this run of the recorder, from 1.
        file: u64,
        /// The program that wrote it.
        by: String,
    },
    /// Messages were lost on their way to the recorder.
    Lost {
        /// The number of them, where it is known.
        messages: Option<u64>,
        /// The place where they were lost.
        place: String,
    },
    /// The connection to the bus broke.
    Disconnected,
    /// The connection to the bus is back.
    Reconnected,
    /// The file ends as it should.
    End {
        /// The messages and responses in it.
        entries: u64,
    },
    /// A note of a later version.
    #[serde(other)]
    Unknown,
}

/// Writes entries.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    entry: Vec<u8>,
    bytes: u64,
    entries: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Returns the error of the output.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        Ok(Self { out, entry: Vec::new(), bytes: MAGIC.len() as u64, entries: 0 })
    }

    /// Writes a message or a response.
    ///
    /// # Errors
    /// Returns the error of the output; `InvalidInput` for an entry that is too long to be read again.
    pub fn write(&mut self, entry: &Recorded<'_>) -> io::Result<()> {
        self.entry.clear();
        let kind = match entry.content {
            Content::Message { .. } => Kind::Message,
            Content::Response { .. } => Kind::Response,
            Content::Note(_) => Kind::Note,
        };
        self.entry.push(kind as u8);
        self.entry.extend_from_slice(&entry.time.to_le_bytes());
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        match entry.content {
            Content::Message { subject, payload } => {
                self.entry.extend_from_slice(&u16::try_from(subject.len()).map_err(too_long)?.to_le_bytes());
                self.entry.extend_from_slice(subject.as_bytes());
                self.entry.extend_from_slice(payload);
            }
            Content::Response { subject, request, payload } => {
                self.entry.extend_from_slice(&u16::try_from(subject.len()).map_err(too_long)?.to_le_bytes());
                self.entry.extend_from_slice(subject.as_bytes());
                self.entry.extend_from_slice(&u32::try_from(request.len()).map_err(too_long)?.to_le_bytes());
                self.entry.extend_from_slice(request);
                self.entry.extend_from_slice(payload);
            }
            Content::Note(text) => self.entry.extend_from_slice(text),
        }
        if self.entry.len() > ENTRY_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.out.write_all(&(self.entry.len() as u32).to_le_bytes())?;
        self.out.write_all(&crc32fast::hash(&self.entry).to_le_bytes())?;
        self.out.write_all(&self.entry)?;
        self.bytes += (HEAD_BYTES + self.entry.len()) as u64;
        self.entries += u64::from(kind != Kind::Note);
        Ok(())
    }

    /// Writes a note.
    ///
    /// # Errors
    /// Returns the error of the output.
    pub fn note(&mut self, time: u64, note: &Note) -> io::Result<()> {
        let text = serde_json::to_vec(note)?;
        self.write(&Recorded { time, content: Content::Note(&text) })
    }

    /// Ends the file; returns the output.
    ///
    /// # Errors
    /// Returns the error of the output.
    pub fn end(mut self, time: u64) -> io::Result<W> {
        self.note(time, &Note::End { entries: self.entries })?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Hands what was written to the output's own output.
    ///
    /// # Errors
    /// Returns the error of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Returns the bytes that were written, before they are packed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the messages and responses that were written.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

/// A reading of entries.
#[derive(Debug)]
pub struct Entries<R> {
    input: R,
    /// The place of the next entry.
    offset: u64,
    entry: Vec<u8>,
    is_over: bool,
}

/// The reason why an entry cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The file is none of these.
    #[error("the file does not begin as a recording of the bus")]
    Foreign,
    /// The next entry can be read after this one.
    #[error("the entry at byte {offset} is damaged: {reason}")]
    Damaged {
        /// The place of the entry, unpacked.
        offset: u64,
        /// The kind of damage.
        reason: &'static str,
    },
    /// Nothing can be read any more.
    #[error("the entry at byte {offset} {reason}: nothing can be read from there on")]
    Broken {
        /// The place of the entry, unpacked.
        offset: u64,
        /// The kind of damage.
        reason: String,
    },
}

impl<R: Read> Entries<R> {
    /// Begins a reading.
    ///
    /// # Errors
    /// Returns [`ReadError::Foreign`] where the file begins otherwise.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut magic = [0; MAGIC.len()];
        if input.read_exact(&mut magic).is_err() || magic != MAGIC {
            return Err(ReadError::Foreign);
        }
        Ok(Self { input, offset: MAGIC.len() as u64, entry: Vec::new(), is_over: false })
    }

    /// Returns the place of the next entry, unpacked.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next entry; `None` at the end.
    ///
    /// # Errors
    /// Returns what is wrong with the entry; [`ReadError::Damaged`] lets the next one be read.
    pub fn next_entry(&mut self) -> Result<Option<Recorded<'_>>, ReadError> {
        if self.is_over {
            return Ok(None);
        }
        let offset = self.offset;
        let broken = |reason: String| ReadError::Broken { offset, reason };
        self.is_over = true;
        let mut head = [0; HEAD_BYTES];
        match read_some(&mut self.input, &mut head) {
            Ok(0) => return Ok(None),
            Ok(HEAD_BYTES) => {}
            Ok(_) => return Err(broken("is cut".to_owned())),
            Err(error) => return Err(broken(format!("cannot be read: {}", crate::packed::damage(&error)))),
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if length > ENTRY_BYTES_MAX {
            return Err(broken(format!("says that it has {length} bytes, which none has")));
        }
        self.entry.clear();
        let read = (&mut self.input).take(length as u64).read_to_end(&mut self.entry);
        match read {
            Ok(read) if read == length => {}
            Ok(_) => return Err(broken("is cut".to_owned())),
            Err(error) => return Err(broken(format!("cannot be read: {}", crate::packed::damage(&error)))),
        }
        self.is_over = false;
        self.offset += (HEAD_BYTES + length) as u64;
        if crc32fast::hash(&self.entry) != checksum {
            return Err(ReadError::Damaged { offset, reason: "its checksum is another" });
        }
        parse(&self.entry).map(Some).ok_or(ReadError::Damaged { offset, reason: "its parts do not fit" })
    }
}

/// Fills a buffer as far as there is something; returns how far.
fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn parse(entry: &[u8]) -> Option<Recorded<'_>> {
    let (kind, rest) = entry.split_first()?;
    let (time, rest) = rest.split_first_chunk()?;
    let time = u64::from_le_bytes(*time);
    let content = match kind {
        1 => {
            let (subject, payload) = subject(rest)?;
            Content::Message { subject, payload }
        }
        2 => {
            let (subject, rest) = subject(rest)?;
            let (length, rest) = rest.split_first_chunk()?;
            let (request, payload) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            Content::Response { subject, request, payload }
        }
        3 => Content::Note(rest),
        _ => return None,
    };
    Some(Recorded { time, content })
}

fn subject(rest: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = rest.split_first_chunk()?;
    let (subject, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(subject).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: Content<'static> = Content::Message { subject: "tw.v1.sim.quote.A", payload: b"abc" };
    const RESPONSE: Content<'static> =
        Content::Response { subject: "tw.request.v1.sim.7", request: b"r", payload: b"response" };

    fn written() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.note(1, &Note::Begin { venue: "sim".into(), file: 1, by: "a test".into() }).unwrap();
        writer.write(&Recorded { time: 2, content: MESSAGE }).unwrap();
        writer.write(&Recorded { time: 3, content: RESPONSE }).unwrap();
        assert_eq!(writer.entries(), 2);
        let bytes = writer.bytes();
        let written = writer.end(4).unwrap();
        assert!(bytes < written.len() as u64);
        written
    }

    #[test]
    fn what_is_written_is_read() {
        let written = written();
        let mut entries = Entries::new(written.as_slice()).unwrap();
        let Some(Recorded { time: 1, content: Content::Note(note) }) = entries.next_entry().unwrap() else {
            panic!("no note")
        };
        let begin = Note::Begin { venue: "sim".into(), file: 1, by: "a test".into() };
        assert_eq!(serde_json::from_slice::<Note>(note).unwrap(), begin);
        assert_eq!(entries.next_entry(), Ok(Some(Recorded { time: 2, content: MESSAGE })));
        assert_eq!(entries.next_entry(), Ok(Some(Recorded { time: 3, content: RESPONSE })));
        let Some(Recorded { content: Content::Note(note), .. }) = entries.next_entry().unwrap() else {
            panic!("no note")
        };
        assert_eq!(serde_json::from_slice::<Note>(note).unwrap(), Note::End { entries: 2 });
        assert_eq!(entries.next_entry(), Ok(None));
        assert_eq!(entries.offset(), written.len() as u64);
        assert_eq!(Entries::new(b"TWBUS2\r\n".as_slice()).err(), Some(ReadError::Foreign));
        let later: Note = serde_json::from_str(r#"{"note":"of_a_later_version"}"#).unwrap();
        assert_eq!(later, Note::Unknown);
    }

    #[test]
    fn a_flipped_bit_costs_one_entry() {
        let mut written = written();
        let at = written.windows(3).position(|bytes| bytes == b"abc").unwrap();
        written[at] ^= 1;
        let mut entries = Entries::new(written.as_slice()).unwrap();
        entries.next_entry().unwrap();
        assert!(matches!(entries.next_entry(), Err(ReadError::Damaged { .. })));
        assert_eq!(entries.next_entry(), Ok(Some(Recorded { time: 3, content: RESPONSE })));
    }

    proptest! {
        #[test]
        fn damage_is_an_error_and_no_more(at in 8usize..200, bit in 0u8..8, cut in any::<bool>()) {
            let mut written = written();
            let at = at.min(written.len() - 1);
            if cut { written.truncate(at) } else { written[at] ^= 1 << bit }
            let mut entries = Entries::new(written.as_slice()).unwrap();
            let (mut read, mut wrong) = (0, 0);
            loop {
                match entries.next_entry() {
                    Ok(Some(_)) => read += 1,
                    Ok(None) => break,
                    Err(_) => wrong += 1,
                }
            }
            // A cut between two entries is found by the missing end.
            prop_assert!(read < 4 && (cut || wrong > 0), "{read} {wrong}");
        }
    }
}
