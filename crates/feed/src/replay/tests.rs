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

/// Makes a recording of trades 1 to `count`, a second apart.
fn recording(symbol: &str, count: u64) -> String {
    (0..count).map(|n| line(n * SECOND, symbol, n + 1)).collect()
}

fn config(files: Vec<PathBuf>) -> ReplayConfig {
    ReplayConfig {
        market: None,
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
    play_all(&mut replay).await
}

async fn play_all(replay: &mut Replay) -> (Vec<u64>, Vec<String>) {
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

/// Checks a recording: the faults must each contain what is expected, with the file's name before and the line.
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
    check(
        &whole.as_bytes()[..whole.len() - 9],
        &[1, 2, 3],
        &[", line 4: this is not the JSON that was expected"],
    )
    .await;
    check(
        &whole.as_bytes()[..whole.len() - 9],
        &[1, 2, 3],
        &["so it is cut off: everything before it was used"],
    )
    .await;
    let mut not_text = recording("AB", 2).into_bytes();
    not_text.extend_from_slice(b"\xff\xfe\n");
    check(&not_text, &[1, 2], &[", line 3: this is not a line of text"]).await;
}

#[tokio::test]
async fn what_is_only_around_the_lines_does_not_matter() {
    let with = |before: &str, between: &str| {
        let text = before.to_owned() + &recording("AB", 3).replace('\n', &format!("{between}\n"));
        text.into_bytes()
    };
    check(&with("\u{feff}", ""), &[1, 2, 3], &[]).await;
    check(&with("\n\n", "\r"), &[1, 2, 3], &[]).await;
    check(&with("\u{feff} \n", "\n  \t\n"), &[1, 2, 3], &[]).await;
    let part = |at| line(at * SECOND, "AB", at + 1);
    check(format!("{}\u{feff}{}", part(0), part(1)).as_bytes(), &[1, 2], &[]).await;
    let first = format!("nonsense\n{}", recording("AB", 2));
    check(first.as_bytes(), &[1, 2], &[", line 1: expected `<nanoseconds since 1970> <json>`"]).await;
}

#[tokio::test]
async fn behind_a_member_that_is_cut_the_next_one_plays() {
    let whole = recording("AB", 3_000);
    let (one, two) = whole.split_at(whole.match_indices('\n').nth(1_499).unwrap().0 + 1);
    let packed = gzip(one);
    for cut in [packed.len() / 2, packed.len() - 4] {
        let folder = Folder::new();
        let path = folder.put("cut.gz", &[&packed[..cut], &gzip(two)].concat());
        let mut replay = Replay::open(config(vec![path])).unwrap();
        let progress = replay.progress();
        let (ids, faults) = play_all(&mut replay).await;
        let lost = 3_000 - ids.len();
        assert!(lost < 1_000, "{lost} lost at {cut}");
        assert_eq!(ids[ids.len() - 1_500..], (1_501..=3_000).collect::<Vec<_>>());
        assert!(ids[..1_500 - lost].iter().zip(1..).all(|(id, expected)| *id == expected));
        let [fault] = faults.try_into().unwrap();
        assert!(fault.contains(": the gzip data ends too early here: everything before was used"), "{fault}");
        assert_eq!(progress.findings().damaged_parts, 1);
        assert!(progress.findings().losses()[0].contains("1 damaged parts"));
    }
}

#[tokio::test]
async fn times_of_every_unit_play_as_the_same_times() {
    let nanoseconds = recording("AB", 4);
    let mut units = String::new();
    for (line, digits) in nanoseconds.lines().zip([19, 16, 13, 10]) {
        units += &line[..digits];
        units += &line[19..];
        units.push('\n');
    }
    let folder = Folder::new();
    let mut replay = Replay::open(config(vec![folder.put("units", units.as_bytes())])).unwrap();
    let times: Vec<_> =
        market_events(&mut replay, 4).await.iter().map(|(_, event)| event.receive_time).collect();
    assert_eq!(times, [START, START + SECOND, START + 2 * SECOND, START + 3 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn one_wild_time_neither_stalls_nor_storms_nor_shifts_the_loop() {
    let wild = START + 570 * SECOND;
    for wild in [wild, wild * 2, START - 400 * SECOND] {
        let text = recording("AB", 6).replacen(&(START + 2 * SECOND).to_string(), &wild.to_string(), 1);
        let folder = Folder::new();
        let files = vec![folder.put("wild", text.as_bytes())];
        let config = ReplayConfig {
            pace: Pace::Speed(1.0),
            times: Times::Rebased,
            passes: Passes::Endless,
            ..config(files)
        };
        let mut replay = Replay::open(config).unwrap();
        let began = Instant::now();
        let events = market_events(&mut replay, 12).await;
        let passed: Vec<_> = events.iter().map(|(at, _)| at.duration_since(began).as_secs()).collect();
        assert_eq!(passed, [0, 1, 1, 3, 4, 5, 6, 7, 7, 9, 10, 11]);
        for (_, event) in &events {
            assert!((2 * START..2 * START + 12 * SECOND).contains(&event.receive_time));
        }
        assert_eq!(replay.progress().findings().replaced_times, 2);
    }
}

#[tokio::test]
async fn a_pipe_plays_like_a_file() {
    let folder = Folder::new();
    let path = folder.0.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let packed = gzip(&recording("AB", 3));
    let writing = {
        let path = path.clone();
        std::thread::spawn(move || std::fs::write(path, packed).unwrap())
    };
    let config = ReplayConfig { passes: Passes::Endless, ..config(vec![path]) };
    let mut replay = Replay::open(config).unwrap();
    writing.join().unwrap();
    let ids = market_events(&mut replay, 7).await.into_iter().take(7).map(|(_, event)| match event.body {
        MarketBody::Trade(trade) => trade.id,
        other => panic!("{other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), [1, 2, 3, 1, 2, 3, 1]);
}

#[tokio::test]
async fn the_market_is_told_by_all_files_and_not_by_their_spaces() {
    let folder = Folder::new();
    let depth = format!(
        "{START} {{ \"data\" : {{ \"b\":[], \"a\" : [] , \"pu\" : 0, \"U\":1, \"u\":2, \"s\":\"AB\"}}, \"stream\":\"x\"}}\n"
    );
    let trades = folder.put("trades", recording("AB", 2).as_bytes());
    let depth = folder.put("depth", depth.as_bytes());
    let replay = Replay::open(config(vec![trades, depth])).unwrap();
    assert_eq!((replay.market(), replay.venue()), (Market::Usdm, "binance-usdm"));
}

#[tokio::test]
async fn a_pass_without_a_line_is_an_error_and_no_loop() {
    let folder = Folder::new();
    let path = folder.put("one", recording("AB", 2).as_bytes());
    let config = ReplayConfig { passes: Passes::Endless, ..config(vec![path.clone()]) };
    let mut replay = Replay::open(config).unwrap();
    std::fs::write(&path, "nothing\n").unwrap();
    let mut events = Vec::new();
    let error = loop {
        match replay.next(&mut events).await {
            Ok(_) => events.clear(),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("no line of the recordings can be played"), "{error}");
}

#[tokio::test]
async fn what_is_not_used_is_counted() {
    let folder = Folder::new();
    let more = format!(
        "{START} {{\"e\":\"kline\"}}\n{START} {{\"e\":\"aggTrade\",\"s\":\"AB\",\"a\":1,\"p\":\"1\",\"q\":\"1\",\"f\":1}}\n\
         {START} {{\"e\":\"aggTrade\",\"s\":\"XY\",\"a\":1,\"p\":\"1\",\"q\":\"1\",\"f\":1}}\n\
         {START} {{\"s\":\"DP\",\"U\":1,\"u\":2,\"b\":[],\"a\":[]}}\n"
    );
    let path = folder.put("one", (recording("AB", 2) + &more).as_bytes());
    let mut replay = Replay::open(config(vec![path])).unwrap();
    let progress = replay.progress();
    let (ids, faults) = play_all(&mut replay).await;
    assert_eq!((ids, faults.len()), (vec![1, 2, 1], 0));
    let findings = progress.findings();
    assert_eq!(findings.unused_kinds, [("kline".to_owned(), 1)]);
    assert_eq!(
        (findings.doubled_aggregates, findings.aggregated.as_slice()),
        (1, ["XY".to_owned()].as_slice())
    );
    assert_eq!(
        (findings.unused_changes, findings.waiting_books.as_slice()),
        (1, ["DP".to_owned()].as_slice())
    );
    let losses = findings.losses();
    assert_eq!(losses.len(), 2, "{losses:?}");
    assert!(
        losses[0].contains("nothing of DP could be used") && losses[1].contains("no depth of DP"),
        "{losses:?}"
    );
}

#[tokio::test]
async fn damaged_gzip_gives_everything_before_the_damage() {
    // It is long enough that much of it comes out of the decoder before the end.
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
    let many = "nonsense\n".repeat(2_000) + &recording("AB", 1);
    check_refused(file("m", many.as_bytes()), "m` is not a recording: expected");
    check_refused(
        file("c", b"time,price\n1,2\n"),
        "c` is not a recording: expected `<nanoseconds since 1970> <json>`",
    );
    check_refused(file("c", b"time,price\n1,2\n"), "found `time,price`; a recording has lines of");
    check_refused(file("z", &gzip("hello")[..12]), "z` is not a recording: the gzip data ends too early");
    check_refused(file("k", b"1700000001 {\"other\":1}\n"), "no trades, quotes or depth of binance in");
    check_refused(
        file("k", b"1700000001 {\"e\":\"kline\"}\n1700000001 {\"e\":\"trade\"}\n"),
        "k`: 2 lines; messages that are not used: 1 of `kline`; the first line that cannot be used is line 2: s, the",
    );
    check_refused(file("t", b"5 {}\n6 {}\n"), "`5` is no time of the years 2001 to 2099 in nano-, micro-");
    check_refused(file("b", b"\n \n\r\n"), "b` is empty");
    let change = |market: &str| {
        format!("1700000001 {{\"s\":\"AB\",\"U\":1,\"u\":2,{market}\"b\":[],\"a\":[]}}\n").into_bytes()
    };
    let both = vec![folder.put("s", &change("")), folder.put("u", &change("\"pu\":0,"))];
    check_refused(
        config(both),
        "u` is of binance-usdm, as its 1 messages of depth tell, and not of binance; replay",
    );
    let named = ReplayConfig { market: Some(Market::Cm), ..file("s", &change("")) };
    check_refused(
        named,
        "s` is of binance, as its 1 messages of depth tell, and not of binance-cm; name that",
    );
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

#[tokio::test(start_paused = true)]
async fn what_a_rebased_event_speaks_of_moves_with_it() {
    let folder = Folder::new();
    let mark = |second: u64, funding: u64| {
        let time = START + second * SECOND;
        let rest = format!(r#""s":"AB","p":"1.5","i":"1.25","r":"0.0001","T":{funding}"#);
        format!(
            "{time} {{\"stream\":\"ab@markPrice\",\"data\":{{\"e\":\"markPriceUpdate\",\"E\":{},{rest}}}}}\n",
            time / 1_000_000
        )
    };
    let text = mark(0, (START + 60 * SECOND) / 1_000_000) + &mark(1, 0);
    let files = vec![folder.put("one", text.as_bytes())];
    let config = ReplayConfig { pace: Pace::Speed(1.0), times: Times::Rebased, ..config(files) };
    let mut replay = Replay::open(config).unwrap();
    let events = market_events(&mut replay, 2).await;
    let funding = events.iter().map(|(_, event)| match &event.body {
        MarketBody::Derivative(derivative) => (derivative.next_funding_time, event.receive_time),
        other => panic!("{other:?}"),
    });
    let funding: Vec<_> = funding.collect();
    assert_eq!(funding[0].0, funding[0].1 + 60 * SECOND);
    assert_eq!(funding[1].0, 0, "a time that is not known stays so");
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
