//! Messages of connections are read, and what they mean for subscriptions is taken in.

use tickwire_feed::adapter::FeedEvent;

use super::connections::give_up;
use super::data::Data;
use super::requests::Purpose;
use super::source;
use super::subscription::TopicState;
use super::timings::Moment;
use crate::venue::{Connection, LinkId, Said, TopicId, Venue};

/// Takes a message; returns whether something is to be done because of it.
pub(super) fn take<V: Venue>(
    driver: &mut Data<V>,
    connection: Connection,
    now: Moment,
    text: &str,
    events: &mut Vec<FeedEvent>,
) -> bool {
    let link = connection.link;
    let said = match driver.venue.read(connection, now.time, text, events) {
        Ok(said) => said,
        Err(reason) => {
            driver.counts.unreadable += 1;
            events.push(driver.fault(link, reason));
            return false;
        }
    };
    match said {
        Said::Data(topic) => {
            let is_news = heard(driver, topic, now, events);
            want_snapshots(driver, now) || is_news
        }
        Said::Several(topics) => {
            let mut is_news = false;
            for topic in topics {
                is_news |= heard(driver, topic, now, events);
            }
            want_snapshots(driver, now) || is_news
        }
        Said::Broken(topic) => {
            let random = driver.random();
            let Some((link, at)) = driver.place(topic) else { return false };
            let is_renewed = driver.links[link].renew(at, now.elapsed, &driver.timings, random);
            driver.counts.renewed_topics += u64::from(is_renewed);
            true
        }
        Said::Granted(id, topic) => {
            let granted = driver.links[link.0].granted_command(id, topic, now.elapsed);
            tell_back(driver, &granted, now, events);
            true
        }
        Said::Subscriptions(all) => {
            let granted = driver.links[link.0].subscriptions(&all, now.elapsed);
            tell_back(driver, &granted, now, events);
            true
        }
        Said::RefusedCommand(reason) if !driver.links[link.0].has_command() => {
            events.push(driver.fault(link, format!("the venue says: {reason}")));
            false
        }
        Said::RefusedCommand(reason) => {
            let refused = driver.links[link.0].refused_any();
            tell_refused(driver, link, refused, &reason, events);
            true
        }
        Said::Refused(id, None, reason) => {
            let refused = driver.links[link.0].refused_command(id);
            tell_refused(driver, link, refused, &reason, events);
            true
        }
        Said::Refused(id, Some(topic), reason) => {
            let refused = driver.links[link.0].refused_topic(id, |known| known.id == topic);
            tell_refused(driver, link, refused, &reason, events);
            true
        }
        Said::RefusedSymbol(id, symbol, reason) => {
            let refused = driver.links[link.0].refused_topic(id, |known| known.symbol == symbol);
            tell_refused(driver, link, refused, &reason, events);
            true
        }
        Said::GoingDown => {
            give_up(driver, link, now, "the server said that it goes down".to_owned(), events);
            true
        }
        Said::Incomplete(reason) => {
            driver.counts.incomplete_connections += 1;
            give_up(driver, link, now, reason, events);
            true
        }
        Said::Alive => {
            source::tell_life(driver, events);
            false
        }
        Said::Nothing => false,
    }
}

/// Asks for the snapshots that the venue wants; returns whether there are any.
fn want_snapshots<V: Venue>(driver: &mut Data<V>, now: Moment) -> bool {
    let wanted = driver.venue.take_wanted();
    for index in &wanted {
        driver.requests.want(Purpose::Snapshot(*index), now.elapsed);
    }
    !wanted.is_empty()
}

/// Takes in that a topic brought data; returns whether that is new.
fn heard<V: Venue>(driver: &mut Data<V>, topic: TopicId, now: Moment, events: &mut Vec<FeedEvent>) -> bool {
    let Some((link, at)) = driver.place(topic) else { return false };
    let subscription = &mut driver.links[link].subscriptions[at];
    // Data may overtake the response to the command, and may come late behind the end of a subscription.
    let is_first = matches!(subscription.state, TopicState::Asked | TopicState::Granted(_));
    if is_first {
        subscription.state = TopicState::Heard;
        driver.venue.is_back(&subscription.topic, now.time, events);
    }
    let was_silent = std::mem::take(&mut subscription.is_told_silent);
    if was_silent {
        driver.venue.is_silent(&subscription.topic, false, now.time, events);
    }
    was_silent
}

/// Tells the venue which topics are subscribed to now.
fn tell_back<V: Venue>(driver: &mut Data<V>, granted: &[TopicId], now: Moment, events: &mut Vec<FeedEvent>) {
    for topic in granted {
        if let Some((link, at)) = driver.place(*topic) {
            driver.venue.is_back(&driver.links[link].subscriptions[at].topic, now.time, events);
        }
    }
}

fn tell_refused<V: Venue>(
    driver: &mut Data<V>,
    link: LinkId,
    topic: Option<TopicId>,
    reason: &str,
    events: &mut Vec<FeedEvent>,
) {
    let Some(topic) = topic else { return };
    driver.counts.refused_topics += 1;
    let name = driver.topic(topic).map(|topic| topic.name.clone()).unwrap_or_default();
    events.push(driver.fault(link, format!("`{name}` was refused: {reason}")));
}
