//! Layers, errors and defaults of the configuration.

use super::*;

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tickwire.toml");
    std::fs::write(&path, text).unwrap();
    (folder, Sources { file: Some(path), ..Sources::default() })
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn set(sets: &[(&str, &str)]) -> Vec<String> {
    sets.iter().map(|(path, value)| format!("{path} = {value}")).collect()
}

#[track_caller]
fn check_told(sources: &Sources, parts: &[&str]) {
    let told = load(sources).unwrap_err().to_string();
    for part in parts {
        assert!(told.contains(part), "missing: {part}\nin: {told}");
    }
}

#[test]
fn the_printed_defaults_are_the_defaults() {
    let (_folder, sources) = file(&template());
    let printed = load(&sources).unwrap();
    assert_eq!(printed.raw, Raw::default());
    let expected = GatewayConfig { shards: printed.gateway.shards, ..GatewayConfig::default() };
    assert_eq!(printed.gateway, expected);
    assert!(
        template().contains("\n# Longest silence towards a client.\nheartbeat_ms = 1000\n"),
        "{}",
        template()
    );
    assert!(
        template().contains("\n[gateway.limits]\n") && template().starts_with("# Configuration of Tickwire")
    );
}

#[test]
fn later_layers_win() {
    let (_folder, mut sources) = file("[gateway]\nheartbeat_ms = 2000\nping_ms = 2000\nlinger_ms = 2000\n");
    sources.environment = pairs(&[
        ("TICKWIRE_GATEWAY__PING_MS", "3000"),
        ("TICKWIRE_GATEWAY__LINGER_MS", "3000"),
        ("HOME", "/"),
    ]);
    sources.sets = set(&[("gateway.linger_ms", "4000"), ("bus.servers", "nats://a:1,nats://b:2")]);
    let raw = load(&sources).unwrap().raw;
    assert_eq!((raw.gateway.heartbeat_ms, raw.gateway.ping_ms, raw.gateway.linger_ms), (2000, 3000, 4000));
    assert_eq!(raw.gateway.no_progress_ms, Raw::default().gateway.no_progress_ms);
    assert_eq!(raw.bus.servers, ["nats://a:1", "nats://b:2"]);
}

#[test]
fn errors_of_all_layers_are_listed_with_their_places() {
    let (_folder, mut sources) = file(
        "[gateway]\nlisten = 7400\nheartbeat = 5\n\n[gateway.limits]\nsessions = \"many\"\n[nats]\nurl = 1\n",
    );
    sources.environment = pairs(&[("TICKWIRE_GATEWAY__SHARD", "2"), ("TICKWIRE_LOG__FORMAT", "xml")]);
    sources.sets = set(&[("gateway.cork_us", "soon"), ("ingest.sim.depth", "-1")]);
    check_told(
        &sources,
        &[
            "line 2, column 1: `gateway.listen`: has to be an address with a port, as in \"127.0.0.1:7400\", not 7400",
            "line 3, column 1: `gateway.heartbeat`: does not exist; did you mean `gateway.heartbeat_ms`?",
            "line 6, column 1: `gateway.limits.sessions`: has to be a whole number from 1 to 1000000, not \"many\"",
            "line 7, column 2: `nats`: does not exist; here are: log, traces, bus, gateway, ingest",
            "TICKWIRE_GATEWAY__SHARD: `gateway.shard`: does not exist; did you mean `gateway.shards`?",
            "TICKWIRE_LOG__FORMAT: `log.format`: has to be one of text, json, not \"xml\"",
            "--set: `gateway.cork_us`: has to be a whole number from 0 to 100000, not \"soon\"",
            "--set: `ingest.sim.depth`: has to be a whole number from 0 on, not -1",
        ],
    );
}

#[test]
fn what_settings_mean_together_is_checked_and_told_at_once() {
    let (_folder, mut sources) =
        file("[bus]\nservers = [\"http://x\"]\ntoken = 5\n[gateway.limits]\nclose_bytes = 65536\n");
    sources.environment = pairs(&[("TICKWIRE_INGEST__ENCODING", "json"), ("TICKWIRE_LOG__LEVEL", "a=b=c")]);
    sources.sets = set(&[
        ("gateway.freshness_ms", "5"),
        ("gateway.limits.rate_max", "0"),
        ("ingest.sim.depth", "3"),
        ("ingest.sim.burst_factor", "99"),
        ("ingest.replay.venue", "a b"),
        ("ingest.replay.speed", "-1"),
    ]);
    sources.sets.push("gateway.shards".to_owned());
    sources.flags.push(("--listen", "gateway.listen", Some("127.0.0.1:7401".to_owned())));
    check_told(
        &sources,
        &[
            "13 errors in the configuration:",
            "line 2, column 1: `bus.servers[0]`: ",
            "line 3, column 1: `bus.token`: has to be a text in quotes\n",
            "line 5, column 1: `gateway.limits.close_bytes`: has to be above `gateway.limits.shed_bytes`",
            "`gateway.admin_listen`: is the same as gateway.listen",
            "TICKWIRE_INGEST__ENCODING: `ingest.encoding`: has to be one of proto, msgpack, not \"json\"",
            "TICKWIRE_LOG__LEVEL: `log.level`: `a=b=c` is no filter",
            "--set: `gateway.freshness_ms`: has to be 0, or 10 at least, not 5",
            "--set: `gateway.limits.rate_max`: has to be a number from 0.01 to 1000000, not 0",
            "--set: `ingest.sim.depth`: 3 is not within 20 to 1000",
            "--set: `ingest.sim.burst_factor`: 99 is not within 1 to 5",
            "--set: `ingest.replay.venue`: `a b` cannot name a venue",
            "--set: `gateway.shards`: has no `=`: write NAME=VALUE",
            "--set: `ingest.replay.speed`: has to be a number from 0 to 1000000, not -1",
            "\n`tickwire config --print-default` shows",
        ],
    );
}

/// A configuration may be shared by processes that listen nowhere, and have no certificates.
#[test]
fn who_listens_for_everybody_needs_tls_or_says_that_it_does_not() {
    let sources = |purpose, sets: &[(&str, &str)]| Sources { sets: set(sets), purpose, ..Sources::default() };
    let (serve, other) = (Purpose::Serve, Purpose::Other);
    for address in ["0.0.0.0:7400", "192.168.1.7:7400", "[::]:7400", "[2001:db8::1]:7400"] {
        let listen = ("gateway.listen", address);
        check_told(
            &sources(serve, &[listen]),
            &["--set: `gateway.listen`: ", "can be reached from elsewhere, so it needs TLS", "--insecure"],
        );
        load(&sources(other, &[listen])).unwrap();
        load(&sources(serve, &[listen, ("gateway.insecure", "true")])).unwrap();
    }
    for address in ["127.0.0.1:7400", "127.8.8.8:7400", "[::1]:7400", "[::ffff:127.0.0.1]:7400"] {
        load(&sources(serve, &[("gateway.listen", address)])).unwrap();
    }
    let missing =
        [("gateway.tls.cert_file", "/nowhere/cert.pem"), ("gateway.tls.key_file", "/nowhere/key.pem")];
    check_told(
        &sources(serve, &missing),
        &["--set: `gateway.tls.cert_file`: /nowhere/cert.pem cannot be read"],
    );
    let config = load(&sources(other, &missing)).unwrap();
    assert!(config.gateway.tls.is_some_and(|tls| !tls.admin && tls.files.client_ca.is_none()));
}

#[test]
fn settings_of_tls_that_do_not_go_together_are_told() {
    let check = |sets: &[(&str, &str)], parts: &[&str]| {
        check_told(&Sources { sets: set(sets), ..Sources::default() }, parts);
    };
    let (cert, key) = (("gateway.tls.cert_file", "c.pem"), ("gateway.tls.key_file", "k.pem"));
    check(&[cert], &["`gateway.tls.key_file`: is empty; it has to name the key"]);
    check(&[key], &["`gateway.tls.cert_file`: is empty; it has to name the certificate"]);
    check(&[("gateway.tls.admin", "true")], &["`gateway.tls.admin`: has no meaning without TLS"]);
    check(
        &[("gateway.tls.client_auth", "required")],
        &["`gateway.tls.client_auth`: has no meaning without TLS"],
    );
    check(&[("gateway.tls.client_auth", "maybe")], &["has to be one of none, optional, required"]);
    let ca = ("gateway.tls.client_ca_file", "ca.pem");
    check(&[cert, key, ca], &["`gateway.tls.client_ca_file`: is named, and clients are not asked"]);
    let asks = ("gateway.tls.client_auth", "optional");
    check(&[cert, key, asks], &["`gateway.tls.client_ca_file`: is empty; it has to name the authorities"]);
}

#[test]
fn variables_that_are_no_settings_are_told_apart() {
    let environment = pairs(&[
        ("TICKWIRE_GATEWAY_PORT", "tcp://10.0.0.1:80"),
        ("TICKWIRE_URL", "ws://x"),
        ("TICKWIRE_LOG__LEVEL", "debug"),
        ("HOME", "/"),
    ]);
    assert_eq!(ignored(&environment).collect::<Vec<_>>(), ["TICKWIRE_GATEWAY_PORT"]);
    assert_eq!(load(&Sources { environment, ..Sources::default() }).unwrap().raw.log.level, "debug");
}

#[test]
fn a_half_written_file_names_the_line() {
    let (_folder, sources) = file("[gateway]\nheartbeat_ms = 2000\nlisten = \"127.0.0");
    check_told(&sources, &["line 3, column", "is not TOML", "cut off"]);
}

/// Returns the default of a setting, as it is written.
fn default_of(path: &str) -> serde_json::Value {
    let raw = serde_json::to_value(Raw::default()).unwrap();
    raw.pointer(&format!("/{}", path.replace('.', "/")))
        .unwrap_or_else(|| panic!("no setting {path}"))
        .clone()
}

#[test]
fn the_page_of_limits_says_what_settings_and_gateway_say() {
    use std::fmt::Write as _;
    let config = load(&Sources::default()).unwrap().gateway;
    let mut table =
        "| name | default | unit | what it limits | setting | at the limit |\n|---|---:|---|---|---|---|\n"
            .to_owned();
    for limit in tickwire_gateway::LIMITS {
        let value = limit.value(&config);
        if let Some(setting) = limit.setting {
            assert_eq!(default_of(setting), value, "{}", limit.name);
        }
        let setting = limit.setting.map_or("–".to_owned(), |setting| format!("`{setting}`"));
        let value = value
            .as_f64()
            .filter(|value| value.fract() == 0.0)
            .map_or(value.to_string(), |value| format!("{value}"));
        let (name, unit, about, at) = (limit.name, limit.unit, limit.about, limit.at.text());
        writeln!(table, "| `{name}` | {value} | {unit} | {about} | {setting} | {at} |").unwrap();
    }
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("<!-- limits: made from LIMITS -->\n").unwrap();
    let (there, _) = rest.split_once("<!-- end of limits -->\n").unwrap();
    assert!(there == table, "docs/limits.md should hold\n{table}");
}

#[test]
fn admission_is_checked() {
    let sources = Sources {
        sets: set(&[
            ("gateway.origins", r#"["https://app.example/page"]"#),
            ("gateway.proxies", r#"["10.0.0.0/8", "10.0.0.0/99"]"#),
        ]),
        ..Sources::default()
    };
    check_told(
        &sources,
        &["`gateway.origins`: `https://app.example/page` is no origin", "`10.0.0.0/99` is no address"],
    );
    let alone = Sources { sets: set(&[("gateway.proxy_protocol", "true")]), ..Sources::default() };
    check_told(&alone, &["`gateway.proxy_protocol`: needs the addresses of the proxies"]);
    let sets = set(&[
        ("gateway.origins", "https://app.example,*"),
        ("gateway.proxies", "10.0.0.0/8,::1"),
        ("gateway.proxy_protocol", "true"),
    ]);
    let admission = load(&Sources { sets, ..Sources::default() }).unwrap().gateway.admission;
    assert_eq!(admission.origins, ["https://app.example", "*"]);
    let networks: Vec<_> = admission.proxies.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    assert!(admission.proxies.with_header);
}

#[test]
fn venues_have_symbols_channels_and_roots() {
    let sources = |sets: &[(&str, &str)]| Sources { sets: set(sets), ..Sources::default() };
    let config = load(&sources(&[])).unwrap();
    let urls =
        |venue: &VenueName| config.venue(*venue).terms.routes.last().map(|route| route.url.clone()).unwrap();
    let expected = [
        "wss://stream.binance.com:9443/stream",
        "wss://fstream.binance.com/market/stream",
        "wss://ws.bitstamp.net",
        "wss://stream.bybit.com/v5/public/spot",
        "wss://stream.bybit.com/v5/public/linear",
        "wss://advanced-trade-ws.coinbase.com",
        "wss://ws.kraken.com/v2",
        "wss://ws.okx.com:8443/ws/v5/public",
    ];
    assert_eq!(VenueName::ALL.iter().map(urls).collect::<Vec<_>>(), expected);
    // What nobody set is as the venue's row has it.
    for venue in VenueName::ALL {
        let (config, row) = (config.venue(*venue), venue.row());
        let usual = row.config(row.stream_url, row.rest_url, &config.symbols);
        assert_eq!((config, config.symbols.len()), (&usual, 4));
    }
    let config = load(&sources(&[
        ("ingest.binance.symbols", "A*,BUSDT"),
        ("ingest.binance.channels", "trade,quote"),
        ("ingest.binance.rest_url", "http://127.0.0.1:1"),
    ]))
    .unwrap();
    assert_eq!(config.venue(VenueName::Binance).symbols, ["A*", "BUSDT"]);
    assert_eq!(config.venue(VenueName::Binance).channels, [Channel::Trade, Channel::Quote]);
    assert_eq!(config.venue(VenueName::Binance).rest_url, "http://127.0.0.1:1");
    let wrong = sources(&[
        ("ingest.binance.channels", "quote,derivative"),
        ("ingest.binance.stream_url", "https://stream.example"),
        ("ingest.binance_usdm.symbols", " "),
        ("ingest.kraken.depth", "11"),
        ("ingest.coinbase.channels", "quote"),
        ("ingest.okx.rest_url", "www.okx.com"),
    ]);
    let parts = [
        "coinbase has no channel `quote`; known: book, trade",
        "`www.okx.com` begins with neither http:// nor https://",
        "11 is no depth that the venue has; known: 10, 25,",
        "binance has no channel `derivative`; known: quote, book, trade",
        "`https://stream.example` begins with neither ws:// nor wss://",
        "it names nothing",
    ];
    check_told(&wrong, &parts);
}

#[test]
fn depths_that_a_venue_lacks_are_told_at_once() {
    let sources = |sets: &[(&str, &str)]| Sources { sets: set(sets), ..Sources::default() };
    let odd =
        [("ingest.binance_usdm.depth", "5000"), ("ingest.kraken.depth", "11"), ("ingest.okx.depth", "5")];
    check_told(
        &sources(&odd),
        &[
            "3 errors in the configuration:",
            "`ingest.binance_usdm.depth`: 5000 is no depth that the venue has; known: 5, 10, 20, 50, 100, 500, 1000",
            "`ingest.kraken.depth`: 11 is no depth that the venue has; known: 10, 25, 100, 500, 1000",
            "`ingest.okx.depth`: has to be 0: the venue gives no choice",
        ],
    );
    load(&sources(&[("ingest.binance.depth", "5000"), ("ingest.binance_usdm.depth", "500")])).unwrap();
}

#[test]
fn intervals_of_bars_are_checked_whole() {
    let (_folder, mut sources) = file("[ingest]\nbars = [\"1s\", \"60s\", \"1m\", \"2d\", \"5x\"]\n");
    let place = "line 2, column 1: `ingest.bars`: ";
    let told = [
        "`60s` and `1m` are the same interval: leave one of them out",
        "`2d` is too short or too long: bars have 1s to 1d",
        "`5x` is no interval: write a whole number and `s`, `m`, `h` or `d`, as 1s, 5m, 1h, 1d",
    ];
    let told = told.map(|told| format!("{place}{told}"));
    check_told(&sources, &told.iter().map(String::as_str).collect::<Vec<_>>());
    sources.sets = set(&[("ingest.bars", "1s,7s,1d")]);
    assert_eq!(load(&sources).unwrap().ingest.bars, BarIntervals::parse(&["1s", "7s", "1d"]).unwrap());
}
