//! The window in a closed loop: a sender that always has something new, a reader that takes bytes in its own way.

use std::collections::VecDeque;

use tickwire_core::engine::{Freshness, Window};

const MS: u64 = 1_000_000;
const PING: usize = 10;
/// After this a session that is held back is told so.
const NOTICE_AFTER_NS: u64 = 220 * MS;

pub(crate) fn freshness() -> Freshness {
    Freshness { target_ns: 200 * MS, first_bytes: 2048, max_bytes: 4 << 20, unanswered_ns: 2_000 * MS }
}

/// How a reader takes bytes: so many each time.
#[derive(Clone, Copy)]
struct Reader {
    bytes: usize,
    every_ns: u64,
    /// Delay of the path, one way.
    path_ns: u64,
    /// From the third second on the path is so much longer, but for a moment now and then.
    detour_ns: u64,
    /// It takes nothing in this time.
    stall: (u64, u64),
    /// Its beat is late by up to this, as that of a timer is.
    late_ns: u64,
    /// Until then it pauses now and then; only what is written 21 s later counts, when that is forgotten.
    pauses_to: u64,
    /// It reads the greeting at once, and subscribes: when the answer to that leaves, and its bytes.
    grants: Option<(u64, usize)>,
}

impl Reader {
    fn steady(bytes_per_second: usize, path_ns: u64) -> Self {
        let every_ns = MS;
        Self {
            bytes: bytes_per_second / 1000,
            every_ns,
            path_ns,
            detour_ns: 0,
            stall: (0, 0),
            late_ns: 0,
            pauses_to: 0,
            grants: None,
        }
    }

    fn bursty(bytes: usize, every_ns: u64) -> Self {
        Self {
            bytes,
            every_ns,
            path_ns: 0,
            detour_ns: 0,
            stall: (0, 0),
            late_ns: 0,
            pauses_to: 0,
            grants: None,
        }
    }
}

struct Outcome {
    /// Age of each byte when it was read, ascending, in milliseconds.
    ages: Vec<u64>,
    /// Share of what the reader could have taken.
    used: f64,
    most_in_flight: usize,
    stalled_in_flight: usize,
    was_tight: bool,
}

impl Outcome {
    fn age(&self, quantile: f64) -> u64 {
        self.ages[((self.ages.len() - 1) as f64 * quantile) as usize]
    }
}

/// Runs for some seconds of its own time. Records are 45 bytes; the sender has `offered` bytes per second.
fn run(reader: Reader, offered: usize, seconds: u64) -> Outcome {
    let mut window = Window::new(freshness(), 0);
    // On the way: when it arrives, when it was written, bytes, and the name of the ping that ends it.
    let mut pipe: VecDeque<(u64, u64, usize, Option<u64>)> = VecDeque::new();
    let mut pongs: VecDeque<(u64, u64)> = VecDeque::new();
    let (mut credit, mut could, mut read, mut waiting) = (0, 0, 0, 0_usize);
    let mut outcome =
        Outcome { ages: Vec::new(), used: 0.0, most_in_flight: 0, stalled_in_flight: 0, was_tight: false };
    let end = seconds * 1000 * MS;
    let mut now = 0;
    // The greeting, and the answer to a large subscription; then what says that data are held back.
    let subscribed = reader.grants.map_or(0, |(at, _)| at);
    let opening = if let Some(grants) = reader.grants {
        [(0, 120), grants, (subscribed + NOTICE_AFTER_NS, 92)]
    } else {
        [(0, 120), (0, 12_000), (u64::MAX, 0)]
    };
    let mut opening = VecDeque::from(opening);
    let counts_from = if reader.pauses_to > 0 { reader.pauses_to + 21_000 * MS } else { subscribed };
    while now < end {
        while let Some((_, bytes)) = opening.pop_front_if(|(at, _)| *at <= now) {
            window.on_control(bytes, now);
            pipe.push_back((now + reader.path_ns, now, bytes, None));
            if window.wants_probe(now) {
                let name = window.probe(PING, now);
                pipe.push_back((now + reader.path_ns, now, PING, Some(name)));
                if reader.grants.is_some() && now == 0 {
                    pipe.clear();
                    pongs.push_back((MS, name));
                }
            }
        }
        now += MS / 4;
        waiting = (waiting + offered / 4000).min(offered.max(90));
        while pongs.front().is_some_and(|(at, _)| *at <= now) {
            let (_, time) = pongs.pop_front().unwrap_or_default();
            window.on_pong(time, now);
        }
        while window.is_open() && waiting >= 45 && now > subscribed {
            let bytes = window.room().min(window.message_bytes()).min(waiting).max(45) / 45 * 45 + 14;
            waiting -= bytes.min(waiting);
            window.on_sent(bytes, now);
            pipe.push_back((now + reader.path_ns, now, bytes, None));
            if window.wants_probe(now) {
                let name = window.probe(PING, now);
                pipe.push_back((now + reader.path_ns, now, PING, Some(name)));
            }
        }
        window.tick(now);
        outcome.was_tight |= window.is_tight();
        outcome.most_in_flight = outcome.most_in_flight.max(window.in_flight());
        let pauses = now < reader.pauses_to && now % (2_000 * MS) < 350 * MS;
        let is_stalled = pauses || (now >= reader.stall.0 && now < reader.stall.1);
        if is_stalled {
            outcome.stalled_in_flight = outcome.stalled_in_flight.max(window.in_flight());
        }
        // Another lateness with each beat, in steps of the loop.
        let late_ns = now / reader.every_ns * 7919 % (reader.late_ns * 4 / MS + 1) * (MS / 4);
        if now % reader.every_ns != late_ns || is_stalled {
            continue;
        }
        credit = reader.bytes;
        could += reader.bytes;
        while credit > 0
            && let Some((arrives, written, bytes, name)) = pipe.front_mut()
            && *arrives <= now
        {
            let taken = credit.min(*bytes);
            credit -= taken;
            *bytes -= taken;
            read += taken;
            let age = (now - *written) / MS;
            // The length of the greeting and of what answers a subscription is nobody's choice, and no data.
            if *written > counts_from {
                outcome.ages.extend(std::iter::repeat_n(age, taken));
            }
            if *bytes == 0 {
                if let Some(name) = *name {
                    let detour_ns =
                        if now > 3_000 * MS && now % (700 * MS) > 20 * MS { reader.detour_ns } else { 0 };
                    pongs.push_back((now + reader.path_ns + detour_ns, name));
                }
                pipe.pop_front();
            }
        }
    }
    let _ = credit;
    outcome.ages.sort_unstable();
    outcome.used = read as f64 / could as f64;
    outcome
}

#[track_caller]
#[allow(clippy::print_stdout, reason = "the figures of the decision record")]
fn check(name: &str, reader: Reader, median_ms: u64, p99_ms: u64, used: f64) {
    let outcome = run(reader, 404_000, 40);
    let (median, p99) = (outcome.age(0.5), outcome.age(0.99));
    let shown = format!("{name}: median {median} ms, p99 {p99} ms, used {:.3}", outcome.used);
    println!("{shown}");
    assert!(median <= median_ms && p99 <= p99_ms && outcome.used >= used, "{shown}");
}

#[test]
fn a_reader_of_a_kilobyte_each_100_ms_reads_fresh_data() {
    let reader = Reader::bursty(1024, 100 * MS);
    check("1 KiB each 100 ms", reader, 125, 250, 0.9);
    // A delay that is a little more than two beats proves nothing.
    check("1 KiB each 100 ms, and a little", Reader { late_ns: MS * 3 / 2, ..reader }, 125, 250, 0.9);
}

#[test]
fn a_long_answer_that_a_slow_reader_takes_whole_says_nothing_about_the_path() {
    for (bytes, every_ms, median_ms, p99_ms) in
        [(512, 50, 125, 250), (1024, 100, 125, 250), (2048, 200, 225, 650)]
    {
        for late_ns in [0, MS / 2, MS, MS * 3 / 2, 2 * MS] {
            for grants in [(MS, 2_000), (MS, 6_356), (60 * MS, 6_356), (30 * MS, 12_000)] {
                let slow = Reader { grants: Some(grants), late_ns, ..Reader::bursty(bytes, every_ms * MS) };
                let name =
                    format!("{bytes} bytes each {every_ms} ms, late by {late_ns} ns, grants {grants:?}");
                check(&name, slow, median_ms, p99_ms, 0.9);
            }
        }
    }
}

#[test]
fn a_slow_reader_that_pauses_once_is_not_taken_for_a_long_path() {
    for (bytes, every_ms) in [(512, 50), (1024, 100)] {
        for pause_ms in [250, 400, 600] {
            for at in [15_000 * MS, 15_020 * MS, 15_060 * MS] {
                let stall = (at, at + pause_ms * MS);
                let grants = Some((MS, 6_356));
                let slow = Reader { grants, stall, late_ns: MS, ..Reader::bursty(bytes, every_ms * MS) };
                check(&format!("{bytes} bytes each {every_ms} ms, pause {stall:?}"), slow, 125, 250, 0.9);
            }
        }
    }
}

#[test]
fn a_slow_reader_whose_pauses_are_forgotten_has_its_window_back() {
    for (bytes, every_ms) in [(512, 50), (1024, 100)] {
        for late_ns in [0, MS / 2, MS, MS * 3 / 2] {
            for pauses_to in [5_000 * MS, 10_000 * MS, 15_000 * MS] {
                let slow = Reader { late_ns, pauses_to, ..Reader::bursty(bytes, every_ms * MS) };
                let slow = Reader { grants: Some((MS, 6_356)), ..slow };
                let name =
                    format!("{bytes} bytes each {every_ms} ms, late by {late_ns} ns, pauses to {pauses_to}");
                check(&name, slow, 125, 250, 0.8);
            }
        }
    }
}

#[test]
fn steady_slow_readers_read_fresh_data() {
    check("10 KB/s", Reader::steady(10_000, 0), 140, 220, 0.95);
    // What is sent before the first receipt is a second's worth for this one.
    check("2 KB/s", Reader::steady(2_000, 0), 160, 1_000, 0.9);
    check("100 KB/s", Reader::steady(100_000, 0), 140, 220, 0.95);
}

#[test]
fn a_reader_that_comes_seldom_is_not_starved() {
    check("4 KiB each 400 ms", Reader::bursty(4096, 400 * MS), 800, 1_200, 0.8);
}

#[test]
fn a_long_path_is_filled() {
    check("200 KB/s, 80 ms round trip", Reader::steady(200_000, 40 * MS), 140, 250, 0.95);
    check("200 KB/s, 300 ms round trip", Reader::steady(200_000, 150 * MS), 320, 550, 0.88);
}

#[test]
fn a_path_that_grew_longer_does_not_starve_its_session() {
    for detour_ms in [60, 90, 120, 150] {
        let reader = Reader { detour_ns: detour_ms * MS, ..Reader::steady(4_000_000, 5 * MS) };
        let outcome = run(reader, 404_000, 30);
        let got = outcome.ages.len() as f64 / (404_000.0 * 30.0);
        assert!(got > 0.9, "{detour_ms} ms: {got}");
    }
}

#[test]
fn a_fast_reader_is_never_held_back_for_long() {
    let mut reader = Reader::steady(40_000_000, 25 * MS);
    let outcome = run(reader, 404_000, 10);
    let got = outcome.ages.len() as f64 / (404_000.0 * 10.0);
    assert!(!outcome.was_tight && got > 0.97, "{got}");
    reader.path_ns = 0;
    let outcome = run(reader, 404_000, 10);
    assert!(!outcome.was_tight && outcome.most_in_flight < 100_000, "{}", outcome.most_in_flight);
}

#[test]
fn a_fast_reader_that_stalls_has_little_under_way_and_is_current_afterwards() {
    let reader = Reader { stall: (5_000 * MS, 35_000 * MS), ..Reader::steady(4_000_000, 0) };
    let outcome = run(reader, 404_000, 40);
    assert!(outcome.stalled_in_flight <= 404_000 * 3 / 10, "{}", outcome.stalled_in_flight);
    assert!(outcome.age(1.0) >= 29_000, "what was under way is old");
    let stale = outcome.ages.iter().filter(|age| **age > 1_000).count();
    assert!(stale <= outcome.stalled_in_flight, "{stale}");
}

#[test]
fn a_greeting_that_was_read_at_once_says_little_about_the_rate() {
    let mut window = Window::new(freshness(), 0);
    window.on_sent(86, MS);
    let greeting = window.probe(PING, MS);
    window.on_pong(greeting, 3 * MS);
    window.on_sent(10_088, 3 * MS);
    let grants = window.probe(PING, 3 * MS);
    window.on_pong(grants, 903 * MS);
    // One answer to more than a window says nothing about what the window should be.
    assert_eq!(window.in_flight(), 0);
    assert!((500..=2_048).contains(&window.room()), "{} bytes", window.room());
}

#[test]
fn heartbeats_alone_do_not_keep_data_back() {
    let mut window = Window::new(freshness(), 0);
    window.on_sent(100, 0);
    let greeting = window.probe(PING, 0);
    window.on_pong(greeting, MS);
    window.on_sent(window.room(), MS);
    let data = window.probe(PING, MS);
    assert!(!window.is_open());
    // A path so long, or a reader so slow, that a heartbeat is always under way.
    for second in 1..=40 {
        let now = second * 1_000 * MS;
        window.on_control(60, now);
        window.probe(PING, now);
        assert!(!window.is_open());
    }
    window.on_pong(data, 40_500 * MS);
    assert!(window.in_flight() > 2_048);
    assert!(window.is_open(), "nothing but heartbeats is under way");
}

#[test]
fn a_delay_that_does_not_follow_what_is_under_way_shrinks_no_window() {
    let mut window = Window::new(freshness(), 0);
    window.on_sent(100, 0);
    let greeting = window.probe(PING, 0);
    window.on_pong(greeting, 10 * MS);
    let (first, mut now) = (window.limit(), 10 * MS);
    // From now on everything takes half a second, as much as it may be.
    for _ in 0..20 {
        let mut probes = Vec::new();
        while window.is_open() {
            window.on_sent(window.room().min(window.message_bytes()), now);
            if window.wants_probe(now) {
                probes.push(window.probe(PING, now));
            }
        }
        now += 500 * MS;
        for probe in probes {
            window.on_pong(probe, now);
        }
        assert!(window.limit() >= first, "{}", window.limit());
    }
    assert!(window.limit() > 64 * first, "{}", window.limit());
    assert!(!window.is_tight());
}
