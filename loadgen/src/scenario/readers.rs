//! Kinds of readers.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tickwire_config::settings;

use super::{MS, SECOND};

const NOT_NOTHING: &str = "; what reads nothing at all is of kind \"half-open\", for a while \"stalled\"";

settings! {
    #[schemars(extend("required" = ["kind", "share"]))]
    struct ReaderSettings {
        /// how these sessions read; half-open: no more after subscribing; silent: answers no ping
        kind: ReaderWord = ReaderWord::Prompt,
        /// of all sessions, from 0 to 1; what is left reads promptly
        share: f64 = 0.0 => 0..=1,
        /// throttled: reads so much
        #[schemars(extend("unit" = "bytes/s", "exclusiveMinimum" = 0, "hint" = NOT_NOTHING))]
        bytes_per_second: f64 = 10_000.0 => 0..=1e9,
        /// throttled: and a part of it each period
        period: Duration = 100 * MS,
        /// stalled: reads nothing from here in measuring
        at: Duration = 5 * SECOND,
        /// stalled: for so long
        lasting: Duration = 5 * SECOND,
        /// slow-program: empties its socket, and works off so many
        #[schemars(extend("unit" = "records/s", "exclusiveMinimum" = 0, "hint" = NOT_NOTHING))]
        records_per_second: f64 = 100.0 => 0..=1e9,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ReaderWord {
    Prompt,
    Throttled,
    Stalled,
    SlowProgram,
    HalfOpen,
    Silent,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "ReaderSettings")]
#[schemars(with = "ReaderSettings")]
pub(crate) struct Reader {
    pub(crate) kind: ReaderKind,
    /// The part of all sessions that reads so.
    pub(crate) share: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ReaderKind {
    Prompt,
    /// Reads so many bytes each period.
    Throttled {
        bytes_per_second: f64,
        period: Duration,
    },
    /// Reads nothing from `at` into measuring, for so long.
    Stalled {
        at: Duration,
        lasting: Duration,
    },
    /// Empties its socket, and works off so many records per second.
    SlowProgram {
        records_per_second: f64,
    },
    /// Neither reads nor answers once it has subscribed.
    HalfOpen,
    /// Reads, and answers no ping.
    Silent,
}

impl From<ReaderSettings> for Reader {
    fn from(from: ReaderSettings) -> Self {
        let kind = match from.kind {
            ReaderWord::Prompt => ReaderKind::Prompt,
            ReaderWord::Throttled => ReaderKind::Throttled {
                bytes_per_second: from.bytes_per_second.max(1.0),
                period: from.period.max(MS),
            },
            ReaderWord::Stalled => ReaderKind::Stalled { at: from.at, lasting: from.lasting },
            ReaderWord::SlowProgram => {
                ReaderKind::SlowProgram { records_per_second: from.records_per_second.max(0.1) }
            }
            ReaderWord::HalfOpen => ReaderKind::HalfOpen,
            ReaderWord::Silent => ReaderKind::Silent,
        };
        Self { kind, share: from.share }
    }
}

impl ReaderKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Throttled { .. } => "throttled",
            Self::Stalled { .. } => "stalled",
            Self::SlowProgram { .. } => "slow-program",
            Self::HalfOpen => "half-open",
            Self::Silent => "silent",
        }
    }

    /// The gateway may close it, and the run goes on.
    pub(crate) fn may_be_closed(self) -> bool {
        matches!(self, Self::HalfOpen | Self::Silent)
    }
}
