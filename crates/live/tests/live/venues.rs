//! A venue that is well, and what comes of it.

use std::time::Duration;

use tickwire_live::simulator::{Fault, SimKind, SimVenueConfig};
use tickwire_wire::Channel;

use crate::client::{Client, config, has, quick, symbols, venue, venue_with};
use crate::{BINANCE, VENUES};

#[tokio::test]
async fn books_quotes_and_trades_are_the_venues() {
    for kind in VENUES {
        let venue = venue(kind).await;
        let mut client = Client::new(&venue, kind);
        client.until_right().await;
        if matches!(kind, SimKind::Binance | SimKind::BinanceUsdm) {
            client.until("pongs", |_| venue.report().pongs > 1).await;
        }
        client.until_right().await;
        for (symbol, known) in &client.known {
            assert_eq!(known.gaps, [], "{symbol}");
            assert_eq!(known.snapshots, 1, "{symbol}");
            assert_eq!(known.has_derivative, has(kind, Channel::Derivative), "{symbol}");
            let status = match kind {
                SimKind::Binance | SimKind::BinanceUsdm => "TRADING",
                SimKind::Bitstamp => "Enabled",
                SimKind::Bybit | SimKind::BybitLinear => "Trading",
                SimKind::Kraken | SimKind::Coinbase => "online",
                SimKind::Okx => "live",
            };
            assert_eq!(known.status, status);
        }
        assert_eq!(client.faults, []);
        let (report, counts) = (venue.report(), client.adapter.counts());
        // Most commands are of one channel, and Coinbase is asked for heartbeats, too.
        let (routes, commands) = match kind {
            SimKind::Binance => (1, 1),
            SimKind::BinanceUsdm => (2, 2),
            // A command is of one stream.
            SimKind::Bitstamp => (1, 6),
            SimKind::Bybit => (1, 2),
            SimKind::BybitLinear | SimKind::Kraken | SimKind::Coinbase | SimKind::Okx => (1, 3),
        };
        assert_eq!((report.violations, report.connections), (0, routes));
        assert_eq!((counts.connects, counts.commands), (routes, commands));
        // A ticker begins with one, too.
        match kind {
            SimKind::BybitLinear => assert_eq!(report.snapshots, 6),
            // Books are compared with others.
            SimKind::Bitstamp => assert!(report.snapshots >= 3),
            _ => assert_eq!(report.snapshots, 3),
        }
    }
}

#[tokio::test]
async fn many_connections_share_the_topics() {
    let venue = venue_with(SimVenueConfig { instruments: 24, ..quick(SimKind::Binance) }).await;
    let mut config = config(SimKind::Binance, &venue);
    config.symbols = vec!["*USDT".to_owned()];
    (config.terms.limits.topics_per_connection, config.terms.limits.topics_per_command) = (9, 4);
    let mut client = Client::configured(&venue, SimKind::Binance, config);
    let meant = venue.symbols().iter().filter(|symbol| symbol.ends_with("USDT")).count();
    assert!(meant > 10);
    client
        .until("all books", |client| {
            client.known.len() == meant && client.known.values().all(|known| known.book.is_some())
        })
        .await;
    let report = venue.report();
    assert_eq!(report.connections, (meant as u64 * 3).div_ceil(9));
    assert_eq!(report.violations, 0, "commands keep to five messages a second");
    assert!(client.adapter.counts().commands >= report.connections * 2);
}

#[tokio::test]
async fn symbols_are_listed_and_delisted_while_it_runs() {
    for kind in VENUES {
        let [_, second, third] = symbols(kind).map(str::to_owned);
        let venue = venue_with(SimVenueConfig { unlisted: vec![third.clone()], ..quick(kind) }).await;
        let mut client = Client::new(&venue, kind);
        client
            .until("two symbols", |client| {
                client.known.len() == 2 && client.known.values().all(|known| known.book.is_some())
            })
            .await;
        venue.inject(&Fault::List(third)).unwrap();
        client.until_right().await;
        venue.inject(&Fault::Delist(second.clone())).unwrap();
        client.until("the end", |client| !client.known.contains_key(&second)).await;
        venue.inject(&Fault::List(second.clone())).unwrap();
        client.until("it is back", |client| client.known.contains_key(&second)).await;
        client.until_right().await;
        let gaps: usize = client.known.values().map(|known| known.gaps_on(Channel::Book)).sum();
        assert_eq!((gaps, venue.report().violations, client.adapter.counts().losses), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_connection_is_made_anew_before_the_venue_cuts_it_off() {
    let venue = venue(SimKind::Binance).await;
    let mut config = config(SimKind::Binance, &venue);
    config.terms.limits.connection_age = Duration::from_secs(2);
    let mut client = Client::configured(&venue, SimKind::Binance, config);
    client.until_live().await;
    client.until("a second connection", |_| venue.report().connections == 2).await;
    client.until_right().await;
    for (symbol, known) in &client.known {
        assert!(known.gaps_on(Channel::Book) >= 1 && known.gaps_on(Channel::Quote) >= 1, "{symbol}");
    }
    assert!(client.faults.iter().all(|fault| fault.reason.contains("age")), "{:?}", client.faults);
}

#[tokio::test]
async fn a_book_comes_back_after_a_change_of_scale() {
    for kind in VENUES {
        let venue = venue(kind).await;
        let mut client = Client::new(&venue, kind);
        client.until_right().await;
        let second = symbols(kind)[1];
        venue.inject(&Fault::Rescale(second.to_owned())).unwrap();
        client.until("another scale", |client| client.known[second].price_unit == 10).await;
        client.until_right().await;
        let (counts, report) = (client.adapter.counts(), venue.report());
        // What comes in the new scale before it was told cannot be read in the old one.
        let may_be_lost = kind == SimKind::Coinbase;
        assert_eq!(report.violations, 0);
        assert!(may_be_lost || counts.losses == 0, "{kind:?}: {counts:?}");
    }
}

#[tokio::test]
async fn a_book_is_as_deep_as_its_snapshots_prove_it() {
    for kind in BINANCE {
        let venue = venue(kind).await;
        let mut config = config(kind, &venue);
        config.depth = 10;
        let mut client = Client::shallow(&venue, kind, config);
        for _ in 0..4 {
            client.until_right().await;
            let asked = client.adapter.counts().requests;
            client.until("deeper snapshots", |client| client.adapter.counts().requests > asked + 3).await;
        }
        client.until_right().await;
        for (symbol, known) in &client.known {
            assert!(known.snapshots > 1, "{symbol}: {known:?}");
            let deepest = known.levels().map_or(0, |levels| levels.bids.len().min(levels.asks.len()));
            assert!(deepest < 20, "{symbol}: the books have 25 levels, and snapshots ten: {deepest}");
        }
        assert_eq!(venue.report().violations, 0);
    }
}
