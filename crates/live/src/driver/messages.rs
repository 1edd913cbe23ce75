//! Messages of connections are read, and what they mean for subscriptions is taken in.

use tickwire_feed::adapter::FeedEvent;

use super::connections::give_up;
use super::data::Data;
use super::requests::Purpose;
use super::source;
use super::subscription::TopicState;
use super::timings::Moment;
use crate::venue::{Connection, LinkId, Said, Supply, Topic, TopicId, Venue};

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
        Said::Broken(topic, reason) => {
            if let Some(reason) = reason {
                driver.counts.unreadable += 1;
                let name = driver.topic(topic).map(|topic| topic.name.clone()).unwrap_or_default();
                events.push(driver.fault(link, format!("`{name}` cannot be read: {reason}")));
            }
            renew(driver, topic, now);
            true
        }
        // What comes before the response to the command may be of the subscription before.
        Said::NoBook(topic) => driver.is_in_force(topic) && renew(driver, topic, now),
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
            let random = driver.random();
            let refused = driver.links[link.0].refused_any(now.elapsed, &driver.timings, random);
            tell_refused(driver, link, refused, &reason, now, events);
            true
        }
        Said::Refused(id, None, reason) => {
            let random = driver.random();
            let refused = driver.links[link.0].refused_command(id, now.elapsed, &driver.timings, random);
            tell_refused(driver, link, refused, &reason, now, events);
            true
        }
        Said::Refused(id, Some(topic), reason) => {
            refused_topic(driver, link, id, |known| known.id == topic, &reason, now, events);
            true
        }
        Said::RefusedSymbol(id, symbol, reason) => {
            refused_topic(driver, link, id, |known| known.symbol == symbol, &reason, now, events);
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
    for (index, need) in &wanted {
        driver.requests.want(Purpose::Snapshot(*index), now.elapsed, *need);
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
        (subscription.state, subscription.refusals) = (TopicState::Heard, 0);
        driver.venue.supply(&subscription.topic, Supply::Back, now.time, events);
    }
    let was_silent = std::mem::take(&mut subscription.is_told_silent);
    if was_silent {
        driver.venue.supply(&subscription.topic, Supply::Speaking, now.time, events);
    }
    was_silent
}

/// Tells the venue which topics are subscribed to now.
fn tell_back<V: Venue>(driver: &mut Data<V>, granted: &[TopicId], now: Moment, events: &mut Vec<FeedEvent>) {
    for topic in granted {
        if let Some((link, at)) = driver.place(*topic) {
            let topic = &driver.links[link].subscriptions[at].topic;
            driver.venue.supply(topic, Supply::Back, now.time, events);
        }
    }
}

/// Ends a subscription and makes it anew; returns whether it was in force.
fn renew<V: Venue>(driver: &mut Data<V>, topic: TopicId, now: Moment) -> bool {
    let random = driver.random();
    let Some((link, at)) = driver.place(topic) else { return false };
    let is_renewed = driver.links[link].renew(at, now.elapsed, &driver.timings, random);
    driver.counts.renewed_topics += u64::from(is_renewed);
    is_renewed
}

/// Takes in that a command was refused for one of its topics.
fn refused_topic<V: Venue>(
    driver: &mut Data<V>,
    link: LinkId,
    id: u64,
    is_it: impl Fn(&Topic) -> bool,
    reason: &str,
    now: Moment,
    events: &mut Vec<FeedEvent>,
) {
    let random = driver.random();
    let refused = driver.links[link.0].refused_topic(id, is_it, now.elapsed, &driver.timings, random);
    tell_refused(driver, link, refused, reason, now, events);
}

/// Tells a topic that was refused: a status of its instrument, a fault, and a line of the log the first time.
fn tell_refused<V: Venue>(
    driver: &mut Data<V>,
    link: LinkId,
    topic: Option<TopicId>,
    reason: &str,
    now: Moment,
    events: &mut Vec<FeedEvent>,
) {
    let Some((at_link, at)) = topic.and_then(|topic| driver.place(topic)) else { return };
    driver.counts.refused_topics += 1;
    reason.clone_into(&mut driver.refusal);
    let subscription = &driver.links[at_link].subscriptions[at];
    let name = &subscription.topic.name;
    if subscription.refusals == 1 {
        let wait = subscription.wanted_from.saturating_sub(now.elapsed).as_secs();
        let words =
            format!("`{name}` was refused: {reason}; it is tried again in {wait} s, then later and later");
        driver.notes.tell(now.elapsed, words);
    }
    driver.venue.supply(&subscription.topic, Supply::Refused(reason), now.time, events);
    let told = format!("`{name}` was refused: {reason}");
    events.push(driver.fault(link, told));
}
