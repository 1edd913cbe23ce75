//! From fields to a scenario.

use std::net::SocketAddr;
use std::time::Duration;

use tickwire_gateway::Pacing;
use tickwire_wire::{Channel, Encoding, is_venue};

use super::fields::Fields;
use super::url::{parse_publish, parse_url};
use super::{
    Bounds, Churn, Gateway, Peer, Quantiles, Reader, ReaderKind, Restart, Scenario, Search, Sessions, Shape,
    Source, Storm, Target,
};
use super::{access, check, unknown};
use crate::peer::PeerKind;

/// Sessions of one run at most: beyond this one address has too few ports towards one server.
const SESSIONS_MAX: u64 = 1_000_000;
const SYMBOLS_MAX: u64 = 65_536;
/// Sessions that are opened per second where the scenario does not say: a part of what one core shakes hands with.
const OPENED_PER_SECOND: f64 = 1000.0;
const RATE_MAX: f64 = 50e6;
const NO_SILENCE: &str = " (updates per second): without updates nothing is measured; for sessions that get little take a low \
                          rate, as 1, or `run wide-idle`";
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Reads all fields; mistakes stay in `fields`, and the scenario means something only where there are none.
pub(crate) fn read(fields: &mut Fields, cores: usize) -> Scenario {
    let f = fields;
    let scenario = Scenario {
        name: f.text("name").unwrap_or_default(),
        file: String::new(),
        about: f.text("about").unwrap_or_default(),
        seed: f.count("seed", 0, 1 << 52).unwrap_or(1),
        duration: f.time("duration").unwrap_or(20 * SECOND),
        warm_up: f.time("warm_up").unwrap_or(2 * SECOND),
        settle: f.time("settle").unwrap_or(10 * SECOND),
        target: target(f),
        gateway: Gateway {
            listen: listen(f),
            shards: f.count("gateway.shards", 1, 64).unwrap_or(1) as usize,
            pacing: pacing(f),
            drain: f.time("gateway.drain").unwrap_or(SECOND),
            log_records: f.count("gateway.log_records", 1, 1 << 20).map(|records| records as usize),
        },
        peer: peer(f),
        sessions: sessions(f),
        readers: readers(f),
        churn: churn(f),
        source: source(f),
        bounds: bounds(f),
        saturation: search(f),
        hop_sampling: f.count("hop_sampling", 1, 1_000_000).unwrap_or(8) as u32,
        threads: f.count("threads", 1, 256).unwrap_or((cores as u64 / 2).max(1)) as usize,
        processes: f.count("processes", 1, 64).unwrap_or(1) as usize,
        text: String::new(),
    };
    check::check(f, &scenario);
    unknown::refuse(f);
    scenario
}

fn listen(f: &mut Fields) -> Option<SocketAddr> {
    let text = f.text("gateway.listen")?;
    let address = text.parse().ok();
    if address.is_none() {
        f.wrong("gateway.listen", "has to be an address with a port, as in \"127.0.0.1:7400\"");
    }
    address
}

/// How updates come to share writes; the gateway's own defaults where nothing is said.
fn pacing(f: &mut Fields) -> Pacing {
    let default = Pacing::default();
    Pacing {
        ratio: f.number("gateway.pace_ratio", 1000.0).unwrap_or(default.ratio),
        wait_max: f.time("gateway.pace_wait_max").unwrap_or(default.wait_max),
    }
}

fn target(f: &mut Fields) -> Target {
    let url = f.text("target.url").filter(|url| !url.is_empty()).and_then(|text| match parse_url(&text) {
        Ok(url) => Some(url),
        Err(reason) => {
            f.wrong("target.url", reason);
            None
        }
    });
    Target {
        url,
        admin: f.text("target.admin").filter(|text| !text.is_empty()),
        bus: f
            .texts("target.bus")
            .unwrap_or_default()
            .into_iter()
            .filter(|server| !server.is_empty())
            .collect(),
        server_pid: f.count("target.server_pid", 1, 1 << 22).map(|pid| pid as u32),
        spawn: words(f, "target.spawn"),
        server_cpus: f.numbers("target.server_cpus").unwrap_or_default(),
        source_cpus: f.numbers("target.source_cpus").unwrap_or_default(),
        generator_cpus: f.numbers("target.generator_cpus").unwrap_or_default(),
    }
}

/// A command: a list, or a text that is split at spaces.
fn words(f: &mut Fields, name: &str) -> Vec<String> {
    let parts = f.texts(name).unwrap_or_default();
    match parts.as_slice() {
        [one] => one.split_whitespace().map(str::to_owned).collect(),
        _ => parts,
    }
}

fn peer(f: &mut Fields) -> Option<Peer> {
    if !f.has("peer") {
        return None;
    }
    let kinds: Vec<_> = PeerKind::ALL.iter().map(|kind| (kind.name(), *kind)).collect();
    let kind = f.choice("peer.kind", &kinds);
    let name = f.text("peer.name");
    let publish = f.text("peer.publish");
    let kind = kind.or_else(|| {
        let is_told = f.has("peer.kind");
        if !is_told {
            f.wrong("peer.kind", "is missing; it says what the server speaks");
        }
        None
    })?;
    let publish = match publish.as_deref().map(parse_publish) {
        Some(Ok(publish)) => publish,
        Some(Err(reason)) => {
            f.wrong("peer.publish", reason);
            return None;
        }
        None => {
            f.wrong("peer.publish", "is missing; it says where updates go: \"tcp://127.0.0.1:7501\"");
            return None;
        }
    };
    Some(Peer { kind, name: name.unwrap_or_else(|| kind.name().to_owned()), publish })
}

fn sessions(f: &mut Fields) -> Sessions {
    let count = f.count("sessions.count", 1, SESSIONS_MAX).unwrap_or(100) as usize;
    let ramp = f.time("sessions.ramp");
    let encodings = Encoding::ALL.map(|encoding| (encoding.name(), encoding));
    let encodings =
        f.weights("sessions.encodings", &encodings).unwrap_or_else(|| vec![(Encoding::Proto, 1.0)]);
    let channels = f.texts("sessions.channels").unwrap_or_else(|| vec!["quote".to_owned()]);
    let mut found = Vec::new();
    for name in channels {
        match Channel::from_name(&name) {
            Some(channel) if found.contains(&channel) => {
                f.wrong("sessions.channels", format!("names {name} twice"));
            }
            Some(channel) => found.push(channel),
            None => {
                let names = Channel::ALL.map(Channel::name).join(", ");
                f.wrong("sessions.channels", format!("`{name}` is no channel; there are {names}"));
            }
        }
    }
    let symbols = f.texts("sessions.symbols").unwrap_or_default();
    for symbol in &symbols {
        if !symbol.split_once(':').is_some_and(|(venue, name)| is_venue(venue) && !name.is_empty()) {
            f.wrong(
                "sessions.symbols",
                format!("`{symbol}`: write venue:SYMBOL, or venue:* for all of a venue"),
            );
        }
    }
    Sessions {
        count,
        ramp: ramp.unwrap_or_else(|| Duration::from_secs_f64(count as f64 / OPENED_PER_SECOND)),
        encodings,
        channels: found,
        symbols_each: f.count("sessions.symbols_each", 0, SYMBOLS_MAX).unwrap_or(0) as usize,
        skew: f.number("sessions.skew", 10.0).unwrap_or(0.0),
        symbols,
        max_rate: f.number("sessions.max_rate", 1e6).unwrap_or(0.0),
        window: f.time("sessions.window").unwrap_or_default(),
        receive_buffer: f.count("sessions.receive_buffer", 0, 64 << 20).unwrap_or(0) as usize,
        receipts: f.flag("sessions.receipts").unwrap_or(false),
        trust: access::trust(f),
        tokens: access::tokens(f),
    }
}

fn readers(f: &mut Fields) -> Vec<Reader> {
    let mut readers = Vec::new();
    for at in 0..f.count_of("readers") {
        let name = |field: &str| format!("readers[{at}].{field}");
        let share = f.number(&name("share"), 1.0);
        let nothing = "; what reads nothing at all is of kind \"half-open\", for a while \"stalled\"";
        let bytes = f.positive(&name("bytes_per_second"), 1e9, nothing);
        let period = f.time(&name("period")).unwrap_or(100 * MS);
        let from = f.time(&name("at")).unwrap_or(5 * SECOND);
        let lasting = f.time(&name("lasting")).unwrap_or(5 * SECOND);
        let records = f.positive(&name("records_per_second"), 1e9, nothing);
        let kinds = [
            ("prompt", ReaderKind::Prompt),
            (
                "throttled",
                ReaderKind::Throttled {
                    bytes_per_second: bytes.unwrap_or(10_000.0).max(1.0),
                    period: period.max(MS),
                },
            ),
            ("stalled", ReaderKind::Stalled { at: from, lasting }),
            (
                "slow-program",
                ReaderKind::SlowProgram { records_per_second: records.unwrap_or(100.0).max(0.1) },
            ),
            ("half-open", ReaderKind::HalfOpen),
            ("silent", ReaderKind::Silent),
        ];
        let kind = f.choice(&name("kind"), &kinds);
        if kind.is_none() && !f.has(&name("kind")) {
            f.wrong(&name("kind"), "is missing; it says how these sessions read");
        }
        let Some(share) = share else {
            f.wrong(&name("share"), "is missing; it is the part of all sessions, from 0 to 1");
            continue;
        };
        readers.extend(kind.map(|kind| Reader { kind, share }));
    }
    readers
}

fn churn(f: &mut Fields) -> Churn {
    let mut churn = Churn {
        flaps_per_second: f.number("churn.flaps_per_second", 1e6).unwrap_or(0.0),
        ..Churn::default()
    };
    for at in 0..f.count_of("churn.storms") {
        let name = |field: &str| format!("churn.storms[{at}].{field}");
        churn.storms.push(Storm {
            at: f.time(&name("at")).unwrap_or(5 * SECOND),
            share: f.number(&name("share"), 1.0).unwrap_or(1.0),
            within: f.time(&name("within")).unwrap_or(2 * SECOND),
        });
    }
    for at in 0..f.count_of("churn.restarts") {
        let name = |field: &str| format!("churn.restarts[{at}].{field}");
        let (at, command) = (f.time(&name("at")).unwrap_or(5 * SECOND), words(f, &name("command")));
        churn.restarts.push(Restart { at, command });
    }
    churn
}

fn source(f: &mut Fields) -> Source {
    let is_running = f.choice("source.kind", &[("own", false), ("running", true)]).unwrap_or(false);
    // Silence is a part of bursts and steps, and nothing to be measured by itself.
    let is_part = f.has("source.burst") || f.has("source.steps");
    let rate = if is_part {
        f.number("source.rate", RATE_MAX)
    } else {
        f.positive("source.rate", RATE_MAX, NO_SILENCE)
    };
    let burst = f.positive("source.burst", RATE_MAX, " (updates per second)");
    let (every, lasting) = (f.time("source.every"), f.time("source.lasting"));
    let mut steps = Vec::new();
    for at in 0..f.count_of("source.steps") {
        let name = |field: &str| format!("source.steps[{at}].{field}");
        let (lasting, rate) = (f.time(&name("lasting")), f.number(&name("rate"), RATE_MAX));
        match (lasting, rate) {
            (Some(lasting), Some(rate)) if !lasting.is_zero() => steps.push((lasting, rate)),
            _ => f.wrong(&format!("source.steps[{at}]"), "needs `lasting`, a time above 0, and `rate`"),
        }
    }
    if !steps.is_empty() && steps.iter().all(|(_, rate)| *rate == 0.0) {
        f.wrong("source.steps", "all rates are 0: one has to be above it, or nothing is measured");
    }
    let rate = rate.unwrap_or(500.0);
    let shape = match (steps.is_empty(), burst) {
        (false, _) => Shape::Stepped(steps),
        (true, Some(burst)) => Shape::Bursty {
            rate,
            burst,
            every: every.unwrap_or(SECOND).max(MS),
            lasting: lasting.unwrap_or(100 * MS),
        },
        (true, None) => Shape::Fixed(rate),
    };
    Source {
        is_running,
        symbols: f.count("source.symbols", 1, SYMBOLS_MAX).unwrap_or(100) as usize,
        shape,
        trades: f.number("source.trades", 1.0).unwrap_or(0.0),
        skew: f.number("source.skew", 10.0).unwrap_or(0.0),
    }
}

fn quantiles(f: &mut Fields, name: &str) -> Quantiles {
    let mut time = |field: &str| f.time(&format!("{name}.{field}"));
    Quantiles { p50: time("p50"), p99: time("p99"), p999: time("p999"), max: time("max") }
}

fn bounds(f: &mut Fields) -> Bounds {
    let kinds = ["prompt", "throttled", "stalled", "slow-program"];
    let hops = [
        "intended-ingester",
        "ingester-gateway_write",
        "ingester-gateway_in",
        "gateway_in-gateway_write",
        "gateway_write-read",
        "read-decoded",
    ];
    let beyond_window = f.flag("assert.beyond_window").unwrap_or(false);
    let growth_after = f.time("assert.growth_after").unwrap_or_default();
    let mut number = |name: &str| f.number(&format!("assert.{name}"), 1e15);
    Bounds {
        beyond_window,
        deliveries_per_second: number("deliveries_per_second"),
        delivered_share: number("delivered_share"),
        conflated_share: number("conflated_share"),
        lost: number("lost").map(|count| count as u64),
        dropped: number("dropped").map(|count| count as u64),
        ended_early: number("ended_early").map(|count| count as u64),
        cpu_seconds_per_million: number("cpu_seconds_per_million"),
        resident_mib: number("resident_mib"),
        growth_kib_per_second: number("growth_kib_per_second"),
        growth_after,
        kib_per_session: number("kib_per_session"),
        used_share: number("used_share"),
        latency: quantiles(f, "assert.latency"),
        reconnect: quantiles(f, "assert.reconnect"),
        ages: kinds.map(|kind| (kind.to_owned(), quantiles(f, &format!("assert.age.{kind}")))).to_vec(),
        hops: hops.map(|hop| (hop.to_owned(), quantiles(f, &format!("assert.hop.{hop}")))).to_vec(),
    }
}

fn search(f: &mut Fields) -> Option<Search> {
    let is_there = f.has("saturation");
    let hint = " (updates per second)";
    let search = Search {
        from: f.positive("saturation.from", RATE_MAX, hint).unwrap_or(1000.0).max(1.0),
        to: f.positive("saturation.to", RATE_MAX, hint).unwrap_or(RATE_MAX),
        p99: f.time("saturation.p99").unwrap_or(100 * MS),
        delivered_share: f.number("saturation.delivered_share", 1.0).unwrap_or(0.99),
        step: f.time("saturation.step").unwrap_or(4 * SECOND).max(100 * MS),
        settle: f.time("saturation.settle").unwrap_or(SECOND),
        precision: f.positive("saturation.precision", 1.0, "").unwrap_or(0.05).max(0.001),
    };
    is_there.then_some(search)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Scenario, Vec<String>) {
        let mut fields = Fields::default();
        fields.add_file("x.toml", text);
        let scenario = read(&mut fields, 4);
        (scenario, fields.mistakes())
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let (_, mistakes) = parse(text);
        assert!(mistakes.iter().any(|mistake| mistake.contains(expected)), "{text}: {mistakes:?}");
    }

    #[test]
    fn an_empty_scenario_is_a_small_run_with_a_gateway_of_its_own() {
        let (scenario, mistakes) = parse("");
        assert_eq!(mistakes, [""; 0]);
        assert!(scenario.target.url.is_none() && scenario.peer.is_none() && scenario.saturation.is_none());
        assert_eq!((scenario.sessions.count, scenario.threads), (100, 2));
        assert_eq!(scenario.source.shape, Shape::Fixed(500.0));
    }

    #[test]
    fn every_part_is_read() {
        let (scenario, mistakes) = parse(
            "seed = 9\n[sessions]\nencodings = { proto = 3, json = 1 }\nchannels = [\"quote\", \"trade\"]\n\
             [[readers]]\nkind = \"throttled\"\nshare = 0.1\nbytes_per_second = 5000\n[[readers]]\nkind = \"silent\"\nshare = 0.2\n\
             [source]\nrate = 10\nburst = 1000\nevery = \"2s\"\ntrades = 0.25\n[[churn.storms]]\nat = \"3s\"\n\
             [assert]\ndelivered_share = 0.5\n[assert.latency]\np99 = \"8ms\"\n[assert.age.throttled]\np50 = \"125ms\"\n\
             [assert.hop.read-decoded]\nmax = \"1ms\"\n[saturation]\nfrom = 5\n",
        );
        assert_eq!(mistakes, [""; 0]);
        assert_eq!(scenario.sessions.encodings, [(Encoding::Proto, 3.0), (Encoding::Json, 1.0)]);
        let period = Duration::from_millis(100);
        assert_eq!(scenario.readers[0].kind, ReaderKind::Throttled { bytes_per_second: 5000.0, period });
        assert_eq!(scenario.readers[1].kind, ReaderKind::Silent);
        assert!(matches!(scenario.source.shape, Shape::Bursty { burst: 1000.0, .. }));
        assert_eq!(scenario.bounds.latency.p99, Some(Duration::from_millis(8)));
        assert!(
            scenario.bounds.hops.iter().any(|(name, bound)| name == "read-decoded" && bound.max.is_some())
        );
        assert!(scenario.churn.reconnects() && scenario.saturation.is_some());
    }

    #[test]
    fn mistakes_name_the_remedy() {
        check_refused("[sessions]\ncount = 0", "from 1 to");
        check_refused("[sessions]\nchannels = [\"quotes\"]", "there are quote");
        check_refused("[sessions]\nsymbols_each = 500", "the source has 100");
        check_refused("[[readers]]\nkind = \"lazy\"\nshare = 1", "prompt, throttled");
        check_refused("[[readers]]\nkind = \"silent\"", "readers[0].share");
        check_refused(
            "[[readers]]\nkind = \"silent\"\nshare = 0.9\n[[readers]]\nkind = \"stalled\"\nshare = 0.9",
            "add up to 1.8",
        );
        check_refused("[source]\nkind = \"running\"", "target.url");
        check_refused("[target]\nurl = \"ws://h:1/\"", "target.bus");
        check_refused("[peer]\nkind = \"raw40\"", "peer.publish");
        check_refused("[peer]\npublish = \"tcp://h:1\"", "peer.kind");
        check_refused("[peer]\nkind = \"raw40\"\npublish = \"udp://h:1\"", "tcp://HOST:PORT");
        check_refused("duration = \"1ms\"", "100ms");
        check_refused(
            "duration = \"5s\"\n[[churn.storms]]",
            "`churn.storms[0].at`: is 5s, and 5s are measured",
        );
        check_refused(
            "duration = \"5s\"\n[[churn.restarts]]\nat = \"12s\"",
            "`churn.restarts[0].at`: is 12s",
        );
        check_refused(
            "duration = \"5s\"\n[[readers]]\nkind = \"stalled\"\nshare = 0.1\nat = \"6s\"",
            "`readers[0].at`: is 6s",
        );
        for rate in ["0", "-5", "nan", "inf", "-inf", "\"fast\""] {
            let line = "x.toml, line 2: `source.rate`: has to be a number above 0, at most 50000000 (updates per second)";
            check_refused(&format!("[source]\nrate = {rate}"), line);
        }
        check_refused("[source]\nrate = 0\nburst = 0", "`source.burst`: has to be a number above 0");
        check_refused(
            "[source]\nsteps = [{ lasting = \"1s\", rate = 0 }]",
            "`source.steps`: all rates are 0",
        );
        check_refused(
            "[source]\nsteps = [{ lasting = \"1s\", rate = -1 }]",
            "`source.steps[0].rate`: has to be a number from 0",
        );
        check_refused("[saturation]\nfrom = 0", "`saturation.from`: has to be a number above 0");
        check_refused(
            "[saturation]\nfrom = 100\nto = 50",
            "line 3: `saturation.to`: is 50, and the search begins with 100",
        );
        check_refused(
            "[[readers]]\nkind = \"throttled\"\nshare = 0.1\nbytes_per_second = 0",
            "of kind \"half-open\"",
        );
        check_refused(
            "[sessions.encodings]\nproto = 0",
            "`sessions.encodings`: no weight in there is above 0",
        );
        check_refused("[sesions]\ncount = 5", "did you mean `sessions.count`");
    }

    #[test]
    fn silence_is_a_part_of_bursts_and_steps() {
        for text in [
            "[source]\nrate = 0\nburst = 100",
            "[source]\nsteps = [{ lasting = \"1s\", rate = 0 }, { lasting = \"1s\", rate = 5 }]",
        ] {
            assert_eq!(parse(text).1, [""; 0], "{text}");
        }
    }
}
