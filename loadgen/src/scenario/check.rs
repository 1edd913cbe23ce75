//! Mistakes that only the whole of a scenario shows.

use std::time::Duration;

use super::fields::Fields;
use super::{ReaderKind, Scenario, access};
use crate::machine;

const MEASURE_MIN: Duration = Duration::from_millis(100);

/// Fields that say when something happens in measuring, with their times.
fn events(scenario: &Scenario) -> Vec<(String, Duration)> {
    let churn = &scenario.churn;
    let storms =
        churn.storms.iter().enumerate().map(|(i, storm)| (format!("churn.storms[{i}].at"), storm.at));
    let restarts =
        churn.restarts.iter().enumerate().map(|(i, restart)| (format!("churn.restarts[{i}].at"), restart.at));
    let readers = scenario.readers.iter().enumerate();
    let stalls = readers.filter_map(|(i, reader)| match reader.kind {
        ReaderKind::Stalled { at, .. } => Some((format!("readers[{i}].at"), at)),
        _ => None,
    });
    storms.chain(restarts).chain(stalls).collect()
}

/// Processors that this process may not use.
fn processors(f: &mut Fields, scenario: &Scenario, allowed: &[usize]) {
    let target = &scenario.target;
    for (name, asked) in [
        ("target.server_cpus", &target.server_cpus),
        ("target.source_cpus", &target.source_cpus),
        ("target.generator_cpus", &target.generator_cpus),
    ] {
        let missing: Vec<_> =
            asked.iter().filter(|cpu| !allowed.contains(cpu)).map(ToString::to_string).collect();
        if !missing.is_empty() && !allowed.is_empty() {
            let there: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            f.wrong(
                name,
                format!(
                    "there is no processor {} that this program may use; there are {}",
                    missing.join(", "),
                    there.join(", ")
                ),
            );
        }
    }
}

/// Notes each at its field.
pub(super) fn check(f: &mut Fields, scenario: &Scenario) {
    let sum: f64 = scenario.readers.iter().map(|reader| reader.share).sum();
    if sum > 1.0 + 1e-9 {
        f.wrong("readers", format!("their shares add up to {sum}; together they are at most 1"));
    }
    if scenario.duration < MEASURE_MIN {
        f.wrong("duration", "measure for at least 100ms");
    }
    for (name, at) in events(scenario) {
        if at >= scenario.duration {
            f.wrong(
                &name,
                format!(
                    "is {at:?}, and {:?} are measured, so it would not happen: an earlier time, or a longer `duration` (--for)",
                    scenario.duration
                ),
            );
        }
    }
    if let Some(search) = scenario.saturation.as_ref().filter(|search| search.to < search.from) {
        f.wrong(
            "saturation.to",
            format!(
                "is {}, and the search begins with {} (`saturation.from`): a higher rate here, or a lower one there",
                search.to, search.from
            ),
        );
    }
    processors(f, scenario, &machine::allowed());
    let (sessions, source) = (&scenario.sessions, &scenario.source);
    if sessions.symbols_each > source.symbols && !source.is_running {
        f.wrong(
            "sessions.symbols_each",
            format!(
                "is {}, and the source has {} symbols (`source.symbols`)",
                sessions.symbols_each, source.symbols
            ),
        );
    }
    if source.is_running {
        if scenario.target.url.is_none() {
            f.wrong("source.kind", "with \"running\" the gateway runs too: say where, in `target.url`");
        }
        if sessions.symbols.is_empty() {
            f.wrong(
                "source.kind",
                "with \"running\" say what to subscribe to, in `sessions.symbols`: [\"sim:*\"]",
            );
        }
        if scenario.saturation.is_some() {
            f.wrong("saturation", "needs the own source, because it sets the rate: `source.kind` = \"own\"");
        }
    } else if !sessions.symbols.is_empty() {
        f.wrong(
            "sessions.symbols",
            "is for `source.kind` = \"running\"; with the own source use `symbols_each`",
        );
    } else if scenario.peer.is_none() && !scenario.has_gateway() && scenario.target.bus.is_empty() {
        f.wrong(
            "target.url",
            "the own source needs the bus of that gateway, in `target.bus` (--bus nats://127.0.0.1:4222); or take what its \
             ingester sends, with `sessions.symbols` and `source.kind` = \"running\" (--symbols sim:*); or leave it out, for \
             a gateway of its own",
        );
    }
    if scenario.peer.is_some() {
        if scenario.target.url.is_none() {
            f.wrong("peer.kind", "say where the peer listens, in `target.url`");
        }
        if source.is_running || source.trades > 0.0 {
            f.wrong(
                "peer.kind",
                "a peer gets quotes of the own source only: no `source.kind`, no `source.trades`",
            );
        }
        if scenario.churn.flaps_per_second > 0.0 {
            f.wrong("churn.flaps_per_second", "peers have no unsubscribing here; leave it out");
        }
    }
    access::check(f, scenario);
    let own_gateway = scenario.has_gateway();
    for (at, restart) in scenario.churn.restarts.iter().enumerate() {
        if restart.command.is_empty() && !own_gateway {
            f.wrong(&format!("churn.restarts[{at}].at"), "say how to restart that gateway, in `command`");
        }
    }
    if scenario.processes > sessions.count {
        f.wrong("processes", format!("is {}, and there are {} sessions", scenario.processes, sessions.count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_that_do_not_exist_are_named_with_those_that_do() {
        let mut fields = Fields::default();
        fields.add_flag("--server-cpus", "target.server_cpus", "0,7,9");
        fields.add_flag("--source-cpus", "target.source_cpus", "1");
        let scenario = super::super::read(&mut Fields::default(), 2);
        let target = super::super::Target {
            server_cpus: vec![0, 7, 9],
            source_cpus: vec![1],
            ..scenario.target.clone()
        };
        processors(&mut fields, &Scenario { target, ..scenario }, &[0, 1]);
        assert_eq!(
            fields.mistakes(),
            [
                "--server-cpus: `target.server_cpus`: there is no processor 7, 9 that this program may use; there are 0, 1"
            ]
        );
    }
}
