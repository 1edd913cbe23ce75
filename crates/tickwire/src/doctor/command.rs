//! The command line of `tickwire doctor`.

use std::time::Duration;

use clap::Args;
use tickwire_wire::Channel;

use crate::trust::TrustFlags;

const HELP: &str = "\
Checks, in this order: the URL, DNS, TCP, TLS (chain, names, days to expiry), the
WebSocket handshake, the gateway's greeting, whether heartbeats come evenly (a proxy
may hold them back), the clocks of both machines, and, with a symbol, the
subscription and how old its data is.

Examples:
  tickwire doctor ws://127.0.0.1:7400 sim:BTC-USD
  tickwire doctor --token \"$TOKEN\" wss://feed.example/v1/stream binance:BTCUSDT
  tickwire doctor --json wss://feed.example | jq '.checks[] | select(.status != \"ok\")'

Exit status:
  0  nothing fails; there may be warnings
  1  a check failed, or warned with --strict
  2  wrong command line";

/// The options of `tickwire doctor`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct DoctorCommand {
    /// Gateway, as clients reach it: ws://HOST:PORT/v1/stream, or wss://
    #[arg(value_name = "URL", env = "TICKWIRE_URL")]
    pub(super) url: String,
    /// Symbol to subscribe to: `venue:SYMBOL`; without one nothing is said of data
    #[arg(value_name = "SYMBOL")]
    pub(super) symbol: Option<String>,
    /// Channel of the symbol: quote, trade, book, bar, stat, status, instrument
    #[arg(long, value_name = "CHANNEL", default_value = "quote", value_parser = crate::arguments::channel)]
    pub(super) channel: Channel,
    /// Token that is shown to the gateway in `Authorization: Bearer`
    #[arg(long, value_name = "TOKEN", env = "TICKWIRE_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// Heartbeats are listened to, and data is waited for, this long
    #[arg(long = "for", value_name = "DURATION", default_value = "3s", value_parser = crate::arguments::duration)]
    pub(super) duration: Duration,
    #[command(flatten)]
    pub(super) trust: TrustFlags,
    /// One JSON object, for programs
    #[arg(long)]
    pub(super) json: bool,
    /// Warnings count as failures
    #[arg(long)]
    pub(super) strict: bool,
}
