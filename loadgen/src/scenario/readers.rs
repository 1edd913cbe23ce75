//! Kinds of readers.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tickwire_config::settings;

use super::forms::{MS, SECOND, word};

const NOT_NOTHING: &str = "; what reads nothing at all is of kind \"half-open\", for a while \"stalled\"";

settings! {
    #[derive(Copy)]
    #[schemars(extend("required" = ["kind", "share"]))]
    pub(crate) struct Reader {
        /// how these sessions read; half-open: no more after subscribing; silent: answers no ping
        kind: ReaderKind = ReaderKind::Prompt,
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
pub(crate) enum ReaderKind {
    Prompt,
    /// Reads so many bytes each period.
    Throttled,
    /// Reads nothing for a while.
    Stalled,
    /// Empties its socket, and works off so many records per second.
    SlowProgram,
    /// Neither reads nor answers once it has subscribed.
    HalfOpen,
    /// Reads, and answers no ping.
    Silent,
}

impl ReaderKind {
    pub(crate) fn name(self) -> String {
        word(self)
    }

    /// The gateway may close it, and the run goes on.
    pub(crate) fn may_be_closed(self) -> bool {
        matches!(self, Self::HalfOpen | Self::Silent)
    }
}
