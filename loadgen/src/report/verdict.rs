//! Whether a run is what its scenario asserts. Some things are asserted by every scenario.

use std::time::Duration;

use super::metric::{QUANTILES, Unit};
use super::model::{Report, Second, Server, Verdict};
use super::slope;
use crate::part::Rule;
use crate::scenario::{Quantiles, Scenario};

pub(super) fn verdicts(report: &Report, scenario: &Scenario) -> Vec<Verdict> {
    use Unit::{Count, Number};
    let mut all = Verdicts::default();
    let (checks, sessions, flow) = (&report.checks, &report.sessions, &report.flow);
    let (accounts, bounds) = (&checks.accounts, &scenario.bounds);
    // Every scenario asserts that nothing breaks a rule.
    for rule in Rule::NAMES {
        let count = checks.broken.get(rule).map_or(0, |noted| noted.count);
        // What peers lose is counted, and asserted where the scenario says so.
        if report.scenario.kind == "tickwire" || count > 0 {
            all.most(&format!("broken.{rule}"), Count, count as f64, Some(0.0));
        }
    }
    let whole = |limit: Option<u64>| limit.map(|limit| limit as f64);
    all.most("sessions.not_opened", Count, sessions.not_opened.count as f64, Some(0.0));
    let early = bounds.ended_early.unwrap_or(0);
    all.most("sessions.ended_early", Count, sessions.ended_early.count as f64, Some(early as f64));
    let waiting = Waiting::asked(scenario);
    all.quantiles(report, "latency", &bounds.latency, &waiting);
    all.quantiles(report, "reconnect", &bounds.reconnect, &Waiting::default());
    all.quantiles(report, "first", &bounds.first, &Waiting::default());
    for (kind, limits) in &bounds.ages {
        all.quantiles(report, &format!("age.{kind}"), limits, &waiting);
    }
    for (name, limits) in &bounds.hops {
        // The time in the gateway ends with these.
        let waits = if name.ends_with("-gateway_write") { &waiting } else { &Waiting::default() };
        all.quantiles(report, &format!("hop.{name}"), limits, waits);
    }
    let conflated = accounts.conflated as f64 / accounts.published.max(1) as f64;
    all.least("deliveries_per_second", flow.records_per_second, bounds.deliveries_per_second);
    all.least("delivered_share", flow.delivered_share, bounds.delivered_share);
    all.most("conflated_share", Number, conflated, bounds.conflated_share);
    all.most("lost", Count, checks.lost as f64, whole(bounds.lost));
    all.most("dropped", Count, accounts.dropped as f64, whole(bounds.dropped));
    for readers in report.readers.iter().filter(|readers| readers.kind == "throttled") {
        all.least("used_share", readers.used_share, bounds.used_share);
    }
    let server = |read: fn(&Server) -> f64| report.server.as_ref().map_or(f64::NAN, read);
    let cpu = server(|server| server.cpu_seconds_per_million);
    all.most("cpu_seconds_per_million", Number, cpu, bounds.cpu_seconds_per_million);
    let resident = server(|server| server.resident_bytes_max as f64 / f64::from(1 << 20));
    all.most("resident_mib", Number, resident, bounds.resident_mib);
    if let Some(limit) = bounds.growth_kib_per_second {
        all.growth(report, limit, bounds.growth_after.as_secs_f64());
    }
    let session = server(|server| server.bytes_per_session / 1024.0);
    all.most("kib_per_session", Number, session, bounds.kib_per_session);
    all.0
}

/// Growth over a shorter time tells nothing.
const GROWTH_SECONDS_MIN: f64 = 20.0;

/// The gateway holds records back for so long because sessions asked for it.
#[derive(Clone, Debug, Default)]
struct Waiting {
    /// Bounds are later by this.
    allowed: Duration,
    /// This is in the times, too.
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
    Unit::Nanoseconds.exact(time.as_nanos() as f64)
}

#[derive(Default)]
struct Verdicts(Vec<Verdict>);

impl Verdicts {
    fn add(&mut self, name: &str, limit: String, measured: String, held: bool) {
        self.0.push(Verdict { name: name.to_owned(), limit, measured, held, hint: None });
    }

    /// Adds an upper bound. A value that is not a number was not measured, and does not hold.
    fn most(&mut self, name: &str, unit: Unit, value: f64, limit: Option<f64>) {
        if let Some(limit) = limit {
            self.add(name, format!("at most {}", unit.exact(limit)), unit.exact(value), value <= limit);
        }
    }

    fn least(&mut self, name: &str, value: f64, limit: Option<f64>) {
        if let Some(limit) = limit {
            let (bound, measured) = (Unit::Number.exact(limit), Unit::Number.exact(value));
            self.add(name, format!("at least {bound}"), measured, value >= limit);
        }
    }

    /// Judges the growth of the server's memory from `after` on; where the rest is too short to tell, it does not, and
    /// says so.
    fn growth(&mut self, report: &Report, limit: f64, after: f64) {
        let name = "growth_kib_per_second";
        let of = |bytes: fn(&Second) -> Option<u64>, from: f64| {
            let late = report.series.iter().filter(|second| second.at > from);
            slope(late.filter_map(|second| Some((second.at, bytes(second)? as f64)))) / 1024.0
        };
        let growth = |from| of(|second| second.server_resident_bytes, from);
        if after > 0.0 && report.seconds - after < GROWTH_SECONDS_MIN && report.server.is_some() {
            let [limit, measured] = [limit, growth(0.0)].map(|value| Unit::Number.exact(value));
            self.add(name, format!("at most {limit}"), format!("{measured} from the begin on"), true);
            self.hint(format!(
                "growth counts after {after} s (assert.growth_after) and {GROWTH_SECONDS_MIN} s more, and {:.0} s were measured: \
                 a longer run (--for) tells",
                report.seconds
            ));
            return;
        }
        let growth = if report.server.is_some() { growth(after) } else { f64::NAN };
        self.most(name, Unit::Number, growth, Some(limit));
        let logs = of(|second| second.log_bytes, after);
        if growth > limit && logs > 0.0 {
            self.hint(format!(
                "in that time the gateway's logs of recent records grew by {logs:.1} KiB/s, and take up to three times that in memory; \
                 they are bounded: `gateway.limits.log_records` bounds them earlier, and `assert.growth_after` counts from when they are full"
            ));
        }
    }

    fn hint(&mut self, text: String) {
        if let Some(verdict) = self.0.last_mut() {
            verdict.hint = Some(text);
        }
    }

    fn quantiles(&mut self, report: &Report, timing: &str, limits: &Quantiles, waiting: &Waiting) {
        let summary = report.timing(timing);
        let Quantiles { p50, p99, p999, max } = *limits;
        let limits = [None, p50, None, p99, p999, None, max];
        for ((quantile, _, read), limit) in QUANTILES.into_iter().zip(limits) {
            let Some(limit) = limit else { continue };
            let allowed = limit + waiting.allowed;
            let beyond = match waiting.allowed {
                Duration::ZERO => String::new(),
                window => format!(" ({} beyond the window of {})", shown(limit), shown(window)),
            };
            let at_most = format!("at most {}{beyond}", shown(allowed));
            let measured = Duration::from_nanos(read(&summary));
            let held = summary.count > 0 && measured <= allowed;
            let text = if summary.count > 0 { shown(measured) } else { "nothing was measured".to_owned() };
            self.add(&format!("{timing}.{quantile}"), at_most, text, held);
            if let Some(hint) = waiting.hint.as_ref().filter(|_| !held && summary.count > 0) {
                self.hint(hint.clone());
            }
        }
    }
}
