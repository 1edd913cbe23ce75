//! Checks the gateway's account: the sums, and against what this client itself counted.
//!
//! A subscription starts behind the number in its grant; a record counts when its number is new. So the snapshots that
//! repeat a number do not count, here as in the gateway.

use std::collections::HashMap;
use std::fmt::Write as _;

use tickwire_client::{Event, GapEvent, State};
use tickwire_wire::{Channel, Granted, Ledger, LedgerEntry, Record};

/// The counts of what came on one subscription of the present session.
#[derive(Debug, Default)]
struct Count {
    symbol: String,
    delivered: u64,
    /// Last number that was counted or passed over, or that had passed before: one for all keys of the channel, as the
    /// gateway counts. A state that is said again behind a later number of another key counts nowhere.
    last: u64,
    /// The book was subscribed anew by the SDK, and the gateway counts from there.
    is_renewed: bool,
}

/// Counts records as the gateway should have counted them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: HashMap<(u32, Channel), Count>,
    /// The sequence numbers at which lossless subscriptions stood when the session before ended: they go on from there.
    before: HashMap<(String, Channel), u64>,
    /// The subscriptions that ended, until their accounts come.
    ended: HashMap<(u32, Channel), Count>,
    /// The faults that the SDK found by its own count, and those in accounts of what ended.
    found: Vec<String>,
}

impl Tally {
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Record(update) => self.record(&update.record),
            Event::Gap(gap) => self.gap(gap),
            Event::Subscribed(outcome) => outcome.granted.iter().for_each(|granted| self.granted(granted)),
            Event::LedgerMismatch(mismatch) => self.found.push(mismatch.to_string()),
            Event::State(State::Connected { .. }) => self.connected(),
            Event::State(State::Ended { scale, channel, .. }) => self.over(&scale.symbol, *channel),
            Event::Ledger(ledger) if ledger.id == 0 => self.last_account(ledger),
            Event::State(State::BookBroken { scale, .. }) => {
                for count in self.of(&scale.symbol, Channel::Book) {
                    count.is_renewed = true;
                }
            }
            _ => {}
        }
    }

    fn of(&mut self, symbol: &str, channel: Channel) -> impl Iterator<Item = &mut Count> {
        let is_it =
            move |((_, c), count): &(&(u32, Channel), &mut Count)| *c == channel && count.symbol == symbol;
        self.counts.iter_mut().filter(is_it).map(|(_, count)| count)
    }

    fn over(&mut self, symbol: &str, channel: Channel) {
        let is_it = |key: &(u32, Channel), count: &mut Count| key.1 == channel && count.symbol == symbol;
        self.ended.extend(self.counts.extract_if(is_it));
        self.before.remove(&(symbol.to_owned(), channel));
    }

    /// A ledger that nobody asked for: of what ended just before it, or at the end of a session of everything.
    fn last_account(&mut self, ledger: &Ledger) {
        for entry in &ledger.entries {
            if let Some(count) = self.ended.remove(&(entry.instrument, entry.channel())) {
                self.found.extend(count.findings(entry));
            }
        }
        self.ended.clear();
    }

    fn connected(&mut self) {
        self.ended.clear();
        for ((_, channel), count) in self.counts.drain().filter(|((_, channel), _)| channel.is_lossless()) {
            self.before.insert((count.symbol, channel), count.last);
        }
    }

    fn granted(&mut self, granted: &Granted) {
        let key = (granted.instrument, granted.channel());
        if self.counts.contains_key(&key) {
            return;
        }
        let before = self.before.remove(&(granted.symbol.clone(), granted.channel()));
        let count = Count {
            symbol: granted.symbol.clone(),
            last: before.unwrap_or(granted.sequence),
            ..Count::default()
        };
        self.counts.insert(key, count);
    }

    fn record(&mut self, record: &Record) {
        let Some(count) = self.counts.get_mut(&(record.instrument, record.channel())) else { return };
        if record.sequence > count.last {
            count.last = record.sequence;
            count.delivered += 1;
        }
    }

    fn gap(&mut self, gap: &GapEvent) {
        let (last, symbol) = (gap.last, gap.scale.symbol.clone());
        for count in self.of(&symbol, gap.channel) {
            // Without an end, the sequence starts anew, at 1.
            count.last = last.map_or(0, |last| last.max(count.last));
        }
    }

    /// Returns what is wrong with the account, a line for each finding.
    pub(super) fn check(&self, ledger: &Ledger) -> Vec<String> {
        let mut findings = self.found.clone();
        for entry in &ledger.entries {
            match self.counts.get(&(entry.instrument, entry.channel())) {
                Some(count) => findings.extend(count.findings(entry)),
                None => {
                    findings.extend(sum_finding(entry));
                    findings.push(format!("{}: is in the ledger, and was never granted", name(entry)));
                }
            }
        }
        for ((id, channel), count) in &self.counts {
            let is_it = |entry: &LedgerEntry| (entry.instrument, entry.channel()) == (*id, *channel);
            if !ledger.entries.iter().any(is_it) {
                findings.push(format!("{} {}: is not in the ledger", channel.name(), count.symbol));
            }
        }
        findings.sort();
        findings.dedup();
        findings
    }
}

impl Count {
    /// Returns what is wrong with one entry.
    fn findings(&self, entry: &LedgerEntry) -> impl Iterator<Item = String> {
        let (theirs, ours) = (entry.delivered, self.delivered);
        let is_other = theirs != ours && !self.is_renewed;
        let delivered =
            is_other.then(|| format!("{}: the gateway delivered {theirs}, {ours} came", name(entry)));
        sum_finding(entry).into_iter().chain(delivered)
    }
}

fn name(entry: &LedgerEntry) -> String {
    format!("{} {}", entry.channel().name(), entry.symbol)
}

fn sum_finding(entry: &LedgerEntry) -> Option<String> {
    let sum = entry.delivered + entry.conflated + entry.dropped + entry.filtered;
    let published = entry.published;
    (sum != published)
        .then(|| format!("{}: published is {published}, the parts add up to {sum}", name(entry)))
}

/// Writes the ledger for people.
pub(super) fn text(ledger: &Ledger) -> String {
    let mut entries: Vec<_> = ledger.entries.iter().collect();
    entries.sort_by(|a, b| (&a.symbol, a.channel).cmp(&(&b.symbol, b.channel)));
    let width =
        entries.iter().map(|entry| entry.symbol.chars().count()).max().unwrap_or(0).max("symbol".len());
    let mut text = format!(
        "{:width$}  channel     published  = delivered  + conflated  +   dropped  +  filtered",
        "symbol"
    );
    let counts = |e: &LedgerEntry| [e.published, e.delivered, e.conflated, e.dropped, e.filtered];
    let mut row = |symbol: &str, channel: &str, counts: [u64; 5]| {
        let [published, delivered, conflated, dropped, filtered] = counts;
        let _ = write!(
            text,
            "\n{symbol:width$}  {channel:10}  {published:>9}  {delivered:>11}  {conflated:>11}  {dropped:>11}  {filtered:>11}"
        );
    };
    for entry in &entries {
        row(&entry.symbol, entry.channel().name(), counts(entry));
    }
    if entries.len() > 1 {
        let all = entries.iter().map(|entry| counts(entry));
        row("all", "", all.fold([0; 5], |sum, of| std::array::from_fn(|at| sum[at] + of[at])));
    }
    text
}

#[cfg(test)]
mod tests {
    use tickwire_wire::{Bar, Body, GapCause, Trade};

    use super::*;
    use crate::tap::recorder::tests::{connected, gap, quote, record, subscribed};

    fn trade(sequence: u64) -> Event {
        record(sequence, Body::Trade(Trade::default()))
    }

    /// `counts`: published, delivered, conflated, dropped.
    fn entry(channel: Channel, counts: [u64; 4]) -> LedgerEntry {
        let [published, delivered, conflated, dropped] = counts;
        let (instrument, symbol, channel) = (3, "sim:A B".to_owned(), channel as i32);
        LedgerEntry { instrument, channel, symbol, published, delivered, conflated, dropped, filtered: 0 }
    }

    #[track_caller]
    fn check(events: &[Event], entries: Vec<LedgerEntry>, expected: &[&str]) {
        let mut tally = Tally::default();
        for event in events {
            tally.event(event);
        }
        assert_eq!(tally.check(&Ledger { id: 1, entries }), expected);
    }

    #[test]
    fn accounts_are_compared() {
        use Channel::{Quote, Trade};
        // Grants in these tests say that number 6 has passed.
        let start = |events: Vec<Event>| [vec![connected(), subscribed(&[Quote])], events].concat();
        check(&start(vec![quote(6), quote(7), quote(9)]), vec![entry(Quote, [3, 2, 1, 0])], &[]);
        check(
            &start(vec![quote(7)]),
            vec![entry(Quote, [3, 2, 1, 0])],
            &["quote sim:A B: the gateway delivered 2, 1 came"],
        );
        check(
            &start(vec![quote(7)]),
            vec![entry(Quote, [3, 1, 1, 0])],
            &["quote sim:A B: published is 3, the parts add up to 2"],
        );
        check(&start(vec![]), vec![], &["quote sim:A B: is not in the ledger"]);
        check(
            &start(vec![]),
            vec![entry(Quote, [0; 4]), entry(Trade, [0; 4])],
            &["trade sim:A B: is in the ledger, and was never granted"],
        );
    }

    /// The same as the gateway counts it: `a_bar_that_is_said_again_behind_a_later_one_counts_once` of its engine.
    #[test]
    fn a_bar_that_is_said_again_behind_a_later_one_counts_once() {
        let bar = |sequence, correction| {
            record(sequence, Body::Bar(Bar { interval: 60, correction, ..Bar::default() }))
        };
        let lost = gap(Channel::Bar, 8, Some(9), GapCause::Bus);
        let events = vec![connected(), subscribed(&[Channel::Bar]), bar(7, false), lost];
        let events = [events, vec![bar(10, true), bar(9, false), bar(11, false), bar(10, true)]].concat();
        check(&events, vec![entry(Channel::Bar, [5, 3, 0, 2])], &[]);
    }

    #[test]
    fn gaps_move_the_numbers() {
        let quotes = |events: Vec<Event>| [vec![connected(), subscribed(&[Channel::Quote])], events].concat();
        let lost = gap(Channel::Quote, 8, Some(9), GapCause::Bus);
        check(
            &quotes(vec![quote(7), lost, quote(9), quote(10)]),
            vec![entry(Channel::Quote, [4, 2, 0, 2])],
            &[],
        );
        let anew = gap(Channel::Quote, 8, None, GapCause::Ingest);
        check(&quotes(vec![quote(7), anew, quote(1)]), vec![entry(Channel::Quote, [2, 2, 0, 0])], &[]);
    }

    #[test]
    fn what_ended_has_an_account_of_its_own() {
        use crate::tap::recorder::tests::ended;
        let account = |counts| Event::Ledger(Ledger { id: 0, entries: vec![entry(Channel::Trade, counts)] });
        let start = || vec![connected(), subscribed(&[Channel::Quote, Channel::Trade]), trade(7), quote(7)];
        let end = |counts| vec![ended(Channel::Trade, false), account(counts), quote(8)];
        let quotes = || vec![entry(Channel::Quote, [2, 2, 0, 0])];
        check(&[start(), end([1, 1, 0, 0])].concat(), quotes(), &[]);
        check(
            &[start(), end([2, 2, 0, 0])].concat(),
            quotes(),
            &["trade sim:A B: the gateway delivered 2, 1 came"],
        );
        // Granted again, it is counted anew.
        let anew = vec![subscribed(&[Channel::Trade]), trade(7), trade(8)];
        let entries = [quotes(), vec![entry(Channel::Trade, [2, 2, 0, 0])]].concat();
        check(&[start(), end([1, 1, 0, 0]), anew].concat(), entries, &[]);
    }

    #[test]
    fn lossless_subscriptions_go_on_after_a_reconnect() {
        let grant = || subscribed(&[Channel::Trade]);
        let first = vec![connected(), grant(), trade(7), trade(8)];
        // The second session's grant says 6 again, which stands for a number far ahead: what comes is the back-fill.
        let second = vec![connected(), grant(), trade(9), trade(10), trade(11)];
        check(&[first, second].concat(), vec![entry(Channel::Trade, [3, 3, 0, 0])], &[]);
    }

    #[test]
    fn the_account_for_people() {
        let entries = vec![entry(Channel::Trade, [10, 7, 0, 3]), entry(Channel::Quote, [20, 5, 15, 0])];
        let expected = "\
symbol   channel     published  = delivered  + conflated  +   dropped  +  filtered
sim:A B  quote              20            5           15            0            0
sim:A B  trade              10            7            0            3            0
all                         30           12           15            3            0";
        assert_eq!(text(&Ledger { id: 1, entries }), expected);
    }
}
