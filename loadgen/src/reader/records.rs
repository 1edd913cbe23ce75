//! A session takes a message: it checks sequence numbers, takes times, and compares values and ledgers.

use std::hash::BuildHasher as _;

use rustc_hash::FxBuildHasher;
use tickwire_feed::open_loop;
use tickwire_machine::now;
use tickwire_wire::{
    Batch, Body, Channel, Gap, Ledger, LedgerFault, Message, Missing, Numbered, Quote, Record, Sequence,
    Subscribed, Verdict,
};

use super::session::{Account, End, LEDGER_ID, Session, State, Subscription};
use super::shared::Core;
use super::slow::Waiting;
use crate::board::Phase;
use crate::part::{Last, Merge as _, Rule};
use crate::peer::{Progress, Update};
use crate::report::model::{Accounts, SessionAccount};
use crate::scenario::ReaderKind;
use crate::websocket::Opcode;

impl Session {
    pub(super) fn message(
        &mut self,
        core: &mut Core,
        opcode: Opcode,
        payload: &[u8],
        read: u64,
    ) -> Result<(), End> {
        if core.phase == Phase::Measure {
            core.part.flow.messages += 1;
            core.part.flow.bytes += payload.len() as u64;
        }
        core.seconds.now.messages += 1;
        core.seconds.now.bytes += payload.len() as u64;
        let (records, measured) = (core.seconds.now.records, core.measured_records(self.reader));
        let sent = match core.plan.scenario.peer {
            Some(_) => self.peer_message(core, opcode, payload, read)?,
            None => self.batch(core, payload, read)?,
        };
        // A message is written, read and worked through as a whole, and each record in it with it.
        let measured = core.measured_records(self.reader) - measured;
        if measured > 0 && self.is_prompt(core) {
            if let Some(sent) = sent {
                let written = sent.wrapping_add_signed(-core.clock_offset);
                core.part.timed.hops[2].record_n(written, read, measured);
            }
            core.part.timed.hops[3].record_n(read, now(), measured);
        }
        if let Some(sent_time) = sent.filter(|_| core.seconds.now.records > records) {
            self.passes(core, Waiting::End { sent_time, read_at: read });
        }
        Ok(())
    }

    /// Takes a gateway's message; returns its send time.
    fn batch(&mut self, core: &mut Core, payload: &[u8], read: u64) -> Result<Option<u64>, End> {
        core.sampled.clear();
        let mut sent = None;
        let mut batch = Batch::new(self.encoding(core), payload);
        loop {
            while let Some(record) = batch.next_frequent() {
                self.record(core, &record, read);
            }
            let Some(message) = batch.next() else { break };
            match message.map_err(|error| End::Broken(error.to_string()))? {
                Message::Record(record) => self.record(core, &record, read),
                Message::Sent(time) => sent = Some(time),
                Message::Hello(hello) => core.part.server = hello.server,
                Message::Subscribed(answer) => self.granted(core, answer, read),
                Message::Ledger(ledger) => self.ledger(core, &ledger),
                Message::Notice(notice) => {
                    core.part.checks.conflating_notices += u64::from(notice.code == "conflating");
                }
                Message::Error(error) => {
                    self.breaks(core, Rule::Protocol, || format!("{}: {}", error.code, error.message));
                }
                _ => {}
            }
        }
        let Some(sent) = sent else {
            self.breaks(core, Rule::Protocol, || "a message without a send time".to_owned());
            return Ok(None);
        };
        core.nearest = core.nearest.min(read as i64 - sent as i64);
        if let Some(receipts) = self.extra.as_mut().and_then(|extra| extra.receipts.as_mut()) {
            receipts.receipts.sent(sent);
        }
        let written = sent.wrapping_add_signed(-core.clock_offset);
        for (event_time, received) in core.sampled.drain(..) {
            core.part.timed.hops[0].record(event_time, received);
            core.part.timed.hops[1].record(received, written);
        }
        Ok(Some(sent))
    }

    /// Takes a peer's message, which does not say when it was sent.
    fn peer_message(
        &mut self,
        core: &mut Core,
        opcode: Opcode,
        payload: &[u8],
        read: u64,
    ) -> Result<Option<u64>, End> {
        let Some(mut peer) = self.extra().peer.take() else { return Ok(None) };
        let mut out = Vec::new();
        let outcome = peer.message(opcode, payload, &mut out, &mut |update| self.update(core, update, read));
        self.extra().peer = Some(peer);
        self.out.append(&mut out);
        self.flush(core);
        if outcome.map_err(End::Broken)? == Progress::Ready && self.state == State::Subscribing {
            self.opened(core, read);
        }
        Ok(None)
    }

    fn update(&mut self, core: &mut Core, update: Update, read: u64) {
        let Update { symbol, sequence, intended_time } = update;
        self.first(core, read);
        let begin = || Subscription::new(Sequence::new(Channel::Quote, 0, sequence - 1), Some(symbol));
        let subscription = self.subscriptions.entry((symbol, Channel::Quote)).or_insert_with(begin);
        let before = subscription.sequence.position().1;
        let verdict = subscription.sequence.record(Numbered { sequence, ..Numbered::default() });
        subscription.says(intended_time, sequence);
        if verdict == Verdict::News {
            // A peer does not say what it drops, so every jump is a loss.
            core.part.checks.lost += sequence - before - 1;
            self.live(core, Channel::Quote, intended_time, None, read);
        } else {
            core.repeated(sequence == before);
        }
    }

    /// Takes the time to the first record.
    #[inline]
    fn first(&mut self, core: &mut Core, read: u64) {
        if self.asked_at > 0 {
            core.part.timed.first.record(std::mem::take(&mut self.asked_at), read);
        }
    }

    fn record(&mut self, core: &mut Core, record: &Record, read: u64) {
        let (instrument, sequence, event_time) = (record.instrument, record.sequence, record.event_time);
        if let Body::Gap(gap) = &record.body {
            return self.gap(core, instrument, gap);
        }
        let channel = record.channel();
        self.first(core, read);
        let Some(subscription) = self.subscriptions.get_mut(&(instrument, channel)) else {
            return self.unasked(core, || format!("a {} of {instrument}", channel.name()));
        };
        let before = subscription.sequence.position().1;
        let verdict = subscription.sequence.record(Numbered::from(record));
        let mut is_older = false;
        if let Body::Quote(quote) = &record.body
            && (verdict != Verdict::State || subscription.value == 0)
        {
            is_older = subscription.says(event_time, digest(quote));
        }
        let symbol = subscription.symbol;
        let out_of_line =
            |due: u64| format!("{} of {instrument}: {sequence} came where {due} was due", channel.name());
        match verdict {
            Verdict::News => self.live(core, channel, event_time, Some(record.receive_time), read),
            Verdict::State => {
                if let Some(program) = self.program() {
                    program.read(Waiting::Record { channel, event_time, counts: false });
                }
            }
            Verdict::After(missing) => {
                core.part.checks.lost += missing.count().unwrap_or(0);
                self.breaks(core, Rule::Lost, || out_of_line(missing.first));
            }
            Verdict::Repeated => {
                core.repeated(sequence == before);
                self.breaks(core, Rule::Order, || out_of_line(before + 1));
            }
        }
        let (Body::Quote(quote), Some(symbol)) = (&record.body, symbol) else { return };
        if core.plan.scenario.source.is_running() {
            return;
        }
        let name = || format!("quote {sequence} of symbol {symbol}");
        if *quote != open_loop::quote(symbol, event_time) {
            self.breaks(core, Rule::Value, || format!("{} says something else than the source did", name()));
        } else if is_older && verdict == Verdict::News {
            let text = || format!("{} is older than the one before it: it is stale", name());
            self.breaks(core, Rule::Value, text);
        }
    }

    /// Takes a record that is news.
    fn live(&mut self, core: &mut Core, channel: Channel, event_time: u64, received: Option<u64>, read: u64) {
        core.seconds.now.records += 1;
        // Let go after measuring, a throttled reader takes at once what it would have read slowly: that is no age.
        let is_let_go = self.is_settled && self.kind(core) == ReaderKind::Throttled;
        let is_measured = core.is_measured(event_time);
        let counts = is_measured && !is_let_go;
        let event_time = event_time.wrapping_add_signed(-core.clock_offset);
        if let Some(program) = self.program() {
            program.read(Waiting::Record { channel, event_time, counts });
        }
        if !counts {
            core.part.flow.let_go += u64::from(is_measured);
            return;
        }
        core.records_by_channel[channel as usize] += 1;
        if self.program().is_none() {
            core.age(usize::from(self.reader), channel, event_time, read);
        }
        // A slow reader's own slowness is no hop of the server's.
        let Some(received) = received.filter(|_| self.is_prompt(core)) else { return };
        if core.until_hop > 0 {
            core.until_hop -= 1;
            return;
        }
        core.until_hop = core.plan.scenario.hop_sampling - 1;
        core.sampled.push((event_time, received.wrapping_add_signed(-core.clock_offset)));
    }

    /// Something came that was not granted. Behind the ledger that ends the session, it is beyond the account.
    fn unasked(&mut self, core: &mut Core, what: impl FnOnce() -> String) {
        if self.state != State::Gone {
            self.breaks(core, Rule::Protocol, || format!("{} came unasked", what()));
        }
    }

    fn gap(&mut self, core: &mut Core, instrument: u32, gap: &Gap) {
        self.gaps += 1;
        let Some(subscription) = self.subscriptions.get_mut(&(instrument, gap.channel())) else {
            return self.unasked(core, || format!("a gap of {instrument}"));
        };
        let due = subscription.sequence.due();
        let (_, announced) = subscription.sequence.gap(gap);
        let cause = gap.cause().as_str_name().trim_start_matches("GAP_CAUSE_").to_ascii_lowercase();
        let gaps = core.part.checks.gaps.entry(cause).or_default();
        gaps.announced += 1;
        gaps.numbers += announced.and_then(Missing::count).unwrap_or(0);
        let first = gap.first_sequence;
        if let Some(due) = due.filter(|due| *due != first) {
            core.part.checks.lost += first.saturating_sub(due);
            let text = || format!("a gap of {instrument} begins with {first} where {due} was due");
            self.breaks(core, Rule::Lost, text);
        }
    }

    fn granted(&mut self, core: &mut Core, answer: Subscribed, read: u64) {
        for granted in answer.granted {
            let (channel, epoch, at) = (granted.channel(), granted.epoch, granted.sequence);
            let mut sequence = Sequence::new(channel, epoch, at);
            let before = self.extra.as_mut().map(|extra| &mut extra.before);
            if let Some(mut known) =
                before.and_then(|before| before.remove(&(granted.symbol.clone(), channel)))
                && (known.position().0 != epoch || known.position().1 < at)
            {
                known.resume(epoch, at);
                sequence = known;
            }
            let subscription = Subscription::new(sequence, open_loop::symbol_index(&granted.symbol));
            self.subscriptions.insert((granted.instrument, channel), subscription);
            core.names.entry(granted.instrument).or_insert(granted.symbol);
        }
        for refused in answer.refused {
            let name = refused.channel().name();
            let text = || format!("{name} of {}: {}: {}", refused.symbol, refused.code, refused.message);
            core.part.checks.refused.note(text);
        }
        if answer.id == 0 || self.state != State::Subscribing {
            return;
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        match (self.unanswered, self.subscriptions.is_empty()) {
            (0, true) => self.lost(core, End::Broken("nothing was granted".to_owned())),
            (0, false) => self.opened(core, read),
            _ => {}
        }
    }

    fn ledger(&mut self, core: &mut Core, ledger: &Ledger) {
        let is_last = ledger.id == LEDGER_ID;
        let mut accounts = Accounts::default();
        for entry in &ledger.entries {
            let at = (entry.instrument, entry.channel());
            let faults: Vec<_> = match self.subscriptions.get(&at) {
                Some(subscription) => subscription.sequence.account().faults(entry).collect(),
                None => vec![LedgerFault::Unknown],
            };
            accounts.include(Accounts {
                checked: 1,
                published: entry.published,
                delivered: entry.delivered,
                conflated: entry.conflated,
                dropped: entry.dropped,
                filtered: entry.filtered,
            });
            for fault in faults {
                let text = || format!("the ledger, {} of {}: {fault}", at.1.name(), entry.symbol);
                self.breaks(core, Rule::Ledger, text);
            }
            if ledger.id != 0 && !is_last {
                self.subscriptions.remove(&at);
            }
        }
        core.part.readers[usize::from(self.reader)].accounts.include(accounts);
        // Asked for at the end, or told by a gateway that takes leave.
        if is_last || ledger.id == 0 {
            self.account = Account::Given;
        }
        if !is_last {
            return;
        }
        let (checked, granted) = (ledger.entries.len(), self.subscriptions.len());
        if checked != granted {
            let text = || format!("the ledger has {checked} entries for {granted} subscriptions");
            self.breaks(core, Rule::Ledger, text);
        }
        self.check_finals(core);
        core.part.keep([SessionAccount {
            number: self.number.into(),
            reader: self.kind(core).name(),
            encoding: self.encoding(core).name().to_owned(),
            subscriptions: granted as u64,
            accounts,
            gaps: self.gaps.into(),
            violations: self.violations.into(),
        }]);
        self.end(core);
    }

    /// Compares the last quotes with what the source published last, or with those of other sessions.
    pub(super) fn check_finals(&mut self, core: &mut Core) {
        let is_peer = core.plan.scenario.peer.is_some();
        let mut wrong = Vec::new();
        for ((instrument, _), known) in self.subscriptions.iter().filter(|((_, c), _)| *c == Channel::Quote) {
            let (epoch, sequence) = known.sequence.position();
            if let Some((symbol, published)) = known.published(core.finals.as_deref()) {
                core.part.checks.final_values += 1;
                // An ingester that repairs says the same again under a further sequence number.
                let is_last = known.event_time == published.1 && sequence >= published.0;
                if !is_last && published.0 > 0 {
                    let lost = if is_peer { published.0.saturating_sub(sequence) } else { 0 };
                    wrong.push((lost, format!(
                        "symbol {symbol}: last came number {sequence} of {}, and last was published number {} of {}",
                        known.event_time, published.0, published.1
                    )));
                }
            } else if known.value != 0 {
                core.part.checks.final_values += 1;
                let last = Last { epoch, sequence, value: known.value };
                if let Some(other) = core.part.last(*instrument, last) {
                    let text = format!("instrument {instrument}: {last:?}, and at another session {other:?}");
                    wrong.push((0, text));
                }
            }
        }
        for (lost, text) in wrong {
            core.part.checks.lost += lost;
            core.part.checks.final_values_wrong.note(|| text.clone());
            self.breaks(core, Rule::Final, || text);
        }
    }

    /// Counts subscriptions to quotes that have not got what was published last.
    pub(super) fn behind(&self, finals: &[(u64, u64)]) -> u64 {
        if self.state != State::Open || !self.is_settled {
            return 0;
        }
        let quotes = self.subscriptions.iter().filter(|((_, channel), _)| *channel == Channel::Quote);
        let behind = quotes.filter(|(_, known)| {
            let published = known.published(Some(finals));
            published.is_some_and(|(_, (sequence, _))| known.sequence.position().1 < sequence)
        });
        behind.count() as u64
    }

    fn breaks(&mut self, core: &mut Core, rule: Rule, text: impl FnOnce() -> String) {
        self.violations += 1;
        core.counts.violations += 1;
        let number = self.number;
        core.part.breaks(rule, || format!("session {number}: {}", text()));
    }
}

/// Returns a number that stands for what a quote says; never 0.
fn digest(quote: &Quote) -> u64 {
    FxBuildHasher.hash_one((quote.bid, quote.ask)).max(1)
}
