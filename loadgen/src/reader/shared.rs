//! The things that sessions share within a reading thread.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tickwire_feed::open_loop;
use tickwire_measure::Latencies;
use tickwire_wire::Channel;

use super::second::Seconds;
use super::timers::Timers;
use crate::board::{Counts, Phase};
use crate::part::Part;
use crate::plan::Plan;
use crate::report::model::Flow;

/// This is enough for what a socket holds, and small enough to stay in a cache of second level.
const SCRATCH_BYTES: usize = 256 << 10;

/// See the module.
pub(super) struct Core {
    pub(super) plan: Arc<Plan>,
    pub(super) epoll: OwnedFd,
    pub(super) timers: Timers,
    pub(super) part: Part,
    pub(super) counts: Counts,
    pub(super) seconds: Seconds,
    pub(super) records_by_channel: [u64; Channel::SLOTS],
    pub(super) scratch: Vec<u8>,
    /// Scratch for what TLS makes plain; empty without it.
    pub(super) sealed: Vec<u8>,
    pub(super) phase: Phase,
    pub(super) window: (u64, u64),
    /// Last quote of each symbol of the own source: sequence number and intended time.
    pub(super) finals: Option<Vec<(u64, u64)>>,
    /// Server's clock minus ours, taken out of what came from there.
    pub(super) clock_offset: i64,
    /// Smallest difference of own clock and send time.
    pub(super) nearest: i64,
    pub(super) names: HashMap<u32, String>,
    pub(super) rng: ChaCha8Rng,
    pub(super) until_hop: u32,
    /// Intended time and receipt of those records of the message that are measured at every hop.
    pub(super) sampled: Vec<(u64, u64)>,
    /// When the last read ended that brought something.
    pub(super) read_at: u64,
    pub(super) gone: usize,
}

impl Core {
    pub(super) fn new(epoll: OwnedFd, plan: &Arc<Plan>, at: usize) -> Self {
        let kinds = plan.kinds.len();
        Self {
            epoll,
            timers: Timers::default(),
            part: Part::new(kinds),
            counts: Counts::default(),
            seconds: Seconds::new(kinds),
            records_by_channel: [0; Channel::SLOTS],
            scratch: vec![0; SCRATCH_BYTES],
            sealed: vec![0; if plan.tls.is_some() { SCRATCH_BYTES } else { 0 }],
            phase: Phase::Open,
            window: (u64::MAX, u64::MAX),
            finals: None,
            clock_offset: 0,
            nearest: i64::MAX,
            names: HashMap::new(),
            rng: ChaCha8Rng::seed_from_u64(open_loop::mix(plan.scenario.seed ^ at as u64)),
            until_hop: 0,
            sampled: Vec::new(),
            read_at: 0,
            gone: 0,
            plan: Arc::clone(plan),
        }
    }

    /// A window of measuring begins: what an earlier one measured, as the steps of a search do, is not of this one. What is of
    /// the whole run stays: broken rules, ledgers, losses.
    pub(super) fn measure_anew(&mut self) {
        self.part.flow = Flow::default();
        self.part.measured_bytes.fill(0);
        self.part.readers.iter_mut().for_each(|readers| readers.records = 0);
        let timed = &mut self.part.timed;
        timed.hops.iter_mut().chain([&mut timed.lag]).for_each(|took| *took = Latencies::default());
        timed.ages.iter_mut().for_each(BTreeMap::clear);
        self.records_by_channel.fill(0);
        self.seconds.start(self.window.0);
    }

    /// Counts a record of this channel, and how old it was when the program had it.
    pub(super) fn age(&mut self, reader: usize, channel: Channel, from: u64, to: u64) {
        self.part.readers[reader].records += 1;
        self.part.timed.ages[reader].entry(channel as u8).or_default().record(from, to);
        self.seconds.ages[reader].record(from, to);
    }

    /// Returns how many records of readers of a kind count so far.
    pub(super) fn measured_records(&self, reader: u8) -> u64 {
        self.part.readers[usize::from(reader)].records
    }

    /// A record came behind a newer one, or is the last one again.
    pub(super) fn repeated(&mut self, is_last: bool) {
        self.part.checks.duplicates += u64::from(is_last);
        self.part.checks.out_of_order += u64::from(!is_last);
    }

    /// Returns whether something of this intended time counts.
    pub(super) fn is_measured(&self, event_time: u64) -> bool {
        if self.plan.scenario.source.is_running() {
            return self.phase == Phase::Measure;
        }
        self.window.0 <= event_time && event_time < self.window.1
    }
}
