//! The status of a symbol: one record says whether it trades and whether its book can be had.

use tickwire_wire::{Status, TradingState};

/// The words of a status when a book cannot be shown.
const BOOK_WAITS: &str = "the book waits for a snapshot";

/// The last status record of a symbol, and what the next one would say.
#[derive(Debug, Default)]
pub(crate) struct StatusBoard {
    state: TradingState,
    /// The venue's words.
    words: String,
    is_waiting: bool,
}

impl StatusBoard {
    /// Takes what the venue says; returns the record where that is new.
    pub(crate) fn venue_says(&mut self, words: &str) -> Option<Status> {
        let state = trading_state(words);
        if (self.state, self.words.as_str()) == (state, words) {
            return None;
        }
        self.state = state;
        words.clone_into(&mut self.words);
        Some(self.status())
    }

    /// Takes whether the book is told as waiting; returns the record where that is new. The state of trading stays as
    /// it is.
    pub(crate) fn book_waits(&mut self, is_waiting: bool) -> Option<Status> {
        (std::mem::replace(&mut self.is_waiting, is_waiting) != is_waiting).then(|| self.status())
    }

    fn status(&self) -> Status {
        let reason = match (self.words.as_str(), self.is_waiting) {
            (words, false) => words.to_owned(),
            ("", true) => BOOK_WAITS.to_owned(),
            (words, true) => format!("{words}; {BOOK_WAITS}"),
        };
        Status { state: self.state.into(), reason }
    }
}

/// Reads `status` and `contractStatus` of `exchangeInfo`.
fn trading_state(words: &str) -> TradingState {
    match words {
        "TRADING" => TradingState::Open,
        "PRE_TRADING" | "PENDING_TRADING" => TradingState::PreOpen,
        "AUCTION_MATCH" => TradingState::Auction,
        "HALT" | "BREAK" => TradingState::Halted,
        "POST_TRADING" | "END_OF_DAY" | "PRE_DELIVERING" | "DELIVERING" | "DELIVERED" | "PRE_SETTLE"
        | "SETTLING" | "CLOSE" => TradingState::Closed,
        _ => TradingState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_book_leaves_the_venues_state_as_it_is() {
        let mut board = StatusBoard::default();
        let status = |state: TradingState, reason: &str| {
            Some(Status { state: state.into(), reason: reason.to_owned() })
        };
        assert_eq!(board.book_waits(false), None);
        assert_eq!(board.book_waits(true), status(TradingState::Unknown, BOOK_WAITS));
        assert_eq!(board.book_waits(true), None);
        let both = "BREAK; the book waits for a snapshot";
        assert_eq!(board.venue_says("BREAK"), status(TradingState::Halted, both));
        assert_eq!(board.venue_says("BREAK"), None);
        assert_eq!(board.book_waits(false), status(TradingState::Halted, "BREAK"));
        assert_eq!(board.venue_says("TRADING"), status(TradingState::Open, "TRADING"));
        assert_eq!(board.venue_says("ODD"), status(TradingState::Unknown, "ODD"));
    }
}
