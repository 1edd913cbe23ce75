//! A report is made of what was seen.

use std::collections::BTreeMap;

use tickwire_wire::{Channel, PROTOCOL_VERSION, SCHEMA};

use super::cautions::{add_cautions, generator, late_max, others_hold};
use super::model::{
    Accounts, Checks, Clock, Event, FORMAT, Flow, Hop, Latency, Machine, Readers, Report, Saturation, Second,
    Server, Sessions, Versions,
};
use super::statistics::slope;
use super::{model, verdict};
use crate::board::Counts;
use crate::latency::Latencies;
use crate::machine::Busy;
use crate::part::{Part, ReaderPart};
use crate::processes::Used;
use crate::run::hops::GatewayHops;
use crate::run::watch::Watch;
use crate::scenario::{ReaderKind, Scenario, access};
use crate::source::Published;

/// Everything that was seen.
pub(crate) struct Measured {
    pub(crate) scenario: Scenario,
    pub(crate) url: String,
    pub(crate) is_same_host: bool,
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
    let Measured {
        scenario, url, is_same_host, part, watch, published, window, counts, machine_busy, ..
    } = measured;
    let seconds = (window.1 - window.0) as f64 / 1e9;
    let kinds: Vec<_> =
        scenario.readers.iter().map(|reader| reader.kind).chain([ReaderKind::Prompt]).collect();
    let series = watch.series(&kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>());
    let records: u64 = part.records_by_channel.values().sum();
    let flow = Flow {
        messages: part.messages,
        records,
        bytes: part.bytes,
        reads: part.reads,
        records_by_channel: part.records_by_channel.iter().map(|(of, count)| (name(*of), *count)).collect(),
        records_per_second: records as f64 / seconds,
        messages_per_second: part.messages as f64 / seconds,
        bytes_per_second: part.bytes as f64 / seconds,
        published: published.in_window,
        due: measured.due,
        let_go: part.let_go,
        delivered_share: if measured.due > 0 { records as f64 / measured.due as f64 } else { 0.0 },
    };
    let prompt = part.readers.last();
    let all = prompt.map(ReaderPart::all).unwrap_or_default();
    let by_channel = prompt.map(ReaderPart::by_channel).unwrap_or_default();
    let parts = part.readers.iter().zip(kinds).filter(|(part, _)| part.sessions > 0);
    let readers: Vec<_> = parts.map(|(part, kind)| readers(part, kind, seconds)).collect();
    let mut accounts = Accounts::default();
    part.readers.iter().for_each(|reader| accounts.add(reader.accounts));
    let hold = others_hold(&scenario, watch.pid().is_some(), is_same_host);
    let mut generator = generator(&part, &published, machine_busy.as_ref(), hold, records);
    add_cautions(&mut generator, late_max(&scenario), all.summary().backwards);
    generator.cautions.extend(access::unchecked(&scenario));
    let peer = scenario.peer.as_ref();
    let mut report = Report {
        format: FORMAT,
        started_ns: window.0,
        seconds,
        versions: Versions {
            loadgen: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL_VERSION,
            schema: SCHEMA.to_owned(),
            server: part.server.clone(),
        },
        machine: Machine::look(),
        scenario: model::Scenario {
            name: scenario.name.clone(),
            file: scenario.file.clone(),
            about: scenario.about.clone(),
            text: scenario.text.clone(),
            seed: scenario.seed,
            url,
            is_unverified: scenario.sessions.trust.insecure,
            kind: peer.map_or("tickwire", |peer| peer.kind.name()).to_owned(),
            server: peer.map_or("Tickwire", |peer| peer.name.as_str()).to_owned(),
            symbols: scenario.source.symbols as u64,
            updates_per_second: if scenario.source.is_running { 0.0 } else { measured.rate },
            processes: scenario.processes,
            threads: scenario.threads,
        },
        sessions: Sessions {
            asked: scenario.sessions.count as u64,
            opened: counts.opened,
            subscriptions: part.subscriptions,
            open_retries: part.open_retries,
            not_opened: part.not_opened.clone(),
            ended_early: part.ended_early.clone(),
            closed_as_expected: part.closed_as_expected,
            reconnects: part.reconnects,
            reconnect: part.reconnect.read_off(),
            open: part.open.read_off(),
        },
        flow,
        latency: all.read_off(),
        by_channel,
        hops: hops(&part, scenario.hop_sampling, measured.gateway_hops),
        readers,
        server: server(&watch, records, counts.opened, &series),
        generator,
        clock: Clock {
            is_same_host,
            offset_ns: if is_same_host { 0 } else { part.clock_offset_ns.unwrap_or(0) },
            error_ns: if is_same_host { 0 } else { part.round_trip_ns.unwrap_or(0) / 2 },
            round_trip_ns: part.round_trip_ns.unwrap_or(0),
        },
        series,
        events: measured.events,
        saturation: measured.saturation,
        checks: checks(part, accounts),
        ..Report::default()
    };
    report.verdicts = verdict::verdicts(&report, &scenario);
    report.passed = report.verdicts.iter().all(|verdict| verdict.held);
    report
}

impl ReaderPart {
    /// Ages of all channels.
    fn all(&self) -> Latencies {
        let mut all = Latencies::new();
        self.ages.values().for_each(|ages| all.merge(ages));
        all
    }

    fn by_channel(&self) -> BTreeMap<String, Latency> {
        self.ages.iter().map(|(channel, ages)| (name(*channel), ages.read_off())).collect()
    }
}

fn name(channel: u8) -> String {
    Channel::try_from(i32::from(channel)).unwrap_or(Channel::Unknown).name().to_owned()
}

fn readers(part: &ReaderPart, kind: ReaderKind, seconds: f64) -> Readers {
    let could = match kind {
        ReaderKind::Throttled { bytes_per_second, .. } => bytes_per_second * seconds * part.sessions as f64,
        _ => 0.0,
    };
    let has_channels = part.ages.len() > 1 && kind != ReaderKind::Prompt;
    Readers {
        kind: kind.name().to_owned(),
        sessions: part.sessions,
        records: part.records,
        bytes: part.bytes,
        age: part.all().read_off(),
        by_channel: if has_channels { part.by_channel() } else { BTreeMap::new() },
        used_share: if could > 0.0 { part.measured_bytes as f64 / could } else { 0.0 },
        accounts: part.accounts,
    }
}

fn hops(part: &Part, sampled_one_in: u32, inside: GatewayHops) -> Vec<Hop> {
    let hop = |from: &str, to: &str, sampled_one_in, part_of: &str, took: &Latencies| Hop {
        from: from.to_owned(),
        to: to.to_owned(),
        sampled_one_in,
        of: "records".to_owned(),
        part_of: part_of.to_owned(),
        latency: took.read_off(),
    };
    let legs = [
        ("intended", "ingester", sampled_one_in),
        ("ingester", "gateway_write", sampled_one_in),
        ("gateway_write", "read", 1),
        ("read", "decoded", 1),
    ];
    let legs = legs.into_iter().zip(&part.hops).filter(|(_, took)| !took.is_empty());
    let mut hops: Vec<_> =
        legs.map(|((from, to, sampled_one_in), took)| hop(from, to, sampled_one_in, "", took)).collect();
    // The gateway tells the parts of this one.
    let Some(whole) = hops.iter().position(|hop| hop.to == "gateway_write") else { return hops };
    let (part_of, sampled_one_in) = (hops[whole].name(), inside.sampled_one_in);
    let parts = inside.into_legs().map(|((from, to), took)| hop(&from, &to, sampled_one_in, &part_of, &took));
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
        source_cpu_seconds: cpu.source,
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

fn checks(part: Part, accounts: Accounts) -> Checks {
    Checks {
        accounts,
        ledgers: part.ledgers,
        ledgers_missing: part.ledgers_missing,
        lost: part.lost,
        out_of_order: part.out_of_order,
        duplicates: part.duplicates,
        gaps: part.gaps,
        conflating_notices: part.conflating_notices,
        refused: part.refused,
        final_values: part.final_values,
        final_values_wrong: part.final_values_wrong,
        broken: part.broken,
        sessions: part.sessions,
    }
}
