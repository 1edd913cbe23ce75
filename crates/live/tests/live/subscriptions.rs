//! Subscriptions that are refused, or granted in silence.

use tickwire_feed::adapter::SourceState;
use tickwire_live::simulator::{Fault, SimKind};
use tickwire_wire::Channel;

use crate::VENUES;
use crate::client::{Client, book_stream, config, has, symbols, venue};

#[tokio::test]
async fn refused_subscription() {
    for kind in VENUES {
        let venue = venue(kind).await;
        let (stream, refused) = (book_stream(kind), symbols(kind)[1]);
        venue.inject(&Fault::Refuse(stream.to_owned())).unwrap();
        let mut client = Client::new(&venue, kind);
        let is_live = |client: &Client| {
            client.known.len() == 3
                && client.known.iter().all(|(symbol, known)| {
                    let has_quote = known.has_quote || !has(kind, Channel::Quote);
                    has_quote && known.trades > 0 && (known.book.is_some() || symbol == refused)
                })
        };
        client.until("everything but one book", is_live).await;
        assert!(client.adapter.counts().refused_topics >= 1);
        assert!(client.known[refused].book.is_none());
        let reason = match kind {
            SimKind::Bitstamp => "Bad subscription string.".to_owned(),
            SimKind::Kraken => format!("Currency pair not supported {refused}"),
            SimKind::Coinbase => format!("{refused} is not a valid product"),
            SimKind::Bybit | SimKind::BybitLinear => {
                format!("error:handler not found,topic:orderbook.50.{refused}")
            }
            SimKind::Okx => {
                format!("Wrong URL or channel:books,instId:{refused} doesn't exist. (code 60018)")
            }
            _ => format!("Invalid request: {stream} is refused (code 2)"),
        };
        let told = format!("`{stream}` was refused: {reason}");
        assert!(client.faults.iter().any(|fault| fault.reason == told), "{:?}", client.faults);
        let shown = format!("; the venue refused the subscription (book: {reason})");
        let status = &client.known[refused].status;
        assert!(status.ends_with(&shown), "{status}");
        // It is tried again, so a refusal that is over is over.
        let before = client.adapter.counts().refused_topics;
        client.until("another try", |client| client.adapter.counts().refused_topics > before + 1).await;
        venue.inject(&Fault::Unmute).unwrap();
        client.until_right().await;
        assert!(!client.known[refused].status.contains("refused"), "{}", client.known[refused].status);
        assert_eq!((venue.report().violations, client.adapter.counts().losses), (0, 0));
    }
}

#[tokio::test]
async fn a_silent_stream_is_told_until_it_speaks() {
    for kind in VENUES {
        let venue = venue(kind).await;
        venue.inject(&Fault::Mute(book_stream(kind).to_owned())).unwrap();
        let mut client = Client::new(&venue, kind);
        let silent = symbols(kind)[1];
        client
            .until("the silence is told", |client| {
                let status = client.known.get(silent).map(|known| known.status.as_str());
                status.is_some_and(|status| status.ends_with("; no data since the subscription (book)"))
            })
            .await;
        assert_eq!(client.adapter.counts().silent_topics, 1);
        assert!(client.known[silent].book.is_none() && client.known[silent].trades > 0);
        assert_eq!(client.state, Some(SourceState::Live), "the others bring data");
        venue.inject(&Fault::Unmute).unwrap();
        client.until_right().await;
        assert!(!client.known[silent].status.contains("no data"), "{}", client.known[silent].status);
    }
}

#[tokio::test]
async fn a_wrong_route_is_granted_in_silence_and_told() {
    let venue = venue(SimKind::BinanceUsdm).await;
    let mut config = config(SimKind::BinanceUsdm, &venue);
    // The streams of the market, at the root that brings the public ones.
    config.terms.routes[1].url = config.terms.routes[0].url.clone();
    config.channels = vec![Channel::Derivative];
    let mut client = Client::configured(&venue, SimKind::BinanceUsdm, config.clone());
    let stale = SourceState::Stale { reason: "no data since the subscription".to_owned() };
    client.until("the source is stale", |client| client.state.as_ref() == Some(&stale)).await;
    assert_eq!(client.adapter.counts().silent_topics, 3);
    for known in client.known.values() {
        assert_eq!(known.status, "TRADING; no data since the subscription (derivative)");
    }
    // One route that is wrong harms no other.
    config.channels = vec![Channel::Quote, Channel::Book, Channel::Derivative];
    let mut client = Client::configured(&venue, SimKind::BinanceUsdm, config);
    client
        .until("silence of one, life of the other", |client| {
            client.adapter.counts().silent_topics == 3
                && client.state == Some(SourceState::Live)
                && client.known.values().all(|known| known.has_quote && known.book.is_some())
        })
        .await;
}
