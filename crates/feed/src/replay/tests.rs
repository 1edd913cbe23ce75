use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use tickwire_wire::Channel;
use tokio::time::Instant;

use super::*;
use crate::adapter::{MarketBody, MarketEvent};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn line(time: u64, symbol: &str, id: u64) -> String {
    let stamp = START + time;
    format!(
        "{stamp} {{\"stream\":\"x@trade\",\"data\":{{\"s\":\"{symbol}\",\"t\":{id},\"p\":\"1.5\",\"q\":\"2\",\"T\":1700000000000,\"m\":false}}}}\n"
    )
}

/// Trades 1 to `count`, a second apart.
fn recording(symbol: &str, count: u64) -> String {
    (0..count).map(|n| line(n * SECOND, symbol, n + 1)).collect()
}

fn config(files: Vec<PathBuf>) -> ReplayConfig {
    ReplayConfig {
        market: Market::Spot,
        files,
        pace: Pace::FlatOut,
        passes: Passes::Once,
        times: Times::Recorded,
        clock: Clock::starting_at(2 * START),
    }
}

/// Plays to the end; returns trade ids and faults.
async fn play(config: ReplayConfig) -> (Vec<u64>, Vec<String>) {
    let mut replay = Replay::open(config).unwrap();
    let (mut events, mut ids, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let flow = replay.next(&mut events).await.unwrap();
        for event in events.drain(..) {
            match event {
                FeedEvent::Market(MarketEvent { body: MarketBody::Trade(trade), .. }) => ids.push(trade.id),
                FeedEvent::Fault(fault) => faults.push(fault.to_string()),
                _ => {}
            }
        }
        if flow == Flow::Ended {
            return (ids, faults);
        }
    }
}

/// The faults must each contain what is expected, with the file's name before and the line.
async fn check(bytes: &[u8], expected_ids: &[u64], expected_faults: &[&str]) {
    let folder = Folder::new();
    let path = folder.put("some.gz", bytes);
    let (ids, faults) = play(config(vec![path.clone()])).await;
    assert_eq!(ids, expected_ids);
    assert_eq!(faults.len(), expected_faults.len(), "{faults:?}");
    for (fault, expected) in faults.iter().zip(expected_faults) {
        assert!(fault.starts_with(&path.display().to_string()), "{fault}");
        assert!(fault.contains(expected), "`{fault}` does not say `{expected}`");
    }
}

#[tokio::test]
async fn plain_and_gzip_are_told_by_content() {
    check(recording("AB", 3).as_bytes(), &[1, 2, 3], &[]).await;
    check(&gzip(&recording("AB", 3)), &[1, 2, 3], &[]).await;
    let two_members = [gzip(&recording("AB", 1)), gzip(&line(SECOND, "AB", 2))].concat();
    check(&two_members, &[1, 2], &[]).await;
    check(recording("AB", 2).trim_end().as_bytes(), &[1, 2], &[]).await;
}

#[tokio::test]
async fn damage_costs_only_what_is_damaged() {
    let whole = recording("AB", 4);
    let second = line(SECOND, "AB", 2);
    check(
        whole.replace(&second, "nonsense\n").as_bytes(),
        &[1, 3, 4],
        &[", line 2: expected `<nanoseconds since 1970> <json>`, found `nonsense`"],
    )
    .await;
    check(
        whole.replace(&second, &second.replace("\"2\"", "\"x\"")).as_bytes(),
        &[1, 3, 4],
        &[", line 2: quantity: `x` is not a decimal number"],
    )
    .await;
    check(&whole.as_bytes()[..whole.len() - 9], &[1, 2, 3], &[", line 4: not the JSON that was expected"])
        .await;
    check(
        &whole.as_bytes()[..whole.len() - 9],
        &[1, 2, 3],
        &["so it is cut off: everything before it was used"],
    )
    .await;
    let mut not_text = recording("AB", 2).into_bytes();
    not_text.extend_from_slice(b"\xff\xfe\n");
    check(&not_text, &[1, 2], &[", line 3: not a line of text"]).await;
}

#[tokio::test]
async fn damaged_gzip_gives_everything_before_the_damage() {
    // Long enough that much of it comes out of the decoder before the end.
    let packed = gzip(&recording("AB", 5_000));
    let folder = Folder::new();
    let path = folder.put("cut.gz", &packed[..packed.len() / 2]);
    let (ids, faults) = play(config(vec![path])).await;
    assert!(ids.len() > 1_000 && ids.len() < 4_000, "{}", ids.len());
    assert!(ids.iter().zip(1..).all(|(id, expected)| *id == expected));
    let [fault] = faults.try_into().unwrap();
    let place =
        format!("cut.gz, line {}: the gzip data ends too early, so the file is cut off", ids.len() + 1);
    assert!(fault.contains(&place), "{fault}");
    let mut wrong_sum = gzip(&recording("AB", 3));
    let sum = wrong_sum.len() - 8;
    wrong_sum[sum] ^= 1;
    check(&wrong_sum, &[1, 2, 3], &["the gzip data is damaged here"]).await;
}

#[track_caller]
fn check_refused(config: ReplayConfig, expected: &str) {
    let Err(error) = Replay::open(config) else { panic!("opened") };
    assert!(error.to_string().contains(expected), "`{error}` does not say `{expected}`");
}

#[test]
fn what_is_no_recording_is_refused() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let file = |name: &str, bytes: &[u8]| config(vec![folder.put(name, bytes)]);
    check_refused(config(vec![]), "name 1 to 64 recordings");
    check_refused(config(vec![PathBuf::new(); 65]), "65 files to replay are too many");
    check_refused(config(vec![folder.0.path().join("gone")]), "gone`: ");
    check_refused(config(vec![folder.0.path().join("gone")]), "check the name and the rights");
    check_refused(config(vec![folder.0.path().to_owned()]), "it is a folder");
    check_refused(file("e", b""), "e` is empty");
    check_refused(
        file("c", b"time,price\n1,2\n"),
        "c` is not a recording: expected `<nanoseconds since 1970> <json>`",
    );
    check_refused(file("c", b"time,price\n1,2\n"), "found `time,price`; a recording has lines of");
    check_refused(file("z", &gzip("hello")[..12]), "z` is not a recording: the gzip data ends too early");
    check_refused(file("k", b"5 {\"other\":1}\n"), "no trades, quotes or depth of binance in");
    let zero = ReplayConfig { pace: Pace::Speed(0.0), ..file("r", recording("AB", 1).as_bytes()) };
    check_refused(zero, "speed 0 is not above 0");
}

#[tokio::test]
async fn files_play_together_by_their_times() {
    let folder = Folder::new();
    let one = [line(0, "AB", 1), line(2 * SECOND, "AB", 3), line(5 * SECOND, "AB", 6)].concat();
    let two = [line(SECOND, "XY", 2), line(3 * SECOND, "XY", 4), line(4 * SECOND, "XY", 5)].concat();
    let files = vec![folder.put("one", one.as_bytes()), folder.put("two", &gzip(&two))];
    let (ids, faults) = play(config(files)).await;
    assert_eq!((ids, faults.len()), (vec![1, 2, 3, 4, 5, 6], 0));
}

#[tokio::test]
async fn a_snapshot_without_symbol_is_of_its_files_symbol() {
    let folder = Folder::new();
    let book =
        |id: u64| format!("{START} {{\"lastUpdateId\":{id},\"bids\":[[\"1.25\",\"1\"]],\"asks\":[]}}\n");
    let one = folder.put("one", (book(1) + &recording("AB", 1)).as_bytes());
    let two = folder.put("two", (book(2) + &recording("XY", 1)).as_bytes());
    let mut replay = Replay::open(config(vec![one, two])).unwrap();
    assert!(replay.definitions().iter().all(|definition| definition.price_decimals == 2));
    let mut events = Vec::new();
    assert_eq!(replay.next(&mut events).await.unwrap(), Flow::More);
    let of = events.iter().filter_map(|event| match event {
        FeedEvent::Market(MarketEvent { index, body: MarketBody::BookSnapshot(_), .. }) => Some(*index),
        _ => None,
    });
    assert_eq!(of.collect::<Vec<_>>(), [0, 1]);
}

async fn market_events(replay: &mut Replay, count: usize) -> Vec<(Instant, MarketEvent)> {
    let (mut events, mut found) = (Vec::new(), Vec::new());
    while found.len() < count {
        replay.next(&mut events).await.unwrap();
        for event in events.drain(..) {
            if let FeedEvent::Market(event) = event {
                found.push((Instant::now(), event));
            }
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn the_recorded_clock_paces_the_replay() {
    let folder = Folder::new();
    let files = vec![folder.put("one", recording("AB", 4).as_bytes())];
    let mut replay = Replay::open(ReplayConfig { pace: Pace::Speed(2.0), ..config(files) }).unwrap();
    let began = Instant::now();
    let events = market_events(&mut replay, 4).await;
    let passed: Vec<_> = events.iter().map(|(at, _)| at.duration_since(began).as_millis()).collect();
    assert_eq!(passed, [0, 500, 1_000, 1_500]);
    assert_eq!(events[3].1.receive_time, START + 3 * SECOND);
    assert_eq!(events[3].1.event_time, START);
}

#[tokio::test(start_paused = true)]
async fn rebased_times_are_now_and_keep_their_delay() {
    let folder = Folder::new();
    let files = vec![folder.put("one", recording("AB", 2).as_bytes())];
    let config = ReplayConfig {
        pace: Pace::Speed(1.0),
        times: Times::Rebased,
        passes: Passes::Endless,
        ..config(files)
    };
    let clock = config.clock;
    let mut replay = Replay::open(config).unwrap();
    for (n, (_, event)) in market_events(&mut replay, 5).await.into_iter().enumerate() {
        let delay = if n % 2 == 0 { 0 } else { SECOND };
        assert_eq!(event.receive_time - event.event_time, delay);
        assert_eq!(event.receive_time, 2 * START + n as u64 * SECOND);
    }
    assert_eq!(clock.now(), 2 * START + 4 * SECOND);
}

#[tokio::test]
async fn a_loop_keeps_times_increasing_and_begins_anew() {
    let folder = Folder::new();
    let files = vec![folder.put("one", recording("AB", 3).as_bytes())];
    let mut replay = Replay::open(ReplayConfig { passes: Passes::Endless, ..config(files) }).unwrap();
    let progress = replay.progress();
    assert_eq!((progress.get().pass, progress.get().lines_total, progress.get().lines), (1, 3, 0));
    let events = market_events(&mut replay, 7).await;
    for (n, (_, event)) in events.iter().enumerate() {
        assert_eq!(event.receive_time, START + n as u64 * SECOND);
        assert!(!matches!(event.body, MarketBody::UpstreamGap { channel: Channel::Trade, .. }));
    }
    let now = progress.get();
    assert!(now.pass > 1 && now.bytes_total > 0 && now.lines <= 3);
    assert_eq!((now.first_time, now.last_time), (START, START + 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_loses_nothing() {
    let folder = Folder::new();
    let files = vec![folder.put("one", recording("AB", 3).as_bytes())];
    let mut replay = Replay::open(ReplayConfig { pace: Pace::Speed(1.0), ..config(files) }).unwrap();
    let (mut events, mut ids) = (Vec::new(), Vec::new());
    while ids.len() < 3 {
        let short = std::time::Duration::from_millis(70);
        let _ = tokio::time::timeout(short, replay.next(&mut events)).await;
        for event in events.drain(..) {
            if let FeedEvent::Market(MarketEvent { body: MarketBody::Trade(trade), .. }) = event {
                ids.push(trade.id);
            }
        }
    }
    assert_eq!(ids, [1, 2, 3]);
}
