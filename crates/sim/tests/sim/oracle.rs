//! The checks of what must hold at any time, and at the end.

use tickwire_bus::Subject;
use tickwire_wire::{Body, BookState, Channel, FeedState, pb};
use tokio::time::Duration;

use crate::truth::Response;
use crate::view::View;
use crate::world::World;
use crate::{FEED_DOWN_MS, VENUE, id_of, symbol};
use tickwire_core::hub::ASKS_MAX;
use tickwire_gateway::fetch;

/// The time within which a client is told that the ingester is not heard: ticks of hub and engine, ways and corks come
/// on top.
const TOLD_MS: u64 = 250;
/// The greatest age of what is shown as live, whatever is lost on the bus.
const STALE_MS: u64 = 6_000;
/// The time that a record takes at most from an ingester to a client that is not behind, beside its delay.
const ON_ITS_WAY_MS: u64 = 2_000;
/// The time by which a silence of a living gateway may be longer than it promised, for ticks and corks.
const SILENCE_MS: u64 = 150;
/// The bytes that are reserved beside the limits, for control and the last bytes of a session that is closed.
const RESERVED_BYTES: usize = 30_000;

impl World {
    pub(crate) fn check(&mut self) {
        self.check_bounds();
        for client in 0..self.clients.len() {
            if self.is_prompt(client) {
                self.check_liveness(client);
            }
        }
    }

    /// Checks promises 2, 3 and 6: sums and maxima.
    fn check_bounds(&self) {
        let limits = &self.tuning.limits;
        for gateway in self.gateways.iter().flatten() {
            assert!(gateway.inbox.waiting() <= self.tuning.inbox.messages_max);
            assert!(gateway.requests.len() <= ASKS_MAX + 8, "{} requests under way", gateway.requests.len());
            for shard in &gateway.shards {
                let totals = shard.engine.totals();
                let settled = totals.delivered + totals.conflated + totals.dropped + totals.filtered;
                assert_eq!(totals.published, settled);
                let sessions = shard.engine.sessions();
                let most = sessions * (limits.close_bytes + RESERVED_BYTES);
                let (pressure, _) = shard.engine.pressure();
                assert!(pressure <= most, "pressure of {pressure} bytes in {sessions} sessions");
                assert!(shard.engine.log_bytes() <= shard.engine.topics() * limits.log_bytes_per_topic);
                let (kept, anew) = shard.engine.count_holders();
                assert_eq!(kept, anew, "views are held that nothing needs, or not held that something does");
            }
        }
        for (id, pipe) in &self.pipes {
            let most = limits.write_bytes + limits.close_bytes + RESERVED_BYTES;
            assert!(pipe.pending.len() <= most, "pipe {id} holds {} bytes", pipe.pending.len());
        }
    }

    /// Checks promise 4: what is broken is not shown as live.
    fn check_liveness(&mut self, client: usize) {
        let now = self.now;
        let Some(session) = &self.clients[client].session else { return };
        let (Some(pipe), Some(gateway)) = (self.pipes.get(&session.pipe), &self.gateways[session.gateway])
        else {
            return;
        };
        let on_the_way = pipe.latency + self.tuning.cork;
        if pipe.is_wide() {
            let silence = now - session.read_at;
            assert!(
                silence <= session.heartbeat_ms + SILENCE_MS + on_the_way,
                "client {client}: nothing for {silence} ms"
            );
        }
        let delay = self.clients[client].delay;
        if session.views.is_empty() || !pipe.is_wide() || now < gateway.hub_stalled_until + 3_000 + delay {
            return;
        }
        self.stale_checks += 1;
        let unheard = now - gateway.heartbeat_at;
        // A delayed session is told of that time's feed.
        if delay == 0 && unheard > FEED_DOWN_MS + TOLD_MS + on_the_way {
            assert_ne!(
                session.feed,
                FeedState::Live,
                "client {client}: live, though the ingester was not heard for {unheard} ms"
            );
        }
        if session.feed != FeedState::Live {
            return;
        }
        let settled = now.saturating_sub(STALE_MS + delay);
        for view in session.views.values() {
            // Where nothing was ever published, nothing is shown.
            if !view.is_current || view.max_rate > 0.0 || view.since > settled || view.at.1 == 0 {
                continue;
            }
            assert!(
                self.market.ended_at(view.at.0).is_none_or(|ended| ended > settled),
                "client {client}: {:?} is shown as live at {:?}, whose ingester is gone for {STALE_MS} ms",
                view.key,
                view.at
            );
            let Some(published) = self.truth.published_at(view.key, view.at.0, settled) else { continue };
            // Behind what a book to a depth shows, something may have happened beyond it.
            let is_best = || {
                let books = self.truth.books_if_any(view.key.0, (view.at.0, published));
                view.depth.is_some()
                    && books.is_none_or(|books| books.iter().any(|book| view.has_best_of(book)))
            };
            assert!(
                view.at.1 >= published || is_best(),
                "client {client}: {:?} is shown as live at {:?}, and {published} was published {STALE_MS} ms ago",
                view.key,
                view.at
            );
        }
    }

    /// Checks that every client has what the ingester has, once everything was mended and is quiet.
    pub(crate) async fn check_end(&mut self) {
        for at in 0..self.tuning.instruments {
            for channel in Channel::ALL {
                let response = self.ask_ingester(channel, at).await;
                self.truth.on_response((id_of(&symbol(at)), channel), &response);
                for client in 0..self.clients.len() {
                    let own = &self.clients[client];
                    let session =
                        own.session.as_ref().unwrap_or_else(|| panic!("client {client} is not connected"));
                    assert!(
                        session.views.is_empty() || session.feed == FeedState::Live,
                        "client {client}: {:?}",
                        session.feed
                    );
                    let key = (id_of(&symbol(at)), channel);
                    let is_wanted = own.wanted.contains_key(&(channel, at));
                    match session.views.values().find(|view| view.key == key) {
                        Some(view) => {
                            assert!(is_wanted, "client {client} did not get rid of {key:?}");
                            if !self.is_on_its_way(own.delay, view, &response) {
                                check_view(client, view, &response);
                            }
                        }
                        None => assert!(!is_wanted, "client {client} wants {key:?} and does not have it"),
                    }
                }
            }
        }
        if self.tuning.is_lossless() {
            for (client, own) in self.clients.iter().enumerate() {
                let views = own.session.iter().flat_map(|session| session.views.values());
                let lost: u64 = views.map(|view| view.lost_on_bus).sum();
                assert_eq!(lost, 0, "client {client}: the bus lost nothing");
            }
        }
        for (id, pipe) in &self.pipes {
            if !pipe.is_cut && pipe.client_open {
                // A heartbeat may be under way.
                assert!(pipe.in_flight() < 500, "pipe {id}: {} bytes were not read", pipe.in_flight());
            }
        }
    }

    /// Returns whether the newest is too young for a delayed client: a bar may close by the clock in the quiet at the end.
    fn is_on_its_way(&self, delay: u64, view: &View, response: &Response) -> bool {
        let old = self.now.saturating_sub(delay + ON_ITS_WAY_MS);
        let (epoch, sequence) = view.position();
        let is_behind = epoch == response.epoch && sequence < response.sequence;
        let published = self.truth.published_at(view.key, epoch, old);
        delay > 0 && is_behind && published.is_none_or(|published| published <= sequence)
    }

    async fn ask_ingester(&self, channel: Channel, at: usize) -> Response {
        let topics = vec![pb::Topic { channel: channel.into(), symbol: symbol(at) }];
        let request =
            pb::FeedRequest { request: Some(pb::feed_request::Request::Snapshots(pb::Snapshots { topics })) };
        let epoch = self.market.only_epoch();
        let subject = Subject::request(VENUE, epoch).expect("a venue");
        let response = fetch(&self.ingester_bus, &subject, request, Duration::from_secs(1)).await;
        let response = response.expect("the ingester responds");
        assert_eq!((response.error.as_str(), response.snapshots[0].error.as_str()), ("", ""));
        Response::read(epoch, &response.snapshots[0])
    }
}

fn check_view(client: usize, view: &View, response: &Response) {
    let end = (response.epoch, response.sequence);
    let is_beyond = view.depth.is_some() && view.position().0 == end.0 && view.position().1 < end.1;
    assert!(is_beyond || view.position() == end, "client {client}: {:?}: not everything came", view.key);
    if view.key.1 == Channel::Book {
        let mut book = BookState::new();
        for record in &response.records {
            if let Body::Book(body) = &record.body {
                book.apply(response.sequence, body).expect("a snapshot");
            }
        }
        assert_eq!(view.book.is_synced(), book.is_synced(), "client {client}: {:?}", view.key);
        assert!(view.has_best_of(&book), "client {client}: {:?} {:?} is not {book:?}", view.key, view.book);
    } else if !view.key.1.is_lossless() {
        for record in response.records.iter().filter(|record| !matches!(record.body, Body::Gap(_))) {
            let newest = view.newest.get(&record.conflation_key());
            let expected = (response.epoch, record.sequence);
            assert_eq!(newest, Some(&expected), "client {client}: {:?}: the newest", view.key);
        }
    }
}
