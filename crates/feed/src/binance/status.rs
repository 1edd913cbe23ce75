//! The states of trading, in Binance's words.

use tickwire_wire::TradingState;

/// Reads `status` and `contractStatus` of `exchangeInfo`.
pub(crate) fn trading_state(words: &str) -> TradingState {
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
