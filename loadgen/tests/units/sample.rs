//! A report with something in every part.

use std::collections::BTreeMap;

use tickwire_machine::processors::Machine;
use tickwire_measure::Latencies;

use crate::report::model::*;

fn latency(from_us: u64, to_us: u64) -> Latency {
    let mut latencies = Latencies::default();
    for us in from_us..=to_us {
        latencies.record(0, us * 1_000);
    }
    latencies.into()
}

pub(crate) fn sample() -> Report {
    let ages = |at: u64| {
        let age = Age { p50_ns: at * 4_000_000, p99_ns: at * 9_000_000, max_ns: at * 10_000_000 };
        BTreeMap::from([("throttled".to_owned(), age)])
    };
    let series = (1..=20_u64).map(|at| Second {
        at: at as f64,
        sessions: 500,
        records: 25_000 + at % 3 * 100,
        messages: 20_000,
        bytes: 1_200_000,
        p50_ns: 300_000 + at * 1_000,
        p99_ns: 900_000 + at % 5 * 40_000,
        p999_ns: 2_000_000,
        max_ns: if at == 7 { 1_000_000_000 } else { 3_000_000 },
        ages: ages(at),
        server_cpu: Some(0.31),
        server_resident_bytes: Some((40 << 20) + (at << 12)),
        generator_cpu: 0.2,
        pressure_bytes: Some(200_000),
        log_bytes: Some((1 << 20) + (at << 12)),
        offered: 500.0,
    });
    let hop = |from: &str, to: &str, from_us, to_us| Hop {
        from: from.to_owned(),
        to: to.to_owned(),
        sampled_one_in: if to.starts_with("read") || to == "decoded" { 1 } else { 8 },
        of: "records".to_owned(),
        part_of: if to == "gateway_in" || from == "gateway_in" { "ingester-gateway_write" } else { "" }
            .to_owned(),
        latency: latency(from_us, to_us),
    };
    let accounts = Accounts {
        checked: 25_000,
        published: 500_000,
        delivered: 499_000,
        conflated: 1_000,
        ..Accounts::default()
    };
    let readers = |kind: &str, sessions, age| Readers {
        kind: kind.to_owned(),
        sessions,
        records: 10_000,
        bytes: 400_000,
        age,
        accounts,
        ..Readers::default()
    };
    Report {
        format: FORMAT,
        passed: true,
        refused: None,
        started_ns: 1_767_623_400_000_000_000,
        seconds: 20.0,
        versions: Versions {
            loadgen: "0.1.0".to_owned(),
            protocol: 1,
            schema: "0badcafe".to_owned(),
            server: "tickwire 0.1.0".to_owned(),
        },
        machine: Machine {
            system: "Linux 6.1.0 x86_64".to_owned(),
            cpu: "a processor".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
        },
        scenario: Scenario {
            name: "dashboard".to_owned(),
            file: "my.toml".to_owned(),
            about: "500 screens with 50 of 500 symbols each".to_owned(),
            text: "name = \"dashboard\"\n".to_owned(),
            seed: 7,
            url: "ws://127.0.0.1:7400/v1/stream".to_owned(),
            is_unverified: false,
            kind: "tickwire".to_owned(),
            server: "Tickwire".to_owned(),
            symbols: 500,
            updates_per_second: 500.0,
            processes: 1,
            threads: 1,
        },
        sessions: Sessions { asked: 500, opened: 500, subscriptions: 25_000, ..Sessions::default() },
        flow: Flow {
            messages: 400_000,
            records: 500_000,
            bytes: 24_000_000,
            reads: 400_000,
            records_by_channel: BTreeMap::from([("quote".to_owned(), 500_000)]),
            records_per_second: 25_000.0,
            messages_per_second: 20_000.0,
            bytes_per_second: 1_200_000.0,
            published: 10_000,
            due: 501_002,
            let_go: 0,
            delivered_share: 0.998,
        },
        latency: latency(100, 3_000),
        by_channel: BTreeMap::from([("quote".to_owned(), latency(100, 3_000))]),
        hops: vec![
            hop("intended", "ingester", 10, 200),
            hop("ingester", "gateway_write", 50, 2_000),
            hop("ingester", "gateway_in", 20, 700),
            hop("gateway_in", "gateway_write", 25, 1_400),
            hop("gateway_write", "read", 20, 900),
            hop("read", "decoded", 1, 30),
        ],
        readers: vec![
            readers("prompt", 450, latency(100, 3_000)),
            readers("throttled", 50, latency(4_000, 90_000)),
        ],
        checks: Checks {
            accounts,
            gaps: BTreeMap::from([("shed".to_owned(), Gaps { announced: 2, numbers: 40 })]),
            final_values: 25_000,
            ..Checks::default()
        },
        server: Some(Server {
            pid: 4242,
            command: "tickwire-loadgen serve".to_owned(),
            cpu_seconds: 6.2,
            source_cpu_seconds: 0.4,
            cpu_by_thread: BTreeMap::from([("shard-0".to_owned(), 5.1), ("hub".to_owned(), 1.1)]),
            cpu_seconds_per_million: 12.4,
            resident_bytes_before: 10 << 20,
            resident_bytes_open: 14 << 20,
            resident_bytes_max: 41 << 20,
            resident_bytes_end: 41 << 20,
            bytes_per_session: 8_388.0,
            growth_per_second: 4_096.0,
        }),
        generator: Generator {
            cpu_share: vec![0.2],
            cpu_seconds: 4.0,
            records_per_cpu_second: 125_000.0,
            lag: latency(1, 500),
            source_lag: latency(5, 80),
            waited_share: 0.01,
            machine_busy: Some(0.4),
            machine_busy_others: Some(0.02),
            others: vec![Program { name: "rustc".to_owned(), pid: 99, share: 0.015 }],
            others_hold: Vec::new(),
            resident_bytes: 12 << 20,
            bytes_per_session: 900.0,
            was_bottleneck: false,
            bottlenecks: Vec::new(),
            cautions: Vec::new(),
        },
        clock: Clock { is_same_host: true, ..Clock::default() },
        series: series.collect(),
        events: vec![Event { at: 7.0, text: "gateway restarted".to_owned() }],
        verdicts: vec![Verdict {
            name: "latency.p99".to_owned(),
            limit: "at most 8ms".to_owned(),
            measured: "2.97ms".to_owned(),
            held: true,
            hint: None,
        }],
        saturation: Some(Saturation {
            updates_per_second: 40_000.0,
            deliveries_per_second: 2_000_000.0,
            limited_by: "p99 134ms is above 100ms".to_owned(),
            steps: vec![SaturationStep {
                updates_per_second: 40_000.0,
                deliveries_per_second: 2_000_000.0,
                delivered_share: 1.0,
                p50_ns: 4_000_000,
                p99_ns: 80_000_000,
                max_ns: 120_000_000,
                server_cpu: Some(0.97),
                held: true,
                reason: String::new(),
            }],
        }),
    }
}
