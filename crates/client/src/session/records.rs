//! Records and gaps: what they mean for numbers, books and quotes.

use std::sync::Arc;

use tickwire_wire::{Body, Channel, Gap, GapCause, Missing, Numbered, Record, Scale, Verdict};
use tokio::time::Instant;

use super::Session;
use super::books::BookEffect;
use super::instruments::LastQuote;
use super::pending_gaps::{OWED_NS_MAX, Patience};
use crate::event::{Event, GapEvent, NoticedBy, State, Update};

/// The period at which what is owed is looked at, in nanoseconds of the gateway's send time.
const LOOK_NS: u64 = OWED_NS_MAX / 20;
/// While the gateway says that it holds this session back, what it owes may wait behind what it sends: for at most so
/// long, as it sheds or closes before that.
const OWED_HELD_BACK_NS_MAX: u64 = 60_000_000_000;

impl Session {
    pub(super) fn record(&mut self, record: Record, now: Instant) {
        let channel = record.channel();
        if let Body::Gap(gap) = &record.body {
            return self.gap(record.instrument, gap, now);
        }
        // By its number as granted on this connection, and by nothing that was known before.
        let id = record.instrument;
        let Some(instrument) = self.instruments.granted_mut(id, channel) else {
            self.counters.ignored += 1;
            return;
        };
        let Some(subscription) = instrument.granted_mut(id, channel) else { return };
        self.is_filling |= subscription.tracked.is_filling();
        let missing = match subscription.tracked.record(Numbered::from(&record)) {
            Verdict::After(missing) if channel.is_lossless() => Some(missing),
            // What comes again on other channels says what is shown, and a book looks after its changes itself.
            Verdict::Repeated if channel.is_lossless() => {
                self.counters.duplicates += 1;
                return;
            }
            _ => None,
        };
        match &record.body {
            Body::Book(book) => {
                let effect = instrument.book.get_or_insert_default().apply(record.sequence, book, now);
                return self.book_effect(effect, record);
            }
            Body::Quote(quote) => {
                let (sequence, event_time) = (record.sequence, record.event_time);
                instrument.quote = Some(LastQuote { quote: *quote, sequence, event_time });
            }
            Body::Instrument(i) => instrument.set_scale(i.price_decimals, i.size_decimals),
            _ => {}
        }
        if let Some(subscription) = instrument.subscription_mut(channel) {
            subscription.awaits_snapshot = false;
        }
        let scale = Arc::clone(&instrument.scale);
        if let Some(missing) = missing {
            self.missing(&scale, channel, missing);
        }
        self.event(Event::Record(Update { record, scale }));
    }

    fn book_effect(&mut self, effect: BookEffect, record: Record) {
        let Some(instrument) = self.instruments.granted_mut(record.instrument, Channel::Book) else { return };
        let scale = Arc::clone(&instrument.scale);
        let repair_at = instrument.book.as_ref().and_then(|book| book.repair_at());
        let is_right = matches!(effect, BookEffect::Applied | BookEffect::Repaired);
        if let Some(subscription) = instrument.subscription_mut(Channel::Book).filter(|_| is_right) {
            subscription.awaits_snapshot = false;
        }
        if let Some(at) = repair_at {
            self.tick_by(at);
        }
        match effect {
            BookEffect::Applied => self.event(Event::Record(Update { record, scale })),
            BookEffect::Repaired => {
                self.event(Event::Record(Update { record, scale: Arc::clone(&scale) }));
                self.event(Event::State(State::BookRepaired { scale }));
            }
            BookEffect::Broken(error) => {
                self.book_broken(scale, format!("{error}; it is asked for again"));
            }
            BookEffect::Ignored => self.counters.ignored += 1,
        }
    }

    fn book_broken(&mut self, scale: Arc<Scale>, reason: String) {
        self.counters.broken_books += 1;
        self.event(Event::State(State::BookBroken { scale, reason }));
    }

    fn gap(&mut self, id: u32, gap: &Gap, now: Instant) {
        let channel = gap.channel();
        let Some(instrument) = self.instruments.granted_mut(id, channel) else {
            self.counters.ignored += 1;
            return;
        };
        let scale = Arc::clone(&instrument.scale);
        let Some(subscription) = instrument.granted_mut(id, channel) else { return };
        self.is_filling |= subscription.tracked.is_filling();
        let (before, announced) = subscription.tracked.gap(gap);
        if channel.is_lossless() {
            if let Some(before) = before {
                self.missing(&scale, channel, before);
            }
            match announced {
                Some(missing) => self.gap_event(scale, channel, missing, NoticedBy::Gateway),
                None => self.counters.duplicates += 1,
            }
            return;
        }
        // What is shown was not superseded but lost: it is old until the next record says otherwise.
        subscription.awaits_snapshot = true;
        let mut is_news = false;
        if channel == Channel::Book {
            let book = instrument.book.get_or_insert_default();
            is_news = book.lost(now);
            if let Some(at) = book.repair_at() {
                self.tick_by(at);
            }
        }
        let missing = Missing {
            first: gap.first_sequence,
            last: (gap.last_sequence > 0).then_some(gap.last_sequence),
            epoch: gap.epoch,
            cause: gap.cause(),
        };
        let gap = GapEvent::new(Arc::clone(&scale), channel, missing, NoticedBy::Gateway);
        let reason = gap.explanation();
        self.event(Event::Gap(gap));
        if is_news {
            self.book_broken(scale, reason.to_owned());
        }
    }

    /// Tells the program of sequence numbers that nobody announced.
    pub(super) fn missing(&mut self, scale: &Arc<Scale>, channel: Channel, missing: Missing) {
        if missing.cause != GapCause::Resume {
            self.counters.violations += 1;
        }
        self.gap_event(Arc::clone(scale), channel, missing, NoticedBy::Client);
    }

    fn gap_event(&mut self, scale: Arc<Scale>, channel: Channel, missing: Missing, noticed_by: NoticedBy) {
        self.event(Event::Gap(GapEvent::new(scale, channel, missing, noticed_by)));
    }

    /// The gateway owes records to a lossless subscription; [`Session::sent`] looks whether they come.
    pub(super) fn owe(&mut self, instrument: u32, channel: Channel, is_filling: bool) {
        self.is_filling |= is_filling;
        self.owed.push((instrument, channel));
        self.looked_at = None;
    }

    /// Takes the end of a WebSocket message, and looks whether what is owed has come.
    pub(super) fn sent(&mut self, time: u64) {
        if std::mem::take(&mut self.is_filling) {
            self.filled_at = time;
        }
        if self.owed.is_empty() || self.looked_at.is_some_and(|at| time.abs_diff(at) < LOOK_NS) {
            return;
        }
        self.looked_at = Some(time);
        let ns_max = if self.is_held_back { OWED_HELD_BACK_NS_MAX } else { OWED_NS_MAX };
        let patience = Patience { time, ns_max, filled_at: self.filled_at };
        for (id, channel) in std::mem::take(&mut self.owed) {
            let Some(instrument) = self.instruments.granted_mut(id, channel) else { continue };
            let scale = Arc::clone(&instrument.scale);
            let Some(subscription) = instrument.granted_mut(id, channel) else { continue };
            let tracked = &mut subscription.tracked;
            let mut lost = Vec::new();
            lost.extend(std::iter::from_fn(|| tracked.settle(patience)));
            if tracked.is_owed() {
                self.owed.push((id, channel));
            }
            for missing in lost {
                self.missing(&scale, channel, missing);
            }
        }
    }
}
