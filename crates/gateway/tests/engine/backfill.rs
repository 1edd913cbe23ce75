//! Sessions that come back for more than the log holds, and a history that answers well, late, in part, or never.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use tickwire_gateway::engine::{BackfillAsk, BackfillLimits, Backfilled, EngineLimits, Event, TopicId, Wish};
use tickwire_wire::{
    Body, Channel, Command, Encoding, GapCause, LedgerEntry, LedgerRequest, Message, Record, Resume,
    ResumePosition, Unsubscribe,
};

use super::rig::{Client, EPOCH, Rig, SECOND, answer, brief, limits, quote, records, subscribe, trade};

const TIMEOUT: u64 = 3 * SECOND;

fn small_log() -> EngineLimits {
    EngineLimits { log_records_per_topic: 4, ..limits() }
}

fn rig(limits: EngineLimits, records_max: u64) -> Rig {
    let mut rig = Rig::new(limits);
    rig.engine.set_backfill(BackfillLimits { records_max, timeout_ns: TIMEOUT });
    rig
}

fn topic(instrument: u32) -> TopicId {
    TopicId::new(instrument, Channel::Trade)
}

/// Keeps the topic at this shard, and lets so many trades of it pass.
fn with_trades(rig: &mut Rig, instrument: u32, count: u64) -> Client {
    let keeper = rig.open(Encoding::Proto);
    let symbol = rig.infos[instrument as usize].name.to_string();
    rig.subscribe(keeper, Channel::Trade, &[&symbol]);
    for number in 1..=count {
        rig.publish(instrument, number, trade(number as i64));
    }
    rig.read(keeper);
    keeper
}

/// Comes back with this position; returns the client and what it is told at once.
fn resume(rig: &mut Rig, symbols: &[&str], epoch: u64, sequence: u64) -> (Client, Vec<Message>) {
    let client = rig.open(Encoding::Proto);
    let position = |symbol: &&str| ResumePosition {
        channel: "trade".to_owned(),
        symbol: (*symbol).to_owned(),
        epoch,
        sequence,
    };
    let positions = symbols.iter().map(position).collect();
    rig.send(client, &Command::Resume(Resume { id: 1, positions }));
    rig.send(client, &subscribe(2, "trade", symbols));
    let told = rig.read(client);
    (client, told)
}

fn asks(rig: &mut Rig) -> Vec<BackfillAsk> {
    let ask = |wish| if let Wish::Backfill(ask) = wish { Some(ask) } else { None };
    rig.engine.take_wishes().filter_map(ask).collect()
}

#[track_caller]
fn the_ask(rig: &mut Rig) -> BackfillAsk {
    let asks = asks(rig);
    assert_eq!(asks.len(), 1, "{asks:?}");
    asks[0]
}

/// Answers with these numbers; everything up to `upto` is settled.
fn found(rig: &mut Rig, ask: &BackfillAsk, numbers: impl IntoIterator<Item = u64>, upto: u64) {
    let instrument = ask.topic.instrument_index();
    let update = |number| rig.bus_update(instrument, ask.epoch, number, trade(number as i64));
    let updates = numbers.into_iter().map(update).collect();
    rig.event(Event::Backfill(Arc::new(Backfilled {
        ticket: ask.ticket,
        updates,
        upto,
        cursor: upto + 100,
    })));
}

fn ledger(rig: &mut Rig, client: Client) -> Vec<LedgerEntry> {
    rig.send(client, &Command::Ledger(LedgerRequest { id: 9 }));
    let told = rig.read(client);
    let ledger =
        told.into_iter().find_map(|m| if let Message::Ledger(ledger) = m { Some(ledger) } else { None });
    ledger.expect("a ledger").entries
}

#[track_caller]
fn check_ledger(rig: &mut Rig, client: Client, delivered: u64, dropped: u64) {
    let entries = ledger(rig, client);
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(
        (entry.published, entry.delivered, entry.dropped, entry.conflated, entry.filtered),
        (delivered + dropped, delivered, dropped, 0, 0)
    );
}

#[test]
fn what_the_log_lacks_comes_from_history_and_before_what_is_newer() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, told) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    assert_eq!(answer(&told).granted[0].sequence, 2, "the numbering goes on where the client left off");
    assert!(records(told).is_empty(), "the log waits for the history");
    let ask = the_ask(&mut rig);
    assert_eq!((ask.topic, ask.epoch, ask.first, ask.last, ask.cursor), (topic(0), EPOCH, 3, 6, 0));
    assert!(rig.records(client).is_empty());
    found(&mut rig, &ask, 3..=6, 6);
    let expected: Vec<_> = (3..=10).map(|number| format!("trade {number}")).collect();
    assert_eq!(brief(&rig.records(client)), expected);
    check_ledger(&mut rig, client, 8, 0);
}

#[test]
fn others_do_not_wait() {
    let mut rig = rig(small_log(), 1000);
    let keeper = with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    rig.subscribe(client, Channel::Trade, &["sim:B"]);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    rig.publish(1, 1, trade(1));
    rig.publish(0, 1, quote(1));
    rig.publish(0, 11, trade(11));
    let mut told = brief(&rig.records(client));
    told.sort();
    assert_eq!(told, ["quote 1", "trade 1"], "other topics of the session");
    assert_eq!(brief(&rig.records(keeper)), ["trade 11"], "other sessions");
}

#[test]
fn parts_are_asked_for_one_after_another() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 0);
    let first = the_ask(&mut rig);
    assert_eq!((first.first, first.last), (1, 6));
    found(&mut rig, &first, 1..=4, 4);
    assert_eq!(brief(&rig.records(client)), ["trade 1", "trade 2", "trade 3", "trade 4"]);
    let second = the_ask(&mut rig);
    assert_eq!((second.first, second.last, second.cursor), (5, 6, 104));
    found(&mut rig, &second, 5..=6, 6);
    assert_eq!(rig.records(client).len(), 6);
    check_ledger(&mut rig, client, 10, 0);
}

#[test]
fn what_history_lacks_is_announced_exactly() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 14);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    assert_eq!((ask.first, ask.last), (3, 10));
    found(&mut rig, &ask, [4, 5, 8], 10);
    let expected = [
        "trade gap resume 3-3",
        "trade 4",
        "trade 5",
        "trade gap resume 6-7",
        "trade 8",
        "trade gap resume 9-10",
        "trade 11",
        "trade 12",
        "trade 13",
        "trade 14",
    ];
    assert_eq!(brief(&rig.records(client)), expected);
    check_ledger(&mut rig, client, 7, 5);
}

#[test]
fn what_does_not_come_in_time_is_announced_and_not_sent_later() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    rig.now += TIMEOUT - 1;
    rig.engine.tick(rig.now);
    assert!(records(rig.read(client)).is_empty());
    rig.now += 1;
    rig.engine.tick(rig.now);
    assert_eq!(
        brief(&rig.records(client)),
        ["trade gap resume 3-6", "trade 7", "trade 8", "trade 9", "trade 10"]
    );
    found(&mut rig, &ask, 3..=6, 6);
    assert!(rig.records(client).is_empty());
    assert_eq!(rig.engine.backfills(), 0);
    check_ledger(&mut rig, client, 4, 4);
}

#[test]
fn no_more_is_asked_for_than_may_be() {
    let mut rig = rig(small_log(), 3);
    with_trades(&mut rig, 0, 10);
    let (client, told) = resume(&mut rig, &["sim:A"], EPOCH, 1);
    assert_eq!(answer(&told).granted[0].sequence, 3);
    assert_eq!(brief(&records(told)), ["trade gap resume 2-3"]);
    let ask = the_ask(&mut rig);
    assert_eq!((ask.first, ask.last), (4, 6));
    found(&mut rig, &ask, 4..=6, 6);
    assert_eq!(rig.records(client).len(), 7);
    check_ledger(&mut rig, client, 7, 0);
}

#[test]
fn the_log_may_move_on_meanwhile() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    (11..=20).for_each(|number| drop(rig.publish(0, number, trade(number as i64))));
    found(&mut rig, &ask, 3..=6, 6);
    assert_eq!(rig.records(client).len(), 4);
    let more = the_ask(&mut rig);
    assert_eq!((more.first, more.last), (7, 16));
    found(&mut rig, &more, 7..=16, 16);
    assert_eq!(rig.records(client).len(), 14);
    check_ledger(&mut rig, client, 18, 0);
}

#[test]
fn another_numbering_is_announced_and_followed_from_its_start() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 6);
    let (client, told) = resume(&mut rig, &["sim:A"], EPOCH - 1, 40);
    assert_eq!(answer(&told).granted[0].sequence, 0);
    assert_eq!(brief(&records(told)), ["trade gap resume 41-0"]);
    let ask = the_ask(&mut rig);
    assert_eq!((ask.epoch, ask.first, ask.last), (EPOCH, 1, 2));
    found(&mut rig, &ask, 1..=2, 2);
    assert_eq!(rig.records(client).len(), 6);
    check_ledger(&mut rig, client, 6, 0);
}

#[test]
fn the_numbering_may_change_meanwhile() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 8);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    rig.gap(0, Channel::Trade, GapCause::Ingest, 9, 0, EPOCH + 1);
    let update = rig.bus_update(0, EPOCH + 1, 1, trade(1));
    rig.event(Event::Update(update));
    found(&mut rig, &ask, 3..=4, 4);
    // Two of the log's four places are taken by what came meanwhile: 5 and 6 are asked for too.
    assert_eq!(brief(&rig.records(client)), ["trade 3", "trade 4"]);
    let more = the_ask(&mut rig);
    assert_eq!((more.epoch, more.first, more.last), (EPOCH, 5, 6));
    found(&mut rig, &more, 5..=6, 6);
    let expected = ["trade 5", "trade 6", "trade 7", "trade 8", "trade gap ingest 9-0", "trade 1"];
    assert_eq!(brief(&rig.records(client)), expected);
}

#[test]
fn unsubscribed_and_ended_meanwhile() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    let symbols = vec!["sim:A".to_owned()];
    rig.send(client, &Command::Unsubscribe(Unsubscribe { id: 3, channel: "trade".to_owned(), symbols }));
    found(&mut rig, &ask, 3..=6, 6);
    assert!(rig.records(client).is_empty());
    // The place is taken by another subscription, which must not get the answer.
    let (other, _) = resume(&mut rig, &["sim:A"], EPOCH, 4);
    let ask = the_ask(&mut rig);
    rig.engine.ended(other.key, rig.now);
    found(&mut rig, &ask, 5..=6, 6);
    rig.engine.tick(rig.now);
    assert_eq!(rig.engine.backfills(), 0);
}

#[test]
fn a_session_has_few_parts_at_a_time() {
    let mut rig = rig(small_log(), 1000);
    let names: Vec<_> = (3..9).map(|at| format!("N{at}")).collect();
    for name in &names {
        rig.instrument(name);
    }
    for instrument in 0..9 {
        with_trades(&mut rig, instrument, 10);
    }
    let symbols: Vec<_> = rig.infos.iter().map(|info| info.name.to_string()).collect();
    let symbols: Vec<_> = symbols.iter().map(String::as_str).collect();
    let (client, _) = resume(&mut rig, &symbols, EPOCH, 2);
    let (mut open, mut seen, mut count) = (VecDeque::new(), 0, 0);
    open.extend(asks(&mut rig));
    while let Some(ask) = open.pop_front() {
        assert!(open.len() < 4, "{} parts under way", open.len() + 1);
        // In two parts, so that those who go on and those who wait take turns.
        let upto = ask.last.min(ask.first + 1);
        found(&mut rig, &ask, ask.first..=upto, upto);
        seen += rig.records(client).len();
        open.extend(asks(&mut rig));
        count += 1;
    }
    assert_eq!((seen, count), (9 * 8, 18));
}

/// What happens in a random schedule.
#[derive(Clone, Copy, Debug)]
enum Op {
    Publish(u8),
    Restart,
    Leave,
    Return,
    /// All that was asked for.
    Answer,
    /// Up to here only.
    AnswerPart(u8),
    /// Without these numbers.
    AnswerHoles(u8),
    Nothing,
    Fill {
        held: bool,
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
        3 => Just(Op::Answer),
        2 => any::<u8>().prop_map(Op::AnswerPart),
        2 => any::<u8>().prop_map(Op::AnswerHoles),
        1 => Just(Op::Nothing),
        6 => any::<bool>().prop_map(|held| Op::Fill { held }),
        3 => Just(Op::Unblock),
        2 => (0..4000_u16).prop_map(|millis| Op::Wait { millis }),
    ]
}

/// A client, a topic and its history.
struct Model {
    rig: Rig,
    keeper: Client,
    epoch: u64,
    /// Last number of each numbering.
    ends: BTreeMap<u64, u64>,
    client: Option<Client>,
    blocked: bool,
    /// Where the client is.
    at: (u64, u64),
    /// What this subscription's account must say.
    delivered: u64,
    dropped: u64,
    /// No numbering ended meanwhile: then nobody knows what of it was never sent.
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
            Op::Answer => self.answer(|ask, number| number <= ask.last, |ask| ask.last),
            Op::AnswerPart(count) => {
                let upto = move |ask: &BackfillAsk| ask.last.min(ask.first + u64::from(count % 8));
                self.answer(move |ask, number| number <= upto(ask), upto);
            }
            Op::AnswerHoles(holes) => {
                self.answer(move |_, number| holes >> (number % 8) & 1 == 0, |ask| ask.last);
            }
            Op::Nothing => drop(self.open.pop_front()),
            Op::Fill { held } => {
                self.fill(held);
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
        let granted = &answer(&told).granted[0];
        let start = (granted.epoch, granted.sequence);
        (self.delivered, self.dropped, self.is_counted) = (0, 0, true);
        self.client = Some(client);
        let position = self.at;
        for record in records(told) {
            // What is announced in front of the grant's number is not in the account.
            self.read(&record, Some(start));
        }
        assert!(start >= position, "granted {start:?} at {position:?}");
    }

    fn answer(&mut self, is_there: impl Fn(&BackfillAsk, u64) -> bool, upto: impl Fn(&BackfillAsk) -> u64) {
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

    fn fill(&mut self, held: bool) -> bool {
        let Some(client) = self.client.filter(|_| !self.blocked) else { return false };
        let (bytes, filled) = self.rig.fill(client);
        let frames = super::rig::parse_frames(&bytes);
        for record in records(frames.iter().flat_map(|frame| frame.messages(client.encoding)).collect()) {
            self.read(&record, None);
        }
        self.blocked = held && !bytes.is_empty();
        self.rig.engine.unsent(client.key, usize::from(self.blocked) * 10, self.rig.now);
        filled.more && !self.blocked
    }

    /// Every number once, in order; nothing announced that could be had.
    fn read(&mut self, record: &Record, granted: Option<(u64, u64)>) {
        match &record.body {
            Body::Gap(gap) if gap.last_sequence == 0 => {
                assert_eq!(gap.first_sequence, self.at.1 + 1);
                assert!(gap.epoch > self.at.0);
                // Numbers behind the position that a numbering still had are not counted by anyone.
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

    /// Answers everything, reads everything.
    fn finish(mut self) {
        self.come_back_if_away();
        for _ in 0..10_000 {
            self.unblock();
            let more = self.fill(false);
            let asks = asks(&mut self.rig);
            self.open.extend(asks);
            let is_open = !self.open.is_empty();
            self.answer(|_, _| true, |ask| ask.last);
            if !more && !is_open {
                break;
            }
        }
        // What was asked for and never answered.
        self.step(Op::Wait { millis: 4000 });
        for _ in 0..10_000 {
            let more = self.fill(false);
            let asks = asks(&mut self.rig);
            self.open.extend(asks);
            let is_open = !self.open.is_empty();
            self.answer(|_, _| true, |ask| ask.last);
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
        ops.into_iter().for_each(|op| model.step(op));
        model.finish();
    }

    /// Where history has everything and answers in time, nothing is announced as lost.
    #[test]
    fn nothing_is_lost_where_history_has_it(
        log in 8_usize..16,
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let mut model = Model::new(log, 1 << 40);
        let is_kind = |op: &Op| !matches!(
            op, Op::Restart | Op::AnswerHoles(_) | Op::Nothing | Op::Wait { .. } | Op::Fill { held: true }
        );
        for op in ops.into_iter().filter(is_kind) {
            model.step(op);
            model.step(Op::Fill { held: false });
            while !model.open.is_empty() {
                model.step(Op::AnswerPart(3));
                model.step(Op::Fill { held: false });
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
