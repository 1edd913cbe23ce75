//! `tickwire inspect`: what is in recordings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{CellAlignment, Table, presets};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Sparkline, Widget as _};
use tickwire_recordings::contents::{self, Contents, Found, Slices};
use tickwire_recordings::{Hints, Recording};
use tickwire_wire::Channel;

use crate::cli::{InspectCommand, Settings};
use crate::incomplete::Incomplete;
use crate::printing::{printable, say};
use crate::recorded::{Reading, total_bytes};

/// The instruments that are shown; `--json` has all.
const INSTRUMENTS_MAX: usize = 40;
/// The height of the picture of the rate, in lines.
const PICTURE_LINES: u16 = 5;

/// Reads the recordings and says what is in them.
pub(crate) async fn run(settings: &Settings, command: InspectCommand) -> anyhow::Result<()> {
    let config = settings.load(&command.hints.settings())?;
    let hints = config.hints.clone();
    let all = tokio::task::spawn_blocking(move || inspect(&command.files, &hints)).await??;
    if command.json {
        let files: Vec<_> = all.iter().map(|(path, contents)| as_json(path, contents)).collect();
        say(serde_json::to_string_pretty(&files)?);
    } else {
        for (at, (path, contents)) in all.iter().enumerate() {
            if at > 0 {
                say("");
            }
            as_words(path, contents).iter().for_each(say);
        }
    }
    let faults: u64 = all.iter().map(|(_, contents)| contents.faults).sum();
    if faults > 0 {
        let reason = format!("{faults} places of the recordings could not be read");
        return Err(Incomplete::new("the inspection", reason).into());
    }
    Ok(())
}

fn inspect(files: &[PathBuf], hints: &Hints) -> anyhow::Result<Vec<(PathBuf, Contents)>> {
    let recordings = files.iter().map(|path| Recording::open(path, hints)).collect::<Result<Vec<_>, _>>()?;
    let bytes = Arc::default();
    let _bar = Reading::show(&bytes, total_bytes(&recordings));
    let read = |recording: &Recording| Ok((recording.path().to_owned(), contents::read(recording, &bytes)?));
    recordings.iter().map(read).collect()
}

/// Returns the contents of a file for programs.
pub(crate) fn as_json(path: &Path, contents: &Contents) -> serde_json::Value {
    let instrument = |found: &Found| {
        let definition = &found.definition;
        serde_json::json!({
            "symbol": definition.symbol,
            "price_decimals": definition.price_decimals,
            "size_decimals": definition.size_decimals,
            "tick_size": definition.tick_size,
            "lot_size": definition.lot_size,
            "statements": found.counts,
            "first": found.times.map(|times| time(times.0)),
            "last": found.times.map(|times| time(times.1)),
            "gaps": found.gaps,
            "longest_silence_ns": found.longest_silence.0,
        })
    };
    let faults = contents.first_faults.iter().map(|(place, reason)| format!("{place}: {reason}"));
    let pace = &contents.pace;
    serde_json::json!({
        "file": path.display().to_string(),
        "format": contents.format.name(),
        "venue": contents.venue,
        "bytes": contents.bytes,
        "records": contents.records,
        "statements": contents.statements,
        "first": contents.times.map(|times| time(times.0)),
        "last": contents.times.map(|times| time(times.1)),
        "gaps": gaps(contents),
        "steps_back": contents.steps_back,
        "unused": contents.unused,
        "faults": contents.faults,
        "first_faults": faults.collect::<Vec<_>>(),
        "instruments": contents.instruments.iter().map(instrument).collect::<Vec<_>>(),
        "rate": { "from_ns": pace.from, "slice_ns": pace.width, "statements": pace.counts },
    })
}

/// Returns the contents of a file for people.
pub(crate) fn as_words(path: &Path, contents: &Contents) -> Vec<String> {
    let Contents { records, statements, format, venue, bytes, .. } = contents;
    let instruments = contents.instruments.len();
    let mut lines = vec![
        format!("{}: {format} of {venue}, {bytes} bytes", path.display()),
        format!("{records} records make {statements} statements about {instruments} instruments"),
    ];
    if let Some((first, last)) = contents.times {
        let span = Duration::from_nanos(last - first);
        let rate = *statements as f64 / span.as_secs_f64().max(1.0);
        let span = humantime::format_duration(Duration::from_secs(span.as_secs()));
        lines.push(format!("{} to {}, {span}: {rate:.1} a second", time(first), time(last)));
        lines.extend(picture(&contents.pace));
    }
    if instruments > 0 {
        lines.extend(table(contents).lines());
    }
    if instruments > INSTRUMENTS_MAX {
        lines.push(format!("and {} instruments more; --json has them all", instruments - INSTRUMENTS_MAX));
    }
    let counted = [
        (gaps(contents), "gaps are told in the recording itself"),
        (contents.steps_back, "times the receive times went back"),
        (contents.faults, "places could not be read"),
    ];
    let odd = counted.iter().filter(|(count, _)| *count > 0);
    lines.extend(odd.map(|(count, what)| format!("{count} {what}")));
    lines.extend(contents.unused.iter().map(|(kind, count)| format!("not used: {count} {kind}")));
    lines
        .extend(contents.first_faults.iter().map(|(place, reason)| printable(&format!("{place}: {reason}"))));
    lines
}

fn gaps(contents: &Contents) -> u64 {
    contents.instruments.iter().map(|found| found.gaps).sum()
}

/// Draws the rate over time.
fn picture(pace: &Slices) -> Vec<String> {
    if pace.counts.len() < 2 {
        return Vec::new();
    }
    let area = Rect::new(0, 0, pace.counts.len() as u16, PICTURE_LINES);
    let mut buffer = Buffer::empty(area);
    Sparkline::default().data(&pace.counts).render(area, &mut buffer);
    let line = |y| (0..area.width).filter_map(|x| Some(buffer.cell((x, y))?.symbol())).collect::<String>();
    let mut lines: Vec<_> = (0..area.height).map(|y| line(y).trim_end().to_owned()).collect();
    let slice = humantime::format_duration(Duration::from_nanos(pace.width));
    let most = pace.counts.iter().max().copied().unwrap_or(0);
    lines.push(format!("each column is {slice}; the highest has {most} statements"));
    lines
}

fn table(contents: &Contents) -> Table {
    let present: BTreeSet<_> = contents.instruments.iter().flat_map(|found| found.counts.keys()).collect();
    let channels: Vec<_> =
        Channel::ALL.into_iter().map(Channel::name).filter(|name| present.contains(name)).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let heads = ["instrument", "decimals"].into_iter().chain(channels.iter().copied());
    table.set_header(heads.chain(["gaps", "longest silence"]));
    let mut busiest: Vec<_> = contents.instruments.iter().collect();
    busiest.sort_by_key(|found| std::cmp::Reverse(found.counts.values().sum::<u64>()));
    for found in busiest.into_iter().take(INSTRUMENTS_MAX) {
        let definition = &found.definition;
        let decimals = format!("{}, {}", definition.price_decimals, definition.size_decimals);
        let count = |channel: &&str| found.counts.get(channel).copied().unwrap_or(0).to_string();
        let (length, from) = found.longest_silence;
        let silence = match length {
            0 => String::new(),
            _ => format!("{:.3} s from {}", length as f64 / 1e9, time(from)),
        };
        let cells = [printable(&definition.symbol), decimals].into_iter().chain(channels.iter().map(count));
        table.add_row(cells.chain([found.gaps.to_string(), silence]));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Returns a time as people and programs read it.
fn time(ns: u64) -> String {
    // A wild time of a damaged file may lie beyond what a calendar has.
    let last = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(ns).min(last)).to_string()
}
