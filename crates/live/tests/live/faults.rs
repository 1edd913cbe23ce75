//! One test for each fault: what comes, in order, is the announced gap, then a right book. `client.rs` checks at every event
//! that nothing is live that is not.

use std::time::Duration;

use tickwire_feed::adapter::SourceState;
use tickwire_feed::binance::Market;
use tickwire_live::simulator::Fault;
use tickwire_wire::Channel;

use crate::MARKETS;
use crate::client::{Client, config, venue};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Lets faults happen at a venue that is live, and reads until every book had its gap and is right again.
async fn broken_and_right(market: Market, faults: &[Fault], check: impl Fn(&Client)) {
    let venue = venue(market).await;
    let mut client = Client::new(&venue, config(market, &venue));
    client.until_right().await;
    for fault in faults {
        venue.inject(fault);
    }
    client
        .until("a gap of each book", |client| {
            client.known.values().all(|known| known.gaps_on(Channel::Book) > 0)
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

fn trade_gaps(client: &Client) -> Vec<Option<u64>> {
    let gaps = client.known.values().flat_map(|known| &known.gaps);
    gaps.filter(|(channel, _)| *channel == Channel::Trade).map(|(_, count)| *count).collect()
}

#[tokio::test]
async fn gap() {
    for market in MARKETS {
        broken_and_right(market, &[Fault::Gap], |client| {
            assert_eq!(trade_gaps(client), [Some(1); 3], "one trade of each symbol was lost");
            let live = client.states.iter().position(|state| *state == SourceState::Live);
            assert_eq!(live, Some(client.states.len() - 1), "the source stayed live");
        })
        .await;
    }
}

#[tokio::test]
async fn duplicate() {
    for market in MARKETS {
        let venue = venue(market).await;
        let mut client = Client::new(&venue, config(market, &venue));
        client.until_right().await;
        let before = client.repeats;
        venue.inject(&Fault::Duplicate);
        client.until("repeats", |client| client.repeats >= before + 6).await;
        client.until_right().await;
        assert!(client.known.values().all(|known| known.gaps.is_empty()), "nothing was lost");
    }
}

#[tokio::test]
async fn reorder() {
    for market in MARKETS {
        broken_and_right(market, &[Fault::Reorder], |client| assert_eq!(trade_gaps(client), [])).await;
    }
}

#[tokio::test]
async fn silence() {
    for market in MARKETS {
        broken_and_right(market, &[Fault::Silence(MS(300))], |client| {
            assert!(trade_gaps(client).iter().all(Option::is_some), "the number of lost trades is known");
            assert_eq!(client.adapter.counts().losses, 0, "pings were answered meanwhile");
        })
        .await;
    }
}

/// Lets all connections be lost, and checks that nothing is shown as live until they are back.
async fn lost_and_right(fault: Fault, reason: &str) {
    for market in MARKETS {
        broken_and_right(market, std::slice::from_ref(&fault), |client| {
            for (symbol, known) in &client.known {
                assert!(known.gaps_on(Channel::Quote) > 0, "{symbol}: {:?}", known.gaps);
                let is_usdm = market == Market::Usdm;
                assert_eq!(known.gaps_on(Channel::Derivative) > 0, is_usdm, "{symbol}");
            }
            assert!(trade_gaps(client).iter().all(Option::is_some), "the number of lost trades is known");
            let is_told = |state: &SourceState| matches!(state, SourceState::Stale { reason } if reason.starts_with("no connection to binance"));
            // Two connections may be lost so far apart that one is always there.
            assert!(market == Market::Usdm || client.states.iter().any(is_told), "{:?}", client.states);
            assert!(client.faults.iter().any(|fault| fault.reason.contains(reason)), "{:?}", client.faults);
        })
        .await;
    }
}

#[tokio::test]
async fn half_open() {
    lost_and_right(Fault::HalfOpen, "nothing came for 0.8 s, and no pong").await;
}

#[tokio::test]
async fn disconnect() {
    lost_and_right(Fault::Disconnect, "the venue ended the connection without a word").await;
}

#[tokio::test]
async fn shutdown() {
    lost_and_right(Fault::Shutdown, "the server said that it goes down").await;
}

#[tokio::test]
async fn slow_snapshots() {
    for market in MARKETS {
        broken_and_right(market, &[Fault::SlowSnapshots(MS(400)), Fault::Gap], |_| {}).await;
    }
}

#[tokio::test]
async fn stale_snapshots() {
    for market in MARKETS {
        broken_and_right(market, &[Fault::StaleSnapshots(5), Fault::Gap], |client| {
            assert!(client.adapter.counts().unused_snapshots >= 5);
        })
        .await;
    }
}

#[tokio::test]
async fn ban() {
    for (market, status) in MARKETS.into_iter().zip([429, 418]) {
        let venue = venue(market).await;
        let mut client = Client::new(&venue, config(market, &venue));
        client.until_right().await;
        venue.inject(&Fault::Ban(status, MS(1_000)));
        venue.inject(&Fault::Gap);
        client.until("a ban", |client| client.adapter.counts().bans > 0).await;
        let asked = client.adapter.counts().requests;
        client.until_right().await;
        let (counts, report) = (client.adapter.counts(), venue.report());
        // Those that were under way when the first one was refused are refused too, and none after.
        assert_eq!(report.requests_while_banned, counts.bans);
        assert!(counts.bans <= 4, "{counts:?}");
        assert!(counts.requests > asked, "and then it went on");
        assert!(client.faults.iter().any(|fault| fault.reason.contains(&status.to_string())));
    }
}

#[tokio::test]
async fn refused_subscription() {
    for market in MARKETS {
        let venue = venue(market).await;
        venue.inject(&Fault::Refuse("ethusdt@depth@100ms".to_owned()));
        let mut client = Client::new(&venue, config(market, &venue));
        let is_live = |client: &Client| {
            client.known.len() == 3
                && client.known.iter().all(|(symbol, known)| {
                    known.has_quote && known.trades > 0 && (known.book.is_some() || symbol == "ETHUSDT")
                })
        };
        client.until("everything but one book", is_live).await;
        assert_eq!(client.adapter.counts().refused_topics, 1);
        assert!(client.known["ETHUSDT"].book.is_none());
        let told =
            "`ethusdt@depth@100ms` was refused: Invalid request: ethusdt@depth@100ms is refused (code 2)";
        assert!(client.faults.iter().any(|fault| fault.reason == told), "{:?}", client.faults);
        assert_eq!(venue.report().violations, 0);
    }
}

#[tokio::test]
async fn a_silent_stream_is_told_until_it_speaks() {
    for market in MARKETS {
        let venue = venue(market).await;
        venue.inject(&Fault::Mute("ethusdt@depth@100ms".to_owned()));
        let mut client = Client::new(&venue, config(market, &venue));
        let told = "TRADING; no data since the subscription (book)";
        client
            .until("the silence is told", |client| {
                client.known.get("ETHUSDT").is_some_and(|known| known.status == told)
            })
            .await;
        assert_eq!(client.adapter.counts().silent_topics, 1);
        assert!(client.known["ETHUSDT"].book.is_none() && client.known["ETHUSDT"].has_quote);
        assert_eq!(client.state, Some(SourceState::Live), "the others bring data");
        venue.inject(&Fault::Unmute);
        client.until_right().await;
        assert_eq!(client.known["ETHUSDT"].status, "TRADING");
    }
}

#[tokio::test]
async fn a_wrong_route_is_granted_in_silence_and_told() {
    let market = Market::Usdm;
    let venue = venue(market).await;
    let mut config = config(market, &venue);
    // The streams of the market, at the root that brings the public ones.
    config.routes[1].url = config.routes[0].url.clone();
    config.channels = vec![Channel::Derivative];
    let mut client = Client::new(&venue, config.clone());
    let stale = SourceState::Stale { reason: "no data since the subscription".to_owned() };
    client.until("the source is stale", |client| client.state.as_ref() == Some(&stale)).await;
    assert_eq!(client.adapter.counts().silent_topics, 3);
    for known in client.known.values() {
        assert_eq!(known.status, "TRADING; no data since the subscription (derivative)");
    }
    // One route that is wrong harms no other.
    config.channels = vec![Channel::Quote, Channel::Book, Channel::Derivative];
    let mut client = Client::new(&venue, config);
    client
        .until("silence of one, life of the other", |client| {
            client.adapter.counts().silent_topics == 3
                && client.state == Some(SourceState::Live)
                && client.known.values().all(|known| known.has_quote && known.book.is_some())
        })
        .await;
}

#[tokio::test]
async fn numbers_that_begin_anew() {
    for market in MARKETS {
        let venue = venue(market).await;
        let mut client = Client::new(&venue, config(market, &venue));
        client.until_right().await;
        venue.inject(&Fault::Renumber);
        client
            .until("gaps", |client| {
                client.known.values().all(|known| {
                    known.gaps_on(Channel::Book) > 0 && known.gaps.contains(&(Channel::Trade, None))
                })
            })
            .await;
        client.until_right().await;
    }
}
