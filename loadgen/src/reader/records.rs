//! What a session makes of a message: numbers checked, times taken, values compared.

use std::sync::atomic::Ordering;

use tickwire_wire::{Batch, Body, Channel, Encoding, Gap, Ledger, Message, Record, Subscribed};

use super::Core;
use super::session::{Account, End, LEDGER_ID, Session, State, key};
use super::slow::Waiting;
use crate::clock::now;
use crate::numbering::{Numbered, Numbering, Verdict};
use crate::part::{Last, Rule};
use crate::report::model::{Accounts, SessionAccount};
use crate::scan::{self, Item, Market};
use crate::scenario::ReaderKind;
use crate::source;
use crate::ws::Opcode;

/// What a message is measured against.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) read: u64,
    /// By our clock; None where the message does not say.
    pub(super) sent: Option<u64>,
}

impl Session {
    pub(super) fn message(
        &mut self,
        core: &mut Core,
        slot: usize,
        opcode: Opcode,
        payload: &[u8],
        read: u64,
    ) -> Result<(), End> {
        if core.phase == super::Phase::Measure {
            core.part.messages += 1;
            core.part.bytes += payload.len() as u64;
        }
        core.seconds.messages += 1;
        core.seconds.bytes += payload.len() as u64;
        if self.extra.as_ref().is_some_and(|extra| extra.peer.is_some()) {
            return self.peer_message(core, slot, opcode, payload, read);
        }
        let (records, measured) = (core.seconds.records, core.measured_records(self.reader));
        let sent = match self.encoding(core) {
            Encoding::Proto => {
                let sent = scan::sent_time(payload);
                let times = self.times(core, sent, read);
                let scanned = scan::scan(payload, |item| match item {
                    Item::Market(market) => self.market(core, &market, times),
                    Item::Other(bytes) => self.others(core, slot, Encoding::Proto, bytes, times),
                });
                scanned.map_err(|_| End::Broken("a message is no frame".to_owned()))?
            }
            encoding => self.decoded(core, slot, encoding, payload, read)?,
        };
        if sent.is_none() {
            self.breaks(core, Rule::Protocol, || "a message without a send time".to_owned());
        } else if self.is_prompt(core) {
            // A message is written, read and worked through as a whole, and each record in it with it.
            let measured = core.measured_records(self.reader) - measured;
            if measured > 0 {
                let times = self.times(core, sent, read);
                core.part.hops[2].record_n(times.sent.unwrap_or(read), read, measured);
                core.part.hops[3].record_n(read, now(), measured);
            }
        }
        if core.seconds.records > records
            && let Some(sent) = sent
        {
            self.message_read(core, slot, sent, read);
        }
        Ok(())
    }

    fn times(&mut self, core: &mut Core, sent: Option<u64>, read: u64) -> Times {
        if let Some(sent) = sent {
            core.nearest = core.nearest.min(read as i64 - sent as i64);
            if let Some(receipts) = self.extra.as_mut().and_then(|extra| extra.receipts.as_mut()) {
                receipts.newest_sent = sent;
            }
        }
        Times { read, sent: sent.map(|sent| sent.wrapping_add_signed(-core.clock_offset)) }
    }

    /// The encodings that are not scanned are decoded as a whole.
    fn decoded(
        &mut self,
        core: &mut Core,
        slot: usize,
        encoding: Encoding,
        payload: &[u8],
        read: u64,
    ) -> Result<Option<u64>, End> {
        let mut messages = Vec::new();
        let mut sent = None;
        for message in Batch::new(encoding, payload) {
            match message.map_err(|error| End::Broken(error.to_string()))? {
                Message::Sent(time) => sent = Some(time),
                message => messages.push(message),
            }
        }
        let times = self.times(core, sent, read);
        for message in messages {
            match message {
                Message::Record(record) => match market(&record) {
                    Some(market) => self.market(core, &market, times),
                    None => self.other(core, slot, Message::Record(record), times),
                },
                message => self.other(core, slot, message, times),
            }
        }
        Ok(sent)
    }

    fn others(&mut self, core: &mut Core, slot: usize, encoding: Encoding, bytes: &[u8], times: Times) {
        for message in Batch::new(encoding, bytes) {
            match message {
                Ok(message) => self.other(core, slot, message, times),
                Err(error) => self.breaks(core, Rule::Protocol, || error.to_string()),
            }
        }
    }

    fn other(&mut self, core: &mut Core, slot: usize, message: Message, times: Times) {
        match message {
            Message::Record(record) => {
                if let Body::Gap(gap) = &record.body {
                    self.gap(core, record.instrument, gap);
                }
            }
            Message::Hello(hello) => core.part.server = hello.server,
            Message::Subscribed(answer) => self.granted(core, slot, answer, times.read),
            Message::Ledger(ledger) => self.ledger(core, slot, &ledger),
            Message::Notice(notice) => core.part.conflating_notices += u64::from(notice.code == "conflating"),
            Message::Error(error) => {
                self.breaks(core, Rule::Protocol, || format!("{}: {}", error.code, error.message));
            }
            _ => {}
        }
    }

    fn market(&mut self, core: &mut Core, market: &Market, times: Times) {
        let channel = channel(market.channel);
        let Some(numbering) = self.numberings.get_mut(&key(market.instrument, market.channel)) else {
            return self.unasked(core, || format!("a {} of {}", channel.name(), market.instrument));
        };
        let (before, own_symbol) = (numbering.position().1, numbering.own_symbol());
        let numbered = Numbered {
            sequence: market.sequence,
            first_sequence: market.first_sequence,
            is_snapshot: market.is_snapshot,
        };
        let verdict = numbering.record(numbered);
        let mut is_older = false;
        if channel == Channel::Quote && (verdict != Verdict::State || numbering.last_value().0 == 0) {
            is_older = numbering.says(market.event_time, digest(&market.quote));
        }
        match verdict {
            Verdict::Live => self.live(core, channel, market.event_time, Some(market.receive_time), times),
            Verdict::State => {
                if let Some(program) = self.program() {
                    program.read(Waiting::Record { channel, event_time: market.event_time, counts: false });
                }
            }
            Verdict::Violation { expected } => self.out_of_line(core, market, before, expected),
        }
        if channel == Channel::Quote
            && !core.plan.scenario.source.is_running
            && let Some(symbol) = own_symbol
        {
            if market.quote != source::quote_on_wire(symbol, market.event_time) {
                let sequence = market.sequence;
                self.breaks(core, Rule::Value, || {
                    format!("quote {sequence} of symbol {symbol} says something else than the source did")
                });
            } else if is_older && verdict == Verdict::Live {
                let sequence = market.sequence;
                self.breaks(core, Rule::Value, || {
                    format!(
                        "quote {sequence} of symbol {symbol} is older than the one before it: it is stale"
                    )
                });
            }
        }
    }

    /// A record that is news.
    pub(super) fn live(
        &mut self,
        core: &mut Core,
        channel: Channel,
        event_time: u64,
        received: Option<u64>,
        times: Times,
    ) {
        core.seconds.records += 1;
        // Let go after measuring, a throttled reader takes at once what it would have read slowly: that is no age.
        let is_let_go = self.is_settled && matches!(self.kind(core), ReaderKind::Throttled { .. });
        let counts = !is_let_go && core.is_measured(event_time);
        let own_time = event_time.wrapping_add_signed(-core.clock_offset);
        if let Some(program) = self.program() {
            program.read(Waiting::Record { channel, event_time: own_time, counts });
        }
        if !counts {
            core.part.let_go += u64::from(is_let_go && core.is_measured(event_time));
            return;
        }
        *core.part.records_by_channel.entry(channel as u8).or_default() += 1;
        let reader = usize::from(self.reader);
        let event_time = own_time;
        if self.program().is_none() {
            core.part.age(reader, channel, event_time, times.read);
            core.seconds.age(reader, event_time, times.read);
        }
        // A slow reader's own slowness is no hop of the server's.
        if !self.is_prompt(core) {
            return;
        }
        if core.until_hop > 0 {
            core.until_hop -= 1;
            return;
        }
        core.until_hop = core.plan.scenario.hop_sampling - 1;
        if let Some((received, sent)) = received.zip(times.sent) {
            let received = received.wrapping_add_signed(-core.clock_offset);
            core.part.hops[0].record(event_time, received);
            core.part.hops[1].record(received, sent);
        }
    }

    /// A number that must not come here.
    fn out_of_line(&mut self, core: &mut Core, market: &Market, before: u64, expected: u64) {
        let (sequence, instrument) = (market.sequence, market.instrument);
        let channel = channel(market.channel);
        let text = || format!("{} of {instrument}: {sequence} came where {expected} was due", channel.name());
        if sequence > expected && (channel.is_lossless() || channel == Channel::Book) {
            core.part.lost += sequence - expected;
            return self.breaks(core, Rule::Lost, text);
        }
        if sequence == before {
            core.part.duplicates += 1;
        } else {
            core.part.out_of_order += 1;
        }
        self.breaks(core, Rule::Order, text);
    }

    /// What is in a message behind the ledger that ends the session is beyond its account.
    fn unasked(&mut self, core: &mut Core, what: impl FnOnce() -> String) {
        if self.state != State::Gone {
            self.breaks(core, Rule::Protocol, || format!("{} came unasked", what()));
        }
    }

    fn gap(&mut self, core: &mut Core, instrument: u32, gap: &Gap) {
        self.gaps += 1;
        let Some(numbering) = self.numberings.get_mut(&key(instrument, gap.channel as u8)) else {
            return self.unasked(core, || format!("a gap of {instrument}"));
        };
        let settled = numbering.gap(gap);
        let cause = gap.cause().as_str_name().trim_start_matches("GAP_CAUSE_").to_ascii_lowercase();
        let gaps = core.part.gaps.entry(cause).or_default();
        gaps.announced += 1;
        match settled {
            Ok(numbers) => gaps.numbers += numbers,
            Err(Verdict::Violation { expected }) => {
                let first = gap.first_sequence;
                core.part.lost += first.saturating_sub(expected);
                self.breaks(core, Rule::Lost, || {
                    format!("a gap of {instrument} begins with {first} where {expected} was due")
                });
            }
            Err(_) => {}
        }
    }

    fn granted(&mut self, core: &mut Core, slot: usize, answer: Subscribed, read: u64) {
        for granted in answer.granted {
            let channel = granted.channel();
            let mut numbering = Numbering::new(channel, granted.epoch, granted.sequence)
                .of_own(source::symbol_index(&granted.symbol));
            let before = self.extra.as_mut().and_then(|extra| {
                let same = |(symbol, _, known): &(String, u64, Numbering)| {
                    *symbol == granted.symbol && known.channel() == channel
                };
                let at = extra.before.iter().position(same)?;
                Some(extra.before.swap_remove(at))
            });
            if let Some((_, epoch, known)) = before {
                numbering.resumed(epoch, known.position().1);
            }
            self.numberings.insert(key(granted.instrument, channel as u8), numbering);
            core.names.entry(granted.instrument).or_insert(granted.symbol);
        }
        for refused in answer.refused {
            let name = refused.channel().name();
            let text = || format!("{name} of {}: {}: {}", refused.symbol, refused.code, refused.message);
            core.part.refused.note(text);
        }
        if answer.id != 0 && self.state == State::Subscribing {
            self.unanswered = self.unanswered.saturating_sub(1);
            if self.unanswered > 0 {
                return;
            }
            if self.numberings.is_empty() {
                return self.lost(core, slot, End::Broken("nothing was granted".to_owned()));
            }
            self.opened(core, slot, read);
        }
    }

    fn ledger(&mut self, core: &mut Core, slot: usize, ledger: &Ledger) {
        let is_last = ledger.id == LEDGER_ID;
        let mut accounts = Accounts::default();
        for entry in &ledger.entries {
            let at = key(entry.instrument, entry.channel as u8);
            let outcome = match self.numberings.get(&at) {
                Some(numbering) => numbering.check(entry),
                None => Err(format!("the ledger names {}, which was not granted", entry.symbol)),
            };
            accounts.add(Accounts {
                checked: 1,
                published: entry.published,
                delivered: entry.delivered,
                conflated: entry.conflated,
                dropped: entry.dropped,
                filtered: entry.filtered,
            });
            if let Err(reason) = outcome {
                self.breaks(core, Rule::Ledger, || reason);
            }
            if ledger.id != 0 && !is_last {
                self.numberings.remove(&at);
            }
        }
        core.part.readers[usize::from(self.reader)].accounts.add(accounts);
        // Asked for at the end, or told by a gateway that takes leave.
        if is_last || ledger.id == 0 {
            self.account = Account::Given;
        }
        if !is_last {
            return;
        }
        let (checked, granted) = (ledger.entries.len(), self.numberings.len());
        if checked != granted {
            self.breaks(core, Rule::Ledger, || {
                format!("the ledger has {checked} entries for {granted} subscriptions")
            });
        }
        self.check_finals(core);
        core.part.keep(SessionAccount {
            number: self.number.into(),
            reader: self.kind(core).name().to_owned(),
            encoding: self.encoding(core).name().to_owned(),
            subscriptions: granted as u64,
            accounts,
            gaps: self.gaps.into(),
            violations: self.violations.into(),
        });
        self.end(core, slot);
    }

    /// Compares the last quotes with what the source published last, or with those of other sessions.
    pub(super) fn check_finals(&mut self, core: &mut Core) {
        let is_peer = core.plan.scenario.peer.is_some();
        let mut wrong = Vec::new();
        for (at, numbering) in &self.numberings {
            if numbering.channel() != Channel::Quote {
                continue;
            }
            let instrument = (at >> 3) as u32;
            let (epoch, sequence) = numbering.position();
            let (event_time, value) = numbering.last_value();
            let symbol = numbering.own_symbol();
            let published =
                core.shared.finals.get().zip(symbol).and_then(|(finals, symbol)| finals.get(symbol as usize));
            match published {
                Some(published) => {
                    core.part.final_values += 1;
                    // An ingester that repairs says the same again under a further number.
                    let is_last = event_time == published.1 && sequence >= published.0;
                    if !is_last && published.0 > 0 {
                        let lost = published.0.saturating_sub(sequence);
                        wrong.push((instrument, lost, format!(
                            "symbol {}: last came number {sequence} of {event_time}, and last was published number {} of {}",
                            symbol.unwrap_or_default(), published.0, published.1
                        )));
                    }
                }
                None if value != 0 => {
                    core.part.final_values += 1;
                    let last = Last { epoch, sequence, value };
                    if let Some(other) = core.part.last(instrument, last) {
                        wrong.push((
                            instrument,
                            0,
                            format!("instrument {instrument}: {last:?}, and at another session {other:?}"),
                        ));
                    }
                }
                None => {}
            }
        }
        for (_, lost, text) in wrong {
            core.part.lost += if is_peer { lost } else { 0 };
            core.part.final_values_wrong.note(|| text.clone());
            self.breaks(core, Rule::Final, || text);
        }
    }

    /// Subscriptions to quotes that have not what was published last.
    pub(super) fn behind(&self, finals: &[(u64, u64)]) -> u64 {
        if self.state != State::Open || !self.is_settled {
            return 0;
        }
        let behind = self.numberings.values().filter(|numbering| {
            numbering.channel() == Channel::Quote
                && numbering
                    .own_symbol()
                    .and_then(|symbol| finals.get(symbol as usize))
                    .is_some_and(|(sequence, _)| numbering.position().1 < *sequence)
        });
        behind.count() as u64
    }

    fn breaks(&mut self, core: &mut Core, rule: Rule, text: impl FnOnce() -> String) {
        self.violations += 1;
        let number = self.number;
        core.part.breaks(rule, || format!("session {number}: {}", text()));
        core.shared.counts.violations.fetch_add(1, Ordering::Relaxed);
    }
}

/// A decoded record as the scan would have shown it; None: a gap.
fn market(record: &Record) -> Option<Market> {
    let zigzag = |value: i64| ((value << 1) ^ (value >> 63)) as u64;
    let mut market = Market {
        instrument: record.instrument,
        channel: record.channel() as u8,
        sequence: record.sequence,
        event_time: record.event_time,
        receive_time: record.receive_time,
        quote: [u64::MAX; 4],
        ..Market::default()
    };
    match &record.body {
        Body::Gap(_) => return None,
        Body::Quote(quote) => {
            let base = quote.bid.map_or(0, |bid| bid.price);
            let (bid, ask) = (quote.bid, quote.ask);
            market.quote = [
                bid.map_or(u64::MAX, |bid| zigzag(bid.price)),
                bid.map_or(u64::MAX, |bid| bid.size),
                ask.map_or(u64::MAX, |ask| zigzag(ask.price.wrapping_sub(base))),
                ask.map_or(0, |ask| ask.size),
            ];
        }
        Body::Book(book) => {
            (market.first_sequence, market.is_snapshot) = (book.first_sequence, book.snapshot);
        }
        _ => {}
    }
    Some(market)
}

fn channel(number: u8) -> Channel {
    Channel::try_from(i32::from(number)).unwrap_or(Channel::Unknown)
}

fn digest(quote: &[u64; 4]) -> u64 {
    quote.iter().fold(1, |digest, value| source::mix(digest ^ value))
}
