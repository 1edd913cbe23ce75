//! Connections are opened, kept, given up and made anew.

use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;
use tickwire_wire::Channel;

use super::data::Data;
use super::io::Output;
use super::link::{Phase, Sending};
use super::subscription::Subscription;
use super::timings::Moment;
use crate::venue::{LinkId, Supply, Venue};

/// Takes in that a connection is open.
pub(super) fn opened<V: Venue>(driver: &mut Data<V>, id: LinkId, now: Moment) {
    if !driver.links.get(id.0).is_some_and(|link| matches!(link.phase, Phase::Opening { .. })) {
        return;
    }
    // The last twentieth of its age is left to chance, so that connections which were opened together do not end together.
    let most = driver.venue.terms().limits.connection_age;
    let age = most.saturating_sub((most / 20).mul_f64(driver.random()));
    driver.links[id.0].opened(now.elapsed, now.elapsed + age, &driver.venue);
}

/// Does what is due on a connection.
pub(super) fn advance<V: Venue>(driver: &mut Data<V>, id: LinkId, now: Moment, events: &mut Vec<FeedEvent>) {
    let link = &mut driver.links[id.0];
    if let Some(reason) = link.fault(now.elapsed, &driver.timings) {
        return give_up(driver, id, now, reason, events);
    }
    match link.phase {
        Phase::Waiting { .. } if link.is_idle() => link.phase = Phase::Idle,
        Phase::Waiting { until } if until <= now.elapsed => connect(driver, id, now.elapsed),
        Phase::Open(open) if open.renewed_at <= now.elapsed => {
            give_up(driver, id, now, "it is made anew because of its age".to_owned(), events);
        }
        Phase::Open(_) if link.is_idle() => {
            driver.outputs.push_back(Output::Close { link: id });
            link.end(now.elapsed);
        }
        Phase::Open(_) => {
            send(driver, id, now.elapsed);
            tell_silence(driver, id, now, events);
        }
        Phase::Waiting { .. } | Phase::Opening { .. } | Phase::Idle => {}
    }
}

/// Opens a connection, if the limit on attempts allows it now.
fn connect<V: Venue>(driver: &mut Data<V>, id: LinkId, now: Duration) {
    if driver.connects_ready(now) > now {
        return;
    }
    driver.connects.take(now, 1);
    driver.counts.connects += 1;
    let link = &mut driver.links[id.0];
    link.phase = Phase::Opening { until: now + driver.timings.open_within };
    let url = driver.venue.terms().routes[link.route].url.clone();
    driver.outputs.push_back(Output::Connect { link: id, attempt: link.attempt, url });
}

/// Sends what may be sent now.
fn send<V: Venue>(driver: &mut Data<V>, id: LinkId, now: Duration) {
    let Data { venue, timings, links, outputs, next_command, counts, of_address, .. } = driver;
    while let Some(sending) = links[id.0].next_sending(now, timings, venue, of_address, next_command) {
        outputs.push_back(match sending {
            Sending::Command(text) => {
                counts.commands += 1;
                Output::Send { link: id, text }
            }
            Sending::Ping => match venue.ping() {
                Some(text) => Output::Send { link: id, text: text.to_owned() },
                None => Output::Ping { link: id },
            },
            Sending::Pong(payload) => Output::Pong { link: id, payload },
        });
    }
}

/// Tells topics that were granted and brought nothing within their time.
fn tell_silence<V: Venue>(driver: &mut Data<V>, id: LinkId, now: Moment, events: &mut Vec<FeedEvent>) {
    let mut silent = Vec::new();
    for subscription in &mut driver.links[id.0].subscriptions {
        if subscription.silent_at().is_some_and(|at| at <= now.elapsed) {
            subscription.is_told_silent = true;
            silent.push(subscription.topic.clone());
        }
    }
    for topic in silent {
        driver.counts.silent_topics += 1;
        driver.venue.supply(&topic, Supply::Silent, now.time, events);
        let seconds = topic.silent_after.as_secs_f64();
        let reason = format!(
            "`{}` was granted, and no data came within {seconds} s of the subscription; is it the right route, and \
             does the symbol trade?",
            topic.name
        );
        events.push(driver.fault(id, reason));
    }
}

/// Closes a connection, and makes it anew.
pub(super) fn give_up<V: Venue>(
    driver: &mut Data<V>,
    id: LinkId,
    now: Moment,
    reason: String,
    events: &mut Vec<FeedEvent>,
) {
    driver.outputs.push_back(Output::Close { link: id });
    lose(driver, id, now, reason, events);
}

/// Takes in that a connection is lost, or did not come about: what it brought is not current any more.
pub(super) fn lose<V: Venue>(
    driver: &mut Data<V>,
    id: LinkId,
    now: Moment,
    reason: String,
    events: &mut Vec<FeedEvent>,
) {
    let random = driver.random();
    let link = &mut driver.links[id.0];
    let up_for = link.end(now.elapsed);
    let wait = link.attempts.next(up_for, random);
    link.phase = Phase::Waiting { until: now.elapsed + wait };
    if up_for.is_some() {
        driver.counts.losses += 1;
        let mut books = Vec::new();
        for Subscription { topic, .. } in &driver.links[id.0].subscriptions {
            driver.venue.supply(topic, Supply::Lost, now.time, events);
            books.extend((topic.channel == Channel::Book).then_some(topic.index));
        }
        for index in books {
            driver.forget_snapshot(index);
        }
    }
    let what = if up_for.is_some() { "the connection is lost" } else { "no connection" };
    events.push(driver.fault(id, format!("{what}: {reason}")));
    driver.trouble = reason;
}
