//! Announcing what a subscription is not sent.

use std::sync::Arc;

use tickwire_wire::{Body, Encoding, GapCause};

use crate::engine::data::entry::Entry;
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::Topic;
use crate::vocabulary::Update;

/// Announces a new sequence whose own announcement was cut off the log.
pub(crate) fn follow_epoch(sub: &mut Sub, topic: &Topic, epoch: u64, encoding: Encoding, out: &mut Vec<u8>) {
    if sub.epoch != epoch {
        write_gap(topic, GapCause::Ingest, (sub.sent + 1, 0), epoch, encoding, out);
        sub.renumber(epoch);
    }
}

/// Announces that the numbers up to `to` are not sent, and goes on behind them.
pub(crate) fn announce_shed(sub: &mut Sub, topic: &Topic, to: u64, encoding: Encoding, out: &mut Vec<u8>) {
    write_gap(topic, GapCause::Shed, (sub.sent + 1, to), sub.epoch, encoding, out);
    sub.announce(sub.sent + 1, to);
}

pub(crate) fn emit_gap(sub: &mut Sub, topic: &Topic, entry: &Entry, encoding: Encoding, out: &mut Vec<u8>) {
    let gap = &entry.update;
    if gap.last != 0 {
        follow_epoch(sub, topic, gap.epoch, encoding, out);
        if gap.first > sub.sent {
            out.extend_from_slice(gap.bytes(encoding));
        } else if gap.last > sub.sent {
            // It resumed in the middle.
            let cause = match &gap.record().body {
                Body::Gap(gap) => gap.cause(),
                _ => GapCause::Unknown,
            };
            write_gap(topic, cause, (sub.sent + 1, gap.last), gap.epoch, encoding, out);
        }
        sub.announce(gap.first, gap.last);
    } else if sub.epoch == entry.epoch_before {
        // The sequence starts again: what was held back of the old one is superseded, what follows counts from 1.
        out.extend_from_slice(gap.bytes(encoding));
        sub.superseded(gap.first.saturating_sub(1));
        sub.renumber(gap.epoch);
    } else {
        // It ends a sequence that this subscription never saw.
        follow_epoch(sub, topic, gap.epoch, encoding, out);
    }
}

pub(crate) fn write_gap(
    topic: &Topic,
    cause: GapCause,
    numbers: (u64, u64),
    epoch: u64,
    encoding: Encoding,
    out: &mut Vec<u8>,
) {
    let gap = Update::gap(Arc::clone(&topic.info), topic.channel, cause, numbers.0, numbers.1, epoch);
    out.extend_from_slice(gap.bytes(encoding));
}
