//! Pages and comparisons of reports, by the command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

const LOADGEN: &str = env!("CARGO_BIN_EXE_tickwire-loadgen");

fn report(p99_ns: u64) -> Value {
    let series: Vec<_> = (1..=20)
        .map(|at| json!({"at": at, "records": 1000 + at % 3, "p50_ns": 300_000, "p99_ns": p99_ns + at % 5 * 1000}))
        .collect();
    json!({
        "format": 1,
        "passed": true,
        "seconds": 20.0,
        "scenario": {"name": "<b>bold</b>", "server": "Tickwire"},
        "latency": {"count": 20_000, "p50_ns": 300_000, "p99_ns": p99_ns, "max_ns": 2 * p99_ns,
            "curve": [{"q": 0.0, "ns": 1000, "count": 1}, {"q": 0.5, "ns": 300_000, "count": 10_000},
                {"q": 1.0, "ns": 2 * p99_ns, "count": 20_000}]},
        "flow": {"records_per_second": 1000.0},
        "series": series,
    })
}

/// Two reports that differ in p99, and what is no report.
fn files() -> (tempfile::TempDir, [PathBuf; 3]) {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = [
        put("a.json", &report(1_000_000).to_string()),
        put("b.json", &report(1_500_000).to_string()),
        put("none.json", "{}"),
    ];
    (directory, files)
}

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(LOADGEN).args(arguments).output().expect("the generator starts")
}

#[track_caller]
fn check(arguments: &[&str], status: i32, part: &str) -> String {
    let output = loadgen(arguments);
    let text =
        String::from_utf8_lossy(if status == 2 { &output.stderr } else { &output.stdout }).into_owned();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{text}\n{:?}", output.stderr);
    assert!(text.contains(part), "{part} is not in\n{text}");
    text
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_status_says_whether_anything_is_worse() {
    let (_directory, [a, b, _]) = files();
    let (a, b) = (name(&a), name(&b));
    check(&["compare", a, a], 0, "B is no worse than A by more than 10 %");
    check(&["compare", a, b], 1, "B is worse than A by more than 10 %: latency.p99 by second");
    check(&["compare", b, a], 0, "better: latency.p99 by second");
    check(&["compare", a, b, "--worse-by", "60%"], 0, "not shown to be worse than A by more than 60 %");
    let runs = [a, a, a, a].join(",");
    let worse = [b, b, b, b].join(",");
    let text = check(&["compare", &runs, &worse, "--json"], 1, "latency.p99");
    let json: Value = serde_json::from_str(&text).unwrap();
    let found = json["differences"].as_array().unwrap().iter().find(|found| found["name"] == "latency.p99");
    let found = found.unwrap();
    assert_eq!((&found["judgement"], &found["before"]["runs"]), (&json!("worse"), &json!(4)));
    assert_eq!(found["interval"]["method"], "ranks");
    assert_eq!(json["cautions"], json!([]));
}

/// What a stranger tried first: two runs of 5 s.
#[test]
fn a_gross_regression_of_short_runs_does_not_pass() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, p50_us: [u64; 5]| {
        let mut report = report(10_000_000);
        let seconds =
            p50_us.iter().zip(1..).map(|(us, at)| json!({"at": at, "records": 1000, "p50_ns": us * 1000}));
        report["series"] = seconds.collect();
        report["latency"]["p50_ns"] = json!(p50_us[2] * 1000);
        let path = directory.path().join(name);
        std::fs::write(&path, report.to_string()).unwrap();
        path
    };
    let (a, b) =
        (put("a.json", [2100, 2050, 2090, 2300, 1900]), put("b.json", [9100, 8800, 9000, 9300, 8700]));
    let (a, b) = (name(&a), name(&b));
    let text =
        check(&["compare", a, b], 1, "worse than A by more than 10 %: latency.p50 (4.3 times, no interval)");
    assert!(text.contains("short runs (5 s)") && text.contains("Intervals take 10 s a run"), "{text}");
    let text = check(&["compare", a, b, "--json"], 1, "latency.p50 by second");
    let json: Value = serde_json::from_str(&text).unwrap();
    let found = json["differences"].as_array().unwrap().iter();
    let found = found.clone().find(|found| found["name"] == "latency.p50 by second").unwrap();
    assert_eq!((&found["judgement"], &found["grounds"]["by"]), (&json!("worse"), &json!("gross")));
}

#[test]
fn bad_input_names_the_file_and_the_remedy() {
    let (directory, [a, _, none]) = files();
    let (a, none) = (name(&a), name(&none));
    let missing = directory.path().join("missing.json");
    let text = check(&["compare", a, name(&missing)], 2, name(&missing));
    assert!(text.contains("--out DIRECTORY"), "{text}");
    let text = check(&["compare", none, a], 2, "none.json is no report");
    assert!(text.contains("--out DIRECTORY"), "{text}");
    check(&["html", LOADGEN], 2, LOADGEN);
    check(&["compare", &format!("{a},"), a], 2, "A1.json,A2.json");
    check(&["compare", a, a, "--worse-by", "0.1"], 2, "as in 10%");
    check(&["compare", a, a, "--html", "/nosuch/page.html"], 2, "cannot write /nosuch/page.html");
}

#[test]
fn pages_are_written_or_printed() {
    let (directory, [a, b, _]) = files();
    let (a, b) = (name(&a), name(&b));
    let page = directory.path().join("page.html");
    check(&["html", a, "--out", name(&page)], 0, "wrote");
    let written = std::fs::read_to_string(&page).unwrap();
    let printed = check(&["html", a, "--out", "-"], 0, "<!DOCTYPE html>");
    assert_eq!(written, printed.trim_end());
    assert!(written.contains("&lt;b&gt;bold") && !written.contains("<b>bold"), "{written}");
    check(&["compare", a, b, "--html", name(&page)], 1, "latency.p99");
    assert!(std::fs::read_to_string(&page).unwrap().contains("Change from A to B"));
}
