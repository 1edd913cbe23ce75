//! Settings of the source: what it publishes, and how fast.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tickwire_config::settings;

use super::{MS, RATE_MAX, SECOND};

const NOT_SILENT: &str = "; 0 stands only beside `source.burst` or `source.steps`";

settings! {
    struct SourceSettings {
        /// own: publishes by a plan; running: what the gateway's ingester sends
        kind: SourceKind = SourceKind::Own,
        /// symbols of the own source
        symbols: usize = 100 => 1..=65_536,
        /// over all symbols, at an even pace
        #[schemars(extend("unit" = "updates/s", "hint" = NOT_SILENT))]
        rate: f64 = 500.0 => 0..=RATE_MAX,
        /// of all updates, those that are trades; the others are quotes
        trades: f64 = 0.0 => 0..=1,
        /// Zipf's exponent by which updates choose their symbol; 0: each in turn
        skew: f64 = 0.0 => 0..=10,
        /// bursts of this rate; between them it is `source.rate`
        #[schemars(extend("unit" = "updates/s", "exclusiveMinimum" = 0))]
        burst: Option<f64> = None => 0..=RATE_MAX,
        /// with `burst`: from one to the next
        every: Duration = SECOND,
        /// with `burst`: how long each is
        lasting: Duration = 100 * MS,
        /// instead of `rate`: one step after the other, and from the first again
        steps: Vec<Step> = Vec::new(),
    }

    #[schemars(extend("required" = ["lasting", "rate"]))]
    struct Step {
        /// how long this step is
        lasting: Duration = SECOND,
        /// in this step
        #[schemars(extend("unit" = "updates/s"))]
        rate: f64 = 1.0 => 0..=RATE_MAX,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SourceKind {
    Own,
    Running,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "SourceSettings")]
#[schemars(with = "SourceSettings")]
pub(crate) struct Source {
    /// Whatever the running ingester sends.
    pub(crate) is_running: bool,
    pub(crate) symbols: usize,
    pub(crate) shape: Shape,
    /// The part of all updates that are trades.
    pub(crate) trades: f64,
    /// Exponent of Zipf's law by which updates choose their symbol; 0: in turn.
    pub(crate) skew: f64,
}

/// Updates per second over time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Fixed(f64),
    /// Each rate for so long, and from the start again.
    Stepped(Vec<(Duration, f64)>),
    /// `rate`, and `burst` for `lasting` each `every`.
    Bursty {
        rate: f64,
        burst: f64,
        every: Duration,
        lasting: Duration,
    },
}

impl Default for Source {
    fn default() -> Self {
        SourceSettings::default().into()
    }
}

impl From<SourceSettings> for Source {
    fn from(from: SourceSettings) -> Self {
        let shape = match (from.steps.is_empty(), from.burst) {
            (false, _) => Shape::Stepped(from.steps.iter().map(|step| (step.lasting, step.rate)).collect()),
            (true, Some(burst)) => {
                Shape::Bursty { rate: from.rate, burst, every: from.every.max(MS), lasting: from.lasting }
            }
            (true, None) => Shape::Fixed(from.rate),
        };
        let is_running = from.kind == SourceKind::Running;
        Self { is_running, symbols: from.symbols, shape, trades: from.trades, skew: from.skew }
    }
}

impl Shape {
    /// Updates per second at the start.
    pub(crate) fn first(&self) -> f64 {
        match self {
            Self::Fixed(rate) | Self::Bursty { rate, .. } => *rate,
            Self::Stepped(steps) => steps.first().map_or(0.0, |(_, rate)| *rate),
        }
    }

    /// Updates per second over a whole round.
    pub(crate) fn mean(&self) -> f64 {
        match self {
            Self::Fixed(rate) => *rate,
            Self::Bursty { rate, burst, every, lasting } => {
                let share = lasting.as_secs_f64() / every.as_secs_f64();
                rate + (burst - rate) * share.min(1.0)
            }
            Self::Stepped(steps) => {
                let all: f64 = steps.iter().map(|(lasting, _)| lasting.as_secs_f64()).sum();
                let updates: f64 = steps.iter().map(|(lasting, rate)| lasting.as_secs_f64() * rate).sum();
                updates / all.max(1e-9)
            }
        }
    }
}
