//! One venue: the runs of its ingester, its catalogue, and what clients were told of its feed.

use std::collections::HashMap;
use std::sync::Arc;

use tickwire_wire::{BookProof, FeedState};

use super::claims::Claims;

#[derive(Debug)]
pub(super) struct Venue {
    pub(super) name: Arc<str>,
    /// The runs of its ingester, and which of them is followed.
    pub(super) claims: Claims,
    pub(super) is_down: bool,
    /// Whether it was not heard since the bus came back.
    pub(super) awaits_heartbeat: bool,
    /// Topics that are not yet known to be up to date after an outage.
    pub(super) recovering: usize,
    pub(super) catalogue: Catalogue,
    /// The count of known changes of the followed run's catalogue; 0 while none was told.
    pub(super) revision: u64,
    /// Instruments by what the followed run calls them.
    pub(super) numbers: HashMap<u32, u32>,
    pub(super) listing: Listing,
    /// Newest change of the followed run's catalogue that was heard of.
    pub(super) announced: u64,
    pub(super) attempts: u32,
    /// The state that the shards were told last, with its reason, and what proves the books.
    pub(super) told: Option<(FeedState, Arc<str>, BookProof)>,
    /// The count of other runs, as the log was told last.
    pub(super) told_rivals: usize,
}

/// Whether the instruments of a venue are known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Catalogue {
    Known,
    /// They are to be asked for at this time.
    Due(u64),
    /// They are asked for. `again` says that they must be asked for once more.
    Asked {
        again: bool,
    },
}

/// The source of what is known of a venue's instruments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// They were never told.
    Unknown,
    /// They were told: a name that is not among them does not exist. The run that is followed now may have more.
    Some,
    /// The followed run told them while it was live: what is not among them ended.
    Whole,
}

impl Venue {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            claims: Claims::default(),
            is_down: false,
            awaits_heartbeat: false,
            recovering: 0,
            catalogue: Catalogue::Known,
            revision: 0,
            numbers: HashMap::new(),
            listing: Listing::Unknown,
            announced: 0,
            attempts: 0,
            told: None,
            told_rivals: 0,
        }
    }

    pub(super) fn on_time(&mut self, now: u64, down_after: u64) {
        let heard = self.claims.followed().map_or(0, |claim| claim.heard);
        self.is_down = now.saturating_sub(heard) > down_after;
        self.claims.forget_lost(now, 8 * down_after);
    }

    /// Gives the ingester its time to be heard again: the bus came back.
    pub(super) fn on_connection(&mut self, now: u64) {
        self.claims.excuse(now);
        (self.is_down, self.awaits_heartbeat) = (false, true);
    }

    pub(super) fn ask_catalogue_now(&mut self) {
        self.catalogue = match self.catalogue {
            Catalogue::Asked { .. } => Catalogue::Asked { again: true },
            _ => Catalogue::Due(0),
        };
    }

    /// Returns whether the catalogue is to be asked for now; from then on it counts as asked for.
    pub(super) fn take_catalogue_due(&mut self, now: u64) -> bool {
        let is_due = matches!(self.catalogue, Catalogue::Due(at) if at <= now) && self.claims.epoch() != 0;
        if is_due {
            self.catalogue = Catalogue::Asked { again: false };
        }
        is_due
    }
}
