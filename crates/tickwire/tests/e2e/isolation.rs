//! A gateway that stops reading the bus, in mid-stream: it costs the ingester and the other gateway nothing, and what it
//! missed is announced and repaired when it goes on.

use std::collections::HashMap;
use std::time::Duration;

use tickwire_client::wire::{Channel, Encoding, GapCause, Ledger};
use tickwire_client::{Client, Event, NoticedBy, State};
use tickwire_testkit::{NatsServer, NatsServerConfig, Program};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::world::{Gateway, TICKWIRE, root, until};

/// The time that the gateway stands still.
const STOPPED: Duration = Duration::from_secs(15);
const INSTRUMENTS: usize = 40;
const TAKEN: &str = "tickwire_bus_records_total ";
const LOST: &str = "tickwire_bus_lost_records_total ";
const CHANNELS: [Channel; 3] = [Channel::Quote, Channel::Trade, Channel::Book];

/// Starts NATS with the limits that `deploy/` recommends, on a port of its own.
fn nats() -> NatsServer {
    let recommended = std::fs::read_to_string(root().join("deploy/nats.conf")).unwrap();
    let is_address = |line: &&str| line.starts_with("listen:") || line.starts_with("http:");
    let text: Vec<_> = recommended.lines().filter(|line| !is_address(line)).collect();
    assert!(text.iter().any(|line| line.starts_with("no_fast_producer_stall: true")));
    NatsServer::start(NatsServerConfig { text: text.join("\n"), ..NatsServerConfig::default() })
}

/// The things that one client saw.
#[derive(Debug, Default)]
struct Seen {
    records: u64,
    /// Longest time without any record.
    longest_silence: Duration,
    /// The last sequence number of trades that came or was announced, by symbol.
    trades: HashMap<String, u64>,
    /// The grant's sequence number, delivered records and announced numbers of lossless channels, by (symbol, channel).
    counted: HashMap<String, (u64, u64, u64)>,
    announced: HashMap<GapCause, u64>,
    connections: usize,
    states: Vec<String>,
    ledger: Option<Ledger>,
    /// Bids, then asks.
    books: HashMap<String, Vec<(i64, u64)>>,
}

impl Seen {
    fn note(&mut self, event: Event) {
        match event {
            Event::Subscribed(outcome) => {
                for granted in outcome.granted.iter().filter(|granted| granted.channel() == Channel::Trade) {
                    self.trades.entry(granted.symbol.clone()).or_insert(granted.sequence);
                    self.counted.insert(granted.symbol.clone(), (granted.sequence, 0, 0));
                }
            }
            Event::Record(update) => {
                self.records += 1;
                if update.record.channel() == Channel::Trade {
                    let last = self.trades.get_mut(&update.scale.symbol).unwrap();
                    assert_eq!(update.record.sequence, *last + 1, "a trade of {}", update.scale.symbol);
                    *last += 1;
                    self.counted.get_mut(&update.scale.symbol).unwrap().1 += 1;
                }
            }
            Event::Gap(gap) => {
                assert_eq!(gap.noticed_by, NoticedBy::Gateway, "{gap:?}");
                let last = gap.last.expect("the sequence stays");
                *self.announced.entry(gap.cause).or_default() += last + 1 - gap.first;
                if gap.channel == Channel::Trade {
                    let at = self.trades.get_mut(&gap.scale.symbol).unwrap();
                    assert_eq!(gap.first, *at + 1, "a gap of {}", gap.scale.symbol);
                    *at = last;
                    let counted = self.counted.get_mut(&gap.scale.symbol).unwrap();
                    counted.2 += (last + 1).saturating_sub(gap.first.max(counted.0 + 1));
                }
            }
            Event::State(State::Connected { .. }) => self.connections += 1,
            Event::State(State::Feed { state, reason, .. }) => {
                self.states.push(format!("{state:?} {reason}"));
            }
            Event::Ledger(ledger) => self.ledger = Some(ledger),
            _ => {}
        }
    }

    /// Checks that published = delivered + conflated + dropped + filtered, and that trades are as the client counted.
    fn assert_ledger(&self) {
        let ledger = self.ledger.as_ref().expect("a ledger");
        assert_eq!(ledger.entries.len(), CHANNELS.len() * INSTRUMENTS);
        for entry in &ledger.entries {
            assert_eq!(entry.published, entry.delivered + entry.conflated + entry.dropped + entry.filtered);
            if entry.channel() == Channel::Trade {
                let (_, delivered, dropped) = self.counted[&entry.symbol];
                assert_eq!((entry.delivered, entry.dropped), (delivered, dropped), "{entry:?}");
            }
        }
    }
}

/// A client with everything of every instrument. It reads until it is told to end, then asks for its ledger.
struct Reader {
    progress: watch::Receiver<(u64, u64)>,
    end: watch::Sender<bool>,
    reading: tokio::task::JoinHandle<Seen>,
}

impl Reader {
    fn start(url: &str) -> Self {
        let (tell, progress) = watch::channel((0, 0));
        let (end, ended) = watch::channel(false);
        Self { progress, end, reading: tokio::spawn(read(url.to_owned(), tell, ended)) }
    }

    /// Returns how many records came so far.
    fn records(&self) -> u64 {
        self.progress.borrow().0
    }

    async fn until(&mut self, what: &str, done: impl FnMut(&(u64, u64)) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(60), self.progress.wait_for(done)).await;
        assert!(waited.is_ok_and(|found| found.is_ok()), "never: {what}");
    }

    async fn end(self) -> Seen {
        self.end.send_replace(true);
        self.reading.await.unwrap()
    }
}

async fn read(url: String, tell: watch::Sender<(u64, u64)>, mut ended: watch::Receiver<bool>) -> Seen {
    let mut builder = Client::builder(url).encoding(Encoding::Proto);
    for channel in CHANNELS {
        builder = builder.subscribe(channel, ["sim:*"]);
    }
    let mut client = builder.start().unwrap();
    let (mut seen, mut last) = (Seen::default(), Instant::now());
    let mut is_asked = false;
    while seen.ledger.is_none() {
        let batch = tokio::select! {
            batch = client.next() => batch.expect("the client goes on"),
            Ok(_) = ended.wait_for(|ended| *ended), if !is_asked => {
                is_asked = true;
                let handle = client.handle();
                tokio::spawn(async move { drop(handle.ledger().await) });
                continue;
            }
        };
        let before = seen.records;
        batch.into_iter().for_each(|event| seen.note(event));
        if seen.records > before {
            let now = Instant::now();
            if before > 0 {
                seen.longest_silence = seen.longest_silence.max(now - last);
            }
            last = now;
        }
        tell.send_replace((seen.records, seen.announced.values().sum()));
    }
    let symbols: Vec<_> = seen.trades.keys().cloned().collect();
    for symbol in symbols {
        let book = client.book(&symbol).expect("a book");
        let levels = book.bids().chain(book.asks()).map(|level| (level.price, level.size)).collect();
        seen.books.insert(symbol, levels);
    }
    client.close().await;
    seen
}

/// Returns a figure of a gateway's bus side.
async fn figure(gateway: &Gateway, name: &str) -> u64 {
    let (_, metrics) = gateway.get("/metrics").await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_gateway_costs_nobody_else_anything() {
    let nats = nats();
    let instruments = INSTRUMENTS.to_string();
    let arguments =
        ["ingest", "sim", "--instruments", &instruments, "--rate", "4000", "--bus", &nats.url(), "--json"];
    let mut ingester = Program::start(TICKWIRE, &arguments);
    let other = Gateway::start(&nats.url()).await;
    // Its client is patient: it hears a heartbeat each 20 s and keeps its session through the stop. What waits for it
    // in NATS and in kernels fits there at this rate, so its own queue is made short enough to lose some of it.
    let short = ["--set", "gateway.heartbeat_ms=20000", "--set", "gateway.limits.bus_messages=2000"];
    let stopped = Gateway::start_with(&nats.url(), &short).await;
    for gateway in [&other, &stopped] {
        let fed = until(|| async {
            gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""sim":"live""#))
        });
        assert!(fed.await, "the feed is not live");
    }
    let (mut prompt, mut patient) = (Reader::start(&other.url()), Reader::start(&stopped.url()));
    for reader in [&mut prompt, &mut patient] {
        reader.until("data flows", |(records, _)| *records > 5_000).await;
    }

    let window = async || {
        let (start, before) = (Instant::now(), (figure(&other, TAKEN).await, prompt.records()));
        tokio::time::sleep(STOPPED).await;
        let seconds = start.elapsed().as_secs_f64();
        let after = (figure(&other, TAKEN).await, prompt.records());
        ((after.0 - before.0) as f64 / seconds, (after.1 - before.1) as f64 / seconds)
    };
    let (published, delivered) = window().await;
    stopped.program.pause();
    let at_stop = patient.records();
    let (published_meanwhile, delivered_meanwhile) = window().await;
    stopped.program.resume();
    println!(
        "records a second: published {published:.0}, {published_meanwhile:.0} while one gateway stood still; \
         delivered by the other {delivered:.0}, {delivered_meanwhile:.0}"
    );
    // Who is held up by the one that stands still gets nothing for most of the time.
    assert!(published_meanwhile > 0.5 * published, "the ingester was held up");
    assert!(delivered_meanwhile > 0.5 * delivered, "the other gateway was held up");

    // It goes on: first with what waited, then with what it missed, as gaps, and with states.
    patient.until("it goes on", |(records, _)| *records > at_stop + 5_000).await;
    let live = until(|| async {
        stopped.get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""sim":"live""#))
    });
    assert!(live.await, "{:?}\n{}", stopped.get("/readyz").await, stopped.program.output());
    ingester.terminate();
    assert!(ingester.ended().success(), "{}", ingester.output());

    // An ingester without a core for a while may refuse some by itself, on a busy machine; all others came.
    let report: serde_json::Value = serde_json::from_str(&ingester.line_with("\"records\"")).unwrap();
    let (records, missed) = (report["records"].as_u64().unwrap(), report["missed_numbers"].as_u64().unwrap());
    assert!(missed < records / 100, "the ingester was held up: {report}");
    assert!(figure(&other, LOST).await <= missed, "what the ingester published came: {report}");
    assert!(figure(&stopped, LOST).await > 0, "the stopped one lost nothing: the test proves nothing");
    // Both gateways told everything when both know that the ingester stopped, and nothing moves any more.
    let (mut last, mut quiet) = ((0, 0), 0);
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = (prompt.records(), patient.records());
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
    }
    let (prompt, patient) = (prompt.end().await, patient.end().await);
    for (name, seen) in [("prompt", &prompt), ("patient", &patient)] {
        println!(
            "{name}: {} records, longest silence {:?}, announced {:?}, {} connections, {:?}",
            seen.records, seen.longest_silence, seen.announced, seen.connections, seen.states
        );
        seen.assert_ledger();
        assert_eq!(seen.trades.len(), INSTRUMENTS);
    }
    assert_eq!(prompt.connections, 1);
    assert!(prompt.announced.values().sum::<u64>() <= missed, "{:?}", prompt.announced);
    assert_eq!(prompt.trades, patient.trades, "every trade came or was announced");
    assert_eq!(prompt.books, patient.books, "books are repaired");
    assert_eq!(patient.connections, 1);
    let (by_bus, all) = (patient.announced[&GapCause::Bus], patient.announced.values().sum::<u64>());
    assert!(by_bus > 0 && all - by_bus <= missed, "{:?}", patient.announced);
    println!(
        "{}",
        nats.log().lines().filter(|line| line.contains("Slow Consumer")).collect::<Vec<_>>().join("\n")
    );
}
