//! Whether a run is what its scenario asserts. Some things are asserted by every scenario.

use std::time::Duration;

use super::assemble::slope;
use super::model::{Report, Second, Verdict};
use crate::latency::Summary;
use crate::scenario::{Quantiles, Scenario};

pub(super) fn verdicts(report: &Report, scenario: &Scenario) -> Vec<Verdict> {
    let mut all = Verdicts::default();
    let (checks, sessions, flow) = (&report.checks, &report.sessions, &report.flow);
    for rule in ["lost", "order", "ledger", "value", "final", "protocol"] {
        let count = checks.broken.get(rule).map_or(0, |noted| noted.count);
        // What peers lose is counted, and asserted where the scenario says so.
        if report.scenario.kind == "tickwire" || count > 0 {
            all.at_most(&format!("broken.{rule}"), count as f64, 0.0, whole);
        }
    }
    all.at_most("sessions.not_opened", sessions.not_opened.count as f64, 0.0, whole);
    let early = scenario.bounds.ended_early.unwrap_or(0);
    all.at_most("sessions.ended_early", sessions.ended_early.count as f64, early as f64, whole);
    let bounds = &scenario.bounds;
    let waiting = Waiting::asked(scenario);
    all.quantiles("latency", &report.latency.summary, &bounds.latency, &waiting);
    all.quantiles("reconnect", &sessions.reconnect.summary, &bounds.reconnect, &Waiting::default());
    for (kind, quantiles) in &bounds.ages {
        let age = report.readers.iter().find(|readers| readers.kind == *kind);
        let age = age.map_or(Summary::default(), |readers| readers.age.summary);
        all.quantiles(&format!("age.{kind}"), &age, quantiles, &waiting);
    }
    for (name, quantiles) in &bounds.hops {
        let hop = report.hops.iter().find(|hop| hop.name() == *name);
        let hop = hop.map_or(Summary::default(), |hop| hop.latency.summary);
        // The time in the gateway ends with these.
        let waits = if name.ends_with("-gateway_write") { &waiting } else { &Waiting::default() };
        all.quantiles(&format!("hop.{name}"), &hop, quantiles, waits);
    }
    let published = checks.accounts.published.max(1) as f64;
    all.least("deliveries_per_second", flow.records_per_second, bounds.deliveries_per_second);
    all.least("delivered_share", flow.delivered_share, bounds.delivered_share);
    all.most("conflated_share", checks.accounts.conflated as f64 / published, bounds.conflated_share, part);
    all.most("lost", checks.lost as f64, bounds.lost.map(|lost| lost as f64), whole);
    all.most("dropped", checks.accounts.dropped as f64, bounds.dropped.map(|count| count as f64), whole);
    for readers in report.readers.iter().filter(|readers| readers.kind == "throttled") {
        all.least("used_share", readers.used_share, bounds.used_share);
    }
    let server = report.server.as_ref();
    let figure = |of: fn(&super::model::Server) -> f64| server.map_or(f64::NAN, of);
    let cpu = figure(|server| server.cpu_seconds_per_million);
    all.most("cpu_seconds_per_million", cpu, bounds.cpu_seconds_per_million, part);
    let resident = figure(|server| server.resident_bytes_max as f64 / f64::from(1 << 20));
    all.most("resident_mib", resident, bounds.resident_mib, part);
    if let Some(limit) = bounds.growth_kib_per_second {
        all.growth(report, limit, bounds.growth_after.as_secs_f64());
    }
    let session = figure(|server| server.bytes_per_session / 1024.0);
    all.most("kib_per_session", session, bounds.kib_per_session, part);
    all.0
}

/// Growth over a shorter time tells nothing.
const GROWTH_SECONDS_MIN: f64 = 20.0;

/// For how long the gateway holds records back because sessions asked for it.
#[derive(Clone, Debug, Default)]
struct Waiting {
    /// Bounds are later by this.
    allowed: Duration,
    /// What else is in the times, for people.
    hint: Option<String>,
}

impl Waiting {
    fn asked(scenario: &Scenario) -> Self {
        let (window, rate) = (scenario.sessions.window, scenario.sessions.max_rate);
        let allowed = if scenario.bounds.beyond_window { window } else { Duration::ZERO };
        let mut hints = Vec::new();
        if window > allowed {
            hints.push(format!(
                "the delivery window of {} that sessions ask for is in it; with `assert.beyond_window` = true bounds count \
                 from its end",
                shown(window)
            ));
        }
        if rate > 0.0 {
            let wait = shown(Duration::from_secs_f64(1.0 / rate));
            hints.push(format!(
                "sessions ask for {rate} updates per second (`max_rate`): up to {wait} of it is that wait"
            ));
        }
        Self { allowed, hint: (!hints.is_empty()).then(|| hints.join("; ")) }
    }
}

fn shown(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

#[derive(Default)]
struct Verdicts(Vec<Verdict>);

impl Verdicts {
    fn add(&mut self, name: &str, limit: String, measured: String, held: bool) {
        self.0.push(Verdict { name: name.to_owned(), limit, measured, held, hint: None });
    }

    /// What is not a number was not measured, and does not hold.
    fn at_most(&mut self, name: &str, value: f64, limit: f64, show: fn(f64) -> String) {
        self.add(name, format!("at most {}", show(limit)), show(value), value <= limit);
    }

    fn most(&mut self, name: &str, value: f64, limit: Option<f64>, show: fn(f64) -> String) {
        if let Some(limit) = limit {
            self.at_most(name, value, limit, show);
        }
    }

    fn least(&mut self, name: &str, value: f64, limit: Option<f64>) {
        if let Some(limit) = limit {
            self.add(name, format!("at least {}", part(limit)), part(value), value >= limit);
        }
    }

    /// Of the server's memory, from `after` on; where the rest is too short to tell, it is not judged, and says so.
    fn growth(&mut self, report: &Report, limit: f64, after: f64) {
        let name = "growth_kib_per_second";
        let of = |bytes: fn(&Second) -> Option<u64>, from: f64| {
            let late = report.series.iter().filter(|second| second.at > from);
            slope(late.filter_map(|second| Some((second.at, bytes(second)? as f64)))) / 1024.0
        };
        let kib_per_second = |from| of(|second| second.server_resident_bytes, from);
        let is_short = after > 0.0 && report.seconds - after < GROWTH_SECONDS_MIN;
        if is_short && report.server.is_some() {
            let measured = format!("{} from the begin on", part(kib_per_second(0.0)));
            self.add(name, format!("at most {}", part(limit)), measured, true);
            self.hint(format!(
                "growth counts after {after} s (assert.growth_after) and {GROWTH_SECONDS_MIN} s more, and {:.0} s were measured: \
                 a longer run (--for) tells",
                report.seconds
            ));
            return;
        }
        let growth = if report.server.is_some() { kib_per_second(after) } else { f64::NAN };
        self.at_most(name, growth, limit, part);
        let logs = of(|second| second.log_bytes, after);
        if growth > limit && logs > 0.0 {
            self.hint(format!(
                "in that time the gateway's logs of recent records grew by {logs:.1} KiB/s, and take up to three times that in memory; \
                 they are bounded: `gateway.log_records` bounds them earlier, and `assert.growth_after` counts from when they are full"
            ));
        }
    }

    fn hint(&mut self, text: String) {
        if let Some(verdict) = self.0.last_mut() {
            verdict.hint = Some(text);
        }
    }

    fn quantiles(&mut self, name: &str, measured: &Summary, limits: &Quantiles, waiting: &Waiting) {
        let all = [
            ("p50", measured.p50_ns, limits.p50),
            ("p99", measured.p99_ns, limits.p99),
            ("p999", measured.p999_ns, limits.p999),
            ("max", measured.max_ns, limits.max),
        ];
        for (quantile, ns, limit) in all {
            let Some(limit) = limit else { continue };
            let name = format!("{name}.{quantile}");
            let allowed = limit + waiting.allowed;
            let at_most = if waiting.allowed.is_zero() {
                format!("at most {}", shown(limit))
            } else {
                let window = shown(waiting.allowed);
                format!("at most {} ({} beyond the window of {window})", shown(allowed), shown(limit))
            };
            if measured.count == 0 {
                self.add(&name, at_most, "nothing was measured".to_owned(), false);
                continue;
            }
            let held = Duration::from_nanos(ns) <= allowed;
            self.add(&name, at_most, shown(Duration::from_nanos(ns)), held);
            if !held && let Some(hint) = &waiting.hint {
                self.hint(hint.clone());
            }
        }
    }
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn part(value: f64) -> String {
    if value.is_nan() { "not measured".to_owned() } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Noted;
    use crate::report::model::tests::sample;
    use crate::scenario::tests::scenario;

    #[track_caller]
    fn check(bounds: &str, change: impl FnOnce(&mut Report), broken: &[&str]) {
        let scenario = scenario(bounds);
        let mut report = sample();
        change(&mut report);
        let verdicts = verdicts(&report, &scenario);
        let names: Vec<_> =
            verdicts.iter().filter(|verdict| !verdict.held).map(|verdict| &*verdict.name).collect();
        assert_eq!(names, broken);
    }

    #[test]
    fn every_assertion_can_hold_and_break() {
        check("", |_| {}, &[]);
        check("[assert.latency]\np50 = \"5ms\"\np99 = \"8ms\"\nmax = \"1s\"", |_| {}, &[]);
        check(
            "[assert.latency]\np50 = \"1ms\"\np99 = \"2ms\"\nmax = \"2ms\"",
            |_| {},
            &["latency.p50", "latency.p99", "latency.max"],
        );
        check("[assert.age.throttled]\np50 = \"10ms\"\np99 = \"100ms\"", |_| {}, &["age.throttled.p50"]);
        check("[assert.age.stalled]\nmax = \"1h\"", |_| {}, &["age.stalled.max"]);
        check("[assert.hop.read-decoded]\nmax = \"1us\"", |_| {}, &["hop.read-decoded.max"]);
        check(
            "[assert]\ndelivered_share = 0.999\ndeliveries_per_second = 24000",
            |_| {},
            &["delivered_share"],
        );
        check("[assert]\nconflated_share = 0.001\nlost = 0\ndropped = 0", |_| {}, &["conflated_share"]);
        check(
            "[assert]\ngrowth_kib_per_second = 3\ncpu_seconds_per_million = 13",
            |_| {},
            &["growth_kib_per_second"],
        );
        check("[assert]\nresident_mib = 10\nkib_per_session = 9", |_| {}, &["resident_mib"]);
        check("[assert]\nresident_mib = 10", |report| report.server = None, &["resident_mib"]);
    }

    /// The sample's memory grows by 4 KiB/s, its logs as well; here, by 100 in the first 30 s.
    fn growing(report: &mut Report) {
        let memory = |at: u64| (40 << 20) + 100 * 1024 * at.min(30) + 1024 * at.saturating_sub(30);
        let second = report.series[0].clone();
        let seconds = (1..=60_u64).map(|at| Second {
            at: at as f64,
            server_resident_bytes: Some(memory(at)),
            ..second.clone()
        });
        (report.series, report.seconds) = (seconds.collect(), 60.0);
    }

    #[test]
    fn growth_counts_from_when_what_is_bounded_is_full() {
        let bound = "[assert]\ngrowth_kib_per_second = 2\n";
        check(bound, growing, &["growth_kib_per_second"]);
        check(&format!("{bound}growth_after = \"30s\""), growing, &[]);
        check(&format!("{bound}growth_after = \"20s\""), growing, &["growth_kib_per_second"]);
        check(
            &format!("{bound}growth_after = \"30s\""),
            |report| report.server = None,
            &["growth_kib_per_second"],
        );
    }

    #[track_caller]
    fn check_growth(fields: &str, change: fn(&mut Report), held: bool, hint: &str) {
        let scenario = scenario(&format!("assert.growth_kib_per_second = 2\n{fields}"));
        let mut report = sample();
        change(&mut report);
        let verdicts = verdicts(&report, &scenario);
        let found = verdicts.iter().find(|verdict| verdict.name == "growth_kib_per_second").unwrap();
        assert_eq!(found.held, held, "{found:?}");
        assert!(found.hint.as_ref().unwrap().contains(hint), "{found:?}");
    }

    #[test]
    fn growth_that_is_not_judged_or_that_logs_explain_is_named() {
        check_growth("", |_| {}, false, "logs of recent records grew by 4.0 KiB/s");
        check_growth("assert.growth_after = \"50s\"", growing, true, "60 s were measured");
    }

    #[track_caller]
    fn check_window(fields: &str, held: bool, limit: &str, hint: Option<&str>) {
        let scenario = scenario(&format!("{fields}\n[assert.latency]\np50 = \"1ms\"\n"));
        let verdicts = verdicts(&sample(), &scenario);
        let found = verdicts.iter().find(|verdict| verdict.name == "latency.p50").unwrap();
        assert_eq!((found.held, found.limit.as_str()), (held, limit));
        match (hint, &found.hint) {
            (Some(part), Some(hint)) => assert!(hint.contains(part), "{hint}"),
            (expected, found) => assert_eq!(expected, found.as_deref()),
        }
    }

    /// p50 of the sample is 1.5 ms.
    #[test]
    fn a_window_that_was_asked_for_is_allowed_for_or_named() {
        let window = "sessions.window = \"16ms\"";
        check_window("", false, "at most 1.000 ms", None);
        check_window(window, false, "at most 1.000 ms", Some("window of 16.000 ms"));
        check_window("sessions.max_rate = 10", false, "at most 1.000 ms", Some("up to 100.000 ms"));
        let beyond = format!("{window}\nassert.beyond_window = true");
        check_window(&beyond, true, "at most 17.000 ms (1.000 ms beyond the window of 16.000 ms)", None);
    }

    #[test]
    fn what_every_scenario_asserts() {
        let broken = |rule: &'static str| {
            move |report: &mut Report| {
                report.checks.broken.insert(rule.to_owned(), Noted { count: 1, first: Vec::new() });
            }
        };
        check("", broken("lost"), &["broken.lost"]);
        check("", broken("final"), &["broken.final"]);
        check("", |report| report.sessions.ended_early.count = 2, &["sessions.ended_early"]);
        check("[assert]\nended_early = 2", |report| report.sessions.ended_early.count = 2, &[]);
        check("", |report| report.sessions.not_opened.count = 1, &["sessions.not_opened"]);
    }
}
