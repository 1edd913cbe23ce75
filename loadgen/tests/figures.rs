//! A report tells the truth of a run: shares of one, processors, pressure, ledgers.

mod runs;

use std::sync::atomic::{AtomicBool, Ordering};

use runs::{report, run};

fn set(fields: &[&'static str]) -> Vec<&'static str> {
    fields.iter().flat_map(|field| ["--set", field]).collect()
}

#[test]
fn popular_symbols_and_trades_that_nobody_asked_for_leave_the_share_whole() {
    let fields = set(&[
        "source.skew=1.5",
        "source.trades=0.3",
        "source.symbols=50",
        "sessions.skew=1.5",
        "sessions.symbols_each=5",
    ]);
    let report = report(&run(&[&["--sessions", "9", "--for", "2s", "--rate", "300"], &fields[..]].concat()));
    runs::assert_rest_was_conflated(&report);
}

#[test]
fn a_storm_cuts_exactly_its_share_and_those_connections_ledgers_are_told_as_missing() {
    let fields =
        set(&["churn.storms[0].at=500ms", "churn.storms[0].share=0.3", "churn.storms[0].within=200ms"]);
    let report = report(&run(&[&["--sessions", "21", "--for", "2s"], &fields[..]].concat()));
    assert_eq!(report["events"][0]["text"], "6 of 21 sessions lose their connection");
    assert_eq!(report["sessions"]["reconnects"], 6);
    let checks = &report["checks"];
    assert_eq!((&checks["ledgers"], &checks["ledgers_missing"]), (&21.into(), &6.into()), "{checks}");
    assert_eq!(checks["accounts"]["checked"], 21 * 100);
}

/// Returns an address with a port that nobody listens at.
fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn the_gateways_pressure_is_read_off_its_admin_page_and_shown() {
    let fields = set(&[
        "readers[0].kind=throttled",
        "readers[0].share=0.5",
        "readers[0].bytes_per_second=2000",
        "sessions.receive_buffer=2048",
    ]);
    let output = run(&[&["--sessions", "4", "--for", "2s", "--rate", "2000"], &fields[..]].concat());
    let report = report(&output);
    let seconds = report["series"].as_array().unwrap();
    let pressure = seconds.iter().map(|second| second["pressure_bytes"].as_u64());
    let pressure = pressure.collect::<Option<Vec<_>>>().expect("it is known in each second");
    assert!(pressure.iter().any(|bytes| *bytes > 0), "nobody reads as fast as it comes: {pressure:?}");
}

#[test]
fn threads_of_a_gateway_that_was_restarted_keep_what_they_did() {
    let fields = set(&["churn.restarts[0].at=2500ms", "gateway.drain_ms=200"]);
    let report =
        report(&run(&[&["--sessions", "40", "--for", "4s", "--rate", "1000"], &fields[..]].concat()));
    let server = &report["server"];
    let threads = server["cpu_by_thread"].as_object().unwrap();
    let by_thread: f64 = threads.values().map(|seconds| seconds.as_f64().unwrap()).sum();
    let whole: f64 =
        ["cpu_seconds", "source_cpu_seconds"].iter().map(|name| server[name].as_f64().unwrap()).sum();
    assert!(by_thread > 0.8 * whole, "{by_thread} s of {whole} s: {server}");
}

#[test]
fn who_else_was_busy_is_named_behind_a_proxy_too() {
    let address = free_port();
    let stop = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 1_u64;
            while !stop.load(Ordering::Relaxed) {
                value = std::hint::black_box(value.wrapping_mul(3));
            }
        });
        let (listen, url) = (format!("gateway.listen={address}"), format!("ws://{address}/v1/stream"));
        let output = run(&["--sessions", "2", "--for", "1s", "--url", &url, "--set", &listen]);
        stop.store(true, Ordering::Relaxed);
        report(&output)
    });
    let generator = &report["generator"];
    assert!(generator["machine_busy_others"].as_f64().unwrap() > 0.0, "{generator}");
    let named = generator["others"].as_array().unwrap();
    // As many are named as there are places, the busiest first.
    let is_named = named.iter().any(|program| program["pid"] == std::process::id());
    assert!(is_named || named.len() == 3, "{named:?}");
    assert!(generator["others_hold"][0].as_str().unwrap().contains("in front of the gateway"), "{generator}");
}

#[test]
fn no_hop_to_the_read_is_longer_than_the_whole() {
    // Nine of ten symbols are quiet, and those of a burst come together: messages hold one record or many.
    let fields = set(&["source.burst=20000", "source.lasting=50ms", "source.symbols=500", "hop_sampling=1"]);
    let report = report(&run(&[&["--sessions", "3", "--for", "2s", "--rate", "100"], &fields[..]].concat()));
    let whole = &report["latency"];
    let records = whole["count"].as_u64().unwrap();
    assert!(records > report["flow"]["messages"].as_u64().unwrap(), "{}", report["flow"]);
    let hops = report["hops"].as_array().unwrap();
    let of_records = hops.iter().filter(|hop| hop["from"] != "gateway_in" && hop["to"] != "gateway_in");
    for hop in of_records {
        assert_eq!(
            (&hop["of"], hop["latency"]["count"].as_u64()),
            (&"records".into(), Some(records)),
            "{hop}"
        );
        for quantile in ["p50_ns", "p90_ns", "p99_ns", "max_ns"] {
            let (part, all) = (hop["latency"][quantile].as_u64(), whole[quantile].as_u64());
            assert!(hop["to"] == "decoded" || part <= all, "{quantile} of {} → {}", hop["from"], hop["to"]);
        }
    }
}

#[test]
fn a_bus_that_is_not_there_is_named_at_once_and_given_up() {
    let bus = format!("nats://me:secret@{}", free_port());
    let output = run(&["--sessions", "2", "--for", "1s", "--bus", &bus]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    let address = bus.replace("me:secret@", "");
    let lines: Vec<_> = said.lines().filter(|line| line.contains(&address)).collect();
    assert!(lines[0].contains("refused") && lines[0].contains("tried again"), "{said}");
    assert!(said.contains("cannot be reached within") && said.contains("--bus"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    assert_eq!(lines.len(), 2, "{said}");
}

#[test]
fn a_firehose_that_delivers_a_part_does_not_pass_and_short_growth_is_not_judged() {
    // Sockets that take so little at a time: most quotes are replaced before they are sent.
    let fields =
        set(&["readers[0].kind=throttled", "readers[0].share=1", "readers[0].bytes_per_second=4000"]);
    let bounds =
        set(&["assert.delivered_share=0.9", "assert.growth_kib_per_second=0", "assert.growth_after=1m"]);
    let plan = ["firehose", "--sessions", "2", "--rate", "2000", "--for", "2s"];
    let output = run(&[&plan[..], &fields[..], &bounds[..]].concat());
    let verdicts = &report(&output)["verdicts"];
    let of =
        |name: &str| verdicts.as_array().unwrap().iter().find(|verdict| verdict["name"] == name).unwrap();
    assert_eq!(
        (&of("delivered_share")["held"], output.status.code()),
        (&false.into(), Some(1)),
        "{verdicts}"
    );
    assert_eq!(of("growth_kib_per_second")["held"], true);
    assert!(of("growth_kib_per_second")["hint"].as_str().unwrap().contains("a longer run"), "{verdicts}");
}
