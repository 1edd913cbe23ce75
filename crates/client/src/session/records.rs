//! Records and gaps: what they mean for numbers, books and quotes.

use std::sync::Arc;

use tickwire_wire::{Body, Channel, Gap, GapCause, Record, Scale};
use tokio::time::Instant;

use super::Session;
use super::books::BookEffect;
use super::instruments::LastQuote;
use super::numbering::{Missing, Numbering, OWED_NS_MAX, Verdict};
use crate::event::{Event, GapEvent, NoticedBy, State, Update};

impl Session {
    pub(super) fn record(&mut self, record: Record, now: Instant) {
        let channel = record.channel();
        if let Body::Gap(gap) = &record.body {
            return self.gap(record.instrument, gap, now);
        }
        let Some(instrument) = self.instruments.by_id_mut(record.instrument) else {
            self.counters.ignored += 1;
            return;
        };
        let Some(subscription) = instrument.subscription_mut(channel).filter(|s| s.is_granted) else {
            self.counters.ignored += 1;
            return;
        };
        subscription.account.record(record.sequence);
        let mut missing = None;
        if let Some(numbering) = &mut subscription.numbering {
            self.is_lossless_moving = true;
            match numbering.record(record.sequence) {
                Verdict::Take => {}
                Verdict::TakeAfter(before) => missing = Some(before),
                Verdict::Duplicate => {
                    self.counters.duplicates += 1;
                    return;
                }
            }
        }
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
        let Some(instrument) = self.instruments.by_id_mut(record.instrument) else { return };
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
            BookEffect::Broken(error) => self.book_broken(scale, error.to_string()),
            BookEffect::Ignored => self.counters.ignored += 1,
        }
    }

    fn book_broken(&mut self, scale: Arc<Scale>, reason: String) {
        self.counters.broken_books += 1;
        self.event(Event::State(State::BookBroken { scale, reason }));
    }

    fn gap(&mut self, id: u32, gap: &Gap, now: Instant) {
        let channel = gap.channel();
        let Some(instrument) = self.instruments.by_id_mut(id) else {
            self.counters.ignored += 1;
            return;
        };
        let scale = Arc::clone(&instrument.scale);
        let Some(subscription) = instrument.subscription_mut(channel).filter(|s| s.is_granted) else {
            self.counters.ignored += 1;
            return;
        };
        subscription.account.gap(gap);
        if let Some(numbering) = &mut subscription.numbering {
            self.is_lossless_moving = true;
            let (before, announced) = numbering.gap(gap);
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
        self.gap_event(Arc::clone(&scale), channel, missing, NoticedBy::Gateway);
        if is_news {
            self.book_broken(scale, "records were lost on the way to the gateway".to_owned());
        }
    }

    /// Numbers that nobody announced.
    fn missing(&mut self, scale: &Arc<Scale>, channel: Channel, missing: Missing) {
        if missing.cause != GapCause::Resume {
            self.counters.violations += 1;
        }
        self.gap_event(Arc::clone(scale), channel, missing, NoticedBy::Client);
    }

    fn gap_event(&mut self, scale: Arc<Scale>, channel: Channel, missing: Missing, noticed_by: NoticedBy) {
        let Missing { first, last, epoch, cause } = missing;
        self.event(Event::Gap(GapEvent { scale, channel, first, last, epoch, cause, noticed_by }));
    }

    /// The gateway owes records to a lossless subscription; [`Session::sent`] looks whether they come.
    pub(super) fn owe(&mut self, instrument: u32, channel: Channel) {
        self.is_lossless_moving = true;
        self.owed.push((instrument, channel));
    }

    /// The end of a WebSocket message.
    pub(super) fn sent(&mut self, time: u64) {
        if std::mem::take(&mut self.is_lossless_moving) {
            self.owed_since = time;
        }
        if self.owed.is_empty() || time.saturating_sub(self.owed_since) < OWED_NS_MAX {
            return;
        }
        for (id, channel) in std::mem::take(&mut self.owed) {
            let Some(instrument) = self.instruments.by_id_mut(id) else { continue };
            let scale = Arc::clone(&instrument.scale);
            let numbering = instrument.subscription_mut(channel).and_then(|s| s.numbering.as_mut());
            if let Some(missing) = numbering.and_then(Numbering::give_up) {
                self.missing(&scale, channel, missing);
            }
        }
    }
}
