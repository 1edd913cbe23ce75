//! A token that grants data late and books to a depth only, at a real gateway; and a new one that grants all of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tickwire_client::wire::{Body, Channel};
use tickwire_client::{Client, Event, State};

use crate::auth::Keys;
use crate::session::fed;
use crate::world::nats;

const SYMBOL: &str = "sim:BTC-USD";

const DELAY: Duration = Duration::from_secs(1);

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_grants_late_data_and_books_to_a_depth() {
    let (nats, keys) = (nats(), Keys::new());
    let gateway = keys.gateway(&nats.url(), &[]).await;
    let _ingester = fed(&nats, &gateway).await;
    let mut client = Client::builder(gateway.url())
        .token(keys.token("desk", "sim:* quote,book delay=1s depth=2"))
        .subscribe(Channel::Quote, [SYMBOL])
        .subscribe(Channel::Book, [SYMBOL])
        .connect()
        .await
        .unwrap();
    let (mut quotes, mut books) = (0, 0);
    while quotes < 20 || books < 20 {
        for event in client.next().await.expect("it goes on") {
            let Event::Record(update) = event else { continue };
            // Ingester, gateway and this test have one clock.
            let received = Duration::from_nanos(update.record.receive_time);
            assert!(received + DELAY <= since_epoch(), "{update} is too young");
            match &update.record.body {
                Body::Book(_) => books += 1,
                _ => quotes += 1,
            }
        }
        if let Some(book) = client.book(SYMBOL) {
            assert!(book.bids().len() <= 2 && book.asks().len() <= 2);
        }
    }
    let book = client.book(SYMBOL).unwrap();
    assert_eq!((book.depth(), book.delay(), book.is_live()), (Some(2), DELAY, false));
    assert!(book.is_current() && book.bids().len() == 2, "the market has more levels than two");
    let (_, sessions) = gateway.get("/metrics").await.unwrap();
    assert!(sessions.contains("tickwire_depths 1") && sessions.contains("tickwire_delays 1"), "{sessions}");

    // The next token grants all of it: what was seen otherwise ends, and the client asks for it again.
    let (handle, next) = (client.handle(), keys.token("desk", "sim:* quote,book"));
    let renewed = tokio::spawn(async move { handle.token(next).await });
    let mut ended = 0;
    loop {
        for event in client.next().await.expect("it goes on") {
            if let Event::State(State::Ended { returns, .. }) = &event {
                assert!(*returns, "{event:?}");
                ended += 1;
            }
        }
        let book = client.book(SYMBOL).filter(|book| book.is_live() && book.depth().is_none());
        if book.is_some_and(|book| book.bids().len() > 2) && client.is_live(SYMBOL) {
            break;
        }
    }
    assert_eq!(ended, 2);
    renewed.await.unwrap().expect("it counts");
    assert_eq!(client.counters().connects, 1);
}
