//! Completes a scenario that was read, and finds the errors that only the whole of it shows.

use tickwire_config::Layers;
use tickwire_gateway::read_keys;
use tickwire_wire::is_venue;

use super::forms::{MS, word};
use super::{Reader, ReaderKind, Scenario, access};

/// Room for connections that come back before the old ones are gone.
pub(crate) const SESSIONS_SPARE: usize = 1000;

/// Adds what follows from several settings, and notes errors, each at its setting.
pub(crate) fn complete(layers: &mut Layers, scenario: &mut Scenario) {
    scenario.sessions.tokens = access::tokens(layers, &scenario.sessions);
    if let Some(peer) = scenario.peer.as_mut().filter(|peer| peer.name.is_empty()) {
        peer.name = word(peer.kind);
    }
    if let Some(search) = &mut scenario.saturation {
        search.step = search.step.max(100 * MS);
    }
    for reader in &mut scenario.readers {
        reader.bytes_per_second = reader.bytes_per_second.max(1.0);
        reader.period = reader.period.max(MS);
        reader.records_per_second = reader.records_per_second.max(0.1);
    }
    let mut gateway = scenario.gateway.config(layers, false);
    if !layers.has("gateway.limits.sessions") {
        gateway.limits.sessions = gateway.limits.sessions.max(scenario.sessions.count + SESSIONS_SPARE);
    }
    if scenario.has_gateway() {
        scenario.gateway_keys = read_keys(&scenario.gateway.auth, layers);
        if scenario.gateway_keys.are_named() && !layers.has("gateway.auth.anonymous") {
            gateway.auth.anonymous = false;
        }
    }
    scenario.gateway_config = gateway;
    rules(layers, scenario);
    lists(layers, scenario);
    processors(layers, scenario, &tickwire_machine::processors::allowed());
    access::check(layers, scenario);
}

/// Notes settings that do not go together.
#[rustfmt::skip]
fn rules(layers: &mut Layers, scenario: &Scenario) {
    let Scenario { sessions, source, target, peer, saturation, .. } = scenario;
    let (from, to) = saturation.as_ref().map_or((0.0, 0.0), |search| (search.from, search.to));
    let share: f64 = scenario.readers.iter().map(|reader| reader.share).sum();
    let shares = format!("their shares add up to {share}; together they are at most 1");
    let before = format!("is {to}, and the search begins with {from} (`saturation.from`): a higher rate here, or a lower one there");
    let each = format!("is {}, and the source has {} symbols (`source.symbols`)", sessions.symbols_each, source.symbols);
    let processes = format!("is {}, and there are {} sessions", scenario.processes, sessions.count);
    let is_without_bus = peer.is_none() && !scenario.has_gateway() && target.bus.is_empty();
    let silent = source.rates().iter().all(|step| step.rate == 0.0);
    for (is_wrong, setting, problem) in [
        (silent && source.steps.is_empty() && source.burst.is_none(), "source.rate", "is 0, and without updates nothing is measured; for sessions that get \
            little take a low rate, as 1, or `run wide-idle`"),
        (silent && !source.steps.is_empty(), "source.steps", "all rates are 0: one has to be above it, or nothing is measured"),
        (share > 1.0 + 1e-9, "readers", shares.as_str()),
        (scenario.duration < 100 * MS, "duration", "measure for at least 100ms"),
        (to < from, "saturation.to", before.as_str()),
        (saturation.is_some() && source.is_running(), "saturation", "needs the own source, because it sets the rate: `source.kind` = \
            \"own\""),
        (sessions.symbols_each > source.symbols && !source.is_running(), "sessions.symbols_each", each.as_str()),
        (source.is_running() && target.url.is_none(), "source.kind", "with \"running\" the gateway runs too: say where, in `target.url`"),
        (source.is_running() && sessions.symbols.is_empty(), "source.kind", "with \"running\" say what to subscribe to, in \
            `sessions.symbols`: [\"sim:*\"]"),
        (!source.is_running() && !sessions.symbols.is_empty(), "sessions.symbols", "is for `source.kind` = \"running\"; with the own \
            source use `symbols_each`"),
        (!source.is_running() && sessions.symbols.is_empty() && is_without_bus, "target.url", "the own source needs the bus of that \
            gateway, in `target.bus` (--bus nats://127.0.0.1:4222); or take what its ingester sends, with `sessions.symbols` and \
            `source.kind` = \"running\" (--symbols sim:*); or leave it out, for a gateway of its own"),
        (peer.is_some() && target.url.is_none(), "peer.kind", "say where the peer listens, in `target.url`"),
        (peer.is_some() && (source.is_running() || source.trades > 0.0), "peer.kind", "a peer gets quotes of the own source only: no \
            `source.kind`, no `source.trades`"),
        (peer.is_some() && scenario.churn.flaps_per_second > 0.0, "churn.flaps_per_second", "peers have no unsubscribing here; leave \
            it out"),
        (scenario.processes > sessions.count, "processes", processes.as_str()),
    ] {
        if is_wrong {
            layers.wrong(setting, problem);
        }
    }
}

/// Notes entries of lists that cannot be.
fn lists(layers: &mut Layers, scenario: &Scenario) {
    for symbol in &scenario.sessions.symbols {
        if !symbol.split_once(':').is_some_and(|(venue, name)| is_venue(venue) && !name.is_empty()) {
            let problem = format_args!("`{symbol}`: write venue:SYMBOL, or venue:* for all of a venue");
            layers.wrong("sessions.symbols", problem);
        }
    }
    for (at, _) in scenario.source.steps.iter().enumerate().filter(|(_, step)| step.lasting.is_zero()) {
        layers.wrong(&format!("source.steps[{at}].lasting"), "has to be a time above 0");
    }
    for (at, restart) in scenario.churn.restarts.iter().enumerate() {
        if restart.command.is_empty() && !scenario.has_gateway() {
            let setting = format!("churn.restarts[{at}].at");
            layers.wrong(&setting, "say how to restart that gateway, in `command`");
        }
    }
    let (measured, churn) = (scenario.duration, &scenario.churn);
    let is_stall = |reader: &Reader| reader.kind == ReaderKind::Stalled;
    let stalls = scenario.readers.iter().map(|reader| is_stall(reader).then_some(reader.at));
    let events = [
        ("churn.storms", churn.storms.iter().map(|storm| Some(storm.at)).collect::<Vec<_>>()),
        ("churn.restarts", churn.restarts.iter().map(|restart| Some(restart.at)).collect()),
        ("readers", stalls.collect()),
    ];
    for (list, times) in events {
        for (number, at) in times.into_iter().enumerate().filter(|(_, at)| *at >= Some(measured)) {
            let remedy = "so it would not happen: an earlier time, or a longer `duration` (--for)";
            let problem = format!("is {:?}, and {measured:?} are measured, {remedy}", at.unwrap_or_default());
            layers.wrong(&format!("{list}[{number}].at"), problem);
        }
    }
}

/// Notes processors that this process may not use.
pub(super) fn processors(layers: &mut Layers, scenario: &Scenario, allowed: &[usize]) {
    let list = |numbers: &[usize]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let target = &scenario.target;
    for (setting, asked) in [
        ("target.server_cpus", &target.server_cpus),
        ("target.source_cpus", &target.source_cpus),
        ("target.generator_cpus", &target.generator_cpus),
    ] {
        let missing: Vec<_> = asked.iter().copied().filter(|cpu| !allowed.contains(cpu)).collect();
        if !missing.is_empty() && !allowed.is_empty() {
            let (missing, there) = (list(&missing), list(allowed));
            let text =
                format!("there is no processor {missing} that this program may use; there are {there}");
            layers.wrong(setting, text);
        }
    }
}
