//! Identity within a session: tokens that clients hand in, what they change, and revocation.
//!
//! Tokens are not verified here. The engine keeps those that came until the shard takes them, and is told later whom they
//! belong to. Meanwhile the session goes on as it was.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tickwire_wire::{CloseCode, Error, Identity, Ledger, Message, Secret, Subscribed, Token};

use super::ask::{extend_to_principal, names_of_wildcards};
use super::backfill::ask_backfills;
use super::close::close;
use super::entitled::{Lot, lot};
use super::grant::{settle_pending, withdraw};
use super::leave::take_leave;
use super::ready::watch;
use super::refusal::{over_limit, refused};
use super::say::{notify, say};
use super::session::limits_of;
use super::throttle::set_sub_rate;
use super::view::Full;
use crate::engine::credential::TokenRefused;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::handed_in::HandedIn;
use crate::engine::data::key::SessionKey;
use crate::engine::data::rate::Rate;
use crate::engine::data::seldom::Wildcard;
use crate::engine::data::session::Session;
use crate::engine::principal::Principal;
use crate::vocabulary::TopicId;

/// The price of a token, in names: its signature is worth the work of so many.
const TOKEN_NAMES: usize = 100;

/// The most tokens that wait for the shard to take them.
const TOKENS_MAX: usize = 1024;

/// Keeps a token that a client handed in, for the shard.
pub(crate) fn hand_in(fanout: &mut Fanout, key: SessionKey, command: Token) {
    // It may show more of what `venue:*` stands for.
    let names = names_of_wildcards(fanout, key);
    fanout.price.add_names(TOKEN_NAMES + names);
    let Token { id, token } = command;
    if fanout.tokens.len() >= TOKENS_MAX {
        let message = "too many tokens come at the same time; send it again".to_owned();
        say(fanout, key, &Message::Error(Error { id, code: "token_busy".to_owned(), message }));
        return;
    }
    fanout.tokens.push(HandedIn { session: key, id, token: Secret::new(token) });
}

/// Refuses a command of a session that nobody is known of.
pub(crate) fn refuse_unknown(fanout: &mut Fanout, key: SessionKey, id: u64) {
    let message = "this session waits for a token, and takes nothing before: send \
                   {\"op\":\"token\",\"id\":1,\"token\":\"...\"}";
    let (code, message) = ("token_required".to_owned(), message.to_owned());
    say(fanout, key, &Message::Error(Error { id, code, message }));
}

/// Takes the verdict about a token. The session belongs to the principal from now on; what that one may not see ends, and what it may see
/// beyond what was seen before is added to all of a venue.
pub(crate) fn identify(
    fanout: &mut Fanout,
    key: SessionKey,
    id: u64,
    verdict: Result<Arc<Principal>, TokenRefused>,
    now: u64,
) {
    fanout.now = now;
    let Some(session) = fanout.sessions.get(key).filter(|session| !session.is_ending()) else { return };
    let known = &session.principal;
    let verdict = verdict.and_then(|principal| match principal.fits(known, session.dialect.name()) {
        Ok(()) => Ok(principal),
        Err(message) => Err(TokenRefused {
            code: "token_refused",
            message,
            closes: known.credential.is_awaited.then_some(CloseCode::Unauthorized),
        }),
    });
    match verdict {
        Ok(principal) => accept(fanout, key, id, principal, now),
        Err(TokenRefused { code, message, closes }) => {
            let is_awaited = known.credential.is_awaited;
            say(fanout, key, &Message::Error(Error { id, code: code.to_owned(), message }));
            if let Some(code) = closes.filter(|_| is_awaited) {
                close(fanout, key, code);
            }
        }
    }
}

/// Takes other rights of the credential that a session is known by. Nobody asked, so the response has the id 0.
pub(crate) fn regrant(fanout: &mut Fanout, key: SessionKey, principal: Arc<Principal>, now: u64) {
    fanout.now = now;
    let Some(session) = fanout.sessions.get(key).filter(|session| !session.is_ending()) else { return };
    match principal.fits(&session.principal, session.dialect.name()) {
        Ok(()) => accept(fanout, key, 0, principal, now),
        Err(_) => close(fanout, key, CloseCode::TokenExpired),
    }
}

fn accept(fanout: &mut Fanout, key: SessionKey, id: u64, principal: Arc<Principal>, now: u64) {
    let identity = Identity {
        id,
        name: principal.name.clone(),
        token_expires: principal.credential.expires_told(),
        limits: Some(limits_of(fanout, &principal)),
    };
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let before = std::mem::replace(&mut session.principal, principal);
    if let Some(seldom) = session.seldom.made() {
        seldom.was_warned = false;
    }
    // The clock has another time to look at it.
    watch(fanout, key);
    say(fanout, key, &Message::Identity(identity));
    // What is granted from now on is granted as slowly as it may be.
    slow_down(fanout, key);
    end_unentitled(fanout, key, &before, now);
    let has_more = |session: &Session| {
        session.principal.entitlements != before.entitlements
            || session.principal.subscriptions_max > before.subscriptions_max
    };
    // A new token that says the same costs as little as it changes.
    if fanout.sessions.get(key).is_some_and(has_more) {
        extend_to_principal(fanout, key, now);
    }
}

/// Ends what the principal of a session may not see any more, or by another view than `before`: subscriptions, those that wait, and all
/// of a venue.
fn end_unentitled(fanout: &mut Fanout, key: SessionKey, before: &Principal, now: u64) {
    let Some(session) = fanout.sessions.get(key) else { return };
    let principal = Arc::clone(&session.principal);
    let waiting = session.seldom.pending.values().flat_map(|pending| &pending.waiting);
    let waiting: HashSet<_> = waiting.copied().collect();
    let held = session.subs.iter().enumerate().filter_map(|(at, sub)| Some((at as u32, sub.as_ref()?.topic)));
    let held: Vec<_> = held.collect();
    let lot_of = |topic| lot(fanout, (before, &principal), topic);
    let withdrawn: HashMap<_, _> = waiting.iter().map(|topic| (topic.live(), lot_of(*topic))).collect();
    let lots: Vec<_> = held.into_iter().map(|(at, topic)| (at, topic, lot_of(topic))).collect();
    withdraw_unentitled(fanout, key, &withdrawn, now);
    end_wildcards(fanout, key, &principal);
    let max = principal.subscriptions_of(fanout.limits.subscriptions_per_session);
    let (kept, mut over): (Vec<_>, Vec<_>) = lots.into_iter().partition(|(.., lot)| *lot == Lot::Kept);
    over.extend(kept.into_iter().skip(max));
    let Some(session) = fanout.sessions.get_mut(key).filter(|_| !over.is_empty()) else { return };
    let form = session.form;
    let places: Vec<_> = over.iter().map(|(at, ..)| *at).collect();
    let lots: HashMap<_, _> = over.into_iter().map(|(_, topic, lot)| (topic, lot)).collect();
    let (mut refusals, mut entries) = (Vec::new(), Vec::new());
    for sub in session.remove(&places) {
        let lot = lots.get(&sub.topic).copied().unwrap_or(Lot::Unseen);
        if let Some(symbol) = fanout.topics.get(sub.topic).map(|topic| topic.info.scale.symbol.clone()) {
            refusals.push(if lot == Lot::Kept {
                refused(sub.topic.channel(), symbol, "ended", over_limit(max))
            } else {
                lot.refusal(sub.topic.channel(), symbol, "ended")
            });
        }
        entries.extend(take_leave(fanout, key, &sub, &form, now));
    }
    // These words are those of an instrument that ended, so every client knows what they mean.
    say(fanout, key, &Message::Subscribed(Subscribed { refused: refusals, ..Subscribed::default() }));
    say(fanout, key, &Message::Ledger(Ledger { id: 0, entries }));
    ask_backfills(fanout, key, now);
}

/// Refuses what a session waits for and may not see, or not by this view. `lots` has the live topics of what it waits for.
fn withdraw_unentitled(fanout: &mut Fanout, key: SessionKey, lots: &HashMap<TopicId, Lot>, now: u64) {
    for (lot, code) in [
        (Lot::Unseen, "not_entitled"),
        (Lot::Elsewhere, "unavailable"),
        (Lot::Full(Full::Delays), "limit"),
        (Lot::Full(Full::Depths), "limit"),
    ] {
        let topics: HashSet<_> =
            lots.iter().filter(|(_, its)| **its == lot).map(|(topic, _)| *topic).collect();
        if !topics.is_empty() {
            withdraw(fanout, key, &topics, |channel, symbol| lot.refusal(channel, symbol, code));
        }
    }
    settle_pending(fanout, key, now);
}

/// Forgets that a session wants all of a venue of which it may not see anything.
fn end_wildcards(fanout: &mut Fanout, key: SessionKey, principal: &Principal) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let unseen = |wildcard: &Wildcard| principal.sees_nothing_of(&wildcard.venue, wildcard.channel);
    let gone: Vec<_> =
        session.seldom.wildcards.iter().filter(|w| unseen(w)).map(|w| (w.venue.clone(), w.channel)).collect();
    for (venue, channel) in gone {
        let is_it = |known: &mut Wildcard| known.is_of(&venue, channel);
        let ended = session.seldom.wildcards.extract_if(.., is_it);
        ended.for_each(|all| all.give_back(&mut fanout.index.holders));
        if !session.seldom.wildcards.iter().any(|known| known.venue == venue) {
            fanout.index.wants_all_no_more(key, &venue);
        }
    }
}

/// Lowers the rates that the principal of a session may not have: of what it has, of what it waits for, and of what is still to appear.
fn slow_down(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get_mut(key).filter(|session| session.principal.is_slowed()) else {
        return;
    };
    let principal = Arc::clone(&session.principal);
    let allowed = fanout.limits.rate_max;
    for wildcard in session.seldom.made().into_iter().flat_map(|seldom| &mut seldom.wildcards) {
        wildcard.rate = principal.granted_rate(wildcard.rate, allowed);
    }
    for pending in session.seldom.made().into_iter().flat_map(|seldom| seldom.pending.values_mut()) {
        pending.change_rates(|rate| principal.granted_rate(rate, allowed));
    }
    let rates = session.subs.iter().flatten().filter(|sub| !sub.topic.channel().is_lossless()).map(|sub| {
        let rate = sub.rate().map_or(0.0, Rate::per_second);
        (sub.topic, rate, principal.granted_rate(rate, allowed))
    });
    let changed: Vec<_> = rates.filter(|(_, old, new)| old.total_cmp(new).is_ne()).collect();
    for (topic, _, rate) in changed {
        set_sub_rate(fanout, key, topic, rate);
    }
}

/// Tells a session that its token will end.
pub(crate) fn warn(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    session.seldom.was_warned = true;
    let left_s = session.principal.credential.expires.saturating_sub(now) / 1_000_000_000;
    let text =
        format!("the token of this session ends in {left_s} s; hand in a new one with the command `token`");
    notify(fanout, key, "token_expiring", &text);
}

/// Returns the code with which a session ends whose time is over.
pub(crate) fn end_of(principal: &Principal) -> CloseCode {
    if principal.credential.is_awaited { CloseCode::Unauthorized } else { CloseCode::TokenExpired }
}

/// Closes the sessions of principals that were revoked. Returns how many.
pub(crate) fn revoke(fanout: &mut Fanout, is_revoked: &dyn Fn(&Principal) -> bool, now: u64) -> usize {
    fanout.now = now;
    let open = fanout.sessions.iter().filter(|(_, session)| !session.is_ending());
    let revoked: Vec<_> =
        open.filter(|(_, session)| is_revoked(&session.principal)).map(|(key, _)| key).collect();
    for key in &revoked {
        close(fanout, *key, CloseCode::Revoked);
    }
    revoked.len()
}
