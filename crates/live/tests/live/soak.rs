//! All venues at ten times their usual rate, with random faults, for as long as `TICKWIRE_SOAK` says in seconds: whatever comes over
//! them, no book is live that the venue did not have, memory does not grow, and every book is right at the end.
//! `scripts/soak.sh` runs it.
// It shows how far it is, and looks at the memory by the clock on the wall, which no condition depends on.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tickwire_live::simulator::{Fault, SimKind, SimVenueConfig};

use crate::VENUES;
use crate::client::{Client, book_stream, quick, symbols, venue_with};

/// Ten times the rate that simulated venues have where nothing is said.
const EVENTS_PER_SECOND: f64 = 5_000.0;
/// The time that a lost venue has to be right again: its limits on connections and requests are kept, and faults come in bursts.
const PATIENCE: Duration = Duration::from_mins(2);
/// The bytes by which the process may grow from a quarter of the time to its end.
const GROWTH_MAX: usize = 48 << 20;

/// Returns the bytes of memory that the process has.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// Returns faults that are one event, the last of which ends what goes on.
fn event(random: &mut ChaCha8Rng, kind: SimKind) -> Vec<(Fault, Duration)> {
    let now = Duration::ZERO;
    let ms = |random: &mut ChaCha8Rng| Duration::from_millis(random.random_range(200..3_000));
    let lasting = ms(random);
    let second = symbols(kind)[1].to_owned();
    match random.random_range(0..15) {
        0 => vec![(Fault::Gap, now)],
        1 => vec![(Fault::Duplicate, now)],
        2 => vec![(Fault::Reorder, now)],
        3 => vec![(Fault::Checksum, now)],
        4 => vec![(Fault::Silence(lasting), now)],
        5 => vec![(Fault::HalfOpen, now)],
        6 => vec![(Fault::Disconnect, now)],
        7 => vec![(Fault::Shutdown, now)],
        8 => {
            let slow = Fault::SlowSnapshots(lasting);
            vec![(slow, now), (Fault::Gap, lasting), (Fault::SlowSnapshots(now), now)]
        }
        9 => vec![(Fault::StaleSnapshots(2), lasting), (Fault::Gap, now)],
        10 => vec![(Fault::UnreadableSnapshots(2), now), (Fault::Gap, now)],
        11 => vec![(Fault::Ban(429, Duration::from_secs(2)), now), (Fault::Disconnect, now)],
        12 => {
            let refused = Fault::Refuse(book_stream(kind).to_owned());
            vec![(refused, now), (Fault::Disconnect, lasting), (Fault::Unmute, now)]
        }
        13 => vec![(Fault::Renumber, now)],
        _ => vec![(Fault::Delist(second.clone()), lasting), (Fault::List(second), now)],
    }
}

/// Lets faults happen at one venue. Returns how many did.
async fn soak(kind: SimKind, lasting: Duration, seed: u64) -> usize {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let venue = venue_with(SimVenueConfig { events_per_second: EVENTS_PER_SECOND, ..quick(kind) }).await;
    let mut client = Client::new(&venue, kind);
    client.patience = PATIENCE;
    client.until_right().await;
    let (start, mut count) = (Instant::now(), 0);
    let mut next_look = Duration::from_secs(20);
    while start.elapsed() < lasting {
        for (fault, wait) in event(&mut random, kind) {
            // A venue has the faults that its protocol can have.
            if venue.inject(&fault).is_ok() {
                count += 1;
            }
            let at = Instant::now();
            client.until("time", |_| at.elapsed() >= wait).await;
        }
        let (at, wait) = (Instant::now(), Duration::from_millis(random.random_range(500..10_000)));
        client.until("time", |_| at.elapsed() >= wait).await;
        client.forget_old();
        if start.elapsed() > next_look {
            client.until_right().await;
            next_look = start.elapsed() + Duration::from_secs(20);
        }
    }
    client.until_right().await;
    println!("{kind:?}: {count} faults, {:?}, {:?}", client.adapter.counts(), venue.report());
    assert_eq!(venue.report().violations, 0, "{kind:?}");
    count
}

#[test]
#[ignore = "lasts as long as TICKWIRE_SOAK says: scripts/soak.sh runs it"]
fn all_venues_with_random_faults() {
    let number = |name: &str, otherwise| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a whole number"))
    };
    let (lasting, seed) = (Duration::from_secs(number("TICKWIRE_SOAK", 60)), number("TICKWIRE_SOAK_SEED", 1));
    println!("{} s, seed {seed}", lasting.as_secs());
    let running = AtomicUsize::new(VENUES.len());
    let (faults, sizes) = std::thread::scope(|scope| {
        let venue = |(at, kind): (usize, SimKind)| {
            let running = &running;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let soaked = std::panic::catch_unwind(|| {
                    runtime.block_on(soak(kind, lasting, seed * 100 + at as u64))
                });
                running.fetch_sub(1, Ordering::Relaxed);
                soaked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        };
        let venues: Vec<_> = VENUES.into_iter().enumerate().map(venue).collect();
        let mut sizes = Vec::new();
        while running.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(lasting / 60);
            sizes.push(resident());
            println!("{} of 60: {} KiB", sizes.len(), resident() >> 10);
        }
        (venues.into_iter().map(|venue| venue.join().unwrap()).sum::<usize>(), sizes)
    });
    let (early, late) = (sizes[sizes.len() / 4], *sizes.last().unwrap());
    println!("{faults} faults; {} KiB after a quarter, {} KiB at the end", early >> 10, late >> 10);
    assert!(faults > 0 && late < early + GROWTH_MAX, "it grows: {sizes:?}");
}
