//! What a run does: read from a file, checked as a whole before anything is opened, all in force from start to end.

pub(crate) mod access;
mod check;
pub(crate) mod describe;
pub(crate) mod fields;
mod read;
pub(crate) mod ready;
mod unknown;
mod url;

use std::net::SocketAddr;
use std::time::Duration;

use tickwire_gateway::Pacing;
use tickwire_wire::{Channel, Encoding};

use self::access::{Tokens, Trust};
use crate::peer::PeerKind;

pub(crate) use read::read;

/// Venue of the own source.
pub(crate) const VENUE: &str = "load";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Empty: the file's name, or `own` where there is none.
    pub(crate) name: String,
    /// Where it was read from; empty: it comes with the program, or there are flags only.
    pub(crate) file: String,
    pub(crate) about: String,
    pub(crate) seed: u64,
    pub(crate) duration: Duration,
    /// Between the last session's opening and measuring.
    pub(crate) warm_up: Duration,
    /// Longest wait for last values, after the source stopped.
    pub(crate) settle: Duration,
    pub(crate) target: Target,
    pub(crate) gateway: Gateway,
    pub(crate) peer: Option<Peer>,
    pub(crate) sessions: Sessions,
    /// What is left of 1 reads promptly.
    pub(crate) readers: Vec<Reader>,
    pub(crate) churn: Churn,
    pub(crate) source: Source,
    pub(crate) bounds: Bounds,
    pub(crate) saturation: Option<Search>,
    /// One of so many records gives its times at each hop.
    pub(crate) hop_sampling: u32,
    pub(crate) threads: usize,
    pub(crate) processes: usize,
    /// The whole, as it was read: file, then flags.
    pub(crate) text: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    /// None: a gateway of its own.
    pub(crate) url: Option<Url>,
    pub(crate) admin: Option<String>,
    /// NATS servers; empty: in memory.
    pub(crate) bus: Vec<String>,
    pub(crate) server_pid: Option<u32>,
    /// A command that is started first and ended last.
    pub(crate) spawn: Vec<String>,
    pub(crate) server_cpus: Vec<usize>,
    pub(crate) source_cpus: Vec<usize>,
    pub(crate) generator_cpus: Vec<usize>,
}

/// Where sessions connect.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Url {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) path: String,
    pub(crate) is_tls: bool,
}

impl Url {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_tls { "wss" } else { "ws" }
    }
}

/// Of the own gateway.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    /// Where it listens; None: wherever there is room. With this, `target.url` may name a proxy in front of it.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) shards: usize,
    pub(crate) pacing: Pacing,
    pub(crate) drain: Duration,
    /// Recent records of each symbol and channel that it keeps; None: its own default.
    pub(crate) log_records: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) kind: PeerKind,
    pub(crate) name: String,
    pub(crate) publish: Publish,
}

/// How a peer gets its updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    Tcp(String),
    WebSocket(Url),
    Nats(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    pub(crate) count: usize,
    pub(crate) ramp: Duration,
    pub(crate) encodings: Vec<(Encoding, f64)>,
    pub(crate) channels: Vec<Channel>,
    /// Symbols of each session, from the own source; 0: all.
    pub(crate) symbols_each: usize,
    /// Exponent of Zipf's law by which a session chooses its symbols; 0: all alike.
    pub(crate) skew: f64,
    /// Of a source that is not the own one.
    pub(crate) symbols: Vec<String>,
    pub(crate) max_rate: f64,
    /// Delivery window asked for at the handshake; zero: none.
    pub(crate) window: Duration,
    /// Of the socket; 0: the system's default.
    pub(crate) receive_buffer: usize,
    /// Sends receipts, as the SDKs do.
    pub(crate) receipts: bool,
    pub(crate) trust: Trust,
    pub(crate) tokens: Tokens,
}

#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) kind: ReaderKind,
    /// Of all sessions.
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

impl Scenario {
    /// Whether the run starts a gateway of its own.
    pub(crate) fn has_gateway(&self) -> bool {
        self.peer.is_none() && (self.target.url.is_none() || self.gateway.listen.is_some())
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

#[derive(Clone, Debug, Default)]
pub(crate) struct Churn {
    /// Sessions that drop one symbol and take it again, per second.
    pub(crate) flaps_per_second: f64,
    pub(crate) storms: Vec<Storm>,
    pub(crate) restarts: Vec<Restart>,
}

/// Sessions lose their connections at once.
#[derive(Clone, Debug)]
pub(crate) struct Storm {
    pub(crate) at: Duration,
    pub(crate) share: f64,
    /// They come back within this, at random times.
    pub(crate) within: Duration,
}

/// The gateway ends and comes back.
#[derive(Clone, Debug)]
pub(crate) struct Restart {
    pub(crate) at: Duration,
    /// Empty: the own gateway.
    pub(crate) command: Vec<String>,
}

impl Churn {
    /// Whether sessions that lose their connection come back.
    pub(crate) fn reconnects(&self) -> bool {
        !self.storms.is_empty() || !self.restarts.is_empty()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Whatever the running ingester sends.
    pub(crate) is_running: bool,
    pub(crate) symbols: usize,
    pub(crate) shape: Shape,
    /// Of all updates, those that are trades.
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

/// What the result is held against. None: not looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// Times count from the end of the delivery window that sessions ask for, where a window is in them.
    pub(crate) beyond_window: bool,
    pub(crate) latency: Quantiles,
    /// By reader kind.
    pub(crate) ages: Vec<(String, Quantiles)>,
    /// By `from-to`.
    pub(crate) hops: Vec<(String, Quantiles)>,
    pub(crate) reconnect: Quantiles,
    pub(crate) deliveries_per_second: Option<f64>,
    pub(crate) delivered_share: Option<f64>,
    pub(crate) conflated_share: Option<f64>,
    /// Numbers that neither came nor were announced.
    pub(crate) lost: Option<u64>,
    /// Numbers that were announced as dropped.
    pub(crate) dropped: Option<u64>,
    pub(crate) ended_early: Option<u64>,
    pub(crate) cpu_seconds_per_million: Option<f64>,
    pub(crate) resident_mib: Option<f64>,
    /// KiB per second, from the least squares of resident memory.
    pub(crate) growth_kib_per_second: Option<f64>,
    /// Growth counts from here in measuring.
    pub(crate) growth_after: Duration,
    pub(crate) kib_per_session: Option<f64>,
    pub(crate) used_share: Option<f64>,
}

/// Longest times that are allowed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) p999: Option<Duration>,
    pub(crate) max: Option<Duration>,
}

/// A search for the highest rate that holds.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) p99: Duration,
    pub(crate) delivered_share: f64,
    pub(crate) step: Duration,
    pub(crate) settle: Duration,
    /// It ends when the rate is known to within this share.
    pub(crate) precision: f64,
}
