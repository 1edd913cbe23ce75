//! Connections that are lost, and venues that refuse to be asked.

use std::time::Duration;

use tickwire_feed::adapter::SourceState;
use tickwire_live::simulator::{Fault, SimKind};
use tickwire_wire::Channel;

use crate::client::{Client, has, numbers_trades, venue};
use crate::faults::{broken_and_right, trade_gaps};
use crate::{BINANCE, VENUES};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Lets all connections be lost, and checks that nothing is shown as live until they are back.
async fn lost_and_right(kinds: &[SimKind], fault: Fault, reason: &str) {
    for kind in kinds.iter().copied() {
        broken_and_right(kind, std::slice::from_ref(&fault), |client| {
            for (symbol, known) in &client.known {
                let has_quotes = has(kind, Channel::Quote);
                assert_eq!(known.gaps_on(Channel::Quote) > 0, has_quotes, "{symbol}: {:?}", known.gaps);
                let has_derivatives = has(kind, Channel::Derivative);
                assert_eq!(known.gaps_on(Channel::Derivative) > 0, has_derivatives, "{symbol}");
                // Trades are told at once, too, whatever else there is of the instrument.
                let told = |status: &String| status.ends_with("; the connection is lost (trade)");
                assert!(known.statuses.iter().any(told), "{symbol}: {:?}", known.statuses);
                assert!(!told(&known.status), "{symbol}: and that they are back");
            }
            check_trade_gaps(client, kind);
            let is_told = |state: &SourceState| matches!(state, SourceState::Stale { reason } if reason.starts_with("no connection to "));
            // Two connections may be lost so far apart that one is always there.
            assert!(kind == SimKind::BinanceUsdm || client.states.iter().any(is_told), "{:?}", client.states);
            assert!(client.faults.iter().any(|fault| fault.reason.contains(reason)), "{:?}", client.faults);
        })
        .await;
    }
}

#[tokio::test]
async fn half_open() {
    lost_and_right(&VENUES, Fault::HalfOpen, "nothing came for 0.8 s, and no pong").await;
}

#[tokio::test]
async fn disconnect() {
    // It ends without a word; where a command of ours was not read yet, it breaks.
    lost_and_right(&VENUES, Fault::Disconnect, "the connection is lost: the ").await;
}

#[tokio::test]
async fn shutdown() {
    let kinds = [SimKind::Binance, SimKind::BinanceUsdm, SimKind::Bitstamp, SimKind::Okx];
    lost_and_right(&kinds, Fault::Shutdown, "the server said that it goes down").await;
}

#[tokio::test]
async fn ban() {
    let of_bitstamp = (SimKind::Bitstamp, 429);
    for (kind, status) in BINANCE.into_iter().zip([429, 418]).chain([of_bitstamp]) {
        let venue = venue(kind).await;
        let mut client = Client::new(&venue, kind);
        client.until_right().await;
        venue.inject(&Fault::Ban(status, MS(1_000))).unwrap();
        // Nothing tells of a change that Bitstamp did not send.
        let fault = if kind == SimKind::Bitstamp { Fault::Reorder } else { Fault::Gap };
        venue.inject(&fault).unwrap();
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
async fn a_ban_on_connections_is_waited_for() {
    for kind in [
        SimKind::Bitstamp,
        SimKind::Bybit,
        SimKind::BybitLinear,
        SimKind::Kraken,
        SimKind::Coinbase,
        SimKind::Okx,
    ] {
        let venue = venue(kind).await;
        let mut client = Client::new(&venue, kind);
        client.until_right().await;
        venue.inject(&Fault::Ban(429, MS(1_500))).unwrap();
        venue.inject(&Fault::Disconnect).unwrap();
        let told = |client: &Client| {
            client
                .faults
                .iter()
                .any(|fault| fault.reason.starts_with("no connection: ") && fault.reason.contains("429"))
        };
        client.until("a refusal", told).await;
        client.until_right().await;
        // The one that was refused said how long to wait.
        assert_eq!((client.adapter.counts().connects, venue.report().connections), (3, 2));
        check_trade_gaps(&client, kind);
    }
}

/// Checks that the number of lost trades is known, or that it is told that some may be lost.
fn check_trade_gaps(client: &Client, kind: SimKind) {
    let gaps = trade_gaps(client);
    if numbers_trades(kind) {
        assert!(gaps.iter().all(Option::is_some), "the number of lost trades is known: {gaps:?}");
    } else {
        assert!(gaps.len() >= 3 && gaps.iter().all(Option::is_none), "it is not known: {gaps:?}");
    }
}
