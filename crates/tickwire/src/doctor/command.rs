//! The command line of `tickwire doctor`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tickwire_wire::{Channel, Secret};

use crate::arguments::NotShown;
use crate::trust::{TrustFlags, read_token};

const HELP: &str = "\
Checks, in this order: the URL, DNS, TCP, TLS (chain, names, days to expiry), the
WebSocket handshake, the gateway's greeting, whether heartbeats come evenly (a proxy
may hold them back), the clocks of both machines, and, with a symbol, the
subscription and how old its data is. With --admin, also what the gateway's admin
listener says of itself.

Examples:
  tickwire doctor ws://127.0.0.1:7400 sim:BTC-USD
  tickwire doctor --token-file token.txt wss://feed.example/v1/stream binance:BTCUSDT
  tickwire doctor wss://gateway-1:7400 --ca-file ca.pem --admin https://gateway-1:7401
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
    /// Token that is shown to the gateway in `Authorization: Bearer`; others on this machine can see it, so a file is better
    #[arg(long, value_name = "TOKEN", env = "TICKWIRE_TOKEN", hide_env_values = true)]
    token: Option<NotShown>,
    /// File with a token or an API key, instead of --token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The gateway's admin listener, which is looked at too: http://HOST:7401, or https:// with gateway.tls.admin
    #[arg(long, value_name = "URL")]
    pub(super) admin: Option<String>,
    /// A file with the token that the admin listener asks for (gateway.admin_token_file there)
    #[arg(long, value_name = "FILE", env = "TICKWIRE_ADMIN_TOKEN_FILE")]
    pub(super) admin_token_file: Option<PathBuf>,
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

impl DoctorCommand {
    /// Returns the token that is shown: that of the file, where one is named.
    ///
    /// # Errors
    /// Says why the file cannot be used.
    pub(super) fn token(&self) -> Result<Option<Secret>, String> {
        match (&self.token_file, &self.token) {
            (Some(file), _) => read_token(file).map(Some),
            (None, Some(NotShown(token))) if !token.expose().is_empty() => Ok(Some(token.clone())),
            (None, _) => Ok(None),
        }
    }
}
