//! Each instrument, as far as it is known: its name and scale, its subscriptions, its quote and its book.

use std::collections::HashMap;
use std::sync::Arc;

use tickwire_wire::{Channel, Granted, Quote, Scale};

use super::books::SyncedBook;
use super::pending_gaps::Tracked;

/// One channel of one instrument.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The instrument's number, as its last grant says. It means nothing on another connection.
    pub(crate) id: u32,
    /// It is granted on the present connection.
    pub(crate) is_granted: bool,
    /// State is on its way: what is shown until then is old.
    pub(crate) awaits_snapshot: bool,
    /// The age that everything of it has at least, in milliseconds.
    pub(crate) delay_ms: u64,
    /// The most levels of each side, of a book to a depth; 0 for all.
    pub(crate) depth: u32,
    /// Its sequence: what came, and what is to come.
    pub(crate) tracked: Tracked,
}

/// The newest quote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastQuote {
    pub(crate) quote: Quote,
    pub(crate) sequence: u64,
    pub(crate) event_time: u64,
}

#[derive(Debug)]
pub(crate) struct Instrument {
    pub(crate) scale: Arc<Scale>,
    pub(crate) venue: Arc<str>,
    subscriptions: [Option<Subscription>; Channel::SLOTS],
    pub(crate) quote: Option<LastQuote>,
    pub(crate) book: Option<Box<SyncedBook>>,
}

impl Instrument {
    pub(crate) fn subscription(&self, channel: Channel) -> Option<&Subscription> {
        self.subscriptions[channel as usize].as_ref()
    }

    pub(crate) fn subscription_mut(&mut self, channel: Channel) -> Option<&mut Subscription> {
        self.subscriptions[channel as usize].as_mut()
    }

    /// Returns the subscription that is granted under this number, and by no other.
    pub(crate) fn granted_mut(&mut self, id: u32, channel: Channel) -> Option<&mut Subscription> {
        self.subscription_mut(channel).filter(|s| s.is_granted && s.id == id)
    }

    /// Returns the longest delay of what is granted, in milliseconds; 0 where all of it is live.
    pub(crate) fn delay_ms(&self) -> u64 {
        self.subscriptions().filter(|(_, s)| s.is_granted).map(|(_, s)| s.delay_ms).max().unwrap_or_default()
    }

    fn has(&self, is_it: impl Fn(&Subscription) -> bool) -> bool {
        self.subscriptions.iter().flatten().any(is_it)
    }

    /// Returns its subscriptions, with their channels.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = (Channel, &Subscription)> {
        Channel::ALL.into_iter().filter_map(|channel| Some((channel, self.subscription(channel)?)))
    }

    /// Something is granted, and neither quote nor book are older than the connection or broken.
    pub(crate) fn is_current(&self) -> bool {
        let mut granted = self.subscriptions().filter(|(_, s)| s.is_granted).peekable();
        granted.peek().is_some()
            && granted.all(|(channel, s)| {
                let shows_state = matches!(channel, Channel::Quote | Channel::Book);
                !(shows_state && s.awaits_snapshot)
            })
            && self.book.as_ref().is_none_or(|book| book.is_right())
    }

    /// Later updates carry it; earlier ones keep theirs.
    pub(crate) fn set_scale(&mut self, price_decimals: u32, size_decimals: u32) {
        if (self.scale.price_decimals, self.scale.size_decimals) != (price_decimals, size_decimals) {
            let symbol = self.scale.symbol.clone();
            self.scale = Arc::new(Scale { symbol, price_decimals, size_decimals });
        }
    }

    fn new(granted: &Granted) -> Self {
        let venue = granted.symbol.split_once(':').map_or(granted.symbol.as_str(), |(venue, _)| venue);
        Self {
            scale: Arc::new(Scale {
                symbol: granted.symbol.clone(),
                price_decimals: granted.price_decimals,
                size_decimals: granted.size_decimals,
            }),
            venue: venue.into(),
            subscriptions: Default::default(),
            quote: None,
            book: None,
        }
    }
}

/// All instruments that something was granted of.
#[derive(Debug, Default)]
pub(crate) struct Instruments {
    slots: Vec<Option<Instrument>>,
    free: Vec<usize>,
    by_symbol: HashMap<String, usize>,
    /// Numbers hold for one connection, and there from their grant until what was granted under them ended or is
    /// granted under another. A number leads to an instrument only; whether it is that of a subscription says the
    /// subscription.
    by_id: HashMap<u32, usize>,
}

impl Instruments {
    pub(crate) fn get(&self, symbol: &str) -> Option<&Instrument> {
        self.slots[*self.by_symbol.get(symbol)?].as_ref()
    }

    pub(crate) fn get_mut(&mut self, symbol: &str) -> Option<&mut Instrument> {
        self.slots[*self.by_symbol.get(symbol)?].as_mut()
    }

    /// Returns the instrument whose subscription to a channel is granted under this number.
    pub(crate) fn granted_mut(&mut self, id: u32, channel: Channel) -> Option<&mut Instrument> {
        let instrument = self.slots[*self.by_id.get(&id)?].as_mut()?;
        instrument.granted_mut(id, channel).is_some().then_some(instrument)
    }

    /// Returns another symbol of which something is granted under this number.
    pub(crate) fn is_taken(&self, id: u32, symbol: &str) -> Option<&str> {
        let instrument = self.slots[*self.by_id.get(&id)?].as_ref()?;
        let is_other = instrument.scale.symbol != symbol && instrument.has(|s| s.is_granted && s.id == id);
        is_other.then_some(instrument.scale.symbol.as_str())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Instrument> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Instrument> {
        self.slots.iter_mut().flatten()
    }

    /// The connection is gone: nothing is granted, and ids mean nothing.
    pub(crate) fn disconnected(&mut self) {
        self.by_id.clear();
        for instrument in self.iter_mut() {
            for subscription in instrument.subscriptions.iter_mut().flatten() {
                subscription.is_granted = false;
            }
            if let Some(book) = &mut instrument.book {
                book.disconnected();
            }
        }
    }

    /// A subscription begins, or goes on after a reconnect.
    pub(crate) fn grant(&mut self, granted: &Granted) -> &mut Instrument {
        let at = match self.by_symbol.get(&granted.symbol) {
            Some(at) => *at,
            None => self.insert(granted),
        };
        let (channel, id) = (granted.channel(), granted.instrument);
        let instrument = self.slots[at].get_or_insert_with(|| Instrument::new(granted));
        instrument.set_scale(granted.price_decimals, granted.size_decimals);
        let slot = &mut instrument.subscriptions[channel as usize];
        let (epoch, sequence) = (granted.epoch, granted.sequence);
        let known = slot.take();
        let before = known.as_ref().map_or(0, |known| known.id);
        let tracked = match known {
            Some(Subscription { mut tracked, .. }) => {
                tracked.resume(epoch, sequence);
                tracked
            }
            None => Tracked::new(channel, epoch, sequence),
        };
        // Nothing happened yet where the sequence is 0: then there is nothing to wait for.
        *slot = Some(Subscription {
            id,
            is_granted: true,
            awaits_snapshot: sequence > 0,
            delay_ms: granted.delay_ms,
            depth: granted.depth,
            tracked,
        });
        match channel {
            Channel::Book => instrument.book.get_or_insert_default().begin(),
            // It is of an epoch that is gone: the next quote is the first of the new one.
            Channel::Quote if granted.sequence == 0 => instrument.quote = None,
            _ => {}
        }
        self.forget_id(before, at);
        self.by_id.insert(id, at);
        self.slots[at].get_or_insert_with(|| Instrument::new(granted))
    }

    /// The program does not want it any more, or there is no more of it.
    pub(crate) fn remove(&mut self, symbol: &str, channel: Channel) -> Option<Subscription> {
        let at = *self.by_symbol.get(symbol)?;
        let instrument = self.slots[at].as_mut()?;
        let subscription = instrument.subscriptions[channel as usize].take()?;
        match channel {
            Channel::Quote => instrument.quote = None,
            Channel::Book => instrument.book = None,
            _ => {}
        }
        let is_last = !instrument.has(|_| true);
        self.forget_id(subscription.id, at);
        if is_last {
            self.by_symbol.remove(symbol);
            self.slots[at] = None;
            self.free.push(at);
        }
        Some(subscription)
    }

    /// A number that is no subscription's any more must not lead to whatever takes the instrument's place later.
    fn forget_id(&mut self, id: u32, at: usize) {
        let is_used = self.slots[at].as_ref().is_some_and(|instrument| instrument.has(|s| s.id == id));
        if !is_used && self.by_id.get(&id) == Some(&at) {
            self.by_id.remove(&id);
        }
    }

    fn insert(&mut self, granted: &Granted) -> usize {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[at] = Some(Instrument::new(granted));
        self.by_symbol.insert(granted.symbol.clone(), at);
        at
    }
}

#[cfg(test)]
#[path = "instruments_tests.rs"]
mod tests;
