//! The choices of a seed before anything happens: limits, speeds, and which faults there are at all.

use tickwire_bus::InboxLimits;
use tickwire_wire::Encoding;

use crate::pipe::Connection;
use crate::rng::SeededRng;
use tickwire_core::engine::EngineLimits;
use tickwire_gateway::GatewayConfig;

/// The kinds of faults. A seed has some of them: a bug that needs a few of one kind is drowned by all kinds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    IngesterRestart,
    IngesterOutage,
    BusOutage,
    Outage,
    Partition,
    SilentLoss,
    ResponseLoss,
    Notice,
    HubStall,
    GatewayRestart,
    GatewayDrain,
    ReaderStall,
    ReaderSlow,
    ReaderBreak,
    ReaderVanish,
    Flap,
    Rate,
    Ledger,
    Ping,
    UpstreamGap,
    SourceStale,
    NewInstrument,
    /// A second ingester begins beside the first, with some of its symbols; later one of both ends.
    Overlap,
    /// An instrument ends, and is listed anew later, perhaps with other decimals.
    Listing,
    /// Event times are wrong.
    WildTimes,
    Lag,
}

const FAULTS: [Fault; 26] = [
    Fault::IngesterRestart,
    Fault::IngesterOutage,
    Fault::BusOutage,
    Fault::Outage,
    Fault::Partition,
    Fault::SilentLoss,
    Fault::ResponseLoss,
    Fault::Notice,
    Fault::HubStall,
    Fault::GatewayRestart,
    Fault::GatewayDrain,
    Fault::ReaderStall,
    Fault::ReaderSlow,
    Fault::ReaderBreak,
    Fault::ReaderVanish,
    Fault::Flap,
    Fault::Rate,
    Fault::Ledger,
    Fault::Ping,
    Fault::UpstreamGap,
    Fault::SourceStale,
    Fault::NewInstrument,
    Fault::Overlap,
    Fault::Listing,
    Fault::WildTimes,
    Fault::Lag,
];

impl Fault {
    /// Returns whether records may be lost between ingester and gateways because of it.
    fn loses(self) -> bool {
        matches!(
            self,
            Self::IngesterRestart
                | Self::IngesterOutage
                | Self::BusOutage
                | Self::Outage
                | Self::Partition
                | Self::SilentLoss
                | Self::ResponseLoss
                | Self::Notice
                | Self::HubStall
                | Self::Overlap
        )
    }
}

/// The delays of clients, in milliseconds: most may see live data.
const DELAYS: [u64; 6] = [0, 0, 0, 0, 700, 2_500];

/// The depths of clients' books: most may see all levels.
const DEPTHS: [Option<u32>; 6] = [None, None, None, Some(1), Some(2), Some(4)];

/// The way in which a client sees the market.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) encoding: Encoding,
    /// The age that everything has which it may see, in milliseconds.
    pub(crate) delay: u64,
    /// The levels of each side of a book that it may see.
    pub(crate) depth: Option<u32>,
}

impl Look {
    fn draw(rng: &mut SeededRng) -> Self {
        Self { encoding: rng.pick(&Encoding::ALL), delay: rng.pick(&DELAYS), depth: rng.pick(&DEPTHS) }
    }
}

#[derive(Debug)]
pub(crate) struct Tuning {
    pub(crate) limits: EngineLimits,
    pub(crate) inbox: InboxLimits,
    pub(crate) shards: [usize; 2],
    pub(crate) clients: Vec<Look>,
    pub(crate) instruments: usize,
    pub(crate) faults: Vec<Fault>,
    /// The milliseconds between two faults, on average.
    pub(crate) fault_every: u64,
    /// The milliseconds between two turns of the market, at most.
    pub(crate) market_every: u64,
    pub(crate) chaos_ms: u64,
    /// The longest wait between two rounds of writing, in milliseconds.
    pub(crate) cork: u64,
}

impl Tuning {
    pub(crate) fn new(rng: &mut SeededRng) -> Self {
        let mut limits = GatewayConfig::default().limits.engine;
        limits.linger_ns = rng.pick(&[0, 500, 5_000]) * crate::MS;
        limits.ping_after_ns = rng.pick(&[1_000, 2_000, 15_000]) * crate::MS;
        limits.no_progress_ns = rng.pick(&[2_000, 5_000, 30_000]) * crate::MS;
        limits.subscribe_timeout_ns = rng.pick(&[500, 3_000]) * crate::MS;
        if rng.percent(50) {
            limits.shed_bytes = rng.pick(&[500, 2_000, 20_000]);
            limits.shed_end_bytes = limits.shed_bytes / 2;
            limits.close_bytes = limits.shed_bytes * 4 + 20_000;
            limits.write_bytes = rng.pick(&[64, 1_000, 64 << 10]);
            limits.log_records_per_topic = rng.pick(&[3, 20, 4096]);
        }
        let mut faults: Vec<_> = FAULTS.into_iter().filter(|_| rng.percent(30)).collect();
        if rng.percent(10) {
            faults.retain(|fault| !fault.loses());
        }
        let messages_max = rng.pick(&[20, 200, 65_536]);
        // While the hub gathers, a small inbox overflows.
        let messages_max = if faults.iter().any(|fault| fault.loses()) { messages_max } else { 65_536 };
        Self {
            limits,
            inbox: InboxLimits { messages_max, ..InboxLimits::default() },
            shards: [rng.pick(&[1, 2]), rng.pick(&[1, 2])],
            clients: (0..rng.range(2, 5)).map(|_| Look::draw(rng)).collect(),
            instruments: rng.range(1, 3) as usize,
            faults,
            fault_every: rng.pick(&[60, 150, 400]),
            market_every: rng.pick(&[10, 30, 100]),
            chaos_ms: rng.range(2_000, 8_000),
            cork: rng.pick(&[1, 5, 16]),
        }
    }

    /// Returns whether nothing is lost on the bus, so that nothing may be called so.
    pub(crate) fn is_lossless(&self) -> bool {
        !self.faults.iter().any(|fault| fault.loses())
    }
}

impl Connection {
    pub(crate) fn draw(rng: &mut SeededRng) -> Self {
        Self {
            window_ms: if rng.percent(80) { 0 } else { rng.pick(&[16, 250]) },
            heartbeat_ms: if rng.percent(60) { 0 } else { rng.pick(&[250, 700, 3_000, 10_000]) },
            latency: rng.pick(&[0, 1, 10, 40]),
            capacity: rng.pick(&[2_000, 16_000, 200_000]),
            write_max: rng.pick(&[100, 3_000, usize::MAX]),
        }
    }
}
