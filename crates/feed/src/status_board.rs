//! The status of a symbol: one record says whether it trades and whether its book can be had.

use tickwire_wire::{Channel, Status, TradingState};

use crate::supply::Supply;

/// The words of a status when a book cannot be shown.
const BOOK_WAITS: &str = "the book waits for a snapshot";
/// The words of a status when the venue granted a subscription and then sent nothing.
const NO_DATA: &str = "no data since the subscription";
/// The words of a status when the connection that brings a channel is lost, and no gap says so.
const LOST: &str = "the connection is lost";

/// The words of a status when the venue refused a subscription.
const REFUSED: &str = "the venue refused the subscription";

/// The last status record of a symbol, and what the next one would say.
#[derive(Debug, Default)]
pub(crate) struct StatusBoard {
    state: TradingState,
    /// The venue's words.
    words: String,
    is_waiting: bool,
    /// The channels that were subscribed to and never brought anything, in the order of their names in the reason.
    silent: Vec<Channel>,
    /// The channels whose connection is lost, likewise.
    lost: Vec<Channel>,
    /// The channels to which subscriptions were refused, and why.
    refused: Vec<(Channel, String)>,
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

    /// Takes a change in the supply of a channel; returns the record where that is new.
    pub(crate) fn supply(&mut self, channel: Channel, supply: Supply<'_>) -> Option<Status> {
        let is_new = match supply {
            Supply::Lost => note(&mut self.lost, channel, true),
            // What is in force is neither lost nor refused.
            Supply::Back => note(&mut self.lost, channel, false) | self.is_refused(channel, None),
            Supply::Silent => note(&mut self.silent, channel, true),
            Supply::Speaking => note(&mut self.silent, channel, false),
            Supply::Refused(reason) => self.is_refused(channel, Some(reason)),
        };
        is_new.then(|| self.status())
    }

    /// Takes why the subscription to a channel was refused, or that it is not any more; returns whether that is new.
    fn is_refused(&mut self, channel: Channel, reason: Option<&str>) -> bool {
        let before = self.refused.iter().position(|(known, _)| *known == channel);
        let before = before.map(|at| self.refused.remove(at).1);
        self.refused.extend(reason.map(|reason| (channel, reason.to_owned())));
        before.as_deref() != reason
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
        for (channels, words) in [(&self.silent, NO_DATA), (&self.lost, LOST)] {
            if !channels.is_empty() {
                let names: Vec<_> = channels.iter().map(|channel| channel.name()).collect();
                add(&format!("{words} ({})", names.join(", ")));
            }
        }
        for (channel, why) in &self.refused {
            add(&format!("{REFUSED} ({}: {why})", channel.name()));
        }
        Status { state: self.state.into(), reason }
    }
}

/// Puts a channel into a list, or takes it out; returns whether that changed the list.
fn note(channels: &mut Vec<Channel>, channel: Channel, is_in: bool) -> bool {
    let place = channels.iter().position(|known| *known == channel);
    match place {
        None if is_in => channels.push(channel),
        Some(at) if !is_in => drop(channels.remove(at)),
        _ => return false,
    }
    true
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
        assert_eq!(reason(board.supply(Channel::Trade, Supply::Speaking)), None);
        assert_eq!(
            reason(board.supply(Channel::Trade, Supply::Silent)),
            words("no data since the subscription (trade)")
        );
        assert_eq!(reason(board.supply(Channel::Trade, Supply::Silent)), None);
        board.venue_says("BREAK", TradingState::Halted);
        board.book_waits(true);
        let all = "BREAK; the book waits for a snapshot; no data since the subscription (trade, quote)";
        assert_eq!(reason(board.supply(Channel::Quote, Supply::Silent)), words(all));
        board.supply(Channel::Trade, Supply::Speaking);
        board.book_waits(false);
        assert_eq!(reason(board.supply(Channel::Quote, Supply::Speaking)), words("BREAK"));
    }
    #[test]
    fn channels_without_a_connection_are_named_until_it_is_back() {
        let mut board = StatusBoard::default();
        board.venue_says("TRADING", TradingState::Open);
        let reason = |status: Option<Status>| status.map(|status| status.reason);
        assert_eq!(board.supply(Channel::Trade, Supply::Back), None);
        let lost = "TRADING; the connection is lost (trade)".to_owned();
        assert_eq!(reason(board.supply(Channel::Trade, Supply::Lost)), Some(lost));
        assert_eq!(board.supply(Channel::Trade, Supply::Lost), None);
        let both =
            "TRADING; no data since the subscription (quote); the connection is lost (trade)".to_owned();
        assert_eq!(reason(board.supply(Channel::Quote, Supply::Silent)), Some(both));
        board.supply(Channel::Quote, Supply::Speaking);
        assert_eq!(reason(board.supply(Channel::Trade, Supply::Back)), Some("TRADING".to_owned()));
    }

    #[test]
    fn a_refusal_stands_with_its_reason_until_it_is_over() {
        let mut board = StatusBoard::default();
        let reason = |status: Option<Status>| status.map(|status| status.reason);
        assert_eq!(board.supply(Channel::Book, Supply::Back), None);
        let told = "the venue refused the subscription (book: no)";
        assert_eq!(reason(board.supply(Channel::Book, Supply::Refused("no"))).as_deref(), Some(told));
        assert_eq!(board.supply(Channel::Book, Supply::Refused("no")), None);
        let told = "the venue refused the subscription (book: never)";
        assert_eq!(reason(board.supply(Channel::Book, Supply::Refused("never"))).as_deref(), Some(told));
        assert_eq!(reason(board.supply(Channel::Book, Supply::Back)).as_deref(), Some(""));
    }
}
