//! Paths of all kinds with readers of all kinds, at two gateways: one with the freshness window, one without.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use tickwire_testkit::{DelayProxy, Link, Pace, Shown, StockClient, Variation, age_at, unix_now};

use super::picture;
use super::server::{Plan, Server, client};

/// The length of a session; ages count from `WARM_UP` on.
const TIME: Duration = Duration::from_secs(50);
const WARM_UP: Duration = Duration::from_secs(15);
const CHANGE: Duration = Duration::from_secs(25);
/// The time until it stalls, for how long, and afterwards.
const STALL: [Duration; 3] = [Duration::from_secs(25), Duration::from_secs(5), Duration::from_secs(20)];
/// The variable that says where to write the table and the picture; see `scripts/paths.sh`.
const WRITE: &str = "TICKWIRE_WRITE_PATHS";

const MS: Duration = Duration::from_millis(1);

/// Returns the paths: names, links, and by what a path that changes in mid-session may be worse once.
fn paths() -> Vec<(&'static str, Link, Duration)> {
    let near = Link::round_trip(Duration::ZERO);
    let varied = |variation| near.varied(variation);
    let once = |link, cost| (link, cost);
    let none = Duration::ZERO;
    let mut paths = vec![
        ("near", near, none),
        ("80 ms", Link::round_trip(80 * MS), none),
        ("1.9 s", Link::round_trip(1_900 * MS), none),
        ("2.1 s", Link::round_trip(2_100 * MS), none),
        ("lumps, 0.25 s", varied(Variation::Lumps(250 * MS)), none),
        ("lumps, 0.5 s", varied(Variation::Lumps(500 * MS)), none),
        ("lumps, 1 s", varied(Variation::Lumps(1_000 * MS)), none),
        ("lumps, 3 s", varied(Variation::Lumps(3_000 * MS)), none),
        ("0 to 0.6 s, any", varied(Variation::Jitter(600 * MS)), none),
        ("0 to 0.6 s, up and down", varied(Variation::Wave(600 * MS, 5_000 * MS)), none),
        ("lossy", Link::round_trip(40 * MS).varied(Variation::Lossy(50, 300 * MS)), none),
        ("0.9 s back", near.back(900 * MS), none),
    ];
    for (name, (link, cost)) in [
        ("turns long", once(Link::round_trip(700 * MS).after(CHANGE), 700 * MS)),
        ("turns lumpy", once(varied(Variation::Lumps(1_000 * MS)).after(CHANGE), 1_000 * MS)),
    ] {
        paths.push((name, link, cost));
    }
    paths
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Fast,
    Slow,
    Stalled,
}

impl Reader {
    const ALL: [(&str, Self); 3] =
        [("fast", Self::Fast), ("slow", Self::Slow), ("stalls for 5 s", Self::Stalled)];

    fn pace(self) -> Pace {
        match self {
            Self::Slow => Pace::Throttled { bytes: 512, every: 100 * MS },
            _ => Pace::Prompt,
        }
    }
}

/// The values that one session was shown.
pub(crate) struct Seen {
    pub(crate) ages: Histogram<u64>,
    pub(crate) values: u64,
    instruments: usize,
}

/// The outcome of one path and reader, with the window and without.
pub(crate) struct Cell {
    pub(crate) path: &'static str,
    pub(crate) reader: &'static str,
    pub(crate) on: Seen,
    pub(crate) off: Seen,
}

async fn session(address: String, instruments: u32, reader: Reader) -> Seen {
    let mut client = client(&address, instruments, reader.pace()).await;
    let begun = unix_now();
    client.seen.shown = Some(Shown::new(begun + WARM_UP.as_nanos() as u64));
    read(&mut client, reader).await;
    let shown = client.seen.shown.take().unwrap();
    assert_eq!(client.seen.violations, [""; 0]);
    let values = shown.values;
    let (ages, instruments) = shown.ages(unix_now());
    Seen { ages, values, instruments }
}

async fn read(client: &mut StockClient, reader: Reader) {
    let pace = reader.pace();
    if reader == Reader::Stalled {
        client.read_for(pace, STALL[0]).await.unwrap();
        tokio::time::sleep(STALL[1]).await;
        client.read_for(pace, STALL[2]).await.unwrap();
    } else {
        client.read_for(pace, TIME).await.unwrap();
    }
}

/// Measures one path: the same link twice.
async fn cell(
    (path, link): (&'static str, Link),
    (reader, how): (&'static str, Reader),
    servers: [std::net::SocketAddr; 2],
    instruments: u32,
) -> Cell {
    let on = DelayProxy::start(servers[0], link).await.unwrap();
    let off = DelayProxy::start(servers[1], link).await.unwrap();
    let (on_seen, off_seen) = tokio::join!(
        session(on.address().to_string(), instruments, how),
        session(off.address().to_string(), instruments, how)
    );
    Cell { path, reader, on: on_seen, off: off_seen }
}

/// Returns what is wrong with it.
fn judge(cell: &Cell, once: Duration, longest: Duration) -> Vec<String> {
    let mut wrong = Vec::new();
    let (on, off) = (&cell.on, &cell.off);
    let is_stalled = cell.reader.starts_with("stalls");
    let is_newer = age_at(&on.ages, 0.5) * 2 < age_at(&off.ages, 0.5);
    let amount = on.values as f64 / off.values as f64;
    // A stalled reader finds old values without the window, and new ones with it: the former are no gain.
    let amount_min = if is_newer || is_stalled { 0.7 } else { 0.95 };
    if amount < amount_min {
        wrong.push(format!("{:.0} % of the values", 100.0 * amount));
    }
    if on.instruments < off.instruments {
        wrong.push(format!("{} instruments of {}", on.instruments, off.instruments));
    }
    let once = once + if is_stalled { longest } else { Duration::ZERO };
    for (quantile, slack) in [(0.5, 40 * MS + once / 4), (0.99, 100 * MS + once), (1.0, 250 * MS + once * 2)]
    {
        let (a, b) = (age_at(&on.ages, quantile), age_at(&off.ages, quantile));
        if a > b.mul_f64(1.15) + slack {
            wrong.push(format!("age {a:?} instead of {b:?} at {quantile}"));
        }
    }
    wrong
}

fn table(cells: &[Cell]) -> String {
    let mut text = String::from(
        "| path | reader | p50 on / off | p99 on / off | most on / off | values on / off |\n| --- | --- | ---: | ---: | ---: | ---: |\n",
    );
    for cell in cells {
        let age = |quantile| {
            let seconds = |seen: &Seen| age_at(&seen.ages, quantile).as_secs_f64();
            format!("{:.2} / {:.2} s", seconds(&cell.on), seconds(&cell.off))
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} / {} |",
            cell.path,
            cell.reader,
            age(0.5),
            age(0.99),
            age(1.0),
            cell.on.values,
            cell.off.values
        );
    }
    text
}

#[test]
#[ignore = "a minute, in a release build: scripts/test-sockets.sh"]
fn leave_no_session_worse_off_than_without_a_window() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let cells = local.block_on(&runtime, async {
        let plan = Plan { instruments: 40, updates: 10, ..Plan::default() };
        let with = Server::start(plan).await;
        let without = with.beside(Plan { is_windowless: true, ..plan }).await;
        let servers = [with.socket_address(), without.socket_address()];
        let mut running = Vec::new();
        for (path, link, _) in paths() {
            for reader in Reader::ALL {
                let cell = cell((path, link), reader, servers, plan.instruments);
                running.push(tokio::task::spawn_local(cell));
            }
        }
        let mut cells = Vec::new();
        for cell in running {
            cells.push(cell.await.unwrap());
        }
        cells
    });
    let text = table(&cells);
    println!("{text}");
    if let Some(folder) = std::env::var_os(WRITE) {
        let folder = Path::new(&folder);
        std::fs::write(folder.join("paths.md"), &text).unwrap();
        picture::draw(&cells, &folder.join("paths.svg"));
    }
    let paths = paths();
    let costs = |cell: &Cell| {
        paths.iter().find(|(name, ..)| *name == cell.path).map_or((MS, MS), |(_, link, once)| {
            let varied = match link.variation {
                Variation::Lumps(most)
                | Variation::Jitter(most)
                | Variation::Wave(most, _)
                | Variation::Lossy(_, most) => most,
                Variation::None => Duration::ZERO,
            };
            (*once, link.delay + link.back + varied)
        })
    };
    let wrong: Vec<_> = cells
        .iter()
        .flat_map(|cell| {
            let (once, longest) = costs(cell);
            judge(cell, once, longest)
                .into_iter()
                .map(move |text| format!("{} / {}: {text}", cell.path, cell.reader))
        })
        .collect();
    assert!(wrong.is_empty(), "worse off with the window:\n{}", wrong.join("\n"));
}
