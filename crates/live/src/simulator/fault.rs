//! Faults on demand.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A thing that goes wrong at a venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next change of each book and the next trade of each symbol are not sent, on each connection.
    Gap,
    /// The next message of each stream is sent twice, on each connection.
    Duplicate,
    /// The next two changes of each book are sent in the wrong order, on each connection.
    Reorder,
    /// The next change of each book comes with a wrong checksum.
    Checksum,
    /// Nothing is sent for this long; what happened meanwhile is lost. Pings are answered.
    Silence(Duration),
    /// The connections that are open stay open, and nothing comes of them any more.
    HalfOpen,
    /// The connections that are open are cut off.
    Disconnect,
    /// The server says that it goes down, and cuts connections off five seconds later.
    Shutdown,
    /// Snapshots take this long from now on.
    SlowSnapshots(Duration),
    /// The next snapshots cannot be read: so many.
    UnreadableSnapshots(u32),
    /// The next snapshots are old, of now: so many.
    StaleSnapshots(u32),
    /// Requests are answered with this status for this long, whole seconds.
    Ban(u16, Duration),
    /// Commands that name this stream are refused from now on.
    Refuse(String),
    /// This stream is granted, and never brings anything from now on: the wrong route, or a delisting.
    Mute(String),
    /// All streams are granted and bring data again.
    Unmute,
    /// Update ids and trade ids begin anew, from low numbers.
    Renumber,
    /// Prices of a symbol have one decimal more from now on.
    Rescale(String),
    /// A symbol is listed.
    List(String),
    /// A symbol is not listed any more.
    Delist(String),
}

/// A text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no fault: {reason}")]
pub struct FaultError {
    /// The text.
    pub text: String,
    /// A text that says what is wrong with it.
    pub reason: String,
}

const KNOWN: &str = "known are gap, duplicate, reorder, checksum, silence=5s, half-open, disconnect, shutdown, slow-snapshots=3s, \
    stale-snapshots=2, unreadable-snapshots=2, ban=429:30s, ban=418:30s, refuse=STREAM, mute=STREAM, unmute, renumber, rescale=SYMBOL, list=SYMBOL, delist=SYMBOL";

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let wrong = |reason: &str| FaultError { text: text.to_owned(), reason: reason.to_owned() };
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let value = || value.filter(|value| !value.is_empty()).ok_or_else(|| wrong("it needs a value"));
        let time = |text: &str| duration(text).ok_or_else(|| wrong("its time is none, as in 500ms, 5s, 2m"));
        Ok(match name {
            "gap" => Self::Gap,
            "duplicate" => Self::Duplicate,
            "reorder" => Self::Reorder,
            "checksum" => Self::Checksum,
            "silence" => Self::Silence(time(value()?)?),
            "half-open" => Self::HalfOpen,
            "disconnect" => Self::Disconnect,
            "shutdown" => Self::Shutdown,
            "slow-snapshots" => Self::SlowSnapshots(time(value()?)?),
            "stale-snapshots" => {
                Self::StaleSnapshots(value()?.parse().map_err(|_| wrong("its count is no number"))?)
            }
            "unreadable-snapshots" => {
                Self::UnreadableSnapshots(value()?.parse().map_err(|_| wrong("its count is no number"))?)
            }
            "ban" => {
                let (status, wait) = value()?.split_once(':').ok_or_else(|| wrong("it is as in 429:30s"))?;
                let status = status.parse().ok().filter(|status| matches!(status, 418 | 429));
                Self::Ban(status.ok_or_else(|| wrong("its status is not 418 or 429"))?, time(wait)?)
            }
            "refuse" => Self::Refuse(value()?.to_owned()),
            "mute" => Self::Mute(value()?.to_owned()),
            "unmute" => Self::Unmute,
            "renumber" => Self::Renumber,
            "rescale" => Self::Rescale(value()?.to_uppercase()),
            "list" => Self::List(value()?.to_uppercase()),
            "delist" => Self::Delist(value()?.to_uppercase()),
            _ => return Err(wrong(KNOWN)),
        })
    }
}

/// A fault and when it happens, since the venue was started: `10s:gap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedFault {
    /// The time since the start.
    pub at: Duration,
    /// The fault.
    pub fault: Fault,
}

impl FromStr for TimedFault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let wrong = || FaultError {
            text: text.to_owned(),
            reason: "write when it happens before it, as in 10s:disconnect".to_owned(),
        };
        let (at, fault) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self { at: duration(at).ok_or_else(wrong)?, fault: fault.parse()? })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap => f.write_str("gap"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Reorder => f.write_str("reorder"),
            Self::Checksum => f.write_str("checksum"),
            Self::Silence(time) => write!(f, "silence={}ms", time.as_millis()),
            Self::HalfOpen => f.write_str("half-open"),
            Self::Disconnect => f.write_str("disconnect"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::SlowSnapshots(time) => write!(f, "slow-snapshots={}ms", time.as_millis()),
            Self::StaleSnapshots(count) => write!(f, "stale-snapshots={count}"),
            Self::UnreadableSnapshots(count) => write!(f, "unreadable-snapshots={count}"),
            Self::Ban(status, time) => write!(f, "ban={status}:{}ms", time.as_millis()),
            Self::Refuse(stream) => write!(f, "refuse={stream}"),
            Self::Mute(stream) => write!(f, "mute={stream}"),
            Self::Unmute => f.write_str("unmute"),
            Self::Renumber => f.write_str("renumber"),
            Self::Rescale(symbol) => write!(f, "rescale={symbol}"),
            Self::List(symbol) => write!(f, "list={symbol}"),
            Self::Delist(symbol) => write!(f, "delist={symbol}"),
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let count: u64 = digits.parse().ok()?;
    Some(match &text[digits.len()..] {
        "ms" => Duration::from_millis(count),
        "s" => Duration::from_secs(count),
        "m" => Duration::from_secs(count.checked_mul(60)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        let texts = [
            "gap",
            "duplicate",
            "reorder",
            "checksum",
            "silence=5s",
            "half-open",
            "disconnect",
            "shutdown",
            "slow-snapshots=300ms",
            "stale-snapshots=2",
            "unreadable-snapshots=3",
            "rescale=ABUSDT",
            "ban=418:2m",
            "refuse=btcusdt@trade",
            "mute=btcusdt@trade",
            "unmute",
            "renumber",
            "list=ABUSDT",
            "delist=ABUSDT",
        ];
        for text in texts {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string().parse(), Ok(fault), "{text}");
        }
        let timed: TimedFault = "10s:ban=429:30s".parse().unwrap();
        let ban = Fault::Ban(429, Duration::from_secs(30));
        assert_eq!(timed, TimedFault { at: Duration::from_secs(10), fault: ban });
        for (text, part) in [
            ("gaps", "known are gap,"),
            ("silence", "it needs a value"),
            ("silence=5", "its time is none"),
            ("ban=500:1s", "418 or 429"),
            ("ban=429", "as in 429:30s"),
            ("stale-snapshots=x", "no number"),
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!("gap".parse::<TimedFault>().unwrap_err().to_string().contains("as in 10s:disconnect"));
    }
}
