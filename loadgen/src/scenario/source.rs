//! Settings of the source: what it publishes, and how fast.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tickwire_config::settings;
use tickwire_feed::open_loop;

use super::VENUE;
use super::forms::{MS, RATE_MAX, SECOND};

const NOT_SILENT: &str = "; 0 stands only beside `source.burst` or `source.steps`";

settings! {
    pub(crate) struct Source {
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
        /// updates come in packets: what is due within so long comes at its end, all at once; not given: each by itself
        tick: Option<Duration> = None,
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

    #[derive(Copy, PartialEq)]
    #[schemars(extend("required" = ["lasting", "rate"]))]
    pub(crate) struct Step {
        /// how long this step is
        lasting: Duration = SECOND,
        /// in this step
        #[schemars(extend("unit" = "updates/s"))]
        rate: f64 = 1.0 => 0..=RATE_MAX,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceKind {
    Own,
    Running,
}

impl Source {
    /// Returns whether the running ingester sends what it likes.
    pub(crate) fn is_running(&self) -> bool {
        self.kind == SourceKind::Running
    }

    /// Returns the rates over time, from the start again after the last one. A burst ends each round, so that a run begins quietly.
    pub(crate) fn rates(&self) -> Vec<open_loop::Step> {
        let each = |lasting, rate| open_loop::Step { lasting, rate };
        match self.burst {
            _ if !self.steps.is_empty() => {
                self.steps.iter().map(|step| each(step.lasting, step.rate)).collect()
            }
            Some(burst) => {
                let every = self.every.max(MS);
                let lasting = self.lasting.min(every);
                vec![each(every.saturating_sub(lasting), self.rate), each(lasting, burst)]
            }
            None => vec![each(SECOND, self.rate)],
        }
    }

    /// Returns the same as the source takes it.
    pub(crate) fn plan(&self, seed: u64) -> open_loop::Plan {
        open_loop::Plan {
            venue: VENUE,
            symbols: self.symbols,
            rates: self.rates(),
            tick: self.tick.unwrap_or_default(),
            trades: self.trades,
            skew: self.skew,
            seed,
        }
    }

    /// Returns the updates per second over a whole round; 0: nobody knows.
    pub(crate) fn mean_rate(&self) -> f64 {
        if self.is_running() {
            return 0.0;
        }
        let rates = self.rates();
        let all: f64 = rates.iter().map(|step| step.lasting.as_secs_f64()).sum();
        let updates: f64 = rates.iter().map(|step| step.lasting.as_secs_f64() * step.rate).sum();
        updates / all.max(1e-9)
    }
}
