//! How far the figures of a run can be trusted: what the generator, and the machine, did meanwhile.

use super::model::{Generator, Program};
use crate::machine::Busy;
use crate::part::Part;
use crate::processes::{Used, named};
use crate::scenario::Scenario;
use crate::source::Published;

/// Above this share of a core, a reading thread has no room for bursts.
const CPU_SHARE_MAX: f64 = 0.8;
/// Above this, at p99, reading or publishing late is a visible part of what is measured.
const LATE_P99_MAX_NS: u64 = 5_000_000;
/// Above this share of all processors, whoever measures and whoever is measured wait for each other.
const MACHINE_BUSY_MAX: f64 = 0.9;
/// Above this share of all processors, what else runs there may show in the latencies.
const OTHERS_BUSY_MAX: f64 = 0.1;
/// Above this share of the time, the generator stood in line for a processor.
const WAITED_SHARE_MAX: f64 = 0.1;

/// What the machine did, as shares of all processors.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    all: Option<f64>,
    /// What the run did not start and does not watch, and the busiest of it.
    others: Option<f64>,
    programs: Vec<Program>,
    /// Who of those that are under test is among the others.
    hold: Vec<String>,
}

impl Load {
    /// Of what the machine told of the window, where it did.
    pub(super) fn new(
        machine: Option<(Busy, Used)>,
        scenario: &Scenario,
        is_watched: bool,
        is_same_host: bool,
    ) -> Self {
        Self {
            all: machine.as_ref().map(|(busy, _)| busy.share),
            others: machine.as_ref().map(|(busy, used)| others(*busy, used)),
            programs: machine.map_or(Vec::new(), |(busy, used)| used.busiest(busy.processor_seconds())),
            hold: others_hold(scenario, is_watched, is_same_host),
        }
    }
}

fn others(busy: Busy, used: &Used) -> f64 {
    (busy.share - used.own_seconds / busy.processor_seconds().max(1e-9)).max(0.0)
}

/// Processes of this machine that are under test, and that the run does not know.
fn others_hold(scenario: &Scenario, is_watched: bool, is_same_host: bool) -> Vec<String> {
    let mut hold = Vec::new();
    if is_same_host && scenario.has_gateway() && scenario.target.url.is_some() && scenario.peer.is_none() {
        hold.push("what stands at `target.url`, in front of the gateway".to_owned());
    } else if is_same_host && !is_watched {
        hold.push("the server (`target.server_pid`, --server-pid, says which it is)".to_owned());
    }
    if !scenario.target.bus.is_empty() {
        hold.push("the bus, where it runs on this machine".to_owned());
    }
    hold
}

/// How late the generator may read and publish. A search looks for where a p99 breaks that is far above what matters
/// elsewhere, and at its end everything is at its limit.
pub(super) fn late_max(scenario: &Scenario) -> u64 {
    let of_search = scenario.saturation.as_ref().map_or(0, |search| search.p99.as_nanos() as u64 / 2);
    of_search.max(LATE_P99_MAX_NS)
}

pub(super) fn generator(
    part: &Part,
    published: &Published,
    load: Load,
    (records, backwards): (u64, u64),
    late_max_ns: u64,
) -> Generator {
    let cpu_seconds: f64 = part.cpu_seconds.iter().sum();
    let sessions: u64 = part.readers.iter().map(|reader| reader.sessions).sum();
    let (lag, source_lag) = (part.lag.summary(), published.lag.summary());
    let late = Late { reading: lag.p99_ns, publishing: source_lag.p99_ns, max: late_max_ns };
    let (bottlenecks, doubts) = doubts(&part.cpu_share, late, part.waited_share, &load, backwards);
    Generator {
        cpu_share: part.cpu_share.clone(),
        cpu_seconds,
        records_per_cpu_second: if cpu_seconds > 0.0 { records as f64 / cpu_seconds } else { 0.0 },
        lag: part.lag.read_off(),
        source_lag: published.lag.read_off(),
        waited_share: part.waited_share,
        machine_busy: load.all,
        machine_busy_others: load.others,
        others: load.programs,
        others_hold: load.hold,
        resident_bytes: part.resident_bytes,
        bytes_per_session: part.resident_bytes.saturating_sub(part.resident_bytes_before) as f64
            / sessions.max(1) as f64,
        was_bottleneck: !bottlenecks.is_empty(),
        bottlenecks,
        doubts,
    }
}

/// How late the generator was at p99, and may have been; nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Late {
    reading: u64,
    publishing: u64,
    max: u64,
}

/// Why the generator was the bottleneck, if it was; and all that limits how far its figures can be trusted.
fn doubts(
    cpu_share: &[f64],
    late: Late,
    waited_share: f64,
    load: &Load,
    backwards: u64,
) -> (Vec<String>, Vec<String>) {
    let busiest = cpu_share.iter().copied().fold(0.0, f64::max);
    let percent = |share: f64| share * 100.0;
    let ms = |ns: u64| ns as f64 / 1e6;
    let mut doubts = Vec::new();
    if busiest > CPU_SHARE_MAX {
        let taken = percent(busiest);
        doubts.push(format!(
            "a reading thread took {taken:.0} % of a core; take more `threads` or `processes`"
        ));
    }
    let mut bottlenecks = doubts.clone();
    let reading = format!(
        "it read up to {:.1} ms late (p99), and latencies hold that; give it a free core",
        ms(late.reading)
    );
    let publishing = format!(
        "the own source was up to {:.1} ms late (p99); give it a free core, or a lower rate",
        ms(late.publishing)
    );
    for (p99_ns, doubt) in [(late.reading, reading), (late.publishing, publishing)] {
        if p99_ns > late.max {
            bottlenecks.push(doubt.clone());
        }
        if p99_ns > LATE_P99_MAX_NS {
            doubts.push(doubt);
        }
    }
    if waited_share > WAITED_SHARE_MAX {
        let waited = percent(waited_share);
        doubts.push(format!("a reading thread waited {waited:.0} % of the time for a processor"));
    }
    if let Some(busy) = load.all.filter(|busy| *busy > MACHINE_BUSY_MAX) {
        let busy = percent(busy);
        doubts.push(format!(
            "all processors were {busy:.0} % busy: latencies hold the wait for a processor, the generator's included"
        ));
    }
    // Where those that are under test are among them, it is no doubt that they ran.
    if let Some(busy) = load.others.filter(|busy| *busy > OTHERS_BUSY_MAX && load.hold.is_empty()) {
        let busy = percent(busy);
        doubts.push(format!(
            "other programs took {busy:.0} % of all processors ({}): latencies hold the wait for them",
            named(&load.programs)
        ));
    }
    if backwards > 0 {
        doubts.push(format!("{backwards} records came before their event time: the clocks differ"));
    }
    (bottlenecks, doubts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        share: f64,
        lag_ns: u64,
        source_ns: u64,
        others: (f64, [f64; 2], u64),
        bottleneck: bool,
        count: usize,
    ) {
        let late = Late { reading: lag_ns, publishing: source_ns, max: LATE_P99_MAX_NS };
        let (waited, [all, others], backwards) = others;
        let load = Load { all: Some(all), others: Some(others), ..Load::default() };
        let (bottlenecks, doubts) = doubts(&[0.1, share], late, waited, &load, backwards);
        assert_eq!((!bottlenecks.is_empty(), doubts.len()), (bottleneck, count), "{doubts:?}");
    }

    #[test]
    fn it_says_when_it_was_the_bottleneck_itself() {
        let calm = (0.01, [0.5, 0.05], 0);
        check(0.5, 1_200_000, 100_000, calm, false, 0);
        check(0.9, 1_200_000, 100_000, calm, true, 1);
        let programs = vec![Program { name: "rustc".to_owned(), pid: 7, share: 0.4 }];
        let mut busy = Load { all: Some(0.99), others: Some(0.5), programs, hold: Vec::new() };
        let late = Late { reading: 0, publishing: 0, max: LATE_P99_MAX_NS };
        let of = |load: &Load| doubts(&[0.9], late, 0.0, load, 0);
        let (bottlenecks, doubts) = of(&busy);
        assert!(doubts[2].contains("rustc 40 %, process 7"), "{doubts:?}");
        assert_eq!(
            (bottlenecks.len(), doubts.len()),
            (1, 3),
            "what other programs did is not the generator's doing"
        );
        busy.hold.push("the server".to_owned());
        assert_eq!(of(&busy).1.len(), 2, "it is what is tested");
        check(0.5, 9_000_000, 100_000, calm, true, 1);
        check(0.5, 1_200_000, 9_000_000, calm, true, 1);
        check(0.5, 1_200_000, 100_000, (0.3, [0.95, 0.05], 3), false, 3);
        check(0.5, 1_200_000, 100_000, (0.01, [0.5, 0.3], 0), false, 1);
    }

    #[test]
    fn a_search_that_is_at_its_end_may_be_late_and_says_so() {
        let max = |text: &str| late_max(&crate::scenario::tests::scenario(text));
        assert_eq!((max(""), max("[saturation]\np99 = \"2ms\"\n")), (LATE_P99_MAX_NS, LATE_P99_MAX_NS));
        let late = Late { reading: 21_000_000, publishing: 0, max: max("[saturation]\np99 = \"100ms\"\n") };
        let of = |late| doubts(&[0.5], late, 0.0, &Load::default(), 0);
        assert_eq!((of(late).0.len(), of(late).1.len()), (0, 1));
        let later = Late { reading: 51_000_000, ..late };
        assert_eq!((of(later).0.len(), of(later).1.len()), (1, 1));
    }

    #[test]
    fn who_is_under_test_and_not_known_is_named() {
        let hold = |text: &str, is_watched, is_same_host| {
            others_hold(&crate::scenario::tests::scenario(text), is_watched, is_same_host)
        };
        assert_eq!(hold("", true, true), [""; 0]);
        let proxied = "gateway.listen = \"127.0.0.1:7400\"\ntarget.url = \"ws://127.0.0.1:80\"\n";
        assert!(hold(proxied, true, true)[0].contains("in front of the gateway"));
        let url = "target.url = \"ws://h:7400\"\ntarget.bus = [\"nats://h:4222\"]\n";
        assert_eq!(hold(url, false, true).len(), 2);
        assert_eq!((hold(url, true, true).len(), hold(url, false, false).len()), (1, 1));
    }
}
