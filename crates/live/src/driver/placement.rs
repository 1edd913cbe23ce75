//! Topics are given to connections, and taken off them.

use std::time::Duration;

use tickwire_wire::Channel;

use super::data::Data;
use super::link::{Link, Phase};
use super::subscription::Subscription;
use crate::venue::{Topic, TopicChanges, TopicId, Venue};

/// Gives new topics a connection with room, or a new one, and takes ended ones off theirs.
pub(super) fn take<V: Venue>(driver: &mut Data<V>, changes: TopicChanges, now: Duration) {
    for topic in changes.ended {
        end(driver, topic);
    }
    for topic in changes.added {
        add(driver, topic, now);
    }
}

fn end<V: Venue>(driver: &mut Data<V>, topic: TopicId) {
    let Some((link, at)) = driver.places.get_mut(topic.0 as usize).and_then(Option::take) else { return };
    let topic = driver.links[link].remove(at);
    if let Some(moved) = driver.links[link].subscriptions.get(at) {
        driver.places[moved.topic.id.0 as usize] = Some((link, at));
    }
    if topic.channel == Channel::Book {
        driver.forget_snapshot(topic.index);
    }
}

fn add<V: Venue>(driver: &mut Data<V>, topic: Topic, now: Duration) {
    let most = driver.venue.terms().limits.topics_per_connection;
    let has_room = |link: &Link| link.route == topic.route && link.subscriptions.len() < most;
    let link = driver.links.iter().position(has_room).unwrap_or_else(|| {
        driver.links.push(Link::new(topic.route, &driver.timings, &driver.venue.terms().limits));
        driver.links.len() - 1
    });
    let number = topic.id.0 as usize;
    if driver.places.len() <= number {
        driver.places.resize(number + 1, None);
    }
    driver.places[number] = Some((link, driver.links[link].subscriptions.len()));
    let link = &mut driver.links[link];
    link.subscriptions.push(Subscription::new(topic));
    if link.phase == Phase::Idle {
        link.phase = Phase::Waiting { until: now };
    }
}
