//! The subscriptions that the program wants, whatever becomes of connections.

use std::collections::BTreeMap;
use std::time::Duration;

use tickwire_net::Backoff;
use tickwire_wire::Channel;
use tokio::time::Instant;

/// The wait between two attempts at a symbol that was refused for now.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

#[derive(Clone, Copy, Debug, Default)]
struct Want {
    max_rate: f64,
    refusals: u32,
    retry_at: Option<Instant>,
    /// When it was last asked for again because it had ended and was there anew.
    again_at: Option<Instant>,
}

/// Symbols of one channel that share a rate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) channel: Channel,
    pub(crate) max_rate: f64,
    pub(crate) symbols: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Wanted(BTreeMap<(Channel, String), Want>);

impl Wanted {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains(&self, channel: Channel, symbol: &str) -> bool {
        self.0.contains_key(&(channel, symbol.to_owned()))
    }

    /// Wants it at this rate from now on.
    pub(crate) fn insert(&mut self, channel: Channel, symbol: &str, max_rate: f64) {
        self.0.insert((channel, symbol.to_owned()), Want { max_rate, ..Want::default() });
    }

    pub(crate) fn remove(&mut self, channel: Channel, symbol: &str) {
        self.0.remove(&(channel, symbol.to_owned()));
    }

    pub(crate) fn set_rate(&mut self, channel: Channel, symbol: &str, max_rate: f64) {
        if let Some(want) = self.0.get_mut(&(channel, symbol.to_owned())) {
            want.max_rate = max_rate;
        }
    }

    /// Returns the symbol's own rate, or that of its venue.
    pub(crate) fn max_rate(&self, channel: Channel, symbol: &str) -> f64 {
        let of = |name: String| self.0.get(&(channel, name)).map(|want| want.max_rate);
        of(symbol.to_owned()).or_else(|| of(all_of_venue(symbol))).unwrap_or_default()
    }

    pub(crate) fn granted(&mut self, channel: Channel, symbol: &str) {
        if let Some(want) = self.0.get_mut(&(channel, symbol.to_owned())) {
            *want = Want { max_rate: want.max_rate, again_at: want.again_at, ..Want::default() };
        }
    }

    /// It ended, and is there anew. Its rate, when it may be asked for at once: not where that was so just now.
    pub(crate) fn again(&mut self, channel: Channel, symbol: &str, now: Instant) -> Option<f64> {
        let want = self.0.get_mut(&(channel, symbol.to_owned()))?;
        let is_calm = want.again_at.is_none_or(|at| now.duration_since(at) >= RETRY.min);
        if is_calm {
            want.again_at = Some(now);
        }
        is_calm.then_some(want.max_rate)
    }

    /// Notes that a symbol is refused for now. Returns when it is asked for again: by itself, or with all of its venue.
    pub(crate) fn refused(&mut self, channel: Channel, symbol: &str, now: Instant) -> Option<Instant> {
        let mut key = (channel, symbol.to_owned());
        if !self.0.contains_key(&key) {
            key.1 = all_of_venue(symbol);
        }
        let want = self.0.get_mut(&key)?;
        if want.retry_at.is_none() {
            // At least half of the ceiling: unlike a connect, an attempt on an open session has a gateway to spare.
            let wait = RETRY.ceiling(want.refusals) / 2 + RETRY.delay(want.refusals, rand::random()) / 2;
            want.refusals = want.refusals.saturating_add(1);
            want.retry_at = Some(now + wait);
        }
        want.retry_at
    }

    pub(crate) fn disconnected(&mut self) {
        for want in self.0.values_mut() {
            want.retry_at = None;
        }
    }

    /// Returns all that is wanted, but what `is_asked_elsewhere`.
    pub(crate) fn groups(&self, is_asked_elsewhere: impl Fn(Channel, &str) -> bool) -> Vec<Group> {
        let mut groups = Vec::new();
        for ((channel, symbol), want) in &self.0 {
            if !is_asked_elsewhere(*channel, symbol) {
                add(&mut groups, *channel, want.max_rate, symbol);
            }
        }
        groups
    }

    /// Returns what is due to be asked for again, and when the next one is.
    pub(crate) fn due(&mut self, now: Instant) -> (Vec<Group>, Option<Instant>) {
        let (mut groups, mut next) = (Vec::new(), None);
        for ((channel, symbol), want) in &mut self.0 {
            match want.retry_at {
                Some(at) if at <= now => {
                    want.retry_at = None;
                    add(&mut groups, *channel, want.max_rate, symbol);
                }
                Some(at) => next = Some(next.map_or(at, |next: Instant| next.min(at))),
                None => {}
            }
        }
        (groups, next)
    }
}

fn all_of_venue(symbol: &str) -> String {
    format!("{}:*", symbol.split(':').next().unwrap_or_default())
}

fn add(groups: &mut Vec<Group>, channel: Channel, max_rate: f64, symbol: &str) {
    let same =
        |group: &&mut Group| group.channel == channel && group.max_rate.to_bits() == max_rate.to_bits();
    match groups.iter_mut().find(same) {
        Some(group) => group.symbols.push(symbol.to_owned()),
        None => groups.push(Group { channel, max_rate, symbols: vec![symbol.to_owned()] }),
    }
}
