//! Draws the sessions: a table in a terminal, or the same as lines of text.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};

use super::model::{Model, Row, State};
use crate::printing::printable;

const HEADS: [&str; 11] = [
    "state",
    "session",
    "peer",
    "principal",
    "encoding",
    "open",
    "subs",
    "owed",
    "delivered/s",
    "conflated",
    "dropped/s",
];
/// The columns that stand to the left; numbers stand to the right.
const LEFT: usize = 5;
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

fn cells(row: &Row) -> [String; HEADS.len()] {
    let of = &row.session;
    [
        state(of.state).to_owned(),
        printable(&of.id),
        of.peer.clone().unwrap_or_else(|| "-".to_owned()),
        printable(&of.principal),
        of.encoding.clone(),
        age(of.age_ms / 1_000),
        of.subscriptions.to_string(),
        bytes(of.pressure_bytes.total),
        format!("{:.0}", row.delivered_rate),
        format!("{:.0} %", row.conflated_share * 100.0),
        format!("{:.1}", row.dropped_rate),
    ]
}

fn state(state: State) -> &'static str {
    match state {
        State::Prompt => "prompt",
        State::Conflating => "conflating",
        State::Shedding => "shedding",
        State::Closing => "closing",
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", count as f64 / 1_024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// Returns the lines above the table: the gateway, and its sessions by state.
fn summary(model: &Model) -> [String; 2] {
    let of = &model.readiness;
    let ready = if of.draining {
        "draining"
    } else if of.ready {
        "ready"
    } else {
        "not ready"
    };
    let feeds: Vec<_> =
        of.feeds.iter().map(|(venue, state)| format!("{} {state}", printable(venue))).collect();
    let feeds = if feeds.is_empty() { "none".to_owned() } else { feeds.join(", ") };
    let [prompt, conflating, shedding, closing] = model.states;
    let more = if model.has_more { " (there are more, which were not looked at)" } else { "" };
    [
        format!("{ready}   bus {}   feeds: {feeds}", printable(&of.bus)),
        format!(
            "{} sessions{more}: {closing} closing, {shedding} shedding, {conflating} conflating, {prompt} prompt",
            model.sessions()
        ),
    ]
}

/// Returns the table as text.
pub(super) fn text(model: &Model) -> String {
    let rows: Vec<_> = model.rows.iter().map(cells).collect();
    let widths: Vec<_> = HEADS
        .iter()
        .enumerate()
        .map(|(at, head)| {
            rows.iter().map(|row| row[at].chars().count()).chain([head.len()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate();
        let cells = cells.map(
            |(at, (text, width))| {
                if at < LEFT { format!("{text:<width$}") } else { format!("{text:>width$}") }
            },
        );
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = summary(model).to_vec();
    lines.push(line(&HEADS.map(str::to_owned)));
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// Draws everything, and returns the first row that is shown: `first`, unless the end would leave room.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    model: &Model,
    url: &str,
    trouble: Option<&str>,
    first: usize,
) -> usize {
    let areas = [Constraint::Length(3), Constraint::Fill(1), Constraint::Length(1)];
    let [top, middle, bottom] = Layout::vertical(areas).areas(frame.area());
    let room = usize::from(middle.height.saturating_sub(1));
    let first = first.min(model.rows.len().saturating_sub(room));
    let mut lines = vec![Line::styled(url.to_owned(), BOLD)];
    lines.extend(summary(model).map(Line::from));
    frame.render_widget(Paragraph::new(lines), top);
    let rows: Vec<_> = model.rows.iter().skip(first).take(room).collect();
    let texts: Vec<_> = rows.iter().map(|row| cells(row)).collect();
    let widths = HEADS.iter().enumerate().map(|(at, head)| {
        let widest = texts.iter().map(|row| row[at].chars().count()).chain([head.len()]).max().unwrap_or(0);
        Constraint::Length(widest as u16)
    });
    let aligned = |at: usize, text: &str| {
        let line = Line::from(text.to_owned());
        Cell::from(if at < LEFT { line } else { line.right_aligned() })
    };
    let body = rows.iter().zip(&texts).map(|(row, texts)| {
        let cells = texts.iter().enumerate().map(|(at, text)| aligned(at, text));
        TableRow::new(cells).style(colour(row.session.state))
    });
    let head = TableRow::new(HEADS.iter().enumerate().map(|(at, head)| aligned(at, head))).style(DIM);
    frame.render_widget(Table::new(body, widths).header(head).column_spacing(2), middle);
    let foot = match trouble {
        Some(trouble) => Line::styled(printable(trouble), Style::new().fg(Color::Red)),
        None => {
            Line::styled(format!("{} of {} rows   ↑ ↓ PgUp PgDn   q ends", rows.len(), model.rows.len()), DIM)
        }
    };
    frame.render_widget(Paragraph::new(foot), bottom);
    first
}

fn colour(state: State) -> Style {
    match state {
        State::Prompt => Style::new(),
        State::Conflating => Style::new().fg(Color::Yellow),
        State::Shedding | State::Closing => Style::new().fg(Color::Red),
    }
}
