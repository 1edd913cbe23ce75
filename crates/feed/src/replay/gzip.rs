//! Gzip files of one or many members, sound or damaged.
//!
//! A damaged member is read up to its damage, and the next member from its beginning. Where that is, nothing in the
//! damaged one says: it is looked for once ([`map`]), when a first reading has found damage.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Take};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;

const BUFFER_BYTES: usize = 64 * 1024;
/// The bytes of a member that are read to see that it is one.
const PROBE_BYTES: usize = 512;
/// The magic number, and the only method that there is.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// The flags that no header has.
const FLAGS_RESERVED: u8 = 0xe0;

/// The range of a member, in bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    start: u64,
    end: u64,
}

pub(crate) type Source = BufReader<Counted>;

/// A file that is read at a place of its own, with a count of how much of it was read.
#[derive(Clone)]
pub(crate) struct Counted {
    file: Arc<File>,
    at: u64,
    bytes_read: Arc<AtomicU64>,
}

impl Counted {
    pub(crate) fn source(file: Arc<File>, at: u64, bytes_read: Arc<AtomicU64>) -> Source {
        BufReader::with_capacity(BUFFER_BYTES, Self { file, at, bytes_read })
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

/// A reader of the text in all members.
pub(crate) struct Members {
    state: State,
    /// The parts that are to be read where damage is known, the next first.
    parts: Option<std::vec::IntoIter<Part>>,
}

enum State {
    Between(Source),
    Inside(Box<GzDecoder<Take<Source>>>),
    Over,
}

impl Members {
    pub(crate) fn new(source: Source, parts: Option<&[Part]>) -> Self {
        Self { state: State::Between(source), parts: parts.map(|parts| Vec::from(parts).into_iter()) }
    }

    /// Returns, after an error, whether there is more to read.
    pub(crate) fn goes_on(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.len() > 0)
    }

    /// Begins the next member; returns `None` at the end.
    fn begin(&mut self, mut source: Source) -> io::Result<State> {
        let Some(parts) = &mut self.parts else {
            return Ok(match skip_zeros(&mut source)? {
                None => State::Over,
                Some(0x1f) => State::Inside(Box::new(GzDecoder::new(source.take(u64::MAX)))),
                Some(_) => {
                    return Err(io::Error::new(ErrorKind::InvalidData, "what follows is no gzip data"));
                }
            });
        };
        let Some(part) = parts.next() else { return Ok(State::Over) };
        source.seek(SeekFrom::Start(part.start))?;
        Ok(State::Inside(Box::new(GzDecoder::new(source.take(part.end - part.start)))))
    }
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(0),
                State::Between(source) => self.state = self.begin(source)?,
                State::Inside(mut decoder) => {
                    let read = decoder.read(buffer);
                    self.state = match read {
                        Ok(count) if count > 0 || buffer.is_empty() => State::Inside(decoder),
                        _ => State::Between(decoder.into_inner().into_inner()),
                    };
                    match read {
                        Ok(0) if !buffer.is_empty() => {}
                        Err(_) if !self.goes_on() => {
                            self.state = State::Over;
                            return read;
                        }
                        _ => return read,
                    }
                }
            }
        }
    }
}

/// Passes over zeros, with which some fill up a file, and returns what comes then.
fn skip_zeros(source: &mut Source) -> io::Result<Option<u8>> {
    loop {
        let buffer = source.fill_buf()?;
        let Some(first) = buffer.first().copied() else { return Ok(None) };
        if first != 0 {
            return Ok(Some(first));
        }
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        source.consume(zeros);
    }
}

/// Finds where the members of a file are, sound or not. It reads the whole file.
pub(crate) fn map(file: &Arc<File>) -> io::Result<Vec<Part>> {
    let length = file.metadata()?.len();
    let (mut parts, mut start) = (Vec::new(), 0);
    while start < length {
        let end = match end_of_member(file, start) {
            Some(end) => end,
            None => find_member(file, start + 1)?.unwrap_or(length),
        };
        parts.push(Part { start, end });
        let mut source = source_at(file, end);
        skip_zeros(&mut source)?;
        start = source.stream_position()?;
    }
    Ok(parts)
}

fn source_at(file: &Arc<File>, at: u64) -> Source {
    Counted::source(Arc::clone(file), at, Arc::default())
}

/// Returns where a member that begins here ends; `None` when it is damaged.
fn end_of_member(file: &Arc<File>, start: u64) -> Option<u64> {
    let mut decoder = GzDecoder::new(source_at(file, start));
    io::copy(&mut decoder, &mut io::sink()).ok()?;
    decoder.into_inner().stream_position().ok()
}

/// Returns the next place where text begins that was packed.
fn find_member(file: &Arc<File>, from: u64) -> io::Result<Option<u64>> {
    let mut window = [0u8; 4];
    for (byte, at) in source_at(file, from).bytes().zip(from + 1..) {
        window.rotate_left(1);
        window[3] = byte?;
        let is_header = window[..3] == MAGIC && window[3] & FLAGS_RESERVED == 0;
        if is_header && begins_with_text(file, at - 4) {
            return Ok(Some(at - 4));
        }
    }
    Ok(None)
}

/// Returns whether what is unpacked from here on is text. The magic alone comes by chance in each 16 MB.
fn begins_with_text(file: &Arc<File>, at: u64) -> bool {
    let mut decoder = GzDecoder::new(source_at(file, at)).take(PROBE_BYTES as u64);
    let mut text = Vec::with_capacity(PROBE_BYTES);
    let is_sound = decoder.read_to_end(&mut text).is_ok();
    let valid = match std::str::from_utf8(&text) {
        Ok(text) => text,
        // The probe may end within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_text = valid.chars().all(|character| !character.is_control() || character.is_whitespace());
    is_text && (is_sound || !valid.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn line(n: u32) -> String {
        format!("line {n}\n")
    }

    fn numbers(range: std::ops::Range<u32>) -> String {
        range.map(|n| n.wrapping_mul(2_654_435_761)).map(line).collect()
    }

    /// Returns the text between errors, once members are known where there is damage.
    fn read_all(bytes: &[u8]) -> Vec<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let file = Arc::new(file);
        let mut members = Members::new(source_at(&file, 0), None);
        let mut text = Vec::new();
        if members.read_to_end(&mut text).is_ok() {
            return vec![String::from_utf8(text).unwrap()];
        }
        let mut members = Members::new(source_at(&file, 0), Some(&map(&file).unwrap()));
        let mut pieces = Vec::new();
        loop {
            let mut text = Vec::new();
            let is_end = members.read_to_end(&mut text).is_ok();
            pieces.push(String::from_utf8(text).unwrap());
            if is_end {
                return pieces;
            }
        }
    }

    #[test]
    fn members_are_one_text() {
        let (one, two) = (numbers(0..50), numbers(50..90));
        let all = vec![format!("{one}{two}")];
        assert_eq!(read_all(&[packed(&one), packed(&two)].concat()), all);
        assert_eq!(read_all(&[packed(&one), vec![0; 700], packed(&two), vec![0; 3]].concat()), all);
        assert_eq!(read_all(&[packed(""), packed(&one), packed(""), packed(&two)].concat()), all);
    }

    #[test]
    fn behind_damage_the_next_member_is_read_from_its_beginning() {
        let (one, two, three) = (numbers(0..4_000), numbers(4_000..8_000), numbers(8_000..8_001));
        let whole = packed(&one);
        for cut in [1, 5, 12, whole.len() / 3, whole.len() - 9, whole.len() - 1] {
            let bytes = [&whole[..cut], &packed(&two), &packed(&three)].concat();
            let pieces = read_all(&bytes);
            assert_eq!(pieces.len(), 2, "cut at {cut}");
            assert!(one.starts_with(&pieces[0]), "cut at {cut}");
            assert_eq!(pieces[1], format!("{two}{three}"), "cut at {cut}");
        }
        let bytes = [&whole, b"not packed".as_slice(), &packed(&two), &packed(&three)[..15]].concat();
        let pieces = read_all(&bytes);
        assert_eq!(pieces[0], one);
        assert!(pieces[1].starts_with(&two) && format!("{two}{three}").starts_with(&pieces[1]));
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x55;
        let pieces = read_all(&[flipped, packed(&two)].concat());
        assert_eq!(pieces.last().unwrap(), &two);
    }
}
