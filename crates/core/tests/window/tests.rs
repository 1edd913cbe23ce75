//! The window with readers of one kind each: how old their data is, and what is under way to them.

use super::closed::{MS, OFFERED, PING, Reader, freshness, run};
use tickwire_core::engine::Window;

#[track_caller]
#[allow(clippy::print_stdout, reason = "the results of the decision record")]
fn check(name: &str, reader: Reader, median_ms: u64, p99_ms: u64, used: f64) {
    let outcome = run(reader, OFFERED, 40);
    let (median, p99) = (outcome.age(0.5), outcome.age(0.99));
    let shown = format!("{name}: median {median} ms, p99 {p99} ms, used {:.3}", outcome.used);
    println!("{shown}");
    assert!(median <= median_ms && p99 <= p99_ms && outcome.used >= used, "{shown}");
}

#[test]
fn a_reader_of_a_kilobyte_each_100_ms_reads_fresh_data() {
    let reader = Reader::bursty(1024, 100 * MS);
    check("1 KiB each 100 ms", reader, 125, 250, 0.9);
    // A delay that is a little more than two reads proves nothing.
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
        let outcome = run(reader, OFFERED, 30);
        let got = outcome.ages.len() as f64 / (OFFERED as f64 * 30.0);
        assert!(got > 0.9, "{detour_ms} ms: {got}");
    }
}

#[test]
fn a_fast_reader_is_never_held_back_for_long() {
    let mut reader = Reader::steady(40_000_000, 25 * MS);
    let outcome = run(reader, OFFERED, 10);
    let got = outcome.ages.len() as f64 / (OFFERED as f64 * 10.0);
    assert!(!outcome.was_tight && got > 0.97, "{got}");
    reader.path_ns = 0;
    let outcome = run(reader, OFFERED, 10);
    assert!(!outcome.was_tight && outcome.most_in_flight < 100_000, "{}", outcome.most_in_flight);
}

#[test]
fn a_fast_reader_that_stalls_has_little_under_way_and_is_current_afterwards() {
    let reader = Reader { stall: (5_000 * MS, 35_000 * MS), ..Reader::steady(4_000_000, 0) };
    let outcome = run(reader, OFFERED, 40);
    assert!(outcome.stalled_in_flight <= OFFERED * 3 / 10, "{}", outcome.stalled_in_flight);
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
