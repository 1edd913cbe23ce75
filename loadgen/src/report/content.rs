//! A report is told to people.

use std::collections::BTreeSet;

use tickwire_wire::Channel;

use super::cautions::named;
use super::document::{Block, Document, Named, Tone, described, moment, values};
use super::metric::{QUANTILES, SCALARS, Topic, Unit, Worse};
use super::model::{Accounts, Noted, Report, Saturation};

/// Threads of the server that are named.
const THREADS_MAX: usize = 6;
/// Other programs that took less of all processors are not named.
const OTHERS_NAMED_MIN: f64 = 0.01;
/// Names of what is always checked of every record begin with this.
const ALWAYS: &str = "broken.";
const HOPS: &str = "Hops are of prompt readers; each begins where the one before it ends, and read → decoded is not in intended → \
                    read. Parts (·) are as the gateway tells them of all sessions that keep up. Percentiles of hops do not add up.";
const LEDGERS: &str = "An entry is of one symbol and channel of one connection, ended subscriptions too; last values are of quotes at the \
                       end. Connections that ended without a ledger (cut by a storm, lost, half-open) are not in these sums.";
const LET_GO: &str = "came only when throttled readers were let go, after measuring";
const UNVERIFIED: &str =
    "the server's certificate was NOT VERIFIED (sessions.tls.insecure): anybody may have answered";

fn count(count: u64) -> String {
    Unit::Count.show(count as f64)
}

fn plain(text: impl Into<String>) -> Block {
    Block::Line(Tone::Plain, text.into())
}

impl Report {
    pub(crate) fn document(&self) -> Document {
        let scenario = &self.scenario;
        let run = [
            ("machine", described(&self.machine)),
            ("versions", described(&self.versions)),
            (
                "scenario",
                described(&super::model::Scenario {
                    text: String::new(),
                    about: String::new(),
                    ..scenario.clone()
                }),
            ),
            ("sessions", described(&self.sessions)),
            ("delivered", described(&self.flow)),
        ];
        let run = run.into_iter().chain(self.missing()).collect();
        let plan =
            Block::Folded("The whole scenario, flags included", vec![Block::Verbatim(scenario.text.clone())]);
        let mut latency = vec![Block::Pictures(self.latency_pictures()), self.timing_table()];
        latency.extend(self.timing_notes());
        let events = self.events.iter().enumerate();
        let events = events
            .map(|(at, event)| [vec![("event".to_owned(), count(at as u64 + 1))], values(event)].concat());
        latency.push(Block::Table(events.collect(), &[]));
        let assertions = Block::Table(self.verdicts.iter().map(values).collect(), &[]);
        let pictures = |topic| Block::Pictures(self.pictures(topic));
        let saturation = self.saturation.iter().flat_map(Saturation::blocks).collect();
        Document {
            title: format!("{} at {}", scenario.title(), scenario.server),
            about: vec![
                plain(&scenario.about),
                plain(format!("Began {}, measured {:.1} s", moment(self.started_ns), self.seconds)),
            ],
            outcome: self.outcome(),
            reasons: self.reasons(),
            body: vec![
                Block::Tiles(self.tiles()),
                Block::Section("Run", vec![Block::Facts(run), plan]),
                Block::Section("Latency", latency),
                Block::Section("Throughput", vec![pictures(Topic::Throughput)]),
                Block::Section("Slow readers", vec![Block::Pictures(self.slow_reader_pictures())]),
                Block::Section("Saturation", saturation),
                Block::Section("Ledgers and order", self.check_blocks()),
                Block::Section(
                    "Processes",
                    vec![pictures(Topic::Server), Block::Facts(self.process_facts())],
                ),
                Block::Section("Assertions", vec![Block::Folded("All assertions", vec![assertions])]),
            ],
        }
    }

    fn outcome(&self) -> (Tone, String) {
        if let Some(reason) = &self.refused {
            return (Tone::Caution, format!("NO VERDICT: {reason}"));
        }
        if !self.passed {
            let broken = self.verdicts.iter().filter(|verdict| !verdict.held).count();
            return (Tone::Bad, format!("FAILED: {broken} of {} assertions broken", self.verdicts.len()));
        }
        // One that holds and has a hint was not judged, and is told apart.
        let judged = self.verdicts.iter().filter(|verdict| verdict.hint.is_none());
        let (always, mut names): (Vec<_>, Vec<_>) =
            judged.map(|verdict| verdict.name.clone()).partition(|name| name.starts_with(ALWAYS));
        let hold = match always.len() + names.len() {
            1 => "1 assertion holds".to_owned(),
            count => format!("{count} assertions hold"),
        };
        if !always.is_empty() {
            names.insert(0, format!("nothing broken ({})", always.join(", ").replace(ALWAYS, "")));
        }
        (Tone::Good, format!("passed: {hold}: {}", names.join(", ")))
    }

    /// Returns the cautions, and what went against the plan, the rules or the assertions.
    fn reasons(&self) -> Vec<Block> {
        let mut lines: Vec<_> =
            self.generator.cautions.iter().map(|text| (Tone::Caution, text.clone())).collect();
        lines.extend(self.scenario.is_unverified.then(|| (Tone::Caution, UNVERIFIED.to_owned())));
        let mut note = |name: &str, noted: &Noted| {
            if noted.count > 0 {
                lines.push((Tone::Bad, format!("{name}: {}", count(noted.count))));
                lines.extend(noted.first.iter().map(|text| (Tone::Plain, format!("  {text}"))));
            }
        };
        note("not opened", &self.sessions.not_opened);
        note("ended early", &self.sessions.ended_early);
        note("refused", &self.checks.refused);
        note("wrong last values", &self.checks.final_values_wrong);
        self.checks.broken.iter().for_each(|(rule, noted)| note(&format!("BROKEN, {rule}"), noted));
        for verdict in &self.verdicts {
            let (name, measured, limit) = (&verdict.name, &verdict.measured, &verdict.limit);
            match (verdict.held, &verdict.hint) {
                (true, None) => {}
                (true, Some(hint)) => {
                    lines.push((Tone::Caution, format!("NOT JUDGED: {name} is {measured}; {hint}")));
                }
                (false, hint) => {
                    lines.push((Tone::Bad, format!("BROKEN: {name} is {measured}, and has to be {limit}")));
                    lines.extend(hint.iter().map(|hint| (Tone::Plain, format!("  {hint}"))));
                }
            }
        }
        lines.into_iter().map(|(tone, text)| Block::Line(tone, text)).collect()
    }

    /// Returns the metrics of the whole run that are judged in comparisons, and all percentiles of the latency.
    fn tiles(&self) -> Named {
        let scalars = SCALARS.iter().filter(|scalar| matches!(scalar.2, Worse::Higher | Worse::Lower));
        let scalars = scalars.filter_map(|(name, unit, _, read)| {
            Some((name.replace(['_', '.'], " "), unit.show(read(self)?)))
        });
        let times = QUANTILES.iter().map(|(_, title, read)| {
            ((*title).to_owned(), Unit::Nanoseconds.show(read(&self.latency.summary) as f64))
        });
        scalars.chain(times).collect()
    }

    /// Tells which of the published updates did not come, and why.
    fn missing(&self) -> Vec<(&'static str, String)> {
        let (flow, accounts) = (&self.flow, &self.checks.accounts);
        let mut facts = Vec::new();
        if flow.let_go > 0 {
            facts.push(("came late", format!("{} {LET_GO}", count(flow.let_go))));
        }
        let never = flow.due.saturating_sub(flow.records + flow.let_go);
        if flow.published > 0 && never > 0 {
            let due = count(flow.due);
            facts.push((
                "never came",
                format!("{} of {due} due: latency and age are of those that came", count(never)),
            ));
            let why = [
                (accounts.conflated, "conflated (a newer value took the place)"),
                (accounts.dropped, "dropped (and announced as gaps)"),
                (accounts.filtered, "filtered (sessions asked for a lower rate)"),
                (self.sessions.reconnects, "reconnects (sessions get nothing while they are away)"),
            ];
            let why = why.iter().filter(|(number, _)| *number > 0);
            let why: Vec<_> = why.map(|(number, what)| format!("{} {what}", count(*number))).collect();
            if !why.is_empty() {
                facts.push(("why", format!("{}; ledgers count from subscribing on", why.join(", "))));
            }
        }
        facts
    }

    fn timing_table(&self) -> Block {
        // A kind of reader that got nothing is not left out.
        let timings = self.timings().into_iter().enumerate().filter(|(at, timing)| {
            *at == 0 || timing.latency.summary.count > 0 || timing.name.starts_with("age.")
        });
        let rows = timings.map(|(_, timing)| {
            let summary = &timing.latency.summary;
            let times = QUANTILES.iter().map(|(_, title, read)| {
                let time = format!("{:.3}", read(summary) as f64 / 1e6);
                ((*title).to_owned(), if summary.count > 0 { time } else { "–".to_owned() })
            });
            let first = [("time, ms".to_owned(), timing.title), ("values".to_owned(), count(summary.count))];
            first.into_iter().chain(times).collect()
        });
        Block::Table(rows.collect(), &["min", "p90", "p99.99"])
    }

    fn timing_notes(&self) -> Vec<Block> {
        let mut notes: Vec<_> = (!self.hops.is_empty()).then(|| plain(HOPS)).into_iter().collect();
        // Why slow readers get some channels late.
        let channels = self.slow_readers().flat_map(|readers| readers.by_channel.keys());
        let is_lossless = |name: &&String| Channel::from_name(name).is_some_and(Channel::is_lossless);
        let lossless: BTreeSet<_> = channels.filter(is_lossless).map(String::as_str).collect();
        if !lossless.is_empty() {
            let names = Vec::from_iter(lossless).join(", ");
            notes.push(plain(format!(
                "{names}: lossless, so that at slow readers every record waits in line, as old as that makes it, until the \
                 gateway sheds some and says so (gaps)"
            )));
        }
        notes
    }

    fn check_blocks(&self) -> Vec<Block> {
        let row = |name: String, accounts: &Accounts| {
            let Accounts { published, delivered, conflated, dropped, filtered, .. } = *accounts;
            let sum: i128 = [delivered, conflated, dropped, filtered].map(i128::from).iter().sum();
            let share = if published > 0 {
                Unit::Share.show(delivered as f64 / published as f64)
            } else {
                "–".to_owned()
            };
            let off = sum - i128::from(published);
            let sum = if off == 0 { "exact".to_owned() } else { format!("{off:+} records") };
            let mut row = values(accounts);
            row.insert(0, ("ledgers of".to_owned(), name));
            row.extend([("share".to_owned(), share), ("sum".to_owned(), sum)]);
            row
        };
        let checks = &self.checks;
        let ledgers = self.readers.iter().map(|readers| row(readers.kind.clone(), &readers.accounts));
        let ledgers = ledgers.chain([row("all".to_owned(), &checks.accounts)]).collect();
        let gaps = checks.gaps.iter().map(|(cause, gaps)| ("gaps", format!("{cause}: {}", described(gaps))));
        let facts = [("checks", described(checks))].into_iter().chain(gaps).collect();
        let sessions = checks.sessions.iter();
        let sessions = sessions
            .map(|session| [values(session), row(String::new(), &session.accounts).split_off(1)].concat());
        let sessions = vec![Block::Table(sessions.collect(), &[])];
        vec![
            Block::Table(ledgers, &[]),
            Block::Facts(facts),
            plain(LEDGERS),
            Block::Folded("Sessions: the worst, and some others", sessions),
        ]
    }

    fn process_facts(&self) -> Vec<(&'static str, String)> {
        let (own, clock) = (&self.generator, &self.clock);
        let mut facts = vec![("server", "not known; --server-pid or --spawn tells it".to_owned())];
        if let Some(server) = &self.server {
            let mut threads: Vec<_> = server.cpu_by_thread.iter().collect();
            threads.sort_by(|a, b| b.1.total_cmp(a.1));
            let threads = threads.into_iter().take(THREADS_MAX);
            let threads = threads.map(|(name, seconds)| format!("{name} {}", Unit::Number.show(*seconds)));
            let threads = threads.collect::<Vec<_>>().join(", ");
            facts = vec![("server", described(server)), ("its threads", format!("{threads} CPU seconds"))];
        }
        let shares: Vec<_> = own.cpu_share.iter().map(|share| Unit::Share.show(*share)).collect();
        facts.push(("generator", format!("threads at {} of a core, {}", shares.join(", "), described(own))));
        if own.machine_busy_others.is_some_and(|share| share >= OTHERS_NAMED_MIN) {
            facts.push(("other programs", named(&own.others)));
        }
        if !own.others_hold.is_empty() {
            let hold = own.others_hold.join(", and ");
            facts.push(("among them", format!("{hold}, for the run does not know their processes")));
        }
        if !clock.is_same_host {
            facts.push(("clock", format!("{}; the offset is taken out", described(clock))));
        }
        facts
    }
}

impl Saturation {
    fn blocks(&self) -> Vec<Block> {
        let steps = self.steps.iter().map(values).collect();
        vec![Block::Pictures(vec![self.picture()]), plain(described(self)), Block::Table(steps, &[])]
    }
}
