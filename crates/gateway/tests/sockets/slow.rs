//! A reader of 10 KB/s on a stream of 404 KB/s.
//!
//! Ages on real sockets are those of the machine, too, so they are printed, and bytes are compared: how many are on their way to a reader
//! that cannot take more is the gateway's doing alone. `tests/engine/crowd.rs` has the ages, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;
use tickwire_testkit::{Account, MessageSeen, Pace, in_ms, unix_now};

use super::server::{Plan, Server};

pub(crate) const SLOW: Pace = Pace::Throttled { bytes: 1 << 10, every: Duration::from_millis(100) };
pub(crate) const SLOW_BYTES_PER_SECOND: f64 = 10_240.0;
const TIME: Duration = Duration::from_secs(40);
/// The bytes that may be on their way to such a reader at the median and at p99 of all messages: 0.15 s and 0.3 s of its rate. Its
/// socket's buffer alone takes 64 KiB and more.
const IN_FLIGHT: [(f64, u64); 2] = [(0.5, 1_536), (0.99, 3_072)];
/// The memory of the server that may come and go with 40 s of a slow reader.
const MEMORY_MIB: f64 = 8.0;

#[tokio::test]
#[ignore = "a minute, in a release build: scripts/test-sockets.sh"]
async fn reads_what_is_new_and_costs_nobody_else() {
    let server = Server::start(Plan::default()).await;
    let mut prompt = server.client(server.plan.instruments).await;
    prompt.read_for(Pace::Prompt, Duration::from_secs(2)).await.unwrap();
    prompt.seen.take_ages();
    let bytes_before = prompt.seen.bytes;
    prompt.read_for(Pace::Prompt, Duration::from_secs(10)).await.unwrap();
    let offered = (prompt.seen.bytes - bytes_before) as f64 / 10.0;
    let alone = prompt.seen.take_ages();
    let memory_before = server.resident_mib();

    let joined = unix_now();
    let slow = async {
        let mut slow = server.client_at(SLOW).await;
        slow.seen.log = Some(Vec::new());
        slow.seen.bytes = 0;
        slow.read_for(SLOW, TIME).await.unwrap();
        slow
    };
    let (mut slow, prompt_read, memory) =
        tokio::join!(slow, prompt.read_for(Pace::Prompt, TIME + Duration::from_secs(2)), async {
            let mut most = 0.0_f64;
            for _ in 0..TIME.as_secs() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                most = most.max(server.resident_mib());
            }
            most
        });
    prompt_read.unwrap();
    let used = slow.seen.bytes as f64 / TIME.as_secs_f64() / SLOW_BYTES_PER_SECOND;
    let (ages, beside) = (slow.seen.take_ages(), prompt.seen.take_ages());
    println!("offered: {:.1} KB/s", offered / 1e3);
    println!("slow reader: {}", in_ms(&ages));
    let in_flight = in_flight(slow.seen.log.iter().flatten());
    println!("slow reader: {}", in_bytes(&in_flight));
    println!("slow reader: oldest in each 5 s: {}", oldest(&slow.seen, joined));
    println!(
        "slow reader: {:.1} % of its rate used, {} messages of at most {} bytes, {} pings",
        100.0 * used,
        slow.seen.messages,
        slow.seen.message_bytes_max,
        slow.seen.pings
    );
    println!("prompt client alone:     {}", in_ms(&alone));
    println!("prompt client beside it: {}", in_ms(&beside));
    println!("server memory: {memory_before:.1} MiB before, at most {memory:.1} MiB");

    let (slow_asked, prompt_asked) = tokio::join!(
        slow.ask_ledger(SLOW, Duration::from_secs(60)),
        prompt.ask_ledger(Pace::Prompt, Duration::from_secs(10))
    );
    slow_asked.unwrap();
    prompt_asked.unwrap();
    assert_eq!(slow.seen.violations, [""; 0]);
    assert_eq!(prompt.seen.violations, [""; 0]);
    assert!(slow.seen.conflating_notices > 0, "it was not told that it is conflated");
    assert!((380e3..430e3).contains(&offered), "the source gives {offered:.0} bytes/s");
    assert!(memory - memory_before < MEMORY_MIB, "memory is not flat");
    assert!(used >= 0.9, "only {:.1} % of the reader's rate is used", 100.0 * used);
    assert_in_flight(&in_flight, IN_FLIGHT);
}

/// Returns the highest age in each 5 s of the run, in milliseconds.
fn oldest(seen: &Account, start: u64) -> String {
    let mut oldest = vec![0; 1 + TIME.as_secs() as usize / 5];
    for message in seen.log.iter().flatten() {
        let at = message.read.saturating_sub(start) / 5_000_000_000;
        if let (Some(event), Some(slot)) = (message.oldest, oldest.get_mut(at as usize)) {
            *slot = (message.read.saturating_sub(event) / 1_000_000).max(*slot);
        }
    }
    oldest.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ") + " ms"
}

/// Returns the bytes that were on their way when each message was sent, itself among them.
pub(crate) fn in_flight<'a>(log: impl Iterator<Item = &'a MessageSeen>) -> Histogram<u64> {
    let mut seen = Histogram::new(2).unwrap();
    let (mut way, mut bytes) = (VecDeque::<&MessageSeen>::new(), 0);
    for message in log {
        while let Some(read) = way.pop_front_if(|before| before.read <= message.sent) {
            bytes -= read.bytes;
        }
        way.push_back(message);
        bytes += message.bytes;
        seen.record(bytes as u64).unwrap();
    }
    seen
}

pub(crate) fn in_bytes(in_flight: &Histogram<u64>) -> String {
    let at = |quantile| in_flight.value_at_quantile(quantile);
    format!("on their way: p50 {} p99 {} max {} bytes", at(0.5), at(0.99), in_flight.max())
}

#[track_caller]
pub(crate) fn assert_in_flight(in_flight: &Histogram<u64>, bounds: [(f64, u64); 2]) {
    for (quantile, most) in bounds {
        let bytes = in_flight.value_at_quantile(quantile);
        assert!(bytes <= most, "{bytes} bytes are on their way at {quantile}, and {most} is the bound");
    }
}
