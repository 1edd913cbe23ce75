//! The report for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tickwire_wire::Channel;

use super::model::{Noted, Report};
use crate::latency::Summary;
use crate::processes::named;

/// Threads of the server that are named.
const THREADS_MAX: usize = 6;
/// Other programs that took less of all processors are not named.
const OTHERS_NAMED_MIN: f64 = 0.01;

impl Report {
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("text can always be appended");
        text.trim_end().to_owned()
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        let (sessions, flow, scenario) = (&self.sessions, &self.flow, &self.scenario);
        let version = &self.versions.loadgen;
        writeln!(
            text,
            "tickwire-loadgen {version}: {} at {} ({})",
            scenario.title(),
            scenario.url,
            self.versions.server
        )?;
        if scenario.is_unverified {
            writeln!(
                text,
                "WARNING     the server's certificate was NOT VERIFIED (sessions.tls.insecure): anybody may have answered"
            )?;
        }
        let machine = &self.machine;
        writeln!(text, "machine     {} cores, {}, {}", machine.cores, machine.cpu, machine.system)?;
        writeln!(
            text,
            "sessions    {} of {} open ({} handshakes tried again), {} subscriptions, {} reconnects",
            sessions.opened,
            sessions.asked,
            sessions.open_retries,
            sessions.subscriptions,
            sessions.reconnects
        )?;
        writeln!(
            text,
            "delivered   {} records in {} messages in {:.1} s: {:.0} records/s, {:.2} MB/s",
            flow.records,
            flow.messages,
            self.seconds,
            flow.records_per_second,
            flow.bytes_per_second / 1e6
        )?;
        if flow.published > 0 {
            let (share, due) = (flow.delivered_share * 100.0, flow.due);
            writeln!(
                text,
                "published   {} updates: {due} records are due at all sessions; {share:.2} % came",
                flow.published
            )?;
            self.write_missing(text)?;
        }
        writeln!(
            text,
            "\nlatency, ms                        count        p50        p99      p99.9        max"
        )?;
        write_summary(text, "intended → read", &self.latency.summary)?;
        for hop in &self.hops {
            write_summary(text, &format!("  {}", hop.title()), &hop.latency.summary)?;
        }
        for readers in self.slow_readers() {
            write_summary(text, &format!("{} ({})", readers.kind, readers.sessions), &readers.age.summary)?;
            for (channel, age) in &readers.by_channel {
                write_summary(text, &format!("  {channel}"), &age.summary)?;
            }
        }
        if sessions.reconnects > 0 {
            write_summary(text, "lost → open again", &sessions.reconnect.summary)?;
        }
        write_summary(text, "own lag", &self.generator.lag.summary)?;
        self.write_what_hops_count(text)?;
        self.write_what_waits(text)?;
        writeln!(text)?;
        self.write_checks(text)?;
        self.write_server(text)?;
        self.write_generator(text)?;
        if let Some(found) = &self.saturation {
            found.write_text(text)?;
        }
        write_noted(text, "not opened", &sessions.not_opened)?;
        write_noted(text, "ended early", &sessions.ended_early)?;
        write_noted(text, "refused", &self.checks.refused)?;
        for (rule, noted) in &self.checks.broken {
            write_noted(text, &format!("BROKEN, {rule}"), noted)?;
        }
        for verdict in &self.verdicts {
            if verdict.held {
                if let Some(hint) = &verdict.hint {
                    writeln!(text, "NOT JUDGED: {} is {}; {hint}", verdict.name, verdict.measured)?;
                }
                continue;
            }
            writeln!(
                text,
                "BROKEN: {} is {}, and has to be {}",
                verdict.name, verdict.measured, verdict.limit
            )?;
            if let Some(hint) = &verdict.hint {
                writeln!(text, "        {hint}")?;
            }
        }
        match (&self.refused, self.passed) {
            (Some(reason), _) => writeln!(text, "NO VERDICT: {reason}"),
            (None, true) => writeln!(text, "{}", self.passed_text()),
            (None, false) => writeln!(text, "FAILED"),
        }
    }

    /// Why not all was delivered, and who got less.
    fn write_missing(&self, text: &mut String) -> std::fmt::Result {
        if self.slow_readers().next().is_some() {
            let kinds = self.readers.iter().map(|readers| {
                let (kind, accounts) = (&readers.kind, &readers.accounts);
                match accounts.published {
                    0 => format!("{kind} gave no ledger"),
                    published => {
                        format!("{kind} {:.1} %", accounts.delivered as f64 / published as f64 * 100.0)
                    }
                }
            });
            let kinds = kinds.collect::<Vec<_>>().join(", ");
            writeln!(text, "            delivered by the ledgers, since subscribing: {kinds}")?;
        }
        let flow = &self.flow;
        if flow.let_go > 0 {
            let count = flow.let_go;
            writeln!(
                text,
                "            {count} came only when throttled readers were let go, after measuring"
            )?;
        }
        let never = flow.due.saturating_sub(flow.records + flow.let_go);
        if never == 0 {
            return Ok(());
        }
        writeln!(text, "            {never} never came: latency and age are of those that came")?;
        let a = &self.checks.accounts;
        let why = [
            (a.conflated, "conflated (a newer value took the place)"),
            (a.dropped, "dropped (and announced as gaps)"),
            (a.filtered, "filtered (sessions asked for a lower rate)"),
            (self.sessions.reconnects, "reconnects (sessions get nothing while they are away)"),
        ];
        let why = why.into_iter().filter(|(count, _)| *count > 0);
        let why: Vec<_> = why.map(|(count, what)| format!("{count} {what}")).collect();
        if why.is_empty() {
            return Ok(());
        }
        writeln!(text, "            why (ledgers count from subscribing on): {}", why.join(", "))
    }

    /// Of all but prompt readers.
    fn slow_readers(&self) -> impl Iterator<Item = &super::model::Readers> {
        self.readers.iter().filter(|readers| readers.kind != "prompt")
    }

    fn write_what_hops_count(&self, text: &mut String) -> std::fmt::Result {
        let mut told = Vec::new();
        let (parts, own): (Vec<_>, Vec<_>) = self.hops.iter().partition(|hop| hop.is_part());
        for hops in own.chunk_by(|a, b| (&a.of, a.sampled_one_in) == (&b.of, b.sampled_one_in)) {
            let ends = [hops.first(), hops.last()].map(|hop| hop.map_or("", |hop| hop.to.as_str()));
            let to = if hops.len() > 1 { format!("{} and {}", ends[0], ends[1]) } else { ends[0].to_owned() };
            match (hops[0].of.as_str(), hops[0].sampled_one_in) {
                ("", _) => {}
                (of, 1) => told.push(format!("to {to}, all {of}")),
                (of, one_in) => told.push(format!("to {to}, one of {one_in} {of}")),
            }
        }
        if told.is_empty() {
            Ok(())
        } else {
            writeln!(
                text,
                "hops count, of prompt readers: {}; read → decoded is not in intended → read",
                told.join("; ")
            )?;
            match parts.first() {
                Some(part) => writeln!(
                    text,
                    "parts (·) are the gateway's own: one of {} records, of all sessions that keep up",
                    part.sampled_one_in
                ),
                None => Ok(()),
            }
        }
    }

    /// Why slow readers get some channels late.
    fn write_what_waits(&self, text: &mut String) -> std::fmt::Result {
        let channels = self.slow_readers().flat_map(|readers| readers.by_channel.keys());
        let is_lossless = |name: &&String| Channel::from_name(name).is_some_and(Channel::is_lossless);
        let lossless: BTreeSet<_> = channels.filter(is_lossless).map(String::as_str).collect();
        if lossless.is_empty() {
            return Ok(());
        }
        let names = lossless.into_iter().collect::<Vec<_>>().join(", ");
        writeln!(
            text,
            "{names}: lossless, so that at slow readers every record waits in line, as old as that makes it, until the gateway sheds \
             some and says so (gaps)"
        )
    }

    fn write_checks(&self, text: &mut String) -> std::fmt::Result {
        let (checks, l) = (&self.checks, &self.checks.accounts);
        if l.checked > 0 {
            writeln!(
                text,
                "ledgers     {} entries: {} published = {} delivered + {} conflated + {} dropped + {} filtered",
                l.checked, l.published, l.delivered, l.conflated, l.dropped, l.filtered
            )?;
            writeln!(
                text,
                "            an entry is of one symbol and channel of one connection, ended subscriptions too; last values are of quotes \
                 at the end"
            )?;
        }
        if checks.ledgers_missing > 0 {
            writeln!(
                text,
                "            {} connections ended without a ledger (cut by a storm, lost, half-open), and are not in this sum; {} gave theirs",
                checks.ledgers_missing, checks.ledgers
            )?;
        }
        for (cause, gaps) in &checks.gaps {
            writeln!(text, "gaps        {cause}: {} with {} numbers", gaps.announced, gaps.numbers)?;
        }
        writeln!(
            text,
            "checks      {} lost, {} out of order, {} twice; {} last values compared, {} wrong",
            checks.lost,
            checks.out_of_order,
            checks.duplicates,
            checks.final_values,
            checks.final_values_wrong.count
        )
    }

    fn write_server(&self, text: &mut String) -> std::fmt::Result {
        let Some(server) = &self.server else { return Ok(()) };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            text,
            "server      {:.2} CPU seconds, {:.2} per million deliveries; {:.1} MiB, {:.1} at most",
            server.cpu_seconds,
            server.cpu_seconds_per_million,
            mib(server.resident_bytes_end),
            mib(server.resident_bytes_max)
        )?;
        if server.source_cpu_seconds > 0.0 {
            let source = server.source_cpu_seconds;
            writeln!(
                text,
                "            the source in the same process took {source:.2} CPU seconds more, which are not in these"
            )?;
        }
        let mut threads: Vec<_> =
            server.cpu_by_thread.iter().filter(|(_, seconds)| **seconds >= 0.005).collect();
        threads.sort_by(|a, b| b.1.total_cmp(a.1));
        let threads =
            threads.iter().take(THREADS_MAX).map(|(name, seconds)| format!("{name} {seconds:.2} s"));
        let threads = threads.collect::<Vec<_>>().join(", ");
        if !threads.is_empty() {
            writeln!(text, "            by thread: {threads}")?;
        }
        writeln!(
            text,
            "            {:.1} KiB a session when they were open, then {:+.1} KiB/s",
            server.bytes_per_session / 1024.0,
            server.growth_per_second / 1024.0
        )
    }

    fn write_generator(&self, text: &mut String) -> std::fmt::Result {
        let own = &self.generator;
        let shares: Vec<_> = own.cpu_share.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
        let others = own
            .machine_busy_others
            .map_or(String::new(), |share| format!(" ({:.0} % by other programs)", share * 100.0));
        let named =
            own.machine_busy_others.filter(|share| *share >= OTHERS_NAMED_MIN).map(|_| named(&own.others));
        let busy = own.machine_busy.map_or("?".to_owned(), |busy| format!("{:.0}", busy * 100.0));
        writeln!(
            text,
            "generator   threads at {} of a core ({:.2} M records per CPU second), machine at {busy} %{others}, {:.0} bytes a session",
            shares.join(", "),
            own.records_per_cpu_second / 1e6,
            own.bytes_per_session
        )?;
        if let Some(named) = named {
            writeln!(text, "            other programs: {named}")?;
        }
        if !own.others_hold.is_empty() {
            let hold = own.others_hold.join(", and ");
            writeln!(
                text,
                "            counted with other programs, for the run does not know their processes: {hold}"
            )?;
        }
        for doubt in &own.doubts {
            writeln!(text, "            doubt: {doubt}")?;
        }
        if !self.clock.is_same_host {
            let (offset, error) = (self.clock.offset_ns as f64 / 1e6, self.clock.error_ns as f64 / 1e6);
            writeln!(
                text,
                "clock       the server's is {offset:+.3} ms from ours, to within {error:.3} ms; taken out"
            )?;
        }
        Ok(())
    }
}

fn write_noted(text: &mut String, name: &str, noted: &Noted) -> std::fmt::Result {
    if noted.count == 0 {
        return Ok(());
    }
    writeln!(text, "{name}: {}", noted.count)?;
    noted.first.iter().try_for_each(|line| writeln!(text, "  {line}"))
}

fn write_summary(text: &mut String, name: &str, summary: &Summary) -> std::fmt::Result {
    if summary.count == 0 {
        return writeln!(text, "{name:<30} {:>9} {:>10} {:>10} {:>10} {:>10}", 0, "-", "-", "-", "-");
    }
    let ms = |ns: u64| ns as f64 / 1e6;
    writeln!(
        text,
        "{name:<30} {:>9} {:>10.3} {:>10.3} {:>10.3} {:>10.3}",
        summary.count,
        ms(summary.p50_ns),
        ms(summary.p99_ns),
        ms(summary.p999_ns),
        ms(summary.max_ns)
    )
}

#[cfg(test)]
mod tests {
    use crate::report::model::Latency;
    use crate::report::model::tests::sample;

    #[test]
    fn it_says_what_a_reader_looks_for() {
        let mut report = sample();
        report.sessions.reconnects = 3;
        let text = report.to_text();
        for part in [
            "dashboard (my.toml) at ws://",
            "25000 records/s",
            "throttled (50)",
            "12.40 per million",
            "passed: 1 assertion holds:",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        // By the ledgers of the sample, 499 of 500.
        let kinds = "delivered by the ledgers, since subscribing: prompt 99.8 %, throttled 99.8 %";
        for part in [
            kinds,
            "501002 records are due at all sessions; 99.80 % came",
            "  1002 never came: latency",
            "why (ledgers count from subscribing on): 1000 conflated (a newer value took the place), 3 reconnects",
            "to ingester and gateway_write, one of 8 records; to read and decoded, all records; read → decoded is not in intended → read",
            "machine at 40 % (2 % by other programs)",
            "other programs: rustc 2 %, process 99",
            "the source in the same process took 0.40 CPU seconds more, which are not in these",
            "by thread: shard-0 5.10 s, hub 1.10 s",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("lossless"), "{text}");
        let age = report.latency.clone();
        report.readers[1].by_channel = ["quote", "trade"].map(|name| (name.to_owned(), age.clone())).into();
        let text = report.to_text();
        assert!(
            text.contains("throttled (50)") && text.contains("\ntrade: lossless, so that at slow"),
            "{text}"
        );
        assert!(text.lines().any(|line| line.starts_with("  trade  ")), "{text}");
        report.readers[1].by_channel.clear();
        report.readers[1].age = Latency::default();
        let text = report.to_text();
        let line = text.lines().find(|line| line.starts_with("throttled (50)")).unwrap();
        assert!(line.ends_with("0          -          -          -          -"), "{line}");
        report.verdicts[0].held = false;
        report.verdicts[0].hint = Some("the window is in it".to_owned());
        report.passed = false;
        assert!(report.to_text().contains("has to be at most 8ms\n        the window is in it\nFAILED"));
        report.verdicts[0].held = true;
        assert!(report.to_text().contains("NOT JUDGED: latency.p99 is 2.97ms; the window is in it"));
        report.refused = Some("too slow".to_owned());
        assert!(report.to_text().contains("NO VERDICT: too slow"));
    }
}
