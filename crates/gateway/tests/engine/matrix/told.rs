//! The checks of the matrix: what a reader may be told, and what it may be named.

use tickwire_core::engine::{Permit, Principal};
use tickwire_wire::{Body, Channel, Level, Message, Record, ResumePosition, Subscribed, SymbolName};

use super::market::Instrument;
use super::{NAMES, SET_RATE, VENUES, Viewer};

/// The bytes that a reader is told now.
pub(super) struct Told<'a> {
    pub(super) instruments: &'a [Instrument],
    /// When each venue was heard of.
    pub(super) heard: [Option<u64>; VENUES.len()],
    pub(super) now: u64,
    pub(super) viewer: &'a Viewer,
}

impl Told<'_> {
    /// Returns whether the reader may know that a name exists: by any channel, when its listing is old enough, or because it said
    /// the name itself.
    fn may_know(&self, name: &str) -> bool {
        if self.viewer.asked.iter().any(|(_, asked)| asked == name) {
            return true;
        }
        let Some(one) = self.instruments.iter().find(|one| one.info.scale.symbol == name) else {
            return false;
        };
        let sees = |owner: &Principal| {
            let sights = Channel::ALL.into_iter().filter_map(|channel| owner.sight(&one.info.name, channel));
            sights.map(|sight| sight.delay_ns).min().is_some_and(|delay| one.info.listed + delay <= self.now)
        };
        self.owners().any(sees)
    }

    /// Returns those whose names may be in what is told now.
    fn owners(&self) -> impl Iterator<Item = &Principal> {
        self.viewer.owners.iter().chain(self.viewer.before.iter().map(|(_, owner)| owner))
    }

    /// Searches what goes out for names.
    pub(super) fn check_bytes(&self, bytes: &[u8]) {
        for name in NAMES {
            let symbol = name.split_once(':').expect("it has a venue").1;
            let is_there = bytes.windows(symbol.len()).any(|part| part == symbol.as_bytes());
            let text = String::from_utf8_lossy(bytes);
            assert!(!is_there || self.may_know(name), "{name} is named to {:?}: {text}", self.viewer.owners);
        }
        for venue in &VENUES[1..] {
            let is_there = bytes.windows(4).any(|part| part == venue.as_bytes());
            let was_asked = |(_, name): &(u64, String)| name.starts_with(&format!("{venue}:"));
            let may_know = self.viewer.asked.iter().any(was_asked) || self.may_know_venue(venue);
            let text = String::from_utf8_lossy(bytes);
            assert!(!is_there || may_know, "{venue} is named to {:?}: {text}", self.viewer.owners);
        }
    }

    /// Returns whether the reader may know that a venue was heard of, by any channel.
    fn may_know_venue(&self, venue: &str) -> bool {
        self.owners().any(|owner| Channel::ALL.into_iter().any(|channel| self.knows(owner, venue, channel)))
    }

    fn knows(&self, owner: &Principal, venue: &str, channel: Channel) -> bool {
        let at = VENUES.iter().position(|known| *known == venue);
        let heard = at.and_then(|at| self.heard[at]);
        let delay = match owner.permit_venue(venue, channel) {
            Permit::Live => 0,
            Permit::Delayed(delay) => delay,
            Permit::Nothing => return false,
        };
        heard.is_some_and(|heard| heard + delay <= self.now)
    }

    /// Checks that the code of a refusal says of what exists what was so as long ago as its reader sees it: it neither tells that something
    /// was listed nor that it ended.
    pub(super) fn check_refusals(&self, response: &Subscribed, is_plenty: bool) {
        for refused in &response.refused {
            let Ok(name) = SymbolName::parse(&refused.symbol) else { continue };
            let (channel, code) = (refused.channel(), refused.code.as_str());
            let knows = |owner: &Principal| self.knows(owner, &name.venue, channel);
            let is_of_name =
                matches!(code, "unknown_symbol" | "delayed" | "unavailable" | "already_subscribed");
            if is_of_name {
                assert!(self.owners().any(knows), "{refused:?} to {:?}", self.viewer.owners);
            }
            if self.viewer.is_prompt && code == "unknown_venue" {
                assert!(!self.viewer.owners.iter().all(knows), "{refused:?} to {:?}", self.viewer.owners);
            }
            let Some(one) = self.instruments.iter().find(|one| one.info.scale.symbol == refused.symbol)
            else {
                continue;
            };
            let then = |owner: &Principal| Some(self.now - owner.sight(&name, channel)?.delay_ns);
            let was_listed = |owner: &Principal| then(owner).is_some_and(|then| one.info.listed <= then);
            let was_there = |owner: &Principal| {
                was_listed(owner) && one.over.is_none_or(|over| then(owner).is_some_and(|then| over > then))
            };
            if is_of_name && code != "unknown_symbol" {
                assert!(self.owners().any(was_listed), "{refused:?} to {:?}", self.viewer.owners);
            }
            // Where there is no delay that is short enough, names are those of a longer one.
            if self.viewer.is_prompt && is_plenty && code == "unknown_symbol" {
                assert!(!self.viewer.owners.iter().all(was_there), "{refused:?} to {:?}", self.viewer.owners);
            }
        }
    }
}

/// Takes a message, and checks that its reader may have it, and that it is old enough.
pub(super) fn take(viewer: &mut Viewer, instruments: &[Instrument], now: u64, message: &Message) {
    let by_id = |id: u32| &instruments[id as usize - 100];
    let published = |one: &Instrument, channel: Channel, then: u64| {
        one.times.get(&channel).map_or(0, |times| times.partition_point(|at| *at <= then) as u64)
    };
    let owner = viewer.owners.last().expect("it has one").clone();
    // A position is as old as the delay of one of its owners since it was last read: what ends says how far it was.
    let is_old = |one: &Instrument, channel: Channel, sequence: u64| {
        let sights = viewer.owners.iter().filter_map(|owner| owner.sight(&one.info.name, channel));
        let mut delays = sights.map(|sight| sight.delay_ns);
        delays.any(|delay| sequence <= published(one, channel, now.saturating_sub(delay)))
    };
    match message {
        Message::Record(Record { instrument, body: Body::Gap(gap), .. }) => {
            let one = by_id(*instrument);
            assert!(is_old(one, gap.channel(), gap.last_sequence), "{gap:?}");
            if gap.channel() == Channel::Book {
                viewer.books.entry(*instrument).or_default().reset();
            }
        }
        Message::Record(record) => {
            let (one, channel) = (by_id(record.instrument), record.channel());
            // The last record of a critical channel goes with its grant; it was written when that was said.
            let is_said = channel == Channel::Status;
            let may = |owner: &Principal| {
                let sight = owner.sight(&one.info.name, channel);
                sight.is_some_and(|sight| record.receive_time + sight.delay_ns <= now)
            };
            assert!(
                may(&owner) || (is_said && viewer.owners.iter().any(may)),
                "{record:?} goes to {owner:?} at {now}"
            );
            if let Body::Book(book) = &record.body {
                let depth = owner.sight(&one.info.name, channel).and_then(|sight| sight.depth);
                let deepest = depth.map_or(usize::MAX, |levels| levels as usize);
                let known = viewer.books.entry(record.instrument).or_default();
                known.apply(record.sequence, book).expect("it applies, and its checksum is right");
                assert!(known.bids().len() <= deepest && known.asks().len() <= deepest, "{record:?}");
                let set = |levels: &[Level]| levels.iter().filter(|level| level.size > 0).count();
                assert!(set(&book.bids) <= deepest && set(&book.asks) <= deepest, "{record:?}");
            }
            viewer.got.insert((one.info.name.to_string(), channel), record.sequence);
        }
        Message::Subscribed(subscribed) => {
            for granted in &subscribed.granted {
                let one = by_id(granted.instrument);
                let channel = granted.channel();
                assert_eq!(one.info.scale.symbol, granted.symbol);
                let is_one = |owner: &Principal| {
                    owner.sight(&one.info.name, channel).is_some_and(|sight| {
                        let is_late = granted.delay_ms * 1_000_000 >= sight.delay_ns;
                        let is_shallow = sight.depth.is_none_or(|most| (1..=most).contains(&granted.depth));
                        let then = now - granted.delay_ms * 1_000_000;
                        is_late && is_shallow && granted.sequence <= published(one, channel, then)
                    })
                };
                assert!(viewer.owners.iter().any(is_one), "{granted:?} to {:?}", viewer.owners);
                // A new rate is no new beginning.
                if channel == Channel::Book && subscribed.id != SET_RATE {
                    viewer.books.remove(&granted.instrument);
                }
                viewer.seen.push(ResumePosition {
                    channel: channel.name().to_owned(),
                    symbol: granted.symbol.clone(),
                    epoch: granted.epoch,
                    sequence: granted.sequence,
                });
            }
        }
        Message::Heartbeat(heartbeat) => {
            for position in &heartbeat.positions {
                let channel = Channel::try_from(position.channel).expect("a channel");
                let one = by_id(position.instrument);
                assert!(is_old(one, channel, position.sequence), "{position:?}");
            }
        }
        _ => {}
    }
}
