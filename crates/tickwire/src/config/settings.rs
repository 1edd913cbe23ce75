//! The settings as they are written, each with its default, its bounds and what it means: `tickwire config --print-default`
//! prints them from here.

use schemars::JsonSchema;
use serde::Serialize;
use tickwire_config::settings;
use tickwire_gateway::GatewaySettings;
use tickwire_live::bitstamp::BITSTAMP;
use tickwire_live::coinbase::COINBASE;
use tickwire_live::kraken::KRAKEN;
use tickwire_live::okx::OKX;
use tickwire_live::row::Row;
use tickwire_live::{binance, bybit};

/// One of the words of a setting.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($word:ident),* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        pub(crate) enum $name { $($word),* }
    };
}

words!(LogFormat { Text, Json });
words!(BusEncoding { Proto, Msgpack });

settings! {
    /// Configuration of Tickwire, with all defaults. Every line may be left out.
    ///
    /// What counts, from strong to weak:
    ///   1. flags of the command line (`--listen`, ..., or `--set gateway.listen=127.0.0.1:7400` for any line below)
    ///   2. environment: TICKWIRE_ and the path, levels joined by two underscores: TICKWIRE_GATEWAY__LISTEN=127.0.0.1:7400
    ///   3. this file (`--config FILE`)
    ///   4. these defaults
    ///
    /// Empty text and 0 mean "not set" where a line says so. Times are milliseconds unless a name says otherwise.
    #[derive(PartialEq, Serialize)]
    pub(crate) struct Raw {
        log: Log = Log::default(),
        traces: Traces = Traces::default(),
        bus: Bus = Bus::default(),
        gateway: GatewaySettings = GatewaySettings::default(),
        ingest: Ingest = Ingest::default(),
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct Log {
        /// error, warn, info, debug, trace; or a filter as in `info,tickwire_gateway=debug`
        level: String = "info".to_owned(),
        /// text, json
        format: LogFormat = LogFormat::Text,
        /// One place of the code writes this many lines a second at most; what it wrote beyond that is counted and told. Lines of
        /// the audit log (target tickwire::audit) all count as wanted. 0: no limit.
        lines_max: u32 = 50 => 0..=1_000_000,
        /// Bytes of lines that wait to be written. Where the disk or the reader of a pipe is slower, further lines are lost and counted.
        waiting_bytes: usize = 1 << 20 => 4096..=(1_u64 << 30),
    }

    /// Traces of a gateway in OpenTelemetry's protocol: handshakes, logins, commands, snapshots, reloads, revocations and the end, but
    /// no records. For programs that were built with the feature `otel`.
    #[derive(PartialEq, Serialize)]
    pub(crate) struct Traces {
        /// The collector, OTLP over HTTP with Protobuf, as in http://127.0.0.1:4318/v1/traces; empty: no traces.
        endpoint: String = String::new(),
        /// This part of all traces is sent.
        sample: f64 = 1.0 => 0..=1,
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct Bus {
        /// NATS servers, nats:// or tls://; several are tried in random order.
        servers: Vec<String> = vec!["nats://127.0.0.1:4222".to_owned()],
        /// There is at most one way to sign in; empty: not set.
        credentials_file: String = String::new(),
        nkey_seed_file: String = String::new(),
        user: String = String::new(),
        #[schemars(extend("writeOnly" = true))]
        password: String = String::new(),
        #[schemars(extend("writeOnly" = true))]
        token: String = String::new(),
        /// Certificates to trust, and own certificate and key for servers that verify clients; empty: not set.
        ca_file: String = String::new(),
        cert_file: String = String::new(),
        key_file: String = String::new(),
        /// Refuse servers without TLS.
        tls_required: bool = false,
        /// The server shows this connection by this name.
        name: String = "tickwire".to_owned(),
        history: BusHistory = BusHistory::default(),
    }

    /// A JetStream stream with the lossless channels (trade, status, instrument): gateways look there for what clients missed that
    /// were away for longer than the gateways' own logs reach. Off: such a client gets an exact gap. The same in ingesters and gateways.
    /// Needs nats-server 2.11 or later.
    #[derive(PartialEq, Serialize)]
    pub(crate) struct BusHistory {
        enabled: bool = false,
        /// Name of the stream.
        stream: String = "TICKWIRE".to_owned(),
        /// Ingesters make the stream at their start and keep its settings as they are here. false: somebody else does.
        make: bool = true,
        /// Records that are older or more than this are forgotten, oldest first.
        max_age_s: u64 = 3_600,
        max_bytes: u64 = 1 << 30,
        /// Copies in a NATS cluster: 1, 3 or 5.
        replicas: usize = 1,
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct Ingest {
        /// proto, msgpack: how records travel on the bus
        encoding: BusEncoding = BusEncoding::Proto,
        /// Intervals of bars, each from 1s to 1d, 16 at most: a whole number and s, m, h or d. They are counted from midnight UTC. None: no bars.
        bars: Vec<String> = vec!["1s".to_owned(), "1m".to_owned()],
        /// Publish only while this lease is held: of several ingesters that name the same one, one publishes and the others stand by. It needs
        /// JetStream. Empty: publish always.
        lease: String = String::new(),
        /// A live source that says nothing for this long is stale.
        stall_ms: u64 = 30_000 => 1_000..=86_400_000,
        binance: IngestVenue = IngestVenue::of(&binance::SPOT, &["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]),
        binance_usdm: IngestVenue = IngestVenue::of(&binance::USDM, &["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]),
        bitstamp: IngestVenue = IngestVenue::of(&BITSTAMP, &["BTCUSD", "ETHUSD", "SOLUSD", "XRPUSD"]),
        bybit: IngestVenue = IngestVenue::of(&bybit::SPOT, &["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]),
        bybit_linear: IngestVenue = IngestVenue::of(&bybit::LINEAR, &["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]),
        coinbase: IngestVenue = IngestVenue::of(&COINBASE, &["BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD"]),
        kraken: IngestVenue = IngestVenue::of(&KRAKEN, &["BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD"]),
        okx: IngestVenue = IngestVenue::of(&OKX, &["BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT"]),
        sim: IngestSim = IngestSim::default(),
        replay: IngestReplay = IngestReplay::default(),
    }

    /// A live venue; docs/venues.md says what is known of it.
    #[derive(PartialEq, Serialize)]
    pub(crate) struct IngestVenue {
        /// Symbols, with * for any part of a name.
        symbols: Vec<String> = Vec::new(),
        /// quote, trade, book, derivative (futures and contracts); empty: all that the venue has. Where it has no quotes, they come of the book.
        channels: Vec<String> = Vec::new(),
        /// Roots of the streams and of the REST service; empty: the venue's own.
        stream_url: String = String::new(),
        rest_url: String = String::new(),
        /// Levels of a book on each side; 0 where the venue gives no choice. Binance spot: of a snapshot, up to 5000; the book is told as far
        /// as it proves it, and more cost more of the venue's weight: with 1000 some 60 books a minute begin, with 100 some 600 (futures:
        /// 240). Binance futures: 5, 10, 20, 50, 100, 500, 1000. Bybit: 50, 200, 1000. Kraken: 10, 25, 100, 500, 1000, of which the checksum proves ten.
        depth: u32 = 0,
        /// A stream that was subscribed to and brings nothing for this long is told; trades have twenty times as long.
        silent_ms: u64 = 30_000 => 1_000..=86_400_000,
        /// Streams of one connection. At Coinbase a message that is missing breaks all books of its connection.
        topics_per_connection: usize = 200 => 1..=1024,
        /// The list of instruments is read again after this.
        catalogue_s: u64 = 300 => 6..=86_400,
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct IngestSim {
        /// The same seed always gives the same market.
        seed: u64 = 1,
        instruments: usize = 24,
        /// Mean over all instruments; each trade, book change and quote is one.
        events_per_second: f64 = 2_000.0,
        /// Levels on each side of a book, at least: 20 to 1000.
        depth: usize = 25,
        /// Rate in a burst over the mean rate, 1 to 5.
        burst_factor: f64 = 3.0,
        halts_per_hour: f64 = 20.0,
        halt_seconds: f64 = 15.0,
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct IngestReplay {
        /// Format of the recordings: binance, bus, cryptofeed, csv, dbn, iex, itch, lobster, stream, tardis; empty: told by their content
        format: String = String::new(),
        /// Venue of the recordings, as binance, binance-usdm, glbx-mdp3; empty: told by their content
        venue: String = String::new(),
        /// Day of trading (2020-01-30), where times are counted from midnight; empty: told by the name of the file
        date: String = String::new(),
        /// File that says what the columns of plain CSV are; see docs/recordings.md.
        map: String = String::new(),
        /// Begin at this receive time, with what held then, and end before the other one: 2024-08-08T23:55:00Z, or nanoseconds since 1970.
        from: String = String::new(),
        to: String = String::new(),
        /// Recorded seconds per second; 0: as fast as it goes.
        speed: f64 = 1.0 => 0..=1e6,
        /// Start again at the end.
        looped: bool = false,
        /// Shift recorded times so that the recording starts now.
        rebase: bool = false,
    }
}

impl IngestVenue {
    /// Makes the defaults of a venue.
    fn of(row: &Row, symbols: &[&str]) -> Self {
        Self {
            symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
            depth: row.depth.usual(),
            topics_per_connection: row.limits.topics_per_connection,
            ..Self::default()
        }
    }
}

impl Raw {
    /// Returns the settings for showing: secrets are replaced, and so is what stands before the `@` of an address.
    pub(crate) fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        for secret in [&mut shown.bus.password, &mut shown.bus.token] {
            if !secret.is_empty() {
                "(set)".clone_into(secret);
            }
        }
        let urls = shown
            .bus
            .servers
            .iter_mut()
            .chain([&mut shown.gateway.auth.jwks_url, &mut shown.traces.endpoint]);
        for url in urls {
            *url = without_credentials(url);
        }
        shown
    }
}

/// Returns a URL with `(set)` in place of what stands before its `@`, and in place of its query.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (rest, has_query) = rest.split_once('?').map_or((rest, false), |(rest, _)| (rest, true));
    let (host, has_user) = rest.rsplit_once('@').map_or((rest, false), |(_, host)| (host, true));
    let mark = if scheme.is_empty() { "" } else { "://" };
    let (user, query) = (if has_user { "(set)@" } else { "" }, if has_query { "?(set)" } else { "" });
    format!("{scheme}{mark}{user}{host}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_credentials() {
        for (url, shown) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://me:pass@host:4222", "nats://(set)@host:4222"),
            ("token@host:4222", "(set)@host:4222"),
            ("https://me:p@ss@id.example/jwks.json?key=secret@x", "https://(set)@id.example/jwks.json?(set)"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }
}
