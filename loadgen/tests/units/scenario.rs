//! Scenarios: what is read, and what is refused with which words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use tickwire_feed::open_loop::Step;

use super::access::{REDACTED, unchecked};
use super::*;
use crate::layers::{Layers, READY};

/// Reads a scenario that has no errors.
#[track_caller]
pub(crate) fn scenario(text: &str) -> Scenario {
    layers(text).read().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn layers(text: &str) -> Layers {
    Layers { name: "x.toml".to_owned(), text: text.to_owned(), ..Layers::default() }
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    let error = layers(text).read().expect_err("it is wrong").to_string();
    assert!(error.contains(expected), "{text}: {error}");
    assert!(!error.contains("SECRET"), "{error}");
}

#[test]
fn ready_made_scenarios_are_right_and_say_what_they_are() {
    for (name, text) in READY {
        let scenario = scenario(text);
        assert_eq!(scenario.name, name);
        assert!(!scenario.about.is_empty(), "{name}");
    }
}

#[test]
fn an_empty_scenario_is_a_small_run_with_a_gateway_of_its_own() {
    let scenario = scenario("");
    assert!(scenario.target.url.is_none() && scenario.peer.is_none() && scenario.saturation.is_none());
    assert_eq!(
        (scenario.sessions.count, scenario.sessions.channels.as_slice()),
        (100, &[Channel::Quote][..])
    );
    assert_eq!(scenario.threads, (cores() / 2).max(1));
    assert_eq!(scenario.source.rates(), [Step { lasting: SECOND, rate: 500.0 }]);
    assert_eq!(scenario.sessions.ramp(), 100 * MS);
}

#[test]
fn the_own_gateway_has_the_settings_of_a_gateway() {
    let own = scenario("sessions.count = 20_000").gateway_config;
    assert_eq!((own.listen.port(), own.admin_listen.port(), own.shards), (0, 0, 1));
    assert_eq!((own.drain_window, own.limits.sessions), (SECOND, 20_000 + SESSIONS_SPARE));
    let mut usual = GatewayConfig { listen: own.listen, admin_listen: own.admin_listen, ..own.clone() };
    assert!(own.auth.anonymous, "whoever comes is let in");
    (usual.drain_window, usual.limits.sessions, usual.auth.anonymous) = (5 * SECOND, 10_000, false);
    // There is no other gateway that knows of revocations.
    assert!(own.revocations_wait.is_zero());
    usual.revocations_wait = SECOND;
    let defaults =
        GatewayConfig { listen: own.listen, admin_listen: own.admin_listen, ..GatewayConfig::default() };
    assert_eq!(usual, defaults);
    let text = "[gateway]\nshards = 2\nfreshness_ms = 50\ncork_us = 0\n[gateway.limits]\nsessions = 7\nlog_records = 32\n";
    let own = scenario(text).gateway_config;
    assert_eq!((own.shards, own.pacing.wait_max, own.drain_window), (2, Duration::ZERO, SECOND));
    let engine = &own.limits.engine;
    assert_eq!((engine.freshness_ns, engine.log_records_per_topic, own.limits.sessions), (50_000_000, 32, 7));
    check_refused(
        "[gateway]\nfreshness_ms = 5",
        "x.toml, line 2, column 1: `gateway.freshness_ms`: has to be 0, or 10",
    );
    check_refused(
        "[gateway]\nheartbeat = 5",
        "`gateway.heartbeat`: does not exist; did you mean `gateway.heartbeat_ms`?",
    );
    check_refused("gateway.limits.close_bytes = 65536", "has to be above `gateway.limits.shed_bytes`");
    // Its keys are read as those of any gateway.
    check_refused(
        "gateway.auth.keys = [\"/nowhere.pem\"]",
        "`gateway.auth.keys[0]`: /nowhere.pem: No such file",
    );
    check_refused("gateway.auth.jwks_url = \"http://id.example/\"", "is http:// of another machine");
    check_refused(
        "gateway.auth.api_keys_file = \"/nowhere.toml\"",
        "`gateway.auth.api_keys_file`: /nowhere.toml",
    );
}

#[test]
fn every_part_is_read() {
    let scenario = scenario(
        "seed = 9\n[sessions]\nencodings = { proto = 3, json = 1 }\nchannels = [\"quote\", \"trade\"]\n\
         [[readers]]\nkind = \"throttled\"\nshare = 0.1\nbytes_per_second = 5000\n[[readers]]\nkind = \"silent\"\nshare = 0.2\n\
         [source]\nrate = 10\nburst = 1000\nevery = \"2s\"\ntrades = 0.25\n[[churn.storms]]\nat = \"3s\"\n\
         [assert]\ndelivered_share = 0.5\n[assert.latency]\np99 = \"8ms\"\n[assert.age.throttled]\np50 = \"125ms\"\n\
         [assert.age.prompt]\n[assert.hop.read-decoded]\nmax = \"1ms\"\n[saturation]\nfrom = 5\n\
         [target]\nspawn = \"a  b\"\nserver_cpus = 0\n[peer]\nkind = \"raw40\"\npublish = \"tcp://h:1\"\n"
            .replace("[target]", "[target]\nurl = \"ws://h:1\"")
            .replace("trades = 0.25\n", "")
            .as_str(),
    );
    assert_eq!(scenario.sessions.encodings, [(Encoding::Proto, 3.0), (Encoding::Json, 1.0)]);
    let period = Duration::from_millis(100);
    assert_eq!(scenario.readers[0].kind, ReaderKind::Throttled);
    assert_eq!((scenario.readers[0].bytes_per_second, scenario.readers[0].period), (5000.0, period));
    assert_eq!(scenario.readers[1].kind, ReaderKind::Silent);
    let step = |lasting, rate| Step { lasting: Duration::from_millis(lasting), rate };
    assert_eq!(scenario.source.rates(), [step(1900, 10.0), step(100, 1000.0)]);
    assert_eq!(scenario.bounds.latency.p99, Some(Duration::from_millis(8)));
    let ages: Vec<_> = scenario.bounds.ages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(ages, ["prompt", "throttled"]);
    let (hop, bound) = &scenario.bounds.hops[0];
    assert_eq!((hop.as_str(), bound.max), ("read-decoded", Some(MS)));
    assert!(scenario.churn.reconnects() && scenario.saturation.is_some());
    assert_eq!(scenario.target.spawn, ["a", "b"]);
    assert_eq!(scenario.target.server_cpus, [0]);
    assert_eq!(scenario.peer.unwrap().name, "raw40");
}

#[test]
fn errors_name_the_remedy() {
    check_refused("[sessions]\ncount = 0", "from 1 to");
    check_refused("[sessions]\nchannels = [\"quotes\"]", "has to be a list of quote, trade");
    check_refused("[sessions]\nchannels = [\"quote\", \"quote\"]", "`sessions.channels`: names quote twice");
    check_refused("[sessions]\nsymbols_each = 500", "the source has 100");
    check_refused("[sessions]\nsymbols = [\"x\"]", "`x`: write venue:SYMBOL");
    check_refused("[[readers]]\nkind = \"lazy\"\nshare = 1", "prompt, throttled");
    check_refused(
        "[[readers]]\nkind = \"silent\"",
        "`readers[0].share`: is missing: of all sessions, from 0 to 1",
    );
    check_refused(
        "[[readers]]\nkind = \"silent\"\nshare = 0.9\n[[readers]]\nkind = \"stalled\"\nshare = 0.9",
        "add up to 1.8",
    );
    check_refused("[source]\nkind = \"running\"", "target.url");
    check_refused("[target]\nurl = \"ws://h:1/\"", "target.bus");
    check_refused("[peer]\nkind = \"raw40\"", "`peer.publish`: is missing: where it takes updates");
    check_refused("[peer]\npublish = \"tcp://h:1\"", "`peer.kind`: is missing: what another server speaks");
    check_refused(
        "[peer]\nkind = \"raw40\"\npublish = \"udp://h:1\"",
        "`peer.publish`: has to be tcp://HOST:PORT",
    );
    check_refused(
        "[gateway]\nlisten = \"here\"",
        "has to be an address with a port, as in \"127.0.0.1:7400\"",
    );
    check_refused("duration = \"1ms\"", "100ms");
    check_refused("duration = \"5s\"\n[[churn.storms]]", "`churn.storms[0].at`: is 5s, and 5s are measured");
    check_refused("duration = \"5s\"\n[[churn.restarts]]\nat = \"12s\"", "`churn.restarts[0].at`: is 12s");
    check_refused(
        "duration = \"5s\"\n[[readers]]\nkind = \"stalled\"\nshare = 0.1\nat = \"6s\"",
        "`readers[0].at`: is 6s",
    );
    for rate in ["-5", "nan", "inf", "-inf", "\"fast\""] {
        let line =
            "x.toml, line 2, column 1: `source.rate`: has to be a number from 0 to 50000000 (updates/s), not";
        check_refused(&format!("[source]\nrate = {rate}"), line);
    }
    check_refused("[source]\nrate = 0", "`source.rate`: is 0, and without updates nothing is measured");
    check_refused("[source]\nrate = 0\nburst = 0", "`source.burst`: has to be a number above 0");
    check_refused("[source]\nsteps = [{ lasting = \"1s\", rate = 0 }]", "`source.steps`: all rates are 0");
    check_refused("[source]\nsteps = [{ rate = 1 }]", "`source.steps[0].lasting`: is missing");
    check_refused("[source]\nsteps = [{ lasting = \"0s\", rate = 1 }]", "has to be a time above 0");
    check_refused(
        "[source]\nsteps = [{ lasting = \"1s\", rate = -1 }]",
        "line 2, column 28: `source.steps[0].rate`: has to be a number from 0",
    );
    check_refused("[saturation]\nfrom = 0", "`saturation.from`: has to be a number from 1 to");
    check_refused(
        "[saturation]\nfrom = 100\nto = 50",
        "line 3, column 1: `saturation.to`: is 50, and the search begins with 100",
    );
    check_refused(
        "[[readers]]\nkind = \"throttled\"\nshare = 0.1\nbytes_per_second = 0",
        "`readers[0].bytes_per_second`: has to be a number above 0, at most 1000000000 (bytes/s), not 0; what reads nothing at \
         all is of kind \"half-open\"",
    );
    check_refused("[sessions.encodings]\nproto = 0", "`sessions.encodings`: no weight in there is above 0");
    check_refused("[sessions]\nencodings = \"cbor\"", "one of proto, msgpack, json, or a table");
    check_refused("[sesions]\ncount = 5", "`sesions`: does not exist; did you mean `sessions`");
    check_refused("[assert.age.silent]\np50 = \"1s\"", "here are: prompt, throttled, stalled, slow-program");
}

#[test]
fn silence_is_a_part_of_bursts_and_steps() {
    scenario("[source]\nrate = 0\nburst = 100");
    scenario("[source]\nsteps = [{ lasting = \"1s\", rate = 0 }, { lasting = \"1s\", rate = 5 }]");
}

#[test]
fn processors_that_do_not_exist_are_named_with_those_that_do() {
    let mut layers = tickwire_config::Layers::of::<Scenario>();
    layers.flag("--server-cpus", "target.server_cpus", "0,7,9");
    layers.flag("--source-cpus", "target.source_cpus", "1");
    let scenario = layers.read();
    check::processors(&mut layers, &scenario, &[0, 1]);
    let errors = layers.finish("scenario", "").unwrap_err();
    assert_eq!(
        errors.errors(),
        [
            "--server-cpus: `target.server_cpus`: there is no processor 7, 9 that this program may use; there are 0, 1"
        ]
    );
}

#[track_caller]
fn check_url(url: &str, address: &str, path: &str) {
    let (address, path, is_tls) = (address.to_owned(), path.to_owned(), url.starts_with("wss"));
    assert_eq!(Url::try_from(url.to_owned()), Ok(Url { address, path, is_tls }));
}

#[test]
fn urls() {
    check_url("ws://127.0.0.1:7400/v1/stream", "127.0.0.1:7400", "/v1/stream");
    check_url("ws://gateway", "gateway:7400", "");
    check_url("ws://gateway/x?y=1", "gateway:7400", "/x?y=1");
    check_url("ws://[::1]:80", "[::1]:80", "");
    check_url("ws://[::1]", "[::1]:7400", "");
    check_url("wss://gateway/x", "gateway:443", "/x");
    check_url("wss://gateway:7400", "gateway:7400", "");
    for (url, expected) in [
        ("http://a:1/?SECRET", "http://a:1/: write ws://HOST:PORT"),
        ("ws://:7400/", "HOST:PORT"),
        ("ws://a:b/", "no port"),
        ("ws://a:0/", "no port"),
    ] {
        check_refused(&format!("[target]\nurl = \"{url}\""), expected);
    }
}

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn errors_of_tokens_and_tls_name_the_remedy_and_no_token() {
    check_refused(
        "[sessions.tls]\ninsecure = true",
        "x.toml, line 2, column 1: `sessions.tls.insecure`: is for TLS",
    );
    check_refused(
        "[sessions.tls]\nserver_name = \"x\"\n[target]\nurl = \"ws://h:1/\"\nbus = \"nats://h:1\"",
        "write wss://",
    );
    check_refused(
        "[sessions.tls]\nca = \"/no/such/file\"",
        "`sessions.tls.ca`: cannot read /no/such/file: No such file",
    );
    check_refused("[sessions]\ntokens_file = \"/no/such/file\"", "cannot read /no/such/file: No such file");
    check_refused("[sessions]\ntoken = \"SECRET SECRET\"", "visible ASCII");
    check_refused("[sessions]\ntoken = [\"SECRET\"]", "has to be a text in quotes");
    check_refused("[sessions]\ntoken_in = \"query\"", "there are no tokens");
    check_refused("[sessions]\ntoken = \"SECRET\"\ntoken_in = \"cookie\"", "one of header, query");
    check_refused(
        "[sessions]\ntoken = \"SECRET\"\ntoken_parameter = \"t\"",
        "`sessions.token_in` = \"query\"",
    );
    let parameter = "[sessions]\ntoken = \"SECRET\"\ntoken_in = \"query\"\ntoken_parameter = \"a b\"";
    check_refused(parameter, "a name of letters, digits");
    check_refused(
        "[target]\nurl = \"ws://h:1/?a=b&token=SECRET\"\nbus = \"nats://h:1\"",
        "sessions.token_in",
    );
    for (bytes, expected) in [
        (&b""[..], "is empty; write one token a line"),
        (b"good\r\n\nSECRET\xff\n", "line 3: a token has to be visible ASCII"),
        (b"SECRET SECRET\n", "line 1: a token"),
    ] {
        let file = file(bytes);
        check_refused(&format!("[sessions]\ntokens_file = {:?}", file.path()), expected);
    }
    let file = file(b"nothing of the kind");
    check_refused(&format!("[sessions.tls]\nca = {:?}", file.path()), "holds no certificate in PEM");
}

#[test]
fn each_session_has_the_next_token() {
    let file = file(b"one\n two\t\r\n\nthree");
    let scenario = scenario(&format!("[sessions]\ntokens_file = {:?}", file.path()));
    let of = |session| scenario.sessions.tokens.of(session).unwrap().bearer();
    assert_eq!(of(0), "Authorization: Bearer one\r\n");
    assert_eq!((of(4), of(5)), (of(1), of(2)));
    assert_eq!(Tokens::default().of(7), None);
}

#[test]
fn a_gateway_that_looks_at_no_tokens_is_named() {
    let said = |text: &str| unchecked(&scenario(text));
    let own = said("[sessions]\ntoken = \"SECRET\"").unwrap();
    assert!(own.contains("was not tested") && !own.contains("SECRET"), "{own}");
    let proxy =
        "[gateway]\nlisten = \"127.0.0.1:7400\"\n[target]\nurl = \"ws://h:1/\"\n[sessions]\ntoken = \"a\"";
    assert!(said(proxy).unwrap().contains("only what stands in front of it"));
    assert_eq!(said("[sessions]\ncount = 5"), None);
    assert_eq!(said("[target]\nurl = \"ws://h:1/\"\nbus = \"nats://h:1\"\n[sessions]\ntoken = \"a\""), None);
}

#[track_caller]
fn check_hidden(text: &str, flags: &[(&str, &str)]) {
    let mut layers = layers(text);
    for (field, value) in flags {
        layers.flag("--set", field, value);
    }
    let scenario = layers.read().unwrap();
    assert_eq!(scenario.sessions.tokens.all.len(), 1);
    let shown = &scenario.text;
    assert!(shown.contains(REDACTED) && !shown.contains("SE"), "{shown}");
    assert!(!format!("{scenario:?}").contains("SECRET"));
    assert!(shown.contains("count = 7"), "{shown}");
}

#[test]
fn tokens_are_shown_to_nobody() {
    check_hidden("[sessions]\ntoken = \"SECRET\" # it\ncount = 7\n", &[]);
    check_hidden("sessions = { token = 'SECRET', count = 7 }\n", &[]);
    check_hidden("sessions.\"token\" = \"SE\\u0043RET\"\nsessions.count = 7\n", &[]);
    check_hidden("# count = 7\n[sessions]\ntoken = \"SECRET0\"\n", &[("sessions.token", "SECRET")]);
    let scenario = scenario("sessions.token = \"SE/CRET+=\"");
    let token = scenario.sessions.tokens.of(0).unwrap();
    assert_eq!(token.escaped(), "SE%2FCRET%2B%3D");
    assert_eq!(token.redact("no SE/CRET+= and SE%2FCRET%2B%3D"), "no <token> and <token>");
}

/// Returns the settings as `scenarios --fields --json` lists them, by name.
fn described() -> BTreeMap<String, Value> {
    let all: Vec<Value> = serde_json::from_str(&tickwire_config::describe_json::<Scenario>()).unwrap();
    all.into_iter().map(|one| (one["name"].as_str().unwrap().to_owned(), one)).collect()
}

/// Checks that a described default changes nothing, for the settings that begin so; `around` opens their table, if any.
#[track_caller]
fn check_defaults(around: &str, head: &str) {
    let all = described();
    // A list's own settings stand in its table.
    let of_head = all
        .iter()
        .filter(|(name, _)| name.starts_with(head) && (head.contains("[]") || !name.contains("[]")));
    let mut count = 0;
    for (name, setting) in of_head {
        let default = setting["default"].as_str().unwrap();
        if !default.starts_with('(') && !name.contains("encodings") {
            let field = if around.is_empty() { name } else { name.strip_prefix(head).unwrap() };
            let with = scenario(&format!("{around}{field} = {default}\n"));
            let text = |mut scenario: Scenario| {
                scenario.text.clear();
                format!("{scenario:?}")
            };
            assert_eq!(text(with), text(scenario(around)), "{name}");
            count += 1;
        }
    }
    assert!(count > 0, "{head}");
}

#[test]
fn described_defaults_are_those_that_are_in_force() {
    for head in ["seed", "duration", "target.", "gateway.", "source.", "sessions.", "churn.", "assert."] {
        check_defaults("", head);
    }
    for kind in ["throttled", "stalled", "slow-program"] {
        check_defaults(&format!("[[readers]]\nkind = \"{kind}\"\nshare = 0.1\n"), "readers[].");
    }
    check_defaults("[[churn.storms]]\n", "churn.storms[].");
    check_defaults("[saturation]\n", "saturation.");
}

#[test]
fn every_setting_is_described_to_people_and_programs() {
    let all = described();
    let is_gateways = |name: &&String| name.starts_with("gateway.");
    assert_eq!(all.keys().filter(|name| !is_gateways(name)).count(), 138, "{:#?}", all.keys());
    let gateways = serde_json::from_str(&tickwire_config::describe_json::<GatewaySettings>()).unwrap();
    let gateways: Vec<BTreeMap<String, String>> = gateways;
    let gateways: BTreeSet<_> =
        gateways.iter().map(|setting| format!("gateway.{}", setting["name"])).collect();
    assert_eq!(all.keys().filter(is_gateways).cloned().collect::<BTreeSet<_>>(), gateways);
    assert_eq!(
        (&all["gateway.shards"]["default"], &all["gateway.drain_ms"]["default"]),
        (&"1".into(), &"1000".into())
    );
    for (name, setting) in &all {
        assert!(!setting["about"].as_str().unwrap().is_empty() || name.contains("encodings"), "{name}");
    }
    assert_eq!(all["assert.hop.read-decoded.p999"]["kind"], "time");
    assert_eq!(all["readers[].share"]["default"], "(must be given)");
    let text = tickwire_config::describe::<Scenario>();
    for part in [
        "readers[].kind  one of prompt, throttled, stalled, slow-program, half-open, silent  [(must be given)]\n",
        "churn.storms[].within  time  [\"2s\"]\n    they come back within this, at random times\n",
        "source.steps[].rate  number from 0 to 50000000, updates/s  [(must be given)]\n",
        "peer.kind  one of raw40, nats-ws, socket.io, centrifugo",
        "sessions.channels  list of quote, trade, book",
        "sessions.encodings.{proto,msgpack,json}  number from 0 to 1000000  [0.0]\n    weight of this encoding",
        "assert.age.{prompt,throttled,stalled,slow-program}.{p50,p99,p999,max}  time  [(none)]\n    at most; age of what",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}
