//! The state behind the table: the newest of every symbol, and whether it may be believed. Events and `now` go in;
//! `view` draws it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tickwire_client::{Event, GapEvent, State, Update};
use tickwire_wire::{Body, BookProof, BookState, Channel, FeedState, Granted, Quote, Scale, TradingState};

use super::refusals;
use super::show::word;

/// Lines at the bottom.
const NOTICES_MAX: usize = 4;
/// Rows of instruments that ended.
const ENDED_MAX: usize = 50;

/// The degree to which a price can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Live,
    /// It is what was, so many milliseconds ago, and was live then.
    Delayed(u64),
    /// Nothing came yet.
    Waiting,
    /// Neither open nor live: the venue says so.
    Halted(String),
    /// Records are missing, and nothing newer came.
    Gap,
    /// No connection, a dead feed, or older than the connection.
    Stale,
    /// It comes from a file.
    Recorded,
    /// There is no more of it.
    Ended,
}

impl Life {
    /// Dead prices are dimmed.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self, Self::Gap | Self::Stale | Self::Recorded | Self::Ended)
    }
}

/// The faults that stand between a channel's state and the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doubt {
    #[default]
    None,
    Gap,
    Old,
}

/// One symbol.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) scale: Arc<Scale>,
    quote: Option<Quote>,
    /// Price and size.
    pub(super) trade: Option<(i64, u64)>,
    pub(super) book: Option<BookState>,
    quote_doubt: Doubt,
    book_doubt: Doubt,
    trading: TradingState,
    updates: u64,
    updates_before: u64,
    /// Updates per second.
    pub(super) rate: f64,
    /// Nanoseconds from the event, and from the gateway, to here.
    pub(super) event_latency: Option<i64>,
    pub(super) gateway_latency: Option<i64>,
    /// Nanoseconds since the Unix epoch; 0: never.
    pub(super) updated_at: u64,
    /// The SDK agrees that it is live, or was when it was as old as it is to be.
    is_vouched: bool,
    /// The longest delay of what is subscribed, in milliseconds.
    delay_ms: u64,
    /// Channels that are subscribed, a bit for each.
    channels: u32,
    /// All of them have ended.
    is_ended: bool,
}

impl Row {
    fn new(scale: Arc<Scale>) -> Self {
        Self {
            scale,
            quote: None,
            trade: None,
            book: None,
            quote_doubt: Doubt::None,
            book_doubt: Doubt::None,
            trading: TradingState::Unknown,
            updates: 0,
            updates_before: 0,
            rate: 0.0,
            event_latency: None,
            gateway_latency: None,
            updated_at: 0,
            is_vouched: true,
            delay_ms: 0,
            channels: 0,
            is_ended: false,
        }
    }

    /// Returns the best bid and offer: the quote, or the book's where there is none.
    pub(super) fn best(&self) -> Quote {
        self.quote.or_else(|| self.book.as_ref().map(BookState::best)).unwrap_or_default()
    }

    /// Whatever is shown is older than the next connection.
    fn disconnected(&mut self) {
        self.quote_doubt = self.quote.map_or(self.quote_doubt, |_| Doubt::Old);
        self.book_doubt = self.book.as_ref().map_or(self.book_doubt, |_| Doubt::Old);
    }
}

/// The state behind the table.
#[derive(Debug, Default)]
pub(super) struct Board {
    rows: Vec<Row>,
    places: HashMap<String, usize>,
    feeds: HashMap<Arc<str>, FeedState>,
    pub(super) title: String,
    is_connected: bool,
    /// Prices are history.
    pub(super) is_recording: bool,
    notices: VecDeque<String>,
    records: u64,
    pub(super) gaps: u64,
    /// Received from gateways so far; None: not known.
    pub(super) bytes: Option<u64>,
    before: (u64, u64),
    /// Per second.
    pub(super) record_rate: f64,
    pub(super) byte_rate: f64,
}

impl Board {
    pub(super) fn event(&mut self, event: &Event, sent_time: Option<u64>, now: u64) {
        match event {
            Event::Record(update) => self.record(update, sent_time, now),
            Event::Gap(gap) => self.gap(gap),
            Event::Subscribed(outcome) => {
                outcome.granted.iter().for_each(|granted| self.granted(granted));
                outcome.refused.iter().for_each(|refused| self.notice(refusals::line(refused)));
            }
            Event::State(state) => self.state(state),
            Event::Notice(notice) => self.notice(format!("notice: {}: {}", notice.code, notice.message)),
            Event::Rejected(error) => self.notice(format!("error: {}: {}", error.code, error.message)),
            _ => {}
        }
    }

    /// Adds a line at the bottom; where there are too many, the oldest one goes. What is said again and again is there
    /// once.
    pub(super) fn notice(&mut self, line: String) {
        if self.notices.back() == Some(&line) {
            return;
        }
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(line);
    }

    /// Takes the rates over the time since the call before.
    pub(super) fn measure(&mut self, seconds: f64) {
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        for row in &mut self.rows {
            row.rate = rate(row.updates, row.updates_before);
            row.updates_before = row.updates;
        }
        let bytes = self.bytes.unwrap_or(0);
        (self.record_rate, self.byte_rate) = (rate(self.records, self.before.0), rate(bytes, self.before.1));
        self.before = (self.records, bytes);
    }

    /// Asks the SDK about every symbol: what it does not call current is not shown as live.
    pub(super) fn vouch(&mut self, is_current: impl Fn(&str) -> bool) {
        for row in &mut self.rows {
            row.is_vouched = is_current(&row.scale.symbol);
        }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn notices(&self) -> impl Iterator<Item = &str> {
        self.notices.iter().map(String::as_str)
    }

    pub(super) fn life(&self, row: &Row) -> Life {
        if row.is_ended {
            return Life::Ended;
        }
        if self.is_recording {
            return Life::Recorded;
        }
        let venue = row.scale.symbol.split(':').next().unwrap_or_default();
        let is_feed_dead = self.feeds.get(venue).is_some_and(|state| *state != FeedState::Live);
        let doubts = [row.quote_doubt, row.book_doubt];
        if !self.is_connected || is_feed_dead || doubts.contains(&Doubt::Old) {
            return Life::Stale;
        }
        if doubts.contains(&Doubt::Gap) {
            return Life::Gap;
        }
        if row.updated_at == 0 {
            return Life::Waiting;
        }
        if !row.is_vouched {
            return Life::Stale;
        }
        match row.trading {
            TradingState::Unknown | TradingState::Open if row.delay_ms > 0 => Life::Delayed(row.delay_ms),
            TradingState::Unknown | TradingState::Open => Life::Live,
            other => Life::Halted(word(other.as_str_name(), "TRADING_STATE_")),
        }
    }

    fn row(&mut self, scale: &Arc<Scale>) -> &mut Row {
        let at = *self.places.entry(scale.symbol.clone()).or_insert_with(|| {
            self.rows.push(Row::new(Arc::clone(scale)));
            self.rows.len() - 1
        });
        let row = &mut self.rows[at];
        if !Arc::ptr_eq(&row.scale, scale) {
            row.scale = Arc::clone(scale);
        }
        row
    }

    fn granted(&mut self, granted: &Granted) {
        let (price_decimals, size_decimals) = (granted.price_decimals, granted.size_decimals);
        let row =
            self.row(&Arc::new(Scale { symbol: granted.symbol.clone(), price_decimals, size_decimals }));
        // Another session may see it otherwise: what was granted before is granted again then.
        row.delay_ms = if row.channels == 0 { granted.delay_ms } else { row.delay_ms.max(granted.delay_ms) };
        row.channels |= 1 << granted.channel() as u32;
        row.is_ended = false;
        match granted.channel() {
            // Nothing happened in this sequence: then there is nothing to wait for.
            Channel::Quote if granted.sequence == 0 => row.quote_doubt = Doubt::None,
            Channel::Book => {
                row.book_doubt = if granted.sequence == 0 { Doubt::None } else { row.book_doubt };
                row.book.get_or_insert_default();
            }
            _ => {}
        }
    }

    fn record(&mut self, update: &Update, sent_time: Option<u64>, now: u64) {
        self.records += 1;
        let row = self.row(&update.scale);
        row.updates += 1;
        row.updated_at = now;
        let record = &update.record;
        row.event_latency = (record.event_time > 0).then(|| now.wrapping_sub(record.event_time) as i64);
        row.gateway_latency = sent_time.map(|sent| now.wrapping_sub(sent) as i64);
        match &record.body {
            Body::Quote(quote) => {
                row.quote = Some(*quote);
                row.quote_doubt = Doubt::None;
            }
            Body::Trade(trade) => row.trade = Some((trade.price, trade.size)),
            Body::Book(book) => {
                let is_right = row.book.get_or_insert_default().apply(record.sequence, book).is_ok();
                row.book_doubt = if is_right { Doubt::None } else { Doubt::Gap };
            }
            Body::Status(status) => row.trading = status.state(),
            _ => {}
        }
    }

    fn gap(&mut self, gap: &GapEvent) {
        self.gaps += 1;
        self.notice(format!("{gap}: {}", gap.explanation()));
        let row = self.row(&gap.scale);
        match gap.channel {
            Channel::Quote => row.quote_doubt = Doubt::Gap,
            Channel::Book => {
                row.book_doubt = Doubt::Gap;
                row.book.get_or_insert_default().reset();
            }
            _ => {}
        }
    }

    /// Marks what has ended, so that it is not shown as if it could move. The rows of what ended long ago go.
    fn ended(&mut self, scale: &Arc<Scale>, channel: Channel) {
        let row = self.row(scale);
        row.channels &= !(1 << channel as u32);
        row.is_ended = row.channels == 0;
        match channel {
            Channel::Quote => (row.quote, row.quote_doubt) = (None, Doubt::None),
            Channel::Book => (row.book, row.book_doubt) = (None, Doubt::None),
            _ => {}
        }
        if self.rows.iter().filter(|row| row.is_ended).count() > ENDED_MAX
            && let Some(oldest) = self.rows.iter().position(|row| row.is_ended)
        {
            self.rows.remove(oldest);
            let places = self.rows.iter().enumerate().map(|(at, row)| (row.scale.symbol.clone(), at));
            self.places = places.collect();
        }
    }

    fn state(&mut self, state: &State) {
        match state {
            State::Connected { address, hello } => {
                self.is_connected = true;
                self.title = format!("{address}  session {}", hello.session);
            }
            State::Disconnected { reason, retry_in } => {
                self.is_connected = false;
                self.feeds.clear();
                self.rows.iter_mut().for_each(Row::disconnected);
                let next = retry_in.map(|wait| format!("; next attempt in {:.1} s", wait.as_secs_f64()));
                self.title = format!("NOT CONNECTED  {reason}{}", next.unwrap_or_default());
                self.notice(reason.to_string());
            }
            State::Feed { venue, state, reason, book_proof, .. } => {
                let before = self.feeds.insert(Arc::clone(venue), *state);
                if *book_proof == BookProof::Unverifiable && before.is_none() {
                    self.notice(format!("nothing proves the books of {venue}: one may be wrong and live"));
                }
                if before.is_none() && *state == FeedState::Live {
                    return;
                }
                let colon = if reason.is_empty() { "" } else { ": " };
                let state = word(state.as_str_name(), "FEED_STATE_");
                self.notice(format!("feed {venue} is {state}{colon}{reason}"));
            }
            State::BookBroken { scale, reason } => {
                self.row(scale).book_doubt = Doubt::Gap;
                self.notice(format!("book {}: {reason}", scale.symbol));
            }
            State::BookRepaired { scale } => self.row(scale).book_doubt = Doubt::None,
            State::Ended { scale, channel, reason, returns } => {
                let again = if *returns { "; it was defined anew" } else { "" };
                self.notice(format!("ended: {} {}: {reason}{again}", channel.name(), scale.symbol));
                self.ended(scale, *channel);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tickwire_client::Outcome;
    use tickwire_wire::{GapCause, Status};

    use super::*;
    use crate::tap::recorder::tests::{connected, disconnected, ended, feed, gap, quote, record, subscribed};

    #[track_caller]
    fn check(events: &[Event], expected: &Life) {
        let mut board = Board::default();
        board.event(&connected(), None, 1);
        board.event(&subscribed(&[Channel::Quote]), None, 1);
        for event in events {
            board.event(event, Some(1400), 2000);
        }
        assert_eq!(board.life(&board.rows()[0]), *expected);
    }

    fn trading(state: TradingState) -> Event {
        record(1, Body::Status(Status { state: state as i32, reason: String::new() }))
    }

    #[test]
    fn dead_prices_are_never_live() {
        let lost = || gap(Channel::Quote, 8, Some(9), GapCause::Bus);
        check(&[], &Life::Waiting);
        check(&[quote(7)], &Life::Live);
        check(&[quote(7), lost()], &Life::Gap);
        check(&[quote(7), lost(), quote(10)], &Life::Live);
        check(&[quote(7), gap(Channel::Trade, 8, Some(9), GapCause::Shed)], &Life::Live);
        check(&[quote(7), disconnected()], &Life::Stale);
        check(&[quote(7), disconnected(), connected()], &Life::Stale);
        check(&[quote(7), disconnected(), connected(), subscribed(&[Channel::Quote])], &Life::Stale);
        check(&[quote(7), disconnected(), connected(), subscribed(&[Channel::Quote]), quote(8)], &Life::Live);
        check(&[quote(7), feed(FeedState::Stale, "")], &Life::Stale);
        check(&[quote(7), feed(FeedState::Down, "")], &Life::Stale);
        check(&[quote(7), feed(FeedState::Stale, ""), feed(FeedState::Live, "")], &Life::Live);
        check(&[quote(7), trading(TradingState::Halted)], &Life::Halted("halted".to_owned()));
        check(&[quote(7), trading(TradingState::Halted), trading(TradingState::Open)], &Life::Live);
        check(&[quote(7), trading(TradingState::Halted), disconnected()], &Life::Stale);
    }

    #[test]
    fn what_ended_is_shown_as_ended_until_it_is_granted_again() {
        let end = || ended(Channel::Quote, false);
        check(&[quote(7), end()], &Life::Ended);
        check(&[quote(7), end(), disconnected()], &Life::Ended);
        check(&[quote(7), subscribed(&[Channel::Trade]), end()], &Life::Live);
        check(&[quote(7), end(), subscribed(&[Channel::Quote]), quote(8)], &Life::Live);
        let mut board = Board::default();
        for event in [connected(), subscribed(&[Channel::Quote]), quote(7), end()] {
            board.event(&event, None, 1);
        }
        assert_eq!(board.rows()[0].best(), Quote::default(), "no price that cannot move");
    }

    #[test]
    fn rows_of_what_ended_are_few() {
        let mut board = Board::default();
        for number in 0..3 * ENDED_MAX {
            let scale = Arc::new(Scale { symbol: format!("sim:{number}"), ..Scale::default() });
            let (channel, reason) = (Channel::Quote, "it expired".to_owned());
            board.event(&Event::State(State::Ended { scale, channel, reason, returns: false }), None, 1);
        }
        assert_eq!(board.rows().len(), ENDED_MAX);
        assert!(board.places.iter().all(|(symbol, at)| board.rows[*at].scale.symbol == *symbol));
    }

    #[test]
    fn what_comes_late_is_not_called_live() {
        let mut board = Board::default();
        board.event(&connected(), None, 1);
        let late = Granted { delay_ms: 900_000, ..crate::tap::recorder::tests::granted(Channel::Quote, 6) };
        board.event(&Event::Subscribed(Outcome::new(vec![late], Vec::new())), None, 1);
        board.event(&quote(7), None, 1);
        board.vouch(|_| true);
        assert_eq!(board.life(&board.rows()[0]), Life::Delayed(900_000));
        board.event(&feed(FeedState::Down, ""), None, 1);
        assert_eq!(board.life(&board.rows()[0]), Life::Stale);
    }

    #[test]
    fn what_the_sdk_does_not_call_live_is_not() {
        let mut board = Board::default();
        board.event(&connected(), None, 1);
        board.event(&quote(7), None, 1);
        board.vouch(|_| false);
        assert_eq!(board.life(&board.rows()[0]), Life::Stale);
        board.vouch(|symbol| symbol == "sim:A B");
        assert_eq!(board.life(&board.rows()[0]), Life::Live);
    }

    #[test]
    fn rates_and_losses_are_counted() {
        let mut board = Board { bytes: Some(0), ..Board::default() };
        for sequence in 0..6 {
            board.event(&quote(sequence), Some(1400), 2000);
        }
        board.bytes = Some(300);
        board.measure(2.0);
        let row = &board.rows()[0];
        assert_eq!((row.event_latency, row.gateway_latency), (Some(1000), Some(600)));
        assert_eq!((row.rate, board.record_rate, board.byte_rate), (3.0, 3.0, 150.0));
        board.measure(1.0);
        assert_eq!((board.rows()[0].rate, board.record_rate, board.byte_rate), (0.0, 0.0, 0.0));
    }

    #[test]
    fn only_the_last_notices_are_kept() {
        let mut board = Board::default();
        (0..18).for_each(|number| board.notice((number / 2).to_string()));
        assert_eq!(board.notices().collect::<Vec<_>>(), ["5", "6", "7", "8"]);
    }
}
