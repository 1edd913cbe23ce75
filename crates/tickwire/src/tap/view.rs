//! Draws the board: a table, a ladder where there is one book, and what is to be said at the bottom.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};
use tickwire_client::{price_text, size_text};
use tickwire_wire::{BookState, Level, Scale};

use super::board::{Board, Life, Row};
use crate::printing::printable;

/// Levels of a side in a ladder.
const LADDER_LEVELS_MAX: usize = 15;
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// A column: its head, and whether it gives way on a narrow terminal (the highest first; 0: never).
const COLUMNS: [(&str, u8); 11] = [
    ("symbol", 0),
    ("bid size", 3),
    ("bid", 0),
    ("ask", 0),
    ("ask size", 3),
    ("last trade", 4),
    ("upd/s", 2),
    ("event→here", 5),
    ("gw→here", 6),
    ("age", 1),
    ("state", 0),
];

/// Draws everything, and returns the first row that is shown: `first`, unless the end would leave room.
/// `now` is in nanoseconds since the Unix epoch.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, now: u64, first: usize) -> usize {
    let notices = board.notices().count() as u16;
    let ladder = match board.rows() {
        [only] => only.book.as_ref().map(|book| (only, book)),
        _ => None,
    };
    let table_height = if ladder.is_some() { Constraint::Length(2) } else { Constraint::Fill(1) };
    let ladder_height = if ladder.is_some() { Constraint::Fill(1) } else { Constraint::Length(0) };
    let areas = Layout::vertical([
        Constraint::Length(1),
        table_height,
        ladder_height,
        Constraint::Length(notices),
        Constraint::Length(1),
    ]);
    let [title, table, ladder_area, notices_area, foot] = areas.areas(frame.area());
    let room = usize::from(table.height.saturating_sub(1));
    let first = first.min(board.rows().len().saturating_sub(room));
    let visible = &board.rows()[first..];
    let visible = &visible[..visible.len().min(room)];
    frame.render_widget(Paragraph::new(Line::styled(board.title.as_str(), BOLD)), title);
    draw_rows(frame, table, board, visible, now);
    if let Some((row, book)) = ladder {
        draw_ladder(frame, ladder_area, &row.scale, book, board.life(row).is_dead());
    }
    frame.render_widget(Paragraph::new(board.notices().map(Line::from).collect::<Vec<_>>()), notices_area);
    let shown = (first, visible.len(), board.rows().len());
    frame.render_widget(Paragraph::new(foot_line(board, shown)), foot);
    first
}

fn foot_line(board: &Board, (first, shown, rows): (usize, usize, usize)) -> Line<'static> {
    let mut parts = vec![format!("{:.0} records/s", board.record_rate)];
    if board.bytes.is_some() {
        parts.push(format!("{}/s", bytes_text(board.byte_rate)));
    }
    parts.push(format!("{} gaps", board.gaps));
    if shown < rows {
        parts.push(format!("symbols {} to {} of {rows} (↑ ↓ PgUp PgDn)", first + 1, first + shown));
    }
    parts.push("q ends".to_owned());
    Line::styled(parts.join("   "), DIM)
}

fn draw_rows(frame: &mut Frame<'_>, area: Rect, board: &Board, rows: &[Row], now: u64) {
    let lives: Vec<_> = rows.iter().map(|row| board.life(row)).collect();
    let cells: Vec<_> = rows.iter().zip(&lives).map(|(row, life)| cells(row, life, now)).collect();
    let widest = |at: usize, head: &str| {
        let widths = cells.iter().map(|cells| cells[at].chars().count());
        widths.chain([head.chars().count()]).max().unwrap_or(0)
    };
    let mut columns: Vec<_> = COLUMNS
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 5 || rows.iter().any(|row| row.trade.is_some()))
        .map(|(at, (head, priority))| (at, *head, *priority, widest(at, head)))
        .collect();
    let width =
        |columns: &[(usize, &str, u8, usize)]| columns.iter().map(|column| column.3 + 2).sum::<usize>();
    while width(&columns) > usize::from(area.width) + 2 {
        match columns.iter().map(|column| column.2).max().filter(|priority| *priority > 0) {
            Some(least) => columns.retain(|column| column.2 != least),
            None => break,
        }
    }
    let is_left = |at: usize| at == 0 || at == COLUMNS.len() - 1;
    let cell = |at: usize, text: &str, style: Style| {
        let line = Line::styled(text.to_owned(), style);
        Cell::from(if is_left(at) { line } else { line.right_aligned() })
    };
    let head = TableRow::new(columns.iter().map(|column| cell(column.0, column.1, DIM)));
    let body = cells.iter().zip(&lives).map(|(texts, life)| {
        let style = |at: usize| if at == COLUMNS.len() - 1 { state_style(life) } else { row_style(life) };
        TableRow::new(columns.iter().map(|(at, ..)| cell(*at, &texts[*at], style(*at))))
    });
    let widths = columns.iter().map(|column| Constraint::Length(column.3 as u16));
    frame.render_widget(Table::new(body, widths).header(head).column_spacing(2), area);
}

fn row_style(life: &Life) -> Style {
    if life.is_dead() { DIM } else { Style::new() }
}

fn state_style(life: &Life) -> Style {
    match life {
        Life::Live => Style::new().fg(Color::Green),
        Life::Waiting | Life::Recorded | Life::Ended => DIM,
        Life::Delayed(_) | Life::Halted(_) => Style::new().fg(Color::Yellow),
        Life::Gap | Life::Stale => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

/// Returns the texts of a row, one for each of [`COLUMNS`].
fn cells(row: &Row, life: &Life, now: u64) -> [String; COLUMNS.len()] {
    let best = row.best();
    let price =
        |level: Option<Level>| level.map_or_else(String::new, |level| price_text(&row.scale, level.price));
    let size =
        |level: Option<Level>| level.map_or_else(String::new, |level| size_text(&row.scale, level.size));
    let trade =
        |(price, size)| format!("{} x {}", price_text(&row.scale, price), size_text(&row.scale, size));
    let time = |ns: Option<i64>| ns.map_or_else(String::new, duration_text);
    let age = (row.updated_at > 0).then(|| now.saturating_sub(row.updated_at) as i64);
    let delayed = match life {
        Life::Delayed(ms) => delay_text(*ms),
        _ => String::new(),
    };
    let state = match life {
        Life::Live => "live",
        Life::Delayed(_) => &delayed,
        Life::Waiting => "waiting",
        Life::Halted(state) => state,
        Life::Gap => "GAP",
        Life::Stale => "STALE",
        Life::Recorded => "recorded",
        Life::Ended => "ended",
    };
    // How late a recording is against the clock here says nothing.
    let is_recorded = *life == Life::Recorded;
    [
        printable(&row.scale.symbol),
        size(best.bid),
        price(best.bid),
        price(best.ask),
        size(best.ask),
        row.trade.map(trade).unwrap_or_default(),
        if is_recorded { String::new() } else { format!("{:.0}", row.rate) },
        time(row.event_latency.filter(|_| !is_recorded)),
        time(row.gateway_latency.filter(|_| !is_recorded)),
        time(age),
        state.to_owned(),
    ]
}

/// Says a delay as people do: in minutes, where it is some.
fn delay_text(ms: u64) -> String {
    match ms {
        ms if ms.is_multiple_of(60_000) => format!("delayed {} min", ms / 60_000),
        ms if ms.is_multiple_of(1_000) => format!("delayed {} s", ms / 1_000),
        ms => format!("delayed {ms} ms"),
    }
}

fn draw_ladder(frame: &mut Frame<'_>, area: Rect, scale: &Scale, book: &BookState, is_dead: bool) {
    let height = usize::from(area.height.saturating_sub(2)).min(LADDER_LEVELS_MAX);
    let texts = |level: Level| (price_text(scale, level.price), size_text(scale, level.size));
    let bids: Vec<_> = book.bids().take(height).map(texts).collect();
    let asks: Vec<_> = book.asks().take(height).map(texts).collect();
    let width = |text: fn(&(String, String)) -> &String, least: usize| {
        bids.iter().chain(&asks).map(|level| text(level).chars().count()).max().unwrap_or(0).max(least)
    };
    let (price, size) = (width(|level| &level.0, 5), width(|level| &level.1, 8));
    let head = format!("{:>size$}  {:>price$}  {:<price$}  {:<size$}", "bid size", "bid", "ask", "ask size");
    let mut lines = vec![Line::default(), Line::styled(head, DIM)];
    let (green, red) = (Style::new().fg(Color::Green), Style::new().fg(Color::Red));
    let empty = (String::new(), String::new());
    for at in 0..bids.len().max(asks.len()) {
        let (bid, ask) = (bids.get(at).unwrap_or(&empty), asks.get(at).unwrap_or(&empty));
        let (left, right) = (
            format!("{:>size$}  {:>price$}  ", bid.1, bid.0),
            format!("{:<price$}  {:<size$}", ask.0, ask.1),
        );
        lines.push(if is_dead {
            Line::styled(left + &right, DIM)
        } else {
            Line::from(vec![Span::styled(left, green), Span::styled(right, red)])
        });
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Returns nanoseconds in at most four digits and a unit.
fn duration_text(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    let text = match ns {
        0..1_000_000 => format!("{} µs", ns / 1000),
        1_000_000..10_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        1_000_000_000..10_000_000_000 => format!("{:.1} s", ns as f64 / 1e9),
        10_000_000_000..120_000_000_000 => format!("{} s", ns / 1_000_000_000),
        120_000_000_000..7_200_000_000_000 => format!("{} min", ns / 60_000_000_000),
        7_200_000_000_000..172_800_000_000_000 => format!("{} h", ns / 3_600_000_000_000),
        _ => format!("{} d", ns / 86_400_000_000_000),
    };
    format!("{sign}{text}")
}

fn bytes_text(bytes: f64) -> String {
    match bytes {
        ..1e4 => format!("{bytes:.0} B"),
        ..1e7 => format!("{:.0} kB", bytes / 1e3),
        _ => format!("{:.0} MB", bytes / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use tickwire_client::Event;
    use tickwire_wire::{Body, Book, Channel, FeedState, GapCause, Trade};

    use super::*;
    use crate::tap::recorder::tests::{connected, feed, gap, level, quote, record, subscribed};

    const NOW: u64 = 3_000_000;

    fn board(events: &[Event]) -> Board {
        let mut board = Board::default();
        board.bytes = Some(2_000_000);
        for event in [connected(), subscribed(&[Channel::Quote])].iter().chain(events) {
            board.event(event, Some(100_500), 1_001_000);
        }
        board.measure(1.0);
        board
    }

    fn terminal(board: &Board, width: u16, height: u16) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        // Scrolling beyond the end shows the end.
        terminal.draw(|frame| assert_eq!(draw(frame, board, NOW, 9), 0)).unwrap();
        terminal
    }

    #[track_caller]
    fn check(board: &Board, width: u16, expected: &[&str]) {
        let terminal = terminal(board, width, expected.len() as u16);
        let buffer = terminal.backend().buffer();
        let lines: Vec<String> = (0..buffer.area.height)
            .map(|y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>())
            .collect();
        let lines: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
        assert_eq!(lines, expected);
    }

    fn trade() -> Event {
        record(8, Body::Trade(Trade { price: 9960, size: 1500, ..Trade::default() }))
    }

    #[test]
    fn a_table() {
        check(
            &board(&[quote(7), trade()]),
            110,
            &[
                "127.0.0.1:7400  session s-1",
                "symbol   bid size    bid     ask  ask size     last trade  upd/s  event→here  gw→here     age  state",
                "sim:A B     1.000  99.50  100.00     0.020  99.60 x 1.500      2      1.0 ms   900 µs  2.0 ms  live",
                "",
                "2 records/s   2000 kB/s   0 gaps   q ends",
            ],
        );
    }

    #[test]
    fn narrow_terminals_keep_what_matters() {
        let board = board(&[quote(7), trade()]);
        check(
            &board,
            68,
            &[
                "127.0.0.1:7400  session s-1",
                "symbol   bid size    bid     ask  ask size  upd/s     age  state",
                "sim:A B     1.000  99.50  100.00     0.020      2  2.0 ms  live",
                "2 records/s   2000 kB/s   0 gaps   q ends",
            ],
        );
        check(
            &board,
            30,
            &[
                "127.0.0.1:7400  session s-1",
                "symbol     bid     ask  state",
                "sim:A B  99.50  100.00  live",
                "2 records/s   2000 kB/s   0 ga",
            ],
        );
    }

    #[test]
    fn dead_prices_are_dimmed_and_marked() {
        let lost = gap(Channel::Quote, 8, Some(9), GapCause::Bus);
        let cases = [(feed(FeedState::Stale, "paused"), "STALE"), (lost, "GAP")];
        for (event, mark) in cases {
            let terminal = terminal(&board(&[quote(7), event]), 80, 6);
            let buffer = terminal.backend().buffer();
            let row: String = (0..80).map(|x| buffer[(x, 2)].symbol()).collect();
            assert!(row.trim_end().ends_with(mark), "{row}");
            let at = row.find("99.50").unwrap() as u16;
            assert!(buffer[(at, 2)].modifier.contains(Modifier::DIM), "{row}");
        }
        let terminal = terminal(&board(&[quote(7)]), 80, 6);
        assert!(!terminal.backend().buffer()[(20, 2)].modifier.contains(Modifier::DIM));
    }

    #[test]
    fn one_book_is_a_ladder() {
        let book = Book {
            snapshot: true,
            bids: vec![level(9950, 1000), level(9900, 500)],
            asks: vec![level(10_000, 20)],
            ..Book::default()
        };
        check(
            &board(&[record(9, Body::Book(book))]),
            90,
            &[
                "127.0.0.1:7400  session s-1",
                "symbol   bid size    bid     ask  ask size  upd/s  event→here  gw→here     age  state",
                "sim:A B     1.000  99.50  100.00     0.020      1      1.0 ms   900 µs  2.0 ms  live",
                "",
                "bid size     bid  ask     ask size",
                "   1.000   99.50  100.00  0.020",
                "   0.500   99.00",
                "1 records/s   2000 kB/s   0 gaps   q ends",
            ],
        );
    }

    #[test]
    fn notices_are_at_the_bottom() {
        let events =
            [quote(7), gap(Channel::Trade, 8, Some(9), GapCause::Shed), feed(FeedState::Down, "gone")];
        check(
            &board(&events),
            60,
            &[
                "127.0.0.1:7400  session s-1",
                "symbol     bid     ask  upd/s     age  state",
                "sim:A B  99.50  100.00      1  2.0 ms  STALE",
                "gap trade sim:A B from 8 to 9, cause shed: the gateway dropp",
                "feed sim is down: gone",
                "1 records/s   2000 kB/s   1 gaps   q ends",
            ],
        );
    }

    #[test]
    fn durations() {
        let cases = [
            (0, "0 µs"),
            (850_000, "850 µs"),
            (1_234_000, "1.2 ms"),
            (85_000_000, "85 ms"),
            (1_234_000_000, "1.2 s"),
            (100_000_000_000, "100 s"),
            (600_000_000_000, "10 min"),
            (86_400_000_000_000, "24 h"),
            (864_000_000_000_000, "10 d"),
            (-2_500_000, "-2.5 ms"),
        ];
        for (ns, expected) in cases {
            assert_eq!(duration_text(ns), expected);
        }
        assert_eq!([9_999.0, 1e5, 2e7].map(bytes_text), ["9999 B", "100 kB", "20 MB"]);
        assert_eq!(printable("sim:\u{1b}[2J"), "sim:?[2J");
    }
}
