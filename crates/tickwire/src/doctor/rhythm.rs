//! Whether heartbeats come evenly, and what the gateway's clock says.

use std::time::Duration;

use tickwire_wire::Message;
use tokio::time::Instant;

use super::command::DoctorCommand;
use super::conversation::{Conversation, HEARTBEAT, Heard};
use super::report::Report;

const MS: i128 = 1_000_000;
/// A heartbeat that is this much later than the quickest was held back; busy machines are late by less.
const HELD_BACK: Duration = Duration::from_millis(600);
/// Clocks that differ by more make ages look wrong.
const CLOCKS_DIFFER: Duration = Duration::from_millis(500);
/// The number of pings whose quickest tells the length of the way.
const PINGS: usize = 3;

/// A heartbeat: the gateway's time of sending, and this machine's of reading.
type Heartbeat = (u64, u64);

/// The evenness of the heartbeats of a session.
#[derive(Debug, PartialEq, Eq)]
struct Rhythm {
    /// The number that came.
    count: usize,
    /// The slowest came this much later than the quickest, in nanoseconds.
    spread_ns: i128,
    /// The most that came within a tenth of the interval.
    lump: usize,
    /// The quickest way, by the difference of two clocks, in nanoseconds.
    quickest_ns: i128,
}

impl Rhythm {
    fn of(heartbeats: &[Heartbeat]) -> Option<Self> {
        let delay = |(sent, read): &Heartbeat| i128::from(*read) - i128::from(*sent);
        let quickest_ns = heartbeats.iter().map(delay).min()?;
        let slowest = heartbeats.iter().map(delay).max()?;
        let near = HEARTBEAT.as_nanos() as u64 / 10;
        let lump = |from: &Heartbeat| {
            heartbeats.iter().filter(|(_, read)| (from.1..from.1 + near).contains(read)).count()
        };
        let lump = heartbeats.iter().map(lump).max()?;
        Some(Self { count: heartbeats.len(), spread_ns: slowest - quickest_ns, lump, quickest_ns })
    }
}

/// Listens for a while to a session that asked for nothing.
pub(super) async fn look(command: &DoctorCommand, conversation: &mut Conversation, report: &mut Report) {
    let round_trip = conversation.round_trip(PINGS).await;
    // Less than some heartbeats say nothing.
    let until = Instant::now() + command.duration.max(4 * HEARTBEAT);
    let mut heartbeats = Vec::new();
    loop {
        match conversation.hear(until).await {
            Heard::Messages(messages, read_at) => {
                heartbeats.extend(messages.iter().filter_map(|message| match message {
                    Message::Heartbeat(heartbeat) => Some((heartbeat.time, read_at)),
                    _ => None,
                }));
            }
            Heard::Pong => {}
            Heard::Silence => break,
            Heard::Closed(why) => {
                report.failure(
                    "heartbeats",
                    format_args!("the session ended: {why}"),
                    "a proxy may cut connections that are quiet: raise its time-outs above the heartbeat",
                );
                return;
            }
        }
    }
    let interval = HEARTBEAT.as_millis();
    let Some(rhythm) = Rhythm::of(&heartbeats) else {
        let said = format!("no heartbeat came, where one is sent each {interval} ms");
        report.failure("heartbeats", said, "something in between holds back what the gateway sends: switch its buffering off (nginx: proxy_buffering off)");
        return;
    };
    tell_rhythm(&rhythm, report);
    tell_clocks(&rhythm, round_trip, report);
}

fn tell_rhythm(rhythm: &Rhythm, report: &mut Report) {
    let (count, lump, late_ms) = (rhythm.count, rhythm.lump, rhythm.spread_ns / MS);
    report.fact("heartbeats", count);
    report.fact("latest_ms", late_ms as i64);
    report.fact("together", lump);
    let interval = HEARTBEAT.as_millis();
    if rhythm.spread_ns > HELD_BACK.as_nanos() as i128 && lump > 1 {
        let said = format!(
            "heartbeats are sent each {interval} ms and come in lumps: up to {lump} together, held back for {late_ms} ms"
        );
        report.failure("heartbeats", said, "a proxy gathers what the gateway sends: switch its buffering off (nginx: proxy_buffering off), or go around it");
    } else if rhythm.spread_ns > HELD_BACK.as_nanos() as i128 {
        let said = format!("{count} heartbeats, some {late_ms} ms later than others");
        report.warning("heartbeats", said, "the way is uneven (packets that are lost and sent again, a busy machine): data will be late now and then");
    } else {
        report.ok(
            "heartbeats",
            format_args!(
                "{count} came, evenly, each {interval} ms; none more than {late_ms} ms later than others"
            ),
        );
    }
}

fn tell_clocks(rhythm: &Rhythm, round_trip: Option<Duration>, report: &mut Report) {
    let ahead = ahead_ns(rhythm.quickest_ns, round_trip.unwrap_or_default()) / MS;
    report.fact("ahead_ms", ahead as i64);
    if let Some(round_trip) = round_trip {
        report.fact("round_trip_us", round_trip.as_micros() as u64);
    }
    let trip = round_trip
        .map_or(String::new(), |trip| format!("; {:.1} ms there and back", trip.as_secs_f64() * 1e3));
    if ahead.unsigned_abs() > CLOCKS_DIFFER.as_millis() {
        let which = if ahead > 0 { "ahead of" } else { "behind" };
        let said = format!("this machine's clock is {} ms {which} the gateway's{trip}", ahead.abs());
        report.warning(
            "clock",
            said,
            "set both by NTP (chronyc tracking): ages that are computed from them are wrong by that much",
        );
    } else {
        let said = format!(
            "both machines' clocks agree, as far as can be told from here, within {} ms{trip}",
            ahead.abs().max(1)
        );
        report.ok("clock", said);
    }
}

/// Returns by how much this machine's clock is ahead of the gateway's at least, in nanoseconds; negative: behind. The quickest
/// heartbeat was on its way for some part of a round trip, and nobody knows which.
fn ahead_ns(quickest_ns: i128, round_trip: Duration) -> i128 {
    let (least, most) = (quickest_ns - round_trip.as_nanos() as i128, quickest_ns);
    0.clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_by_what_no_way_explains() {
        let (ms, trip) = (MS, Duration::from_millis(80));
        assert_eq!(ahead_ns(30 * ms, trip), 0);
        assert_eq!(ahead_ns(100 * ms, trip), 20 * ms);
        assert_eq!(ahead_ns(-2_000 * ms, trip), -2_000 * ms);
    }

    const STEP: u64 = 250_000_000;

    #[test]
    fn even_heartbeats_and_lumps() {
        let even: Vec<_> = (0..12).map(|n| (n * STEP, n * STEP + 3_000_000 + (n % 3) * 1_000_000)).collect();
        let rhythm = Rhythm::of(&even).unwrap();
        assert_eq!(rhythm, Rhythm { count: 12, spread_ns: 2_000_000, lump: 1, quickest_ns: 3_000_000 });
        // A proxy that lets go what it has each second.
        let lumpy: Vec<_> = (0..12).map(|n| (n * STEP, (n / 4 + 1) * 4 * STEP)).collect();
        let rhythm = Rhythm::of(&lumpy).unwrap();
        assert_eq!((rhythm.lump, rhythm.spread_ns), (4, i128::from(3 * STEP)));
        assert!(Rhythm::of(&[]).is_none());
        // This machine's clock is behind by an hour.
        let behind: Vec<_> = (20_000..20_004).map(|n| (n * STEP, n * STEP - 3_600_000_000_000)).collect();
        assert_eq!(Rhythm::of(&behind).unwrap().quickest_ns, -3_600_000_000_000);
    }
}
