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

/// Writes two reports that differ in p99, and what is no report.
fn files() -> (tempfile::TempDir, [PathBuf; 3]) {
    let directory = tempfile::tempdir().unwrap();
    let files = [
        put(&directory, "a.json", &began(1, report(1_000_000))),
        put(&directory, "b.json", &began(2, report(1_500_000))),
        put(&directory, "none.json", &json!({})),
    ];
    (directory, files)
}

fn put(directory: &tempfile::TempDir, name: &str, report: &Value) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, report.to_string()).unwrap();
    path
}

/// Returns another run with the same results.
fn began(seconds: u64, mut report: Value) -> Value {
    report["started_ns"] = json!(1_767_623_400_000_000_000 + seconds * 1_000_000_000);
    report
}

/// Returns runs with the same results, as `compare` takes them.
fn runs(directory: &tempfile::TempDir, name: &str, count: u64, from: u64, report: &Value) -> String {
    let paths = (0..count).map(|at| {
        let path = put(directory, &format!("{name}{at}.json"), &began(from + at, report.clone()));
        path.to_str().unwrap().to_owned()
    });
    paths.collect::<Vec<_>>().join(",")
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
    let (directory, [a, b, _]) = files();
    let (a, b) = (name(&a), name(&b));
    let again = put(&directory, "again.json", &began(3, report(1_000_000)));
    check(&["compare", a, name(&again)], 0, "B is no worse than A by more than 10 %");
    check(&["compare", a, b], 1, "B is worse than A by more than 10 %: latency.p99 by second");
    check(&["compare", b, a], 0, "better: latency.p99 by second");
    check(&["compare", a, b, "--worse-by", "60%"], 0, "not shown to be worse than A by more than 60 %");
    let before = runs(&directory, "before", 4, 10, &report(1_000_000));
    let worse = runs(&directory, "after", 4, 20, &report(1_500_000));
    let text = check(&["compare", &before, &worse, "--json"], 1, "latency.p99");
    let json: Value = serde_json::from_str(&text).unwrap();
    let found = json["differences"].as_array().unwrap().iter().find(|found| found["name"] == "latency.p99");
    let found = found.unwrap();
    assert_eq!((&found["judgement"], &found["before"]["runs"]), (&json!("worse"), &json!(4)));
    assert_eq!(found["interval"]["method"], "ranks");
    assert_eq!(json["cautions"], json!([]));
}

/// A stranger tried this first: two runs of 5 s.
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
    let (directory, [a, b, none]) = files();
    let (a, b, none) = (name(&a), name(&b), name(&none));
    let missing = directory.path().join("missing.json");
    let text = check(&["compare", a, name(&missing)], 2, name(&missing));
    assert!(text.contains("--out DIRECTORY"), "{text}");
    let text = check(&["compare", none, a], 2, "none.json is no report");
    assert!(text.contains("--out DIRECTORY"), "{text}");
    check(&["html", LOADGEN], 2, LOADGEN);
    check(&["compare", &format!("{a},"), a], 2, "A1.json,A2.json");
    check(&["compare", a, b, "--worse-by", "0.1"], 2, "as in 10%");
    check(&["compare", a, b, "--html", "/nosuch/page.html"], 2, "cannot write /nosuch/page.html");
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

#[test]
fn a_run_is_no_second_run_of_itself() {
    let (directory, [a, b, _]) = files();
    let copy = directory.path().join("copy.json");
    std::fs::copy(&a, &copy).unwrap();
    let (a, b, copy) = (name(&a), name(&b), name(&copy));
    let said = format!(
        "given several times: {a} and {copy} (the run of <b>bold</b> that began 2026-01-05T14:30:01Z"
    );
    check(&["compare", &format!("{a},{copy}"), b], 2, &said);
    check(&["compare", a, copy], 2, &said);
    check(&["compare", &format!("{b},{b},{b}"), a], 2, &format!("{b} and {b} and {b}"));
}

/// A generator that could not keep up says nothing of the server, not even that it is as good as before.
#[test]
fn runs_without_a_verdict_are_not_judged() {
    let (directory, [a, ..]) = files();
    let mut slow = report(9_000_000);
    slow["refused"] = json!("the generator itself was the bottleneck: a reading thread took 97 % of a core");
    let after = runs(&directory, "slow", 2, 30, &slow);
    let text = check(
        &["compare", name(&a), &after],
        3,
        "NO JUDGEMENT: B all 2 runs without a verdict: the generator",
    );
    assert!(text.contains("97 % of a core") && !text.contains("WORSE"), "{text}");
    assert!(text.contains("latency.p99 "), "results are shown: {text}");
    let page = directory.path().join("page.html");
    let text = check(&["compare", name(&a), &after, "--json", "--html", name(&page)], 3, "bottleneck");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["is_worse"], false);
    let judged = json["differences"].as_array().unwrap().iter().find(|found| found["judgement"] != "shown");
    assert_eq!(judged, None);
    assert!(std::fs::read_to_string(&page).unwrap().contains("NO JUDGEMENT"));
    let text = check(&["compare", name(&a), &after, "--allow-bottleneck"], 1, "B is worse than A");
    assert!(text.contains("caution: B all 2 runs without a verdict"), "{text}");
}

/// As on a disk that is full: no file may be longer than a block, and a page is.
#[test]
fn a_page_that_is_cut_short_does_not_take_the_place_of_the_old_one() {
    let (directory, [a, ..]) = files();
    let page = directory.path().join("page.html");
    std::fs::write(&page, "old").unwrap();
    let before = std::fs::read_dir(directory.path()).unwrap().count();
    let script = r#"trap '' XFSZ; ulimit -f 1; exec "$0" html "$1" --out "$2""#;
    let output = Command::new("sh").args(["-c", script, LOADGEN, name(&a), name(&page)]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("page.html: File too large"), "{said}");
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "old");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), before, "a part of it was left");
}
