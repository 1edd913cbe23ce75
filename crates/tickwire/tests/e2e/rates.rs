//! Rates and delivery windows on a real gateway, measured by the gateway's own send times: the clock of the test and the
//! load of its machine do not matter.

use tickwire_client::wire::Channel;
use tickwire_client::{Client, Event, Options};
use tokio::sync::mpsc;

use crate::session::fed;
use crate::world::{Gateway, nats};

const SYMBOL: [&str; 1] = ["sim:BTC-USD"];
const SECOND: f64 = 1e9;

/// Returns the send times of messages with records, as they come; each time once.
fn send_times(mut client: Client) -> mpsc::Receiver<u64> {
    let (times, coming) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut last = 0;
        while let Some(batch) = client.next().await {
            let is_data = batch.events().iter().any(|event| matches!(event, Event::Record(_)));
            if let Some(time) = batch.sent_time().filter(|time| is_data && *time > last) {
                last = time;
                if times.send(time).await.is_err() {
                    return;
                }
            }
        }
    });
    coming
}

/// Looks at `count` send times: they are an interval apart, and not many further. A message that the machine held up on its way into
/// the socket is closer to the next one, and all of them together are not.
async fn assert_paced(times: &mut mpsc::Receiver<u64>, interval_ns: u64, count: u64) {
    let first = times.recv().await.expect("data goes on");
    let (mut last, mut too_close) = (first, Vec::new());
    for _ in 0..count {
        let time = times.recv().await.expect("data goes on");
        too_close.extend((time - last < interval_ns).then_some((time - last) / 1000));
        last = time;
    }
    assert!(too_close.len() as u64 <= count / 5, "{too_close:?} us after the one before");
    assert!(last - first > (count - 1) * interval_ns, "{count} in {} us", (last - first) / 1000);
    let rate = count as f64 * SECOND / (last - first) as f64;
    let asked = SECOND / interval_ns as f64;
    println!("{rate:.2} a second, of {asked} that may be");
    // Something happens tens of times in each interval; a machine that is busy with other tests delays the rest.
    assert!(rate > asked / 2.0, "{rate} updates a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_and_changes_live() {
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let _ingester = fed(&nats, &gateway).await;
    let client = Client::builder(gateway.url()).batch_events_max(1).connect().await.unwrap();
    let handle = client.handle();
    let mut times = send_times(client);
    let outcome = handle.subscribe(Channel::Quote, SYMBOL, Options::max_rate(10.0)).await.unwrap();
    assert!((outcome.granted[0].max_rate - 10.0).abs() < f64::EPSILON, "{outcome:?}");
    assert_paced(&mut times, 100_000_000, 30).await;

    let asked = handle.set_rate(Channel::Quote, SYMBOL, 1e6).await.unwrap();
    assert!((asked.granted[0].max_rate - 1000.0).abs() < f64::EPSILON, "clamped: {asked:?}");
    let asked = handle.set_rate(Channel::Quote, SYMBOL, 4.0).await.unwrap();
    assert!((asked.granted[0].max_rate - 4.0).abs() < f64::EPSILON, "{asked:?}");
    // What came before the response may still be in the queue of this test.
    while times.try_recv().is_ok() {}
    times.recv().await.unwrap();
    assert_paced(&mut times, 250_000_000, 8).await;

    let ledger = handle.ledger().await.unwrap();
    let entry = &ledger.entries[0];
    assert_eq!(entry.published, entry.delivered + entry.conflated + entry.dropped + entry.filtered);
    assert!(entry.filtered > entry.delivered, "{entry:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_window_is_kept() {
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let _ingester = fed(&nats, &gateway).await;
    let window = std::time::Duration::from_millis(200);
    let builder = Client::builder(gateway.url()).batch_events_max(1).window(window);
    let client =
        builder.subscribe(Channel::Quote, SYMBOL).subscribe(Channel::Trade, SYMBOL).connect().await.unwrap();
    assert_eq!(client.hello().unwrap().window_ms, 200);
    let mut times = send_times(client);
    // The state that a subscription starts with comes with its response.
    times.recv().await.unwrap();
    assert_paced(&mut times, 200_000_000, 15).await;

    let refused = Client::builder(format!("{}?window_ms=1001", gateway.url())).connect().await;
    let told = refused.err().expect("out of range").to_string();
    assert!(told.contains("400") && told.contains("milliseconds from 0 to 1000"), "{told}");
}
