//! The live venues that there are: one row for each.

use clap::ValueEnum;
use tickwire_live::bitstamp::BITSTAMP;
use tickwire_live::coinbase::COINBASE;
use tickwire_live::kraken::KRAKEN;
use tickwire_live::okx::OKX;
use tickwire_live::row::Row;
use tickwire_live::simulator::SimKind;
use tickwire_live::{binance, bybit};

use crate::config::settings::{Ingest, IngestVenue};

/// Hands the rows on. A row has the name in code and on the command line, the table of its settings, its facts, and an example of
/// symbols; its description is that of the command.
macro_rules! venues {
    ($make:ident) => {
        $make! {
            /// Binance spot, live
            Binance: "binance", binance, &binance::SPOT, "BTCUSDT,*USDC";
            /// Binance USD-M futures, live
            BinanceUsdm: "binance-usdm", binance_usdm, &binance::USDM, "BTCUSDT,ETHUSDT";
            /// Bitstamp, live: nothing proves its books
            Bitstamp: "bitstamp", bitstamp, &BITSTAMP, "BTCUSD,*EUR";
            /// Bybit spot, live
            Bybit: "bybit", bybit, &bybit::SPOT, "BTCUSDT,*USDC";
            /// Bybit linear contracts, live
            BybitLinear: "bybit-linear", bybit_linear, &bybit::LINEAR, "BTCUSDT,ETHUSDT";
            /// Coinbase, live: the Advanced Trade API
            Coinbase: "coinbase", coinbase, &COINBASE, "BTC-USD,*-EUR";
            /// Kraken, live
            Kraken: "kraken", kraken, &KRAKEN, "BTC/USD,*/EUR";
            /// OKX, live
            Okx: "okx", okx, &OKX, "BTC-USDT,*-EUR";
        }
    };
}
pub(crate) use venues;

macro_rules! names {
    ($($(#[$meta:meta])* $name:ident: $text:literal, $table:ident, $row:expr, $example:literal;)*) => {
        /// A live venue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
        pub(crate) enum VenueName {
            $($(#[$meta])* $name,)*
        }

        impl VenueName {
            /// All of them, each at the place of its number.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns its facts.
            pub(crate) fn row(self) -> &'static Row {
                match self {
                    $(Self::$name => $row,)*
                }
            }

            /// Returns its simulation.
            pub(super) fn simulated(self) -> SimKind {
                match self {
                    $(Self::$name => SimKind::$name,)*
                }
            }

            /// Returns the table of its settings.
            pub(crate) fn table(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("ingest.", stringify!($table)),)*
                }
            }

            /// Returns its settings.
            pub(crate) fn settings(self, of: &Ingest) -> &IngestVenue {
                match self {
                    $(Self::$name => &of.$table,)*
                }
            }

            /// Returns the settings that flags stand for: symbols, channels, roots of the streams and of the REST service.
            pub(super) fn flags(self) -> [&'static str; 4] {
                match self {
                    $(Self::$name => [
                        concat!("ingest.", stringify!($table), ".symbols"),
                        concat!("ingest.", stringify!($table), ".channels"),
                        concat!("ingest.", stringify!($table), ".stream_url"),
                        concat!("ingest.", stringify!($table), ".rest_url"),
                    ],)*
                }
            }
        }
    };
}

venues!(names);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_those_of_the_venues() {
        let rows: Vec<_> = VenueName::ALL.iter().map(|venue| venue.row().name).collect();
        let known: Vec<_> = tickwire_live::VENUES.iter().map(|row| row.name).collect();
        assert_eq!(rows, known);
        for (at, venue) in VenueName::ALL.iter().enumerate() {
            assert_eq!(*venue as usize, at);
            let name = venue.to_possible_value().unwrap().get_name().to_owned();
            assert_eq!(name, venue.row().name, "the command is called as the venue is");
        }
    }
}
