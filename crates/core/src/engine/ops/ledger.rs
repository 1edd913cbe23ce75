//! Ledgers: the accounts of subscriptions, as clients are told them.

use tickwire_wire::{Ledger, LedgerEntry};

use crate::engine::data::fanout::Fanout;
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::Topic;

/// Returns the account of every subscription of a session.
pub(crate) fn ledger(fanout: &Fanout, session: &Session, id: u64) -> Ledger {
    let entries = session.subs.iter().flatten().filter_map(|sub| {
        let topic = fanout.topics.get(sub.topic)?;
        Some(ledger_entry(sub, topic))
    });
    Ledger { id, entries: entries.collect() }
}

/// Returns what became of one subscription's sequence numbers. What still waits is not part of any count.
pub(crate) fn ledger_entry(sub: &Sub, topic: &Topic) -> LedgerEntry {
    let account = sub.account();
    LedgerEntry {
        instrument: topic.info.id,
        channel: topic.channel as i32,
        symbol: topic.info.scale.symbol.clone(),
        published: account.published,
        delivered: account.delivered,
        conflated: account.conflated,
        dropped: account.dropped,
        filtered: account.filtered,
    }
}
