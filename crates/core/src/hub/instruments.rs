//! The instruments that a gateway knows: what they are called here and at the ingester, and when they end.
//!
//! An instrument is its name, `venue:SYMBOL`, from its definition to its end. Three numbers stand for it: the ingester's,
//! which means something together with the epoch of its run only; the one that sessions see, which no other instrument has
//! until all shards have let go of it; and a dense index, which is used again after that, too.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tickwire_wire::{InstrumentNumbers, Scale, SymbolName};

use crate::vocabulary::{InstrumentInfo, TopicId, VenueIndex};

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) info: Arc<InstrumentInfo>,
    /// Its number at the followed run; 0 while that run did not say.
    pub(super) source: u32,
    /// The runs that named it, each with its number, the last one last: a run that comes back with another number for
    /// it means another instrument.
    named: VecDeque<(u64, u32)>,
    /// The shards that have not let go of it since it ended, a bit for each.
    ended: Option<u64>,
}

/// Most runs whose number for an instrument is remembered.
const NAMED_MAX: usize = 8;

impl Slot {
    /// Returns whether a run that calls it by this number may mean the same instrument as before.
    pub(super) fn may_be(&self, epoch: u64, source: u32) -> bool {
        self.named.iter().all(|(run, number)| *run != epoch || *number == source)
    }

    /// Notes that the followed run calls it by this number.
    pub(super) fn name(&mut self, epoch: u64, source: u32) {
        self.source = source;
        self.named.retain(|(run, _)| *run != epoch);
        self.named.push_back((epoch, source));
        if self.named.len() > NAMED_MAX {
            self.named.pop_front();
        }
    }
}

/// All instruments of a gateway; see the module.
#[derive(Debug, Default)]
pub(super) struct Instruments {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// The indexes of the instruments that have not ended.
    by_name: HashMap<SymbolName, u32>,
    /// The numbers that sessions see.
    numbers: InstrumentNumbers,
}

impl Instruments {
    /// Returns the number of instruments that have not ended.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Returns an instrument, also one that ended.
    pub(super) fn get(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn alive_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)?.as_mut().filter(|slot| slot.ended.is_none())
    }

    pub(super) fn find(&self, name: &SymbolName) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Returns the number that the followed run gave a topic's instrument.
    pub(super) fn source(&self, id: TopicId) -> Option<u32> {
        let slot = self.get(id.instrument_index())?;
        (slot.ended.is_none() && slot.source > 0).then_some(slot.source)
    }

    /// Returns the instruments of a venue that have not ended, each with its number at the followed run: 0 while that
    /// run did not say.
    pub(super) fn of_venue(&self, venue: VenueIndex) -> impl Iterator<Item = (u32, u32)> {
        let alive = self.slots.iter().flatten().filter(move |s| s.ended.is_none() && s.info.venue == venue);
        alive.map(|slot| (slot.info.index, slot.source))
    }

    /// Forgets what the run before called a venue's instruments: another run is followed, and has not said yet.
    pub(super) fn forget_sources(&mut self, venue: VenueIndex) {
        for slot in self.slots.iter_mut().flatten().filter(|slot| slot.info.venue == venue) {
            slot.source = 0;
        }
    }

    /// Adds an instrument, with the epoch of the run that named it, the number that it gave, and the time at which it received the
    /// definition. The caller keeps the limit.
    pub(super) fn add(
        &mut self,
        venue: VenueIndex,
        name: SymbolName,
        scale: Scale,
        named: (u64, u32),
        listed: u64,
    ) -> Option<Arc<InstrumentInfo>> {
        let source = named.1;
        // It keeps the ingester's own number, so that records can be passed on as they are, unless another instrument
        // has it here.
        let id =
            if self.numbers.take_this(source) { source } else { self.numbers.take(&name.to_string())? };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let info = Arc::new(InstrumentInfo { index, id, listed, venue, name: name.clone(), scale });
        self.by_name.insert(name, index);
        let named = VecDeque::from([named]);
        self.slots[index as usize] = Some(Slot { info: Arc::clone(&info), source, named, ended: None });
        Some(info)
    }

    /// Ends an instrument; these shards are to let go of it.
    pub(super) fn end(&mut self, index: u32, shards: u64) {
        let Some(slot) = self.alive_mut(index) else { return };
        slot.ended = Some(shards);
        let name = slot.info.name.clone();
        self.by_name.remove(&name);
        self.free_if_let_go(index);
    }

    /// Notes that a shard has let go of an instrument that ended: nothing that it says is about that one any more.
    pub(super) fn let_go(&mut self, index: u32, shard: u64) {
        if let Some(Some(Slot { ended: Some(shards), .. })) = self.slots.get_mut(index as usize) {
            *shards &= !shard;
            self.free_if_let_go(index);
        }
    }

    fn free_if_let_go(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if let Some(gone) = slot.take_if(|slot| slot.ended == Some(0)) {
            self.numbers.give_back(gone.info.id);
            self.free.push(index);
        }
    }
}
