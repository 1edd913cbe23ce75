//! Live venues: their settings, turned into what the adapters take.

use std::time::Duration;

use tickwire_config::Layers;
use tickwire_feed::binance::Market;
use tickwire_live::binance::BinanceConfig;
use tickwire_live::coinbase::CoinbaseConfig;
use tickwire_live::kraken::KrakenConfig;
use tickwire_live::okx::OkxConfig;
use tickwire_wire::Channel;

use super::settings::{IngestCoinbase, IngestKraken, IngestOkx, IngestVenue};

/// The depths that Kraken has.
const KRAKEN_DEPTHS: [u32; 5] = [10, 25, 100, 500, 1_000];

/// Returns the configuration of one of Binance's markets.
pub(super) fn binance(from: &IngestVenue, table: &str, market: Market, layers: &mut Layers) -> BinanceConfig {
    let (usual_stream, usual_rest) = (BinanceConfig::stream_url(market), BinanceConfig::rest_url(market));
    let stream =
        url(layers, &format!("{table}.stream_url"), &from.stream_url, ["ws://", "wss://"], usual_stream);
    let rest = url(layers, &format!("{table}.rest_url"), &from.rest_url, ["http://", "https://"], usual_rest);
    check_symbols(layers, table, &from.symbols);
    let mut config = BinanceConfig::new(market, &stream, &rest, &from.symbols);
    config.silent_after = Duration::from_millis(from.silent_ms);
    config.limits.topics_per_connection = from.topics_per_connection;
    config.snapshot_levels = from.snapshot_levels;
    if let Some(wrong) = config.wrong_snapshot_levels() {
        layers.wrong(&format!("{table}.snapshot_levels"), format_args!("{wrong}"));
    }
    config.channels = channels(layers, table, market.venue(), &from.channels, &config.channels);
    config
}

/// Returns the configuration of Coinbase.
pub(super) fn coinbase(from: &IngestCoinbase, layers: &mut Layers) -> CoinbaseConfig {
    let table = "ingest.coinbase";
    let (usual_stream, usual_rest) = (CoinbaseConfig::STREAM_URL, CoinbaseConfig::REST_URL);
    let stream =
        url(layers, "ingest.coinbase.stream_url", &from.stream_url, ["ws://", "wss://"], usual_stream);
    let rest = url(layers, "ingest.coinbase.rest_url", &from.rest_url, ["http://", "https://"], usual_rest);
    check_symbols(layers, table, &from.symbols);
    let mut config = CoinbaseConfig::new(&stream, &rest, &from.symbols);
    config.silent_after = Duration::from_millis(from.silent_ms);
    config.limits.topics_per_connection = from.topics_per_connection;
    config.channels = channels(layers, table, "coinbase", &from.channels, &config.channels);
    config
}

/// Returns the configuration of Kraken.
pub(super) fn kraken(from: &IngestKraken, layers: &mut Layers) -> KrakenConfig {
    let table = "ingest.kraken";
    let (usual_stream, usual_rest) = (KrakenConfig::STREAM_URL, KrakenConfig::REST_URL);
    let stream = url(layers, "ingest.kraken.stream_url", &from.stream_url, ["ws://", "wss://"], usual_stream);
    let rest = url(layers, "ingest.kraken.rest_url", &from.rest_url, ["http://", "https://"], usual_rest);
    check_symbols(layers, table, &from.symbols);
    let mut config = KrakenConfig::new(&stream, &rest, &from.symbols);
    config.silent_after = Duration::from_millis(from.silent_ms);
    config.channels = channels(layers, table, "kraken", &from.channels, &config.channels);
    config.depth = from.depth;
    if !KRAKEN_DEPTHS.contains(&from.depth) {
        let problem =
            format_args!("{} is no depth that the venue has; known: 10, 25, 100, 500, 1000", from.depth);
        layers.wrong("ingest.kraken.depth", problem);
    }
    config
}

/// Returns the configuration of OKX.
pub(super) fn okx(from: &IngestOkx, layers: &mut Layers) -> OkxConfig {
    let table = "ingest.okx";
    let (usual_stream, usual_rest) = (OkxConfig::STREAM_URL, OkxConfig::REST_URL);
    let stream = url(layers, "ingest.okx.stream_url", &from.stream_url, ["ws://", "wss://"], usual_stream);
    let rest = url(layers, "ingest.okx.rest_url", &from.rest_url, ["http://", "https://"], usual_rest);
    check_symbols(layers, table, &from.symbols);
    let mut config = OkxConfig::new(&stream, &rest, &from.symbols);
    config.silent_after = Duration::from_millis(from.silent_ms);
    config.channels = channels(layers, table, "okx", &from.channels, &config.channels);
    config
}

/// Returns a URL that was given, or the usual one.
fn url(layers: &mut Layers, path: &str, given: &str, schemes: [&str; 2], usual: &str) -> String {
    if given.is_empty() {
        return usual.to_owned();
    }
    if !schemes.iter().any(|scheme| given.starts_with(scheme)) {
        layers.wrong(path, format_args!("`{given}` begins with neither {} nor {}", schemes[0], schemes[1]));
    }
    given.to_owned()
}

fn check_symbols(layers: &mut Layers, table: &str, symbols: &[String]) {
    if symbols.iter().all(|symbol| symbol.trim().is_empty()) {
        layers
            .wrong(&format!("{table}.symbols"), format_args!("it names nothing; `*` stands for all symbols"));
    }
}

/// Returns the channels that were named, or all that a venue has.
fn channels(
    layers: &mut Layers,
    table: &str,
    venue: &str,
    named: &[String],
    known: &[Channel],
) -> Vec<Channel> {
    if named.is_empty() {
        return known.to_vec();
    }
    let mut channels = Vec::new();
    for name in named {
        match known.iter().find(|channel| channel.name() == name.trim()) {
            // One that is named twice is one.
            Some(channel) if channels.contains(channel) => {}
            Some(channel) => channels.push(*channel),
            None => {
                let names: Vec<_> = known.iter().copied().map(Channel::name).collect();
                let problem = format_args!("{venue} has no channel `{name}`; known: {}", names.join(", "));
                layers.wrong(&format!("{table}.channels"), problem);
            }
        }
    }
    channels
}
