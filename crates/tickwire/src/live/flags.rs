//! The command line of live venues.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use tickwire_live::simulator::TimedFault;

use super::table::{VenueName, venues};
use crate::bus_flags::IngestFlags;
use crate::config::Flag;

macro_rules! sources {
    ($($(#[$meta:meta])* $name:ident: $text:literal, $table:ident, $row:expr, $example:literal;)*) => {
        /// A live venue as the source of `tickwire ingest`.
        #[derive(Debug, Subcommand)]
        pub(crate) enum LiveSource {
            $(
                $(#[$meta])*
                #[command(after_help = concat!("Examples:\n  tickwire ingest ", $text, " --symbols '", $example,
                    "'\n  tickwire ingest ", $text, " --dry-run"))]
                $name(LiveFlags),
            )*
        }

        impl LiveSource {
            /// Returns the venue and its flags.
            pub(crate) fn parts(self) -> (VenueName, LiveFlags) {
                match self {
                    $(Self::$name(flags) => (VenueName::$name, flags),)*
                }
            }
        }
    };
}

venues!(sources);

#[derive(Debug, Args)]
pub(crate) struct LiveFlags {
    #[command(flatten)]
    pub(crate) venue: VenueFlags,
    #[command(flatten)]
    pub(crate) out: IngestFlags,
}

#[derive(Debug, Args)]
pub(crate) struct VenueFlags {
    /// Symbols, separated by commas, with * for any part of a name
    #[arg(long, value_name = "SYMBOLS")]
    symbols: Option<String>,
    /// Channels, separated by commas: quote, trade, book; derivative at futures and contracts
    #[arg(long, value_name = "CHANNELS")]
    channels: Option<String>,
    /// Root of the streams, as of a simulated venue
    #[arg(long, value_name = "URL")]
    stream_url: Option<String>,
    /// Root of the REST service
    #[arg(long, value_name = "URL")]
    rest_url: Option<String>,
    /// Print what would be published, one JSON object a line; no bus is needed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl VenueFlags {
    pub(crate) fn settings(&self, venue: VenueName) -> [Flag; 4] {
        let [symbols, channels, stream_url, rest_url] = venue.flags();
        [
            ("--symbols", symbols, self.symbols.clone()),
            ("--channels", channels, self.channels.clone()),
            ("--stream-url", stream_url, self.stream_url.clone()),
            ("--rest-url", rest_url, self.rest_url.clone()),
        ]
    }
}

#[derive(Debug, Args)]
pub(crate) struct SimVenueCommand {
    /// The venue whose protocol is spoken
    pub(super) venue: VenueName,
    /// Address of streams and REST
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9400")]
    pub(super) listen: SocketAddr,
    /// The same seed always gives the same market
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Number of symbols
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(super) instruments: u64,
    /// Events per second, over all symbols
    #[arg(long, value_name = "EVENTS", default_value_t = 500.0)]
    pub(super) rate: f64,
    /// Play this recording of Binance (lines of `<nanoseconds> <json>`, plain or gzip) in place of a simulated market
    #[arg(long, value_name = "FILE")]
    pub(super) recording: Option<PathBuf>,
    /// Recorded seconds per second
    #[arg(long, default_value_t = 1.0)]
    pub(super) speed: f64,
    /// A fault and when it happens, as in 10s:gap; may be given several times. Faults: gap, duplicate, reorder, checksum,
    /// silence=5s, half-open, disconnect, shutdown, slow-snapshots=3s, stale-snapshots=2, unreadable-snapshots=2, ban=429:30s,
    /// refuse=STREAM, mute=STREAM, unmute, renumber, rescale=SYMBOL, list=SYMBOL, delist=SYMBOL
    #[arg(long = "fault", value_name = "TIME:FAULT")]
    pub(super) faults: Vec<TimedFault>,
}
