//! The status of a symbol: one record says whether it trades and whether its book can be had.

use tickwire_wire::{Channel, Status, TradingState};

/// The words of a status when a book cannot be shown.
const BOOK_WAITS: &str = "the book waits for a snapshot";
/// The words of a status when the venue granted a subscription and then sent nothing.
const NO_DATA: &str = "no data since the subscription";

/// The last status record of a symbol, and what the next one would say.
#[derive(Debug, Default)]
pub(crate) struct StatusBoard {
    state: TradingState,
    /// The venue's words.
    words: String,
    is_waiting: bool,
    /// The channels that were subscribed to and never brought anything, in the order of their names in the reason.
    silent: Vec<Channel>,
}

impl StatusBoard {
    /// Takes what the venue says, and which state that is; returns the record where that is new.
    pub(crate) fn venue_says(&mut self, words: &str, state: TradingState) -> Option<Status> {
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

    /// Takes whether a channel that was subscribed to brought nothing; returns the record where that is new.
    pub(crate) fn is_silent(&mut self, channel: Channel, is_silent: bool) -> Option<Status> {
        let place = self.silent.iter().position(|silent| *silent == channel);
        match place {
            None if is_silent => self.silent.push(channel),
            Some(at) if !is_silent => drop(self.silent.remove(at)),
            _ => return None,
        }
        Some(self.status())
    }

    fn status(&self) -> Status {
        let mut reason = self.words.clone();
        let mut add = |words: &str| {
            if !reason.is_empty() {
                reason.push_str("; ");
            }
            reason.push_str(words);
        };
        if self.is_waiting {
            add(BOOK_WAITS);
        }
        if !self.silent.is_empty() {
            let names: Vec<_> = self.silent.iter().map(|channel| channel.name()).collect();
            add(&format!("{NO_DATA} ({})", names.join(", ")));
        }
        Status { state: self.state.into(), reason }
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
        assert_eq!(board.venue_says("BREAK", TradingState::Halted), status(TradingState::Halted, both));
        assert_eq!(board.venue_says("BREAK", TradingState::Halted), None);
        assert_eq!(board.book_waits(false), status(TradingState::Halted, "BREAK"));
        assert_eq!(board.venue_says("TRADING", TradingState::Open), status(TradingState::Open, "TRADING"));
        assert_eq!(board.venue_says("ODD", TradingState::Unknown), status(TradingState::Unknown, "ODD"));
    }

    #[test]
    fn silent_channels_are_named_until_they_speak() {
        let mut board = StatusBoard::default();
        let reason = |status: Option<Status>| status.map(|status| status.reason);
        let words = |words: &str| Some(words.to_owned());
        assert_eq!(reason(board.is_silent(Channel::Trade, false)), None);
        assert_eq!(
            reason(board.is_silent(Channel::Trade, true)),
            words("no data since the subscription (trade)")
        );
        assert_eq!(reason(board.is_silent(Channel::Trade, true)), None);
        board.venue_says("BREAK", TradingState::Halted);
        board.book_waits(true);
        let all = "BREAK; the book waits for a snapshot; no data since the subscription (trade, quote)";
        assert_eq!(reason(board.is_silent(Channel::Quote, true)), words(all));
        board.is_silent(Channel::Trade, false);
        board.book_waits(false);
        assert_eq!(reason(board.is_silent(Channel::Quote, false)), words("BREAK"));
    }
}
