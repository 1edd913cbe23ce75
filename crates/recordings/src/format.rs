//! The formats that recordings have, and how each is known.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tickwire_feed::replay::Input;
use tickwire_wire::is_venue;

use crate::adapted::BinanceSource;
use crate::bus::{self, BusSource};
use crate::capture::{self, Capture, Packet};
use crate::cryptofeed::{self, BinanceCapture, CaptureSource, Venue};
use crate::day::Day;
use crate::dbn::{self, DbnSource};
use crate::iex::{self, IexSource};
use crate::itch;
use crate::itch_file::{self, ItchCapture, ItchFile};
use crate::lobster::{self, LobsterSource, Named};
use crate::map::Map;
use crate::mapped::MappedSource;
use crate::mold::MoldPacket;
use crate::packed::{self, Content};
use crate::source::Source;
use crate::stream::{self, StreamSource};
use crate::tardis::{self, TardisSource};

/// The packets of a capture that are looked at for its format.
const DETECTED_PACKETS: usize = 256;

/// A format of recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Raw streams of Binance, line by line.
    Binance,
    /// Recordings of the bus, as `tickwire record` writes them.
    Bus,
    /// Captures of cryptofeed.
    Cryptofeed,
    /// Plain CSV, with a mapping.
    Csv,
    /// Databento Binary Encoding.
    Dbn,
    /// Captures of TOPS of IEX.
    Iex,
    /// TotalView-ITCH 5.0 of Nasdaq, files and captures.
    Itch,
    /// Normalized CSV of Tardis.dev.
    Tardis,
    /// Messages of LOBSTER, with the levels beside them.
    Lobster,
    /// Recorded streams, as `tickwire tap --record` writes them.
    Stream,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 10] = [
        Self::Binance,
        Self::Bus,
        Self::Cryptofeed,
        Self::Csv,
        Self::Dbn,
        Self::Iex,
        Self::Itch,
        Self::Lobster,
        Self::Stream,
        Self::Tardis,
    ];

    /// Returns the name, as it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Bus => "bus",
            Self::Cryptofeed => "cryptofeed",
            Self::Csv => "csv",
            Self::Dbn => "dbn",
            Self::Iex => "iex",
            Self::Itch => "itch",
            Self::Lobster => "lobster",
            Self::Stream => "stream",
            Self::Tardis => "tardis",
        }
    }
}

impl Format {
    /// Begins to read bytes that lie in memory, and are not packed; the day is that of files whose times have none.
    ///
    /// # Errors
    /// Returns what is wrong with their head, in words; or that the format is of files only.
    pub fn source_of(self, bytes: Vec<u8>, day: Option<Day>) -> Result<Box<dyn Source>, String> {
        if self == Self::Cryptofeed {
            let content: Box<dyn Read + Send> = Box::new(io::Cursor::new(bytes.clone()));
            let (source, _) = CaptureSource::of_bytes(&bytes, BufReader::new(content))?;
            return Ok(Box::new(source));
        }
        let bytes: Box<dyn Read + Send> = Box::new(io::Cursor::new(bytes));
        if self == Self::Lobster {
            let named = Named::of(Path::new("A_2012-06-21"))?;
            return Ok(Box::new(LobsterSource::new(BufReader::new(bytes), None, &named)));
        }
        self.begin(BufReader::new(bytes), day).map(|(source, _)| source)
    }

    /// Begins to read the content of a file, and returns the venue that it tells.
    fn begin(self, mut content: Content, day: Option<Day>) -> Result<(Box<dyn Source>, String), String> {
        match self {
            Self::Csv => Err("plain CSV needs a mapping of its columns: --map FILE".to_owned()),
            Self::Binance | Self::Cryptofeed | Self::Lobster => {
                Err(format!("recordings of {self} are read as files"))
            }
            Self::Bus => {
                let (source, venue) = BusSource::new(content)?;
                Ok((Box::new(source), venue))
            }
            Self::Dbn => {
                let mut source = DbnSource::new(content);
                let dataset = source.dataset()?;
                Ok((Box::new(source), venue_of(&dataset)))
            }
            Self::Iex => Ok((Box::new(IexSource::new(content)?), iex::VENUE.to_owned())),
            Self::Itch => {
                let is_capture = content.fill_buf().is_ok_and(capture::is_capture);
                let source: Box<dyn Source> = if is_capture {
                    Box::new(ItchCapture::new(content)?)
                } else {
                    Box::new(ItchFile::new(content, day)?)
                };
                Ok((source, itch::VENUE.to_owned()))
            }
            Self::Stream => {
                let (source, venue) = StreamSource::new(content)?;
                Ok((Box::new(source), venue))
            }
            Self::Tardis => {
                let (source, venue) = TardisSource::new(content)?;
                Ok((Box::new(source), venue))
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("there is no format `{name}`; known: {known}")
        })
    }
}

/// The words of the user about recordings, beside what is in them.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// The format; told by the content unless given.
    pub format: Option<Format>,
    /// The venue; told by the content unless given.
    pub venue: Option<String>,
    /// The day of trading, for files whose times are counted from midnight; told by the name of the file unless given.
    pub day: Option<Day>,
    /// The mapping of the columns of plain CSV; with it, the format is that.
    pub map: Option<Arc<Map>>,
}

/// A recording that can be read again and again.
pub struct Recording {
    input: Input,
    format: Format,
    /// The venue that the user names.
    venue: Option<String>,
    /// The day that the user or the name of the file tells.
    day: Option<Day>,
    map: Option<Arc<Map>>,
}

/// The reason why a recording cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The system does not let the file be read.
    #[error("cannot read `{path}`: {source}; check the name and the rights")]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("`{0}` is empty")]
    Empty(PathBuf),
    /// The file is packed, and its beginning cannot be unpacked.
    #[error("`{path}` cannot be read from its beginning on: {reason}")]
    Damaged {
        /// The path of the file.
        path: PathBuf,
        /// A text that says what is wrong.
        reason: String,
    },
    /// No format fits.
    #[error("`{path}` is in no format that is known here; name one with --format ({})", Format::ALL.map(Format::name).join(", "))]
    Unknown {
        /// The path of the file.
        path: PathBuf,
    },
    /// The head of the file is wrong.
    #[error("`{path}` cannot be read as {format}: {reason}")]
    Head {
        /// The path of the file.
        path: PathBuf,
        /// The format that it was read as.
        format: Format,
        /// A text that says what is wrong.
        reason: String,
    },
    /// The name of a venue has characters that it may not have.
    #[error("`{0}` is no name of a venue: a to z, 0 to 9, `-` and `_`, 32 at most")]
    Venue(String),
}

impl Recording {
    /// Finds out which format a file has. A pipe, or `-` for the standard input, is read to its end here.
    ///
    /// # Errors
    /// The file cannot be read, or no format fits.
    pub fn open(path: &Path, hints: &Hints) -> Result<Self, RecordingError> {
        let unreadable = |source| RecordingError::Unreadable { path: path.to_owned(), source };
        if let Some(venue) = hints.venue.as_ref().filter(|venue| !is_venue(venue)) {
            return Err(RecordingError::Venue(venue.clone()));
        }
        let input = Input::prepare(path).map_err(unreadable)?;
        let mut content =
            packed::open(input.open().map_err(unreadable)?, Arc::default()).map_err(unreadable)?;
        let begin = content.fill_buf().map_err(|error| RecordingError::Damaged {
            path: path.to_owned(),
            reason: packed::damage(&error),
        })?;
        if begin.is_empty() && hints.format.is_none() {
            return Err(RecordingError::Empty(path.to_owned()));
        }
        let format = match hints.format.or(hints.map.as_ref().map(|_| Format::Csv)) {
            Some(format) => Some(format),
            None if capture::is_capture(begin) => detect_capture(content),
            None => detect(begin),
        };
        let format = format.ok_or_else(|| RecordingError::Unknown { path: path.to_owned() })?;
        let day = hints.day.or_else(|| Day::of_name(path));
        Ok(Self { input, format, venue: hints.venue.clone(), day, map: hints.map.clone() })
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        self.input.path()
    }

    /// Returns the input, which can be opened again and again.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Returns the format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the unpacked bytes of the file, from its beginning.
    ///
    /// # Errors
    /// The system does not let it be read.
    pub fn content(&self) -> io::Result<impl Read + use<>> {
        packed::open(self.input.open()?, Arc::default())
    }

    /// Begins a reading; `bytes_read` counts what is taken from the disk. Recordings of Binance are read to their end once before, for their scales.
    ///
    /// # Errors
    /// The file cannot be read, or its head is wrong.
    pub fn source(&self, bytes_read: Arc<AtomicU64>) -> Result<Box<dyn Source>, RecordingError> {
        self.begin(bytes_read).map(|(source, _)| source)
    }

    /// Begins a reading as [`Recording::source`] does, and returns the venue, too.
    pub(crate) fn begin(
        &self,
        bytes_read: Arc<AtomicU64>,
    ) -> Result<(Box<dyn Source>, String), RecordingError> {
        let head =
            |reason| RecordingError::Head { path: self.path().to_owned(), format: self.format, reason };
        let (source, told) = if self.format == Format::Binance {
            let source = BinanceSource::new(&self.input, self.venue.as_deref()).map_err(head)?;
            let venue = source.venue().to_owned();
            (Box::new(source) as Box<dyn Source>, venue)
        } else {
            let unreadable = |source| RecordingError::Unreadable { path: self.path().to_owned(), source };
            let open = |bytes_read| packed::open(self.input.open()?, bytes_read);
            if let Some(map) = self.map.as_ref().filter(|_| self.format == Format::Csv) {
                let content = open(bytes_read).map_err(unreadable)?;
                let source = MappedSource::new(content, Arc::clone(map)).map_err(head)?;
                (Box::new(source) as Box<dyn Source>, map.venue.clone())
            } else if self.format == Format::Lobster {
                let content = open(bytes_read).map_err(unreadable)?;
                let source = LobsterSource::open(&self.input, content).map_err(head)?;
                (Box::new(source) as Box<dyn Source>, lobster::VENUE.to_owned())
            } else if self.format == Format::Cryptofeed {
                let venue = cryptofeed::venue(open(Arc::default()).map_err(unreadable)?).map_err(head)?;
                let source: Box<dyn Source> = if venue == Venue::Binance {
                    Box::new(BinanceCapture::new(&self.input).map_err(head)?)
                } else {
                    Box::new(CaptureSource::new(open(bytes_read).map_err(unreadable)?, venue).map_err(head)?)
                };
                (source, venue.name().to_owned())
            } else {
                self.format.begin(open(bytes_read).map_err(unreadable)?, self.day).map_err(head)?
            }
        };
        Ok((source, self.venue.clone().unwrap_or(told)))
    }
}

/// Makes the name of a venue from a name in a file: `GLBX.MDP3` becomes `glbx-mdp3`.
pub(crate) fn venue_of(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let letters = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' });
    let venue: String = letters.take(32).collect();
    if is_venue(&venue) { venue } else { "recorded".to_owned() }
}

fn detect(begin: &[u8]) -> Option<Format> {
    if begin.starts_with(dbn::MAGIC) {
        return Some(Format::Dbn);
    }
    if begin.starts_with(&bus::MAGIC) {
        return Some(Format::Bus);
    }
    if stream::is_stream(begin) {
        return Some(Format::Stream);
    }
    if begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin).starts_with(tardis::BEGIN.as_bytes()) {
        return Some(Format::Tardis);
    }
    if itch_file::is_binary_file(begin) {
        return Some(Format::Itch);
    }
    if lobster::is_messages(begin) {
        return Some(Format::Lobster);
    }
    if cryptofeed::is_capture(begin) {
        return Some(Format::Cryptofeed);
    }
    begin.split(|byte| *byte == b'\n').any(is_timed_json).then_some(Format::Binance)
}

/// Finds the format of a capture: its first datagrams tell.
fn detect_capture(content: Content) -> Option<Format> {
    let mut capture = Capture::new(content).ok()?;
    for _ in 0..DETECTED_PACKETS {
        if let Packet::End | Packet::Failed(_) = capture.read() {
            break;
        }
        let Some(datagram) = capture.datagram() else { continue };
        if iex::is_segment(datagram) {
            return Some(Format::Iex);
        }
        if MoldPacket::is_one(datagram) {
            return Some(Format::Itch);
        }
    }
    None
}

/// Returns whether a line is `<time> <json>`.
fn is_timed_json(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let rest = line[digits..].trim_ascii_start();
    (9..=30).contains(&digits)
        && rest.len() < line.len() - digits
        && matches!(rest.first(), Some(b'{' | b'['))
}
