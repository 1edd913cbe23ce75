//! One test for each fault of a stream or a snapshot: what comes, in order, is the announced gap, then a right book.
//! `client.rs` checks at every event that nothing is live that is not.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tickwire_feed::adapter::SourceState;
use tickwire_live::simulator::{Fault, SimKind};
use tickwire_wire::Channel;

use crate::client::{Client, numbers_trades, venue};
use crate::{BINANCE, VENUES};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Lets faults happen at a venue that is live, and reads until every book had its gap and is right again.
pub(crate) async fn broken_and_right(kind: SimKind, faults: &[Fault], check: impl Fn(&Client)) {
    let venue = venue(kind).await;
    let mut client = Client::new(&venue, kind);
    client.until_right().await;
    for fault in faults {
        venue.inject(fault).unwrap();
    }
    let injected = Cell::new(Instant::now());
    client
        .until("a gap of each book", |client| {
            let is_done = client.known.values().all(|known| known.gaps_on(Channel::Book) > 0);
            // A change that the next one takes back is not missed, so another one has to be lost.
            if !is_done && faults.contains(&Fault::Gap) && injected.get().elapsed() > MS(1_000) {
                venue.inject(&Fault::Gap).unwrap();
                injected.set(Instant::now());
            }
            is_done
        })
        .await;
    client.until_right().await;
    for (symbol, known) in &client.known {
        let healed = known.snapshots as usize - 1;
        assert_eq!(known.gaps_on(Channel::Book), healed, "{symbol}: {:?}", known.gaps);
    }
    assert_eq!(venue.report().violations, 0);
    check(&client);
}

pub(crate) fn trade_gaps(client: &Client) -> Vec<Option<u64>> {
    let gaps = client.known.values().flat_map(|known| &known.gaps);
    gaps.filter(|(channel, _)| *channel == Channel::Trade).map(|(_, count)| *count).collect()
}

#[tokio::test]
async fn gap() {
    for kind in VENUES {
        broken_and_right(kind, &[Fault::Gap], |client| {
            let gaps = trade_gaps(client);
            if kind == SimKind::Coinbase {
                // The connection was given up, so more is missing than was lost.
                assert!(client.adapter.counts().incomplete_connections >= 1);
                assert!(gaps.len() >= 3 && gaps.iter().all(Option::is_some), "{gaps:?}");
                return;
            }
            if numbers_trades(kind) {
                assert!(gaps.len() >= 3 && gaps.iter().all(|gap| *gap == Some(1)), "{gaps:?}");
            } else {
                assert!(gaps.is_empty(), "nothing tells of a trade that is missing: {gaps:?}");
            }
            let live = client.states.iter().position(|state| *state == SourceState::Live);
            let stale = |state: &SourceState| *state != SourceState::Live;
            assert!(!client.states[live.unwrap()..].iter().any(stale), "the source stayed live");
        })
        .await;
    }
}

#[tokio::test]
async fn duplicate() {
    for kind in VENUES {
        let venue = venue(kind).await;
        let mut client = Client::new(&venue, kind);
        client.until_right().await;
        let before = client.repeats;
        venue.inject(&Fault::Duplicate).unwrap();
        // At Kraken trades alone have numbers: to apply a change of a book twice changes nothing. At Coinbase each message
        // of the connection has one.
        let repeats = if kind == SimKind::Kraken { 3 } else { 6 };
        client.until("repeats", |client| client.repeats >= before + repeats).await;
        client.until_right().await;
        assert!(client.known.values().all(|known| known.gaps.is_empty()), "nothing was lost");
    }
}

#[tokio::test]
async fn reorder() {
    for kind in VENUES {
        broken_and_right(kind, &[Fault::Reorder], |client| {
            let gaps = trade_gaps(client);
            // A connection that is given up misses trades.
            let is_lost = kind == SimKind::Coinbase;
            assert!(gaps.iter().all(Option::is_some) && (is_lost || gaps.is_empty()), "{gaps:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn checksum() {
    broken_and_right(SimKind::Kraken, &[Fault::Checksum], |client| {
        assert_eq!((client.adapter.counts().renewed_topics, client.adapter.counts().losses), (3, 0));
        assert_eq!(trade_gaps(client), []);
    })
    .await;
}

#[tokio::test]
async fn silence() {
    for kind in VENUES {
        broken_and_right(kind, &[Fault::Silence(MS(300))], |client| {
            assert!(trade_gaps(client).iter().all(Option::is_some), "the number of lost trades is known");
            let counts = client.adapter.counts();
            assert_eq!(counts.losses, counts.incomplete_connections, "there were signs of life meanwhile");
            assert_eq!(counts.losses > 0, kind == SimKind::Coinbase, "{counts:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn slow_snapshots() {
    for kind in VENUES {
        broken_and_right(kind, &[Fault::SlowSnapshots(MS(400)), Fault::Gap], |_| {}).await;
    }
}

#[tokio::test]
async fn unreadable_snapshots() {
    for kind in VENUES {
        broken_and_right(kind, &[Fault::UnreadableSnapshots(2), Fault::Gap], |client| {
            assert!(client.adapter.counts().losses == 0 || kind == SimKind::Coinbase);
        })
        .await;
        // At the start no gap tells of them.
        let venue = venue(kind).await;
        venue.inject(&Fault::UnreadableSnapshots(2)).unwrap();
        let mut client = Client::new(&venue, kind);
        client.until_right().await;
        assert_eq!(venue.report().violations, 0);
    }
}

#[tokio::test]
async fn stale_snapshots() {
    for kind in BINANCE {
        broken_and_right(kind, &[Fault::StaleSnapshots(5), Fault::Gap], |client| {
            assert!(client.adapter.counts().unused_snapshots >= 5);
        })
        .await;
    }
    // What came too late broke the book: the change that was lost is told by no message.
    broken_and_right(SimKind::Bitstamp, &[Fault::StaleSnapshots(5), Fault::Reorder], |client| {
        assert!(client.adapter.counts().unused_snapshots >= 5);
    })
    .await;
    // A snapshot in the stream looks right until the next change.
    for kind in [SimKind::Bybit, SimKind::BybitLinear, SimKind::Kraken, SimKind::Okx] {
        broken_and_right(kind, &[Fault::StaleSnapshots(5), Fault::Gap], |client| {
            assert!(client.adapter.counts().renewed_topics >= 3 + 5, "{:?}", client.adapter.counts());
        })
        .await;
    }
}

#[tokio::test]
async fn numbers_that_begin_anew() {
    // Bitstamp has none.
    for kind in VENUES.into_iter().filter(|kind| *kind != SimKind::Bitstamp) {
        let venue = venue(kind).await;
        let mut client = Client::new(&venue, kind);
        client.until_right().await;
        venue.inject(&Fault::Renumber).unwrap();
        client
            .until("gaps", |client| {
                client.known.values().all(|known| match kind {
                    // A snapshot says it, and nothing was lost.
                    SimKind::Bybit | SimKind::BybitLinear => known.snapshots == 2 && known.gaps.is_empty(),
                    // Changes of books have no numbers at Kraken, and name the one before at OKX, whatever its number is.
                    SimKind::Kraken | SimKind::Okx => known.gaps.contains(&(Channel::Trade, None)),
                    _ => known.gaps_on(Channel::Book) > 0 && known.gaps.contains(&(Channel::Trade, None)),
                })
            })
            .await;
        client.until_right().await;
    }
}

#[tokio::test]
async fn a_venue_has_the_faults_that_it_can_have() {
    let refused = |venue: &tickwire_live::simulator::SimVenue, text: &str| {
        venue.inject(&text.parse().unwrap()).unwrap_err().to_string()
    };
    let spot = venue(SimKind::Binance).await;
    assert_eq!(refused(&spot, "checksum"), "`checksum` is no fault: this venue cannot have it");
    assert_eq!(refused(&spot, "mute=x@trade"), "`mute=x@trade` is no fault: there is no stream `x@trade`");
    assert_eq!(refused(&spot, "delist=X"), "`delist=X` is no fault: there is no symbol `X`");
    let kraken = venue(SimKind::Kraken).await;
    assert!(refused(&kraken, "shutdown").contains("cannot have it"));
    let bitstamp = venue(SimKind::Bitstamp).await;
    assert!(refused(&bitstamp, "renumber").contains("cannot have it"));
}
