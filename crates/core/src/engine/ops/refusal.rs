//! Refusals: why a subscription is not granted, in words for the client.

use tickwire_wire::{Channel, Refused};

use crate::engine::data::fanout::Fanout;
use crate::vocabulary::InstrumentInfo;

pub(crate) const ALREADY_SUBSCRIBED: &str = "this session has it already";

pub(crate) const FULL: &str =
    "this gateway holds all the subscriptions it may (gateway.limits.subscriptions); try another one";

pub(crate) const FULL_OF_BOOKS: &str =
    "this gateway holds all the price levels it may (gateway.limits.book_levels); try another one";

pub(crate) const FULL_OF_DELAYS: &str = "this has to come late for this session, and this gateway has as many different delays as it \
     may (gateway.limits.delays), none of them long enough; try another one";

pub(crate) const FULL_OF_DEPTHS: &str = "of this book this session may see a part only, and this gateway has as many different depths as it may \
     (gateway.limits.depths), none of them shallow enough; try another one";

pub(crate) fn over_limit(limit: usize) -> String {
    format!("a session may hold {limit} subscriptions; open another one")
}

pub(crate) fn refused(channel: Channel, symbol: String, code: &str, message: String) -> Refused {
    Refused { channel: channel as i32, symbol, code: code.to_owned(), message, may_retry: false }
}

/// Makes the refusal of what cannot be had from an ingester now. It says no more: that something ended may be news.
pub(crate) fn no_response(channel: Channel, symbol: String, venue: &str) -> Refused {
    let message = format!("the feed of `{venue}` does not answer now; retry");
    Refused { may_retry: true, ..refused(channel, symbol, "unavailable", message) }
}

/// Makes the refusal of a book that was given up, and is not tried again before so many nanoseconds.
pub(crate) fn too_large(channel: Channel, symbol: String, wait_ns: u64) -> Refused {
    let wait = wait_ns.div_ceil(1_000_000_000);
    let message = format!(
        "with `{symbol}` this gateway would hold more price levels than it may (gateway.limits.book_levels); it is tried again for whoever \
         asks in {wait} s or later, and another gateway may have room now"
    );
    Refused { may_retry: true, ..refused(channel, symbol, "limit", message) }
}

/// Makes the refusal of a subscription to an instrument that ended.
pub(crate) fn refusal_of_ended(fanout: &Fanout, info: &InstrumentInfo, channel: Channel) -> Refused {
    let ended = fanout.endings.get(&info.index);
    let reason = ended.map_or("it is over", |ending| &*ending.ended.reason);
    let symbol = info.scale.symbol.clone();
    let may_retry = ended.is_some_and(|ending| ending.ended.may_retry);
    let message = format!("`{symbol}` ended: {reason}");
    Refused { may_retry, ..refused(channel, symbol, "ended", message) }
}
