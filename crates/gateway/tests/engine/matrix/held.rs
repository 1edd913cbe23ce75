//! The checks of the matrix of what sessions have: it is right, as slow as it has to be, and given back when nobody has it any more.

use tickwire_core::engine::DetailQuery;
use tickwire_core::engine::SubscriptionRow;
use tickwire_wire::{Channel, Command, Unsubscribe};

use super::super::rig::{SECOND, subscribe};
use super::{CHANNELS, DELAYS, Matrix, NAMES, VENUES, principal};
use tickwire_core::engine::Entitlement;

/// A book that was given up is tried again within this time, in seconds.
const BACK_OFF: u64 = 10;

impl Matrix {
    fn subscriptions(&self, at: usize) -> Vec<SubscriptionRow> {
        let id = self.engine.id(self.viewers[at].key).expect("it is open");
        let query = DetailQuery { limit: 1_000, ..DetailQuery::default() };
        self.engine.session_detail(id, query).expect("it is open").subscriptions
    }

    /// Checks that views are held by what needs them, and that nothing is faster than it may be.
    pub(super) fn check_held(&self) {
        let (kept, anew) = self.engine.count_holders();
        assert_eq!(kept, anew, "views are held that nothing needs, or not held that something does");
        for (at, viewer) in self.viewers.iter().enumerate() {
            let Some(rate_max) = self.engine.principal(viewer.key).map(|owner| owner.rate_max) else {
                continue;
            };
            for row in self.subscriptions(at) {
                let rate = row.max_rate;
                let is_slow = rate_max.is_infinite() || (rate > 0.0 && rate <= rate_max);
                assert!(row.topic.channel().is_lossless() || is_slow, "{row:?} with {rate_max}");
            }
        }
    }

    /// At the end everybody gets exactly what is granted, so the checks above did not pass because nothing came. Then everybody lets go
    /// of everything.
    pub(super) fn finish(mut self) {
        // All listings are old enough for everybody.
        self.pass(DELAYS[2] + 1);
        for at in 0..self.viewers.len() {
            self.viewers[at].reads = true;
            for channel in CHANNELS {
                self.send(at, &subscribe(20, channel.name(), &NAMES));
            }
        }
        self.answer();
        self.read();
        self.pass(DELAYS[2] + 2);
        for _ in 0..3 {
            // A book that is given up closes those who have it.
            for index in 0..self.instruments.len() {
                for channel in CHANNELS {
                    self.publish(index, channel, 3);
                }
            }
            self.pass(DELAYS[2] + 2);
        }
        self.check_held();
        if self.is_plenty {
            self.check_everything();
        }
        self.check_books();
        self.check_given_back();
        self.check_again();
    }

    fn check_everything(&self) {
        for viewer in &self.viewers {
            let owner = viewer.owners.last().unwrap();
            for one in self.instruments.iter().filter(|one| !one.is_over()) {
                for channel in CHANNELS {
                    let key = (one.info.name.to_string(), channel);
                    if owner.sight(&one.info.name, channel).is_none() {
                        continue;
                    }
                    if channel == Channel::Book {
                        assert!(viewer.books.contains_key(&one.info.id), "no book of {key:?}");
                    } else {
                        let last = viewer.got.get(&key).copied();
                        assert_eq!(last, Some(one.times[&channel].len() as u64), "{key:?}");
                    }
                }
            }
        }
    }

    /// Every book that is granted is there, and right.
    fn check_books(&self) {
        for (at, viewer) in self.viewers.iter().enumerate() {
            for row in self.subscriptions(at) {
                let one = &self.instruments[row.topic.instrument_index() as usize];
                if row.topic.channel() != Channel::Book || one.is_over() {
                    continue;
                }
                let levels = if row.depth == 0 { usize::MAX } else { row.depth as usize };
                let book = viewer.books.get(&one.info.id).unwrap_or_else(|| panic!("no book: {row:?}"));
                assert!(book.is_synced() && book.bids().eq(one.book.bids().take(levels)), "{row:?}");
                assert!(book.asks().eq(one.book.asks().take(levels)), "{row:?}");
            }
        }
    }

    fn let_go(&mut self) {
        for at in 0..self.viewers.len() {
            for channel in CHANNELS {
                let all = VENUES.iter().map(|venue| format!("{venue}:*"));
                let symbols = NAMES.iter().map(|name| (*name).to_owned()).chain(all).collect();
                let channel = channel.name().to_owned();
                self.send(at, &Command::Unsubscribe(Unsubscribe { id: 3, channel, symbols }));
            }
        }
        self.answer();
        self.read();
    }

    /// Checks that everything is given back that nobody has any more, while all sessions go on.
    fn check_given_back(&mut self) {
        self.let_go();
        self.check_held();
        assert_eq!(self.engine.subscriptions(), 0);
        // Views stay for as long as their delay, for those who come back.
        self.pass(DELAYS[2] + 5);
        let held = self.engine.delayed();
        assert_eq!((held.delays, held.depths, held.topics, held.bytes), (0, 0, 0, 0));
        assert_eq!((self.engine.topics(), self.engine.book_levels()), (0, 0));
    }

    /// Checks that a book that may have been too large before is there again for who asks for it now and then.
    fn check_again(&mut self) {
        let Some(one) = self.instruments.iter().position(|one| !one.is_over()) else { return };
        let (id, name) = (self.instruments[one].info.id, self.instruments[one].info.name.to_string());
        let is_small = self.instruments[one].book.bids().len() + self.instruments[one].book.asks().len() < 20;
        if !is_small {
            return;
        }
        self.engine.ended(self.viewers[0].key, self.now);
        let owner = principal("desk", &[Entitlement::ALL]);
        self.viewers[0].key = self.open(&owner, self.viewers[0].encoding);
        self.viewers[0].owners = vec![owner];
        self.viewers[0].books.clear();
        let begin = self.now;
        while !self.viewers[0].books.contains_key(&id) {
            assert!(self.now <= begin + (BACK_OFF + 1) * SECOND, "{name} does not come back");
            self.send(0, &subscribe(1, "book", &[&name]));
            self.answer();
            self.read();
            self.publish(one, Channel::Book, 3);
            self.pass(1);
        }
        self.check_books();
    }
}
