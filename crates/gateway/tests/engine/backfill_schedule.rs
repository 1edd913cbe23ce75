//! Random schedules of a session that comes and goes, and of a history that answers well, late, in part, or never.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use tickwire_core::engine::EngineLimits;
use tickwire_core::vocabulary::{BackfillAsk, Event};
use tickwire_wire::{Body, Channel, GapCause, Record};

use super::backfill::{asks, check_ledger, found, resume, rig, with_trades};
use super::rig::{Client, EPOCH, Rig, limits, records, response, trade};

/// One thing that happens in a random schedule.
#[derive(Clone, Copy, Debug)]
enum Op {
    Publish(u8),
    Restart,
    Leave,
    Return,
    /// The history answers with all that was asked for.
    Response,
    /// The history answers up to here only.
    ResponsePart(u8),
    /// The history answers without these sequence numbers.
    ResponseHoles(u8),
    Nothing,
    Fill {
        blocks: bool,
    },
    Unblock,
    Wait {
        millis: u16,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => any::<u8>().prop_map(|count| Op::Publish(count % 8)),
        1 => Just(Op::Restart),
        2 => Just(Op::Leave),
        4 => Just(Op::Return),
        3 => Just(Op::Response),
        2 => any::<u8>().prop_map(Op::ResponsePart),
        2 => any::<u8>().prop_map(Op::ResponseHoles),
        1 => Just(Op::Nothing),
        6 => any::<bool>().prop_map(|blocks| Op::Fill { blocks }),
        3 => Just(Op::Unblock),
        2 => (0..4000_u16).prop_map(|millis| Op::Wait { millis }),
    ]
}

/// A client, a topic and its history.
struct Model {
    rig: Rig,
    keeper: Client,
    epoch: u64,
    /// The last sequence number of each epoch.
    ends: BTreeMap<u64, u64>,
    client: Option<Client>,
    blocked: bool,
    /// The position of the client.
    at: (u64, u64),
    /// The counts that this subscription's account must say.
    delivered: u64,
    dropped: u64,
    /// Whether no sequence ended meanwhile: else nobody knows what of it was never sent.
    is_counted: bool,
    open: VecDeque<BackfillAsk>,
}

impl Model {
    fn new(log: usize, records_max: u64) -> Self {
        let limits = EngineLimits { log_records_per_topic: log, ..limits() };
        let mut rig = rig(limits, records_max);
        let keeper = with_trades(&mut rig, 0, 0);
        let ends = BTreeMap::from([(EPOCH, 0)]);
        Self {
            rig,
            keeper,
            epoch: EPOCH,
            ends,
            client: None,
            blocked: false,
            at: (EPOCH, 0),
            delivered: 0,
            dropped: 0,
            is_counted: true,
            open: VecDeque::new(),
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Publish(count) => {
                for _ in 0..count {
                    let end = self.ends.get_mut(&self.epoch).unwrap();
                    *end += 1;
                    let update = self.rig.bus_update(0, self.epoch, *end, trade(*end as i64));
                    self.rig.event(Event::Update(update));
                }
            }
            Op::Restart => {
                let end = self.ends[&self.epoch];
                self.epoch += 1;
                self.ends.insert(self.epoch, 0);
                self.rig.gap(0, Channel::Trade, GapCause::Ingest, end + 1, 0, self.epoch);
            }
            Op::Leave => self.leave(),
            Op::Return => self.come_back(),
            Op::Response => self.respond(|ask, number| number <= ask.last, |ask| ask.last),
            Op::ResponsePart(count) => {
                let upto = move |ask: &BackfillAsk| ask.last.min(ask.first + u64::from(count % 8));
                self.respond(move |ask, number| number <= upto(ask), upto);
            }
            Op::ResponseHoles(holes) => {
                self.respond(move |_, number| holes >> (number % 8) & 1 == 0, |ask| ask.last);
            }
            Op::Nothing => drop(self.open.pop_front()),
            Op::Fill { blocks } => {
                self.fill(blocks);
            }
            Op::Unblock => self.unblock(),
            Op::Wait { millis } => {
                self.rig.now += u64::from(millis) * 1_000_000;
                self.rig.engine.tick(self.rig.now);
            }
        }
        self.rig.read(self.keeper);
        let asks = asks(&mut self.rig);
        self.open.extend(asks);
    }

    fn leave(&mut self) {
        if let Some(client) = self.client.take() {
            self.unblock();
            self.rig.engine.ended(client.key, self.rig.now);
            self.blocked = false;
        }
    }

    fn come_back(&mut self) {
        self.leave();
        let (client, told) = resume(&mut self.rig, &["sim:A"], self.at.0, self.at.1);
        let granted = &response(&told).granted[0];
        let start = (granted.epoch, granted.sequence);
        (self.delivered, self.dropped, self.is_counted) = (0, 0, true);
        self.client = Some(client);
        let position = self.at;
        for record in records(told) {
            // A gap that is announced in front of the grant's sequence number is not in the account.
            self.read(&record, Some(start));
        }
        assert!(start >= position, "granted {start:?} at {position:?}");
    }

    fn respond(&mut self, is_there: impl Fn(&BackfillAsk, u64) -> bool, upto: impl Fn(&BackfillAsk) -> u64) {
        let Some(ask) = self.open.pop_front() else { return };
        let upto = upto(&ask);
        let there: Vec<_> = (ask.first..=upto).filter(|number| is_there(&ask, *number)).collect();
        found(&mut self.rig, &ask, there, upto);
    }

    fn unblock(&mut self) {
        if let Some(client) = self.client.filter(|_| self.blocked) {
            self.blocked = false;
            self.rig.engine.unsent(client.key, 0, self.rig.now);
        }
    }

    fn fill(&mut self, blocks: bool) -> bool {
        let Some(client) = self.client.filter(|_| !self.blocked) else { return false };
        let (bytes, filled) = self.rig.fill(client);
        let frames = super::rig::parse_frames(&bytes);
        for record in records(frames.iter().flat_map(|frame| frame.messages(client.encoding)).collect()) {
            self.read(&record, None);
        }
        self.blocked = blocks && !bytes.is_empty();
        self.rig.engine.unsent(client.key, usize::from(self.blocked) * 10, self.rig.now);
        filled.more && !self.blocked
    }

    /// Reads a record: every sequence number comes once, in order, and nothing is announced that could be had.
    fn read(&mut self, record: &Record, granted: Option<(u64, u64)>) {
        match &record.body {
            Body::Gap(gap) if gap.last_sequence == 0 => {
                assert_eq!(gap.first_sequence, self.at.1 + 1);
                assert!(gap.epoch > self.at.0);
                // The sequence numbers behind the position that a sequence still had are not counted by anyone.
                self.is_counted &= granted.is_some();
                self.at = (gap.epoch, 0);
            }
            Body::Gap(gap) => {
                assert_eq!(gap.first_sequence, self.at.1 + 1, "{gap:?}");
                self.at.1 = gap.last_sequence;
                let is_before = granted.is_some_and(|granted| self.at <= granted);
                if !is_before {
                    self.dropped += gap.last_sequence + 1 - gap.first_sequence;
                }
            }
            _ => {
                assert_eq!(record.sequence, self.at.1 + 1, "at {:?}", self.at);
                assert_eq!(record.body, trade(record.sequence as i64));
                self.at.1 += 1;
                self.delivered += 1;
            }
        }
        assert!(self.at.1 <= self.ends[&self.at.0], "{:?} beyond {:?}", self.at, self.ends);
    }

    /// Answers everything and reads everything.
    fn finish(mut self) {
        self.come_back_if_away();
        for _ in 0..10_000 {
            self.unblock();
            let more = self.fill(false);
            let asks = asks(&mut self.rig);
            self.open.extend(asks);
            let is_open = !self.open.is_empty();
            self.respond(|_, _| true, |ask| ask.last);
            if !more && !is_open {
                break;
            }
        }
        // The requests that were never answered run into their time-out.
        self.step(Op::Wait { millis: 4000 });
        for _ in 0..10_000 {
            let more = self.fill(false);
            let asks = asks(&mut self.rig);
            self.open.extend(asks);
            let is_open = !self.open.is_empty();
            self.respond(|_, _| true, |ask| ask.last);
            if !more && !is_open {
                break;
            }
        }
        let end = (self.epoch, self.ends[&self.epoch]);
        assert_eq!(self.at, end, "not everything came");
        assert_eq!(self.rig.engine.backfills(), 0);
        if self.is_counted {
            let client = self.client.unwrap();
            check_ledger(&mut self.rig, client, self.delivered, self.dropped);
        }
    }

    fn come_back_if_away(&mut self) {
        if self.client.is_none() {
            self.come_back();
        }
    }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn every_number_once(
        log in 1_usize..12,
        records_max in 1_u64..60,
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let mut model = Model::new(log, records_max);
        for op in ops {
            model.step(op);
        }
        model.finish();
    }

    /// Checks that nothing is announced as lost where history has everything and answers in time.
    #[test]
    fn nothing_is_lost_where_history_has_it(
        log in 8_usize..16,
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let mut model = Model::new(log, 1 << 40);
        let is_kind = |op: &Op| !matches!(
            op, Op::Restart | Op::ResponseHoles(_) | Op::Nothing | Op::Wait { .. } | Op::Fill { blocks: true }
        );
        for op in ops.into_iter().filter(is_kind) {
            model.step(op);
            model.step(Op::Fill { blocks: false });
            while !model.open.is_empty() {
                model.step(Op::ResponsePart(3));
                model.step(Op::Fill { blocks: false });
            }
        }
        assert_eq!(model.dropped, 0);
        model.finish();
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(2000), failure_persistence: None, ..ProptestConfig::default() }
}
