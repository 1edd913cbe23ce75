//! The terminal while a table is on it. It is given back when this is dropped, and by a hook when something panics.

use std::io;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt as _;
use ratatui::DefaultTerminal;

use super::board::Board;
use super::view;

/// A key command of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    Quit,
    Redraw,
}

/// A terminal in raw mode, on its alternate screen.
pub(super) struct Screen {
    pub(super) board: Board,
    terminal: DefaultTerminal,
    keys: EventStream,
    /// First row that is shown.
    first: usize,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        Ok(Self { board: Board::default(), terminal, keys: EventStream::new(), first: 0 })
    }

    /// `now` is in nanoseconds since the Unix epoch.
    pub(super) fn draw(&mut self, now: u64) -> io::Result<()> {
        let Self { board, terminal, first, .. } = self;
        terminal.draw(|frame| *first = view::draw(frame, board, now, *first)).map(|_| ())
    }

    /// Returns at the next key that means something here, or when the screen has another size.
    ///
    /// # Cancel safety
    /// Cancel safe: a key that was not returned is still there.
    pub(super) async fn pressed(&mut self) -> Pressed {
        loop {
            match self.keys.next().await {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    if let Some(pressed) = self.key(key) {
                        return pressed;
                    }
                }
                Some(Ok(Event::Resize(..))) => return Pressed::Redraw,
                Some(Ok(_)) => {}
                // Without a keyboard there are still signals.
                Some(Err(_)) | None => std::future::pending().await,
            }
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Pressed> {
        let rows = self.board.rows().len();
        let page = self.terminal.size().map_or(20, |size| usize::from(size.height).saturating_sub(8).max(1));
        self.first = match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Pressed::Quit),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Some(Pressed::Quit);
            }
            KeyCode::Up => self.first.saturating_sub(1),
            KeyCode::Down => self.first + 1,
            KeyCode::PageUp => self.first.saturating_sub(page),
            KeyCode::PageDown => self.first + page,
            KeyCode::Home => 0,
            KeyCode::End => rows.saturating_sub(page),
            _ => return None,
        };
        self.first = self.first.min(rows.saturating_sub(1));
        Some(Pressed::Redraw)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
