//! A report is made of what was seen.

use std::sync::Arc;

use tickwire_machine::processes::Used;
use tickwire_machine::processors::{Busy, Machine};
use tickwire_measure::Latencies;
use tickwire_wire::{PROTOCOL_VERSION, SCHEMA};

use super::cautions::{add_cautions, generator, late_max, others_hold};
use super::model::{
    Accounts, Checks, Clock, Event, FORMAT, Flow, Hop, Latency, Report, Saturation, Second, Server, Sessions,
    Versions,
};
use super::slope;
use super::{model, verdict};
use crate::board::Counts;
use crate::part::{Merge as _, Part, channel_name};
use crate::plan::Plan;
use crate::run::hops::GatewayHops;
use crate::run::watch::Watch;
use crate::scenario::forms::word;
use crate::scenario::{ReaderKind, access};
use crate::source::Published;

/// Everything that was seen.
pub(crate) struct Measured {
    pub(crate) plan: Arc<Plan>,
    pub(crate) part: Part,
    pub(crate) watch: Watch,
    pub(crate) published: Published,
    /// Records that this comes to at all sessions; 0: not known.
    pub(crate) due: u64,
    pub(crate) window: (u64, u64),
    pub(crate) counts: Counts,
    /// None where the system does not tell.
    pub(crate) machine_busy: Option<(Busy, Used)>,
    pub(crate) events: Vec<Event>,
    pub(crate) gateway_hops: GatewayHops,
    pub(crate) saturation: Option<Saturation>,
    /// Updates per second that were measured at.
    pub(crate) rate: f64,
}

pub(crate) fn report(measured: Measured) -> Report {
    let Measured { plan, mut part, watch, published, window, counts, machine_busy, .. } = measured;
    let (scenario, kinds) = (&plan.scenario, &plan.kinds);
    let is_same_host = plan.address.ip().is_loopback();
    let seconds = (window.1 - window.0) as f64 / 1e9;
    let series = watch.series(&kinds.iter().map(|reader| reader.kind.name()).collect::<Vec<_>>());
    let records = part.flow.records;
    let hold = others_hold(scenario, watch.pid().is_some(), is_same_host);
    let timed = std::mem::take(&mut part.timed);
    let lags = [timed.lag, published.lag].map(Latency::from);
    let mut generator = generator(&part, lags, machine_busy.as_ref(), hold);
    for (readers, ages) in part.readers.iter_mut().zip(timed.ages) {
        let mut all = Latencies::default();
        for ages in ages.values() {
            all.merge(ages);
        }
        readers.age = all.into();
        let named = ages.into_iter().map(|(channel, ages)| (channel_name(channel), ages.into()));
        readers.by_channel = named.collect();
    }
    let prompt = part.readers.last().cloned().unwrap_or_default();
    let mut accounts = Accounts::default();
    for ((readers, of), measured_bytes) in part.readers.iter_mut().zip(kinds).zip(&part.measured_bytes) {
        accounts.include(readers.accounts);
        readers.kind = of.kind.name();
        if of.kind == ReaderKind::Prompt || readers.by_channel.len() < 2 {
            readers.by_channel.clear();
        }
        if of.kind == ReaderKind::Throttled {
            let could = of.bytes_per_second * seconds * readers.sessions as f64;
            readers.used_share = if could > 0.0 { *measured_bytes as f64 / could } else { 0.0 };
        }
    }
    part.readers.retain(|readers| readers.sessions > 0);
    add_cautions(&mut generator, late_max(scenario), prompt.age.summary.backwards);
    generator.cautions.extend(access::unchecked(scenario));
    let peer = scenario.peer.as_ref();
    let (round_trip_ns, offset_ns) = part.clock.unwrap_or_default();
    let mut report = Report {
        format: FORMAT,
        started_ns: window.0,
        seconds,
        versions: Versions {
            loadgen: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL_VERSION,
            schema: SCHEMA.to_owned(),
            server: part.server,
        },
        machine: Machine::look(),
        scenario: model::Scenario {
            name: scenario.name.clone(),
            file: scenario.file.clone(),
            about: scenario.about.clone(),
            text: scenario.text.clone(),
            seed: scenario.seed,
            url: plan.url(),
            is_unverified: scenario.sessions.trust.insecure,
            kind: peer.map_or("tickwire".to_owned(), |peer| word(peer.kind)),
            server: peer.map_or("Tickwire", |peer| peer.name.as_str()).to_owned(),
            symbols: scenario.source.symbols as u64,
            updates_per_second: if scenario.source.is_running() { 0.0 } else { measured.rate },
            processes: scenario.processes,
            threads: scenario.threads,
        },
        sessions: Sessions {
            asked: scenario.sessions.count as u64,
            opened: counts.opened,
            open: timed.open.into(),
            first: timed.first.into(),
            reconnect: timed.reconnect.into(),
            ..part.sessions
        },
        flow: Flow {
            records_per_second: records as f64 / seconds,
            messages_per_second: part.flow.messages as f64 / seconds,
            bytes_per_second: part.flow.bytes as f64 / seconds,
            published: published.in_window,
            due: measured.due,
            delivered_share: if measured.due > 0 { records as f64 / measured.due as f64 } else { 0.0 },
            ..part.flow
        },
        latency: prompt.age,
        by_channel: prompt.by_channel,
        hops: hops(timed.hops, scenario.hop_sampling, measured.gateway_hops),
        readers: part.readers,
        server: server(&watch, records, counts.opened, &series),
        generator,
        clock: Clock {
            is_same_host,
            offset_ns: if is_same_host { 0 } else { offset_ns },
            error_ns: if is_same_host { 0 } else { round_trip_ns / 2 },
            round_trip_ns,
        },
        series,
        events: measured.events,
        saturation: measured.saturation,
        checks: Checks { accounts, ..part.checks },
        ..Report::default()
    };
    report.verdicts = verdict::verdicts(&report, scenario);
    report.passed = report.verdicts.iter().all(|verdict| verdict.held);
    report
}

fn hops(legs: Vec<Latencies>, sampled_one_in: u32, inside: GatewayHops) -> Vec<Hop> {
    let hop = |from: &str, to: &str, sampled_one_in, part_of: &str, latency: Latencies| {
        let (of, latency) = ("records".to_owned(), latency.into());
        let [from, to, part_of] = [from, to, part_of].map(str::to_owned);
        Hop { from, to, sampled_one_in, of, part_of, latency }
    };
    let names = [
        ("intended", "ingester", sampled_one_in),
        ("ingester", "gateway_write", sampled_one_in),
        ("gateway_write", "read", 1),
        ("read", "decoded", 1),
    ];
    let legs = names.into_iter().zip(legs).filter(|(_, took)| !took.is_empty());
    let mut hops: Vec<_> =
        legs.map(|((from, to, sampled_one_in), took)| hop(from, to, sampled_one_in, "", took)).collect();
    // The gateway tells the parts of this one.
    let Some(whole) = hops.iter().position(|hop| hop.to == "gateway_write") else { return hops };
    let (part_of, sampled_one_in) = (hops[whole].name(), inside.sampled_one_in);
    let parts = inside.into_legs().map(|((from, to), took)| hop(&from, &to, sampled_one_in, &part_of, took));
    hops.splice(whole + 1..=whole, parts);
    hops
}

fn server(watch: &Watch, records: u64, sessions: u64, series: &[Second]) -> Option<Server> {
    let pid = watch.pid()?;
    let cpu = &watch.cpu;
    let own = cpu.own();
    let resident = || series.iter().filter_map(|second| Some((second.at, second.server_resident_bytes?)));
    let growth = watch.resident_open.saturating_sub(watch.resident_before);
    Some(Server {
        pid,
        command: watch.command.clone(),
        cpu_seconds: own,
        source_cpu_seconds: cpu.apart,
        cpu_by_thread: watch.threads.by_name.clone(),
        cpu_seconds_per_million: if records > 0 { own * 1e6 / records as f64 } else { 0.0 },
        resident_bytes_before: watch.resident_before,
        resident_bytes_open: watch.resident_open,
        resident_bytes_max: resident().map(|(_, bytes)| bytes).max().unwrap_or(0).max(watch.resident_end),
        resident_bytes_end: watch.resident_end,
        bytes_per_session: growth as f64 / sessions.max(1) as f64,
        growth_per_second: slope(resident().map(|(at, bytes)| (at, bytes as f64))),
    })
}
