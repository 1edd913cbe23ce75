//! A reader of 10 KB/s on a stream of 404 KB/s.

use std::time::Duration;

use tickwire_testkit::{Account, Pace, age_at, in_ms, unix_now};

use super::server::{Plan, Server};

pub(crate) const SLOW: Pace = Pace::Throttled { bytes: 1 << 10, every: Duration::from_millis(100) };
pub(crate) const SLOW_BYTES_PER_SECOND: f64 = 10_240.0;
const TIME: Duration = Duration::from_secs(40);
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
    assert!(age_at(&ages, 0.5) <= Duration::from_millis(125), "median {:?}", age_at(&ages, 0.5));
    assert!(age_at(&ages, 0.99) <= Duration::from_millis(250), "p99 {:?}", age_at(&ages, 0.99));
    let (before, after) = (age_at(&alone, 0.99), age_at(&beside, 0.99));
    assert!(unchanged(before, after), "p99 of a prompt client went from {before:?} to {after:?}");
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

/// Returns whether two ages differ within the noise of a machine that others use too: measured runs of one and the same
/// load differ by as much.
pub(crate) fn unchanged(before: Duration, after: Duration) -> bool {
    after <= before * 2 + Duration::from_millis(5)
}
