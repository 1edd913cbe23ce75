//! Runs with a gateway and a source of their own.

mod runs;

use std::process::{Command, Output};

use serde_json::Value;

use runs::{LOADGEN, report, run};

#[track_caller]
fn passed(arguments: &[&str]) -> Value {
    let output = run(arguments);
    let report = report(&output);
    assert!(
        output.status.success(),
        "{}\n{:#}\n{:#}\n{}",
        report["verdicts"],
        report["sessions"],
        report["checks"],
        String::from_utf8_lossy(&output.stderr)
    );
    report
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn every_update_is_delivered_and_every_last_value_compared() {
    let report = passed(&["dashboard", "--sessions", "20", "--for", "2s"]);
    assert_eq!(report["sessions"]["subscriptions"], 20 * 50);
    assert_eq!(report["checks"]["final_values"], 20 * 50);
    let published = count(&report["flow"]["published"]);
    assert!(published.abs_diff(1000) <= 1, "500 a second for two seconds, not {published}");
    // What is due in the window counts, whenever it comes. Conflation may take some away on a busy machine.
    assert!(count(&report["flow"]["records"]) <= published * 2, "{}", report["flow"]);
    assert!(report["server"]["cpu_seconds"].as_f64().unwrap() > 0.0);
    assert!(count(&report["server"]["resident_bytes_end"]) > 1 << 20);
    assert_eq!(report["scenario"]["server"], "Tickwire");
    let seconds = report["series"].as_array().unwrap().len();
    assert!(
        (1..=2).contains(&seconds),
        "one entry for each second that the machine did not stand still: {seconds}"
    );
    // What runs at the same time is not idle: half of what is known to have run is not a matter of sampling.
    let busy = report["generator"]["machine_busy"].as_f64().unwrap() * 2.0;
    let cores = report["machine"]["cores"].as_f64().unwrap();
    let used = ["cpu_seconds", "source_cpu_seconds"].map(|field| report["server"][field].as_f64().unwrap());
    assert!(busy * cores >= used.iter().sum::<f64>() / 2.0, "{busy} of {cores}, and {used:?}");
}

#[test]
fn a_scenario_of_ones_own_is_named_with_its_file_and_progress_is_plain_lines() {
    let directory = tempfile::tempdir().unwrap();
    let ready = Command::new(LOADGEN).args(["scenarios", "latency"]).output().unwrap().stdout;
    let (copied, nameless) = (directory.path().join("my.toml"), directory.path().join("other.toml"));
    std::fs::write(&copied, ready).unwrap();
    std::fs::write(&nameless, "duration = \"1s\"\n[sessions]\ncount = 2\n").unwrap();
    let output = run(&[copied.to_str().unwrap(), "--for", "1s"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["scenario"]["name"], report["passed"].as_bool()),
        (&"latency".into(), Some(true)),
        "{}",
        report["verdicts"]
    );
    assert_eq!(report["scenario"]["file"], copied.to_str().unwrap());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.lines().any(|line| line.starts_with("measuring, 1 s left: 10 sessions")), "{said}");
    assert!(!said.contains(['\u{1b}', '\r']), "{said:?}");
    assert_eq!(passed(&[nameless.to_str().unwrap()])["scenario"]["name"], "other");
}

#[test]
fn several_processes_come_to_one_report() {
    let plan =
        ["--sessions", "9", "--for", "1s", "--processes", "3", "--threads", "2", "--channels", "quote,trade"];
    let encodings = ["--set", "sessions.encodings.proto=1", "--set", "sessions.encodings.msgpack=1"];
    let source =
        ["--set", "source.trades=0.5", "--set", "sessions.symbols_each=7", "--set", "sessions.skew=1"];
    let report = passed(&[&plan[..], &encodings[..], &source[..]].concat());
    assert_eq!(
        (&report["sessions"]["opened"], &report["sessions"]["subscriptions"]),
        (&9.into(), &(9 * 7 * 2).into())
    );
    assert_eq!(report["generator"]["cpu_share"].as_array().unwrap().len(), 6);
    assert_eq!(report["checks"]["accounts"]["checked"], 9 * 7 * 2);
    assert!(count(&report["by_channel"]["trade"]["count"]) > 0, "{}", report["by_channel"]);
}

#[test]
fn sessions_that_subscribe_together_all_get_a_first_price() {
    let plan = ["first-price", "--sessions", "30", "--for", "1s", "--threads", "2"];
    let report = passed(&[&plan[..], &["--set", "sessions.ramp=2s"]].concat());
    let sessions = &report["sessions"];
    assert_eq!((&sessions["opened"], &sessions["subscriptions"]), (&30.into(), &(30 * 5).into()));
    assert_eq!((&sessions["open"]["count"], &sessions["first"]["count"]), (&30.into(), &30.into()));
    assert_eq!(sessions["first"]["backwards"], 0, "{sessions}");
}

#[test]
fn sessions_that_lose_their_gateway_resume_without_loss() {
    let plan = ["reconnect-storm", "--sessions", "20", "--for", "6s", "--set", "churn.storms[0].at=1s"];
    let times = ["--set", "churn.restarts[0].at=3s", "--set", "assert.reconnect.p99=60s"];
    let report = passed(&[&plan[..], &times[..]].concat());
    assert!(count(&report["sessions"]["reconnects"]) >= 20, "{}", report["sessions"]);
    assert_eq!(report["checks"]["lost"], 0);
}

#[test]
fn slow_readers_are_told_apart() {
    let plan = ["slow-readers", "--sessions", "20", "--for", "3s", "--rate", "2000"];
    let times = ["--set", "readers[1].at=500ms", "--set", "readers[1].lasting=1s"];
    let bounds = ["--set", "assert.age.throttled.p50=60s", "--set", "assert.age.throttled.p99=60s"];
    let report = passed(&[&plan[..], &times[..], &bounds[..]].concat());
    let readers = report["readers"].as_array().unwrap();
    let kinds: Vec<_> = readers.iter().map(|readers| readers["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["throttled", "stalled", "slow-program", "half-open", "silent", "prompt"]);
    let stalled = &readers[1]["age"]["max_ns"];
    assert!(
        count(stalled) >= 900_000_000,
        "a second without reading makes data a second old, not {stalled} ns"
    );
    // Its receipts say what the program took, so it gets that and not the 2,000 a second that its socket would take.
    let worked = count(&readers[2]["age"]["count"]) / count(&readers[2]["sessions"]);
    assert!((50..2000).contains(&worked), "a program that works off 200 a second got {worked} in 3 s");
    // Greeting and answers come at the throttled reader's rate: some 5 KB at 10 KB/s.
    let opening = &report["sessions"]["open"]["max_ns"];
    assert!(count(opening) >= 300_000_000, "a throttled reader opened within {opening} ns");
}

#[test]
fn prompt_readers_with_receipts_get_everything() {
    let report = passed(&["dashboard", "--sessions", "10", "--for", "2s", "--set", "sessions.receipts=true"]);
    assert_eq!(report["checks"]["final_values"], 10 * 50);
    runs::assert_rest_was_conflated(&report);
}

#[test]
fn the_highest_rate_that_holds_is_found_and_measured() {
    let plan = [
        "saturation",
        "--sessions",
        "4",
        "--for",
        "1s",
        "--set",
        "saturation.from=100",
        "--set",
        "saturation.to=200",
    ];
    let search =
        ["--set", "saturation.step=1s", "--set", "saturation.settle=200ms", "--set", "saturation.p99=30s"];
    let report = passed(&[&plan[..], &search[..], &["--set", "saturation.delivered_share=0.5"]].concat());
    let found = &report["saturation"];
    assert_eq!(found["updates_per_second"], 200.0, "{found}");
    // A rate that did not hold once is tried once more.
    let steps = found["steps"].as_array().unwrap();
    let rates: Vec<_> = steps.iter().map(|step| step["updates_per_second"].as_f64().unwrap()).collect();
    assert!(rates.is_sorted() && rates.contains(&100.0) && rates.contains(&200.0), "{found}");
    assert_eq!(found["limited_by"], "every rate up to `saturation.to` held, 200 updates/s");
    // 4 sessions with 50 of 500 symbols each: four tenths of 200 updates per second.
    let deliveries = found["deliveries_per_second"].as_f64().unwrap();
    assert!((60.0..100.0).contains(&deliveries), "{found}");
    assert_eq!(report["scenario"]["updates_per_second"], 200.0);
    let seconds = report["series"].as_array().unwrap();
    assert!(seconds.iter().all(|second| second["offered"] == 200.0), "{seconds:?}");
    // What the steps of the search read is not of the window that the report is of.
    let share = report["flow"]["delivered_share"].as_f64().unwrap();
    assert!((0.5..1.01).contains(&share), "{}", report["flow"]);
    assert!(count(&report["latency"]["count"]) <= count(&report["flow"]["records"]), "{}", report["latency"]);
}

#[test]
fn config_errors_come_all_at_once() {
    let output = run(&["dashboard", "--sessions", "0", "--set", "sessions.chanels=quote", "--for", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in
        ["3 errors", "--sessions: `sessions.count`", "did you mean `sessions.channels`", "--for: `duration`"]
    {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

/// Runs the shortest run that there is; results go to standard output as text.
fn short(arguments: &[&str]) -> Output {
    let plan = ["run", "--sessions", "2", "--for", "200ms", "--set", "warm_up=10ms", "--allow-bottleneck"];
    Command::new(LOADGEN).args(plan).args(arguments).output().expect("the generator starts")
}

#[test]
fn a_result_that_cannot_be_written_is_refused_before_the_run() {
    for (option, path, reason) in [
        ("--out", "/proc/nosuch", "cannot be written"),
        ("--html", "/nosuch/page.html", "make the directory first"),
    ] {
        let output = short(&[option, path]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
        assert!(said.starts_with(&format!("error: {option} {path}: ")) && said.contains(reason), "{said}");
        assert_eq!(said.lines().count(), 1, "it has begun all the same: {said}");
    }
}

#[test]
fn a_run_that_fails_leaves_no_files_and_keeps_those_that_are_there() {
    let place = tempfile::tempdir().unwrap();
    let (out, page) = (place.path().join("a/b"), place.path().join("page.html"));
    std::fs::write(&page, "old").unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{nobody}/v1/stream");
    let paths = ["--out", out.to_str().unwrap(), "--html", page.to_str().unwrap()];
    let output = short(&[&paths[..], &["--url", &url, "--symbols", "sim:*"]].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "something was left");
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "old");
}

#[test]
fn a_disk_that_is_full_at_the_end_takes_no_results_away() {
    let output = short(&["--html", "/dev/full"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("error: cannot write /dev/full: No space left"), "{stderr}");
    assert!(stdout.contains("delivered ") && stdout.contains("intended → read"), "{stdout}");
    // The same where standard output is that disk.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(LOADGEN).arg("scenarios").stdout(full).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("cannot print the result: No space left"), "{stderr}");
}

#[test]
fn what_cannot_start_is_said_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("gateway.listen={}", taken.local_addr().unwrap());
    for (arguments, expected) in [
        (["--set", &listen], "cannot listen on"),
        (["--server-cpus", "1000"], "there is no processor 1000"),
        (["--rate", "-5"], "has to be a number from 0"),
    ] {
        let output = short(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!((said.matches("error:").count(), said.matches(expected).count()), (1, 1), "{said}");
    }
    // Who plays the source tells the run, and not the terminal as well.
    let begin =
        r#"{"layers":{"name":"","file":"","text":"","flags":[["--seed","seed","none"]]},"has_gateway":true}"#;
    let script = r#"echo "$1" | "$0" serve"#;
    let output = Command::new("sh").args(["-c", script, LOADGEN, begin]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("{\"Err\":") && said.contains("--seed"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(1));
}

/// A message of a delivery window holds many records, and one look reads several messages.
#[test]
fn the_own_lag_is_of_records_and_not_of_looks() {
    let plan = ["--sessions", "5", "--for", "1s", "--rate", "4000", "--set", "source.symbols=40"];
    let report = passed(&[&plan[..], &["--set", "sessions.window=50ms"]].concat());
    let (lag, records) = (&report["generator"]["lag"], count(&report["flow"]["records"]));
    assert!(count(&report["flow"]["messages"]) * 5 < records, "{}", report["flow"]);
    assert!(count(&lag["count"]) * 10 >= records * 9, "{} of {records}", lag["count"]);
    assert_eq!(lag["backwards"], 0);
}

#[test]
fn the_time_in_the_gateway_is_told_apart_from_the_way_to_it() {
    // Records rest for a window of 100 ms in the gateway, whatever the bus does: 50 on average.
    let report = passed(&["latency", "--for", "3s", "--set", "sessions.window=100ms"]);
    let hops = report["hops"].as_array().unwrap();
    let hop = |from: &str, to: &str| {
        let found = hops.iter().find(|hop| (&hop["from"], &hop["to"]) == (&from.into(), &to.into()));
        found.unwrap_or_else(|| panic!("no {from} to {to} in {hops:#?}"))
    };
    let of = |hop: &Value, what: &str| count(&hop["latency"][what]);
    let whole = hop("ingester", "gateway_write");
    let (to, inside) = (hop("ingester", "gateway_in"), hop("gateway_in", "gateway_write"));
    for part in [to, inside] {
        assert_eq!(
            (&part["part_of"], &part["sampled_one_in"]),
            (&"ingester-gateway_write".into(), &61.into())
        );
        assert!(of(part, "p50_ns") <= of(whole, "max_ns"), "{part:#} {whole:#}");
    }
    assert_eq!(of(to, "count"), of(inside, "count"), "each record has both");
    let delivered = count(&report["flow"]["records"]);
    let sampled = of(inside, "count");
    assert!((delivered / 61 / 4..=delivered / 61 * 2).contains(&sampled), "{sampled} of {delivered}");
    let waited = of(inside, "p50_ns");
    assert!(waited > 10_000_000, "{waited} ns");
    assert!(of(to, "p50_ns") < waited, "nothing holds them before the gateway: {to:#}");
}
