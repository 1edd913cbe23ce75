//! Subjects of the bus, and the reversible mapping between them and names.
//!
//! A subject is made of tokens with dots between them. Venue and symbol are escaped, so that a name may hold anything:
//! each byte of its UTF-8 outside `[A-Za-z0-9_-]` becomes `%` and two upper-case hex digits. Each name has exactly one
//! escaped form, and reading refuses every other, so two different subjects never mean the same thing.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use thiserror::Error;

/// The longest venue or symbol, in bytes of UTF-8 before escaping. Where each byte becomes three, two of them and the
/// other parts of a subject stay below 1 KiB, a quarter of the line that nats-server takes.
pub const NAME_BYTES_MAX: usize = 128;

/// The longest channel name, in bytes.
pub const CHANNEL_BYTES_MAX: usize = 32;

/// A checked subject. It is cheap to clone: the text is shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

/// The parts of a subject, with venue and symbol as they were before escaping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedSubject {
    /// `tw.v1.<venue>.<channel>.<symbol>`: frames of one instrument and channel.
    Data {
        /// The venue.
        venue: String,
        /// The channel, which is never escaped.
        channel: String,
        /// The symbol at the venue.
        symbol: String,
    },
    /// `tw.heartbeat.v1.<venue>`: the heartbeats of the venue's ingester.
    Heartbeat {
        /// The venue.
        venue: String,
    },
    /// `tw.request.v1.<venue>.<epoch>`: requests to one run of the venue's ingester.
    Request {
        /// The venue.
        venue: String,
        /// The run's epoch.
        epoch: u64,
    },
}

/// The reason why a name or a subject was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// A venue, channel or symbol has no characters.
    #[error("empty name")]
    Empty,
    /// A name is longer than [`NAME_BYTES_MAX`], or a channel than [`CHANNEL_BYTES_MAX`].
    #[error("a name of {0} bytes is too long")]
    TooLong(usize),
    /// A channel may hold `[a-z0-9_-]` only.
    #[error("the channel holds characters outside [a-z0-9_-]")]
    Channel,
    /// A token is not in the one escaped form that its name has.
    #[error("a token is not in canonical escaped form")]
    Escape,
    /// The subject has none of the known layouts; wildcards are among these.
    #[error("this is not a subject of the bus")]
    Layout,
}

impl Subject {
    /// Makes the subject of one instrument and channel, `tw.v1.<venue>.<channel>.<symbol>`.
    ///
    /// # Errors
    /// Returns an error when a name is empty or too long, or when the channel holds characters outside `[a-z0-9_-]`.
    pub fn data(venue: &str, channel: &str, symbol: &str) -> Result<Self, SubjectError> {
        check_channel(channel)?;
        Ok(Self(format!("tw.v1.{}.{channel}.{}", escape(venue)?, escape(symbol)?).into()))
    }

    /// Makes the wildcard of all symbols of one venue and channel, `tw.v1.<venue>.<channel>.*`. It is for subscribing
    /// only.
    ///
    /// # Errors
    /// Returns the errors of [`data`](Self::data).
    pub fn data_all_symbols(venue: &str, channel: &str) -> Result<Self, SubjectError> {
        check_channel(channel)?;
        Ok(Self(format!("tw.v1.{}.{channel}.*", escape(venue)?).into()))
    }

    /// Makes the subject of the heartbeats of one venue's ingester, `tw.heartbeat.v1.<venue>`.
    ///
    /// # Errors
    /// Returns an error when the venue is empty or too long.
    pub fn heartbeat(venue: &str) -> Result<Self, SubjectError> {
        Ok(Self(format!("tw.heartbeat.v1.{}", escape(venue)?).into()))
    }

    /// Makes the wildcard of the heartbeats of all ingesters, `tw.heartbeat.v1.*`. It is for subscribing only.
    pub fn heartbeats_all() -> Self {
        Self("tw.heartbeat.v1.*".into())
    }

    /// Makes the subject of requests to one run of a venue's ingester, `tw.request.v1.<venue>.<epoch>`: of two that run
    /// at the same time, the one that is meant answers.
    ///
    /// # Errors
    /// Returns an error when the venue is empty or too long.
    pub fn request(venue: &str, epoch: u64) -> Result<Self, SubjectError> {
        Ok(Self(format!("tw.request.v1.{}.{epoch}", escape(venue)?).into()))
    }

    /// Returns the subject of revocations, `tw.revoke.v1`: every gateway listens to it.
    pub fn revocations() -> Self {
        Self("tw.revoke.v1".into())
    }

    /// Reads a subject back into names; it is the reverse of [`data`](Self::data), [`heartbeat`](Self::heartbeat) and
    /// [`request`](Self::request).
    ///
    /// # Errors
    /// Returns an error when the text has another layout, holds a wildcard, or is not in canonical form.
    pub fn parse(text: &str) -> Result<ParsedSubject, SubjectError> {
        let tail = text.strip_prefix("tw.").ok_or(SubjectError::Layout)?;
        if let Some(venue) = tail.strip_prefix("heartbeat.v1.") {
            return Ok(ParsedSubject::Heartbeat { venue: unescape(venue)? });
        }
        if let Some((venue, epoch)) = tail.strip_prefix("request.v1.").and_then(|rest| rest.split_once('.')) {
            let number = epoch.parse::<u64>().map_err(|_| SubjectError::Escape)?;
            if number.to_string() != epoch {
                return Err(SubjectError::Escape);
            }
            return Ok(ParsedSubject::Request { venue: unescape(venue)?, epoch: number });
        }
        let mut tokens = tail.strip_prefix("v1.").ok_or(SubjectError::Layout)?.split('.');
        let (Some(venue), Some(channel), Some(symbol), None) =
            (tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            return Err(SubjectError::Layout);
        };
        check_channel(channel)?;
        Ok(ParsedSubject::Data {
            venue: unescape(venue)?,
            channel: channel.to_owned(),
            symbol: unescape(symbol)?,
        })
    }

    /// Returns the text as it goes over the bus: ASCII, without whitespace.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this matches many subjects; such a subject can be subscribed to but not published to.
    pub fn is_wildcard(&self) -> bool {
        self.0.ends_with('*')
    }

    /// Returns everything before the last token: what a wildcard and the subjects that it matches have in common.
    pub fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(stem, _)| stem)
    }

    /// Makes a subject of a text that came from the bus itself, where a publisher already checked it: it is not checked
    /// here.
    pub fn from_bus(text: &str) -> Self {
        Self(text.into())
    }
}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({})", self.0)
    }
}

fn check_channel(channel: &str) -> Result<(), SubjectError> {
    match channel.len() {
        0 => return Err(SubjectError::Empty),
        long if long > CHANNEL_BYTES_MAX => return Err(SubjectError::TooLong(long)),
        _ => {}
    }
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if channel.bytes().all(fine) { Ok(()) } else { Err(SubjectError::Channel) }
}

/// Returns whether a byte stands for itself in an escaped name.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn escape(name: &str) -> Result<String, SubjectError> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    match name.len() {
        0 => return Err(SubjectError::Empty),
        long if long > NAME_BYTES_MAX => return Err(SubjectError::TooLong(long)),
        _ => {}
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(HEX[usize::from(byte >> 4)]));
            escaped.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Ok(escaped)
}

fn unescape(token: &str) -> Result<String, SubjectError> {
    if token.is_empty() {
        return Err(SubjectError::Empty);
    }
    let mut bytes = token.bytes();
    let mut name = Vec::with_capacity(token.len());
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_value).ok_or(SubjectError::Escape)?;
                let low = bytes.next().and_then(hex_value).ok_or(SubjectError::Escape)?;
                let decoded = high << 4 | low;
                if is_plain(decoded) {
                    return Err(SubjectError::Escape);
                }
                decoded
            }
            plain if is_plain(plain) => plain,
            _ => return Err(SubjectError::Escape),
        };
        name.push(decoded);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(SubjectError::TooLong(name.len()));
    }
    String::from_utf8(name).map_err(|_| SubjectError::Escape)
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
#[path = "subject_tests.rs"]
mod tests;
