//! Cautions limit how far the results of a run can be trusted: they say what the generator, and the machine, did meanwhile.

use tickwire_machine::processes::Used;
use tickwire_machine::processors::Busy;

use super::model::{Generator, Latency, Program};
use crate::part::Part;
use crate::scenario::Scenario;

/// A reading thread has no room for bursts above this share of a core.
const CPU_SHARE_MAX: f64 = 0.8;
/// Reading or publishing late is a visible part of what is measured above this, at p99.
pub(super) const LATE_P99_MAX_NS: u64 = 5_000_000;
/// Whoever measures and whoever is measured wait for each other above this share of all processors.
const MACHINE_BUSY_MAX: f64 = 0.9;
/// Other programs may show in the latencies above this share of all processors.
const OTHERS_BUSY_MAX: f64 = 0.1;
/// The generator stood in line for a processor above this share of the time.
const WAITED_SHARE_MAX: f64 = 0.1;

/// So many other programs are named.
const NAMED_MAX: usize = 3;
/// Programs that took a smaller part of all processors are not named.
const NAMED_SHARE_MIN: f64 = 0.005;

/// Names processes of this machine that are under test, and that the run does not know.
pub(super) fn others_hold(scenario: &Scenario, is_watched: bool, is_same_host: bool) -> Vec<String> {
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

/// Returns how late the generator may read and publish. A search looks for where a p99 breaks that is far above what matters
/// elsewhere, and at its end everything is at its limit.
pub(super) fn late_max(scenario: &Scenario) -> u64 {
    let of_search = scenario.saturation.as_ref().map_or(0, |search| search.p99.as_nanos() as u64 / 2);
    of_search.max(LATE_P99_MAX_NS)
}

/// Tells what the generator did, and the machine, where it is known; `others_hold` names those under test whom the run does not know.
pub(super) fn generator(
    part: &Part,
    [lag, source_lag]: [Latency; 2],
    machine: Option<&(Busy, Used)>,
    others_hold: Vec<String>,
) -> Generator {
    let (own, records) = (part.generator.clone(), part.flow.records as f64);
    let sessions: u64 = part.readers.iter().map(|readers| readers.sessions).sum();
    let own_bytes = own.resident_bytes.saturating_sub(part.resident_bytes_before);
    let others = |(busy, used): &(Busy, Used)| {
        (busy.share - used.own_seconds / busy.processor_seconds().max(1e-9)).max(0.0)
    };
    Generator {
        records_per_cpu_second: if own.cpu_seconds > 0.0 { records / own.cpu_seconds } else { 0.0 },
        lag,
        source_lag,
        machine_busy: machine.map(|(busy, _)| busy.share),
        machine_busy_others: machine.map(others),
        others: machine.map_or(Vec::new(), |(busy, used)| busiest(used, busy.processor_seconds())),
        others_hold,
        bytes_per_session: own_bytes as f64 / sessions.max(1) as f64,
        ..own
    }
}

/// Returns the busiest others, by their share of all that processors could do in so many seconds.
fn busiest(used: &Used, processor_seconds: f64) -> Vec<Program> {
    let share = |seconds: f64| seconds / processor_seconds.max(1e-9);
    let busiest = used.others.iter().take(NAMED_MAX);
    let busiest =
        busiest.map(|(name, pid, seconds)| Program { name: name.clone(), pid: *pid, share: share(*seconds) });
    busiest.filter(|program| program.share >= NAMED_SHARE_MIN).collect()
}

/// Returns names with their shares, for people.
pub(super) fn named(programs: &[Program]) -> String {
    let name = |program: &Program| {
        format!("{} {:.0} %, process {}", program.name, program.share * 100.0, program.pid)
    };
    match programs {
        [] => "they ended before it was looked, or the system does not show them".to_owned(),
        programs => programs.iter().map(name).collect::<Vec<_>>().join("; "),
    }
}

/// Adds all that limits how far the results can be trusted, and which of it made the generator the bottleneck.
pub(super) fn add_cautions(own: &mut Generator, late_max_ns: u64, backwards: u64) {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let ms = |ns: u64| format!("{:.1} ms", ns as f64 / 1e6);
    let [reading, publishing] = [&own.lag, &own.source_lag].map(|lag| lag.summary.p99_ns);
    let (mut cautions, mut bottlenecks) = (Vec::new(), Vec::new());
    let mut say = |is_bottleneck: bool, text: String| {
        bottlenecks.extend(is_bottleneck.then(|| text.clone()));
        cautions.push(text);
    };
    let busiest = own.cpu_share.iter().copied().fold(0.0, f64::max);
    if busiest > CPU_SHARE_MAX {
        let taken = percent(busiest);
        say(true, format!("a reading thread took {taken} of a core; take more `threads` or `processes`"));
    }
    if reading > LATE_P99_MAX_NS {
        let late = ms(reading);
        let text = format!("it read up to {late} late (p99), and latencies hold that; give it a free core");
        say(reading > late_max_ns, text);
    }
    if publishing > LATE_P99_MAX_NS {
        let late = ms(publishing);
        let text =
            format!("the own source was up to {late} late (p99); give it a free core, or a lower rate");
        say(publishing > late_max_ns, text);
    }
    if own.waited_share > WAITED_SHARE_MAX {
        let waited = percent(own.waited_share);
        say(false, format!("a reading thread waited {waited} of the time for a processor"));
    }
    if let Some(busy) = own.machine_busy.filter(|busy| *busy > MACHINE_BUSY_MAX) {
        let what = "latencies hold the wait for a processor, the generator's included";
        say(false, format!("all processors were {} busy: {what}", percent(busy)));
    }
    // Where those that are under test are among them, their work is no reason for caution.
    let others = own.machine_busy_others.filter(|_| own.others_hold.is_empty());
    if let Some(busy) = others.filter(|busy| *busy > OTHERS_BUSY_MAX) {
        let what = format!("took {} of all processors ({})", percent(busy), named(&own.others));
        say(false, format!("other programs {what}: latencies hold the wait for them"));
    }
    if backwards > 0 {
        say(false, format!("{backwards} records came before their event time: the clocks differ"));
    }
    (own.cautions, own.bottlenecks) = (cautions, bottlenecks);
    own.was_bottleneck = !own.bottlenecks.is_empty();
}
