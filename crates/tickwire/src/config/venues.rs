//! Live venues: their settings, turned into what the adapters take.

use std::time::Duration;

use tickwire_config::Layers;
use tickwire_live::row::{Row, VenueConfig};
use tickwire_wire::Channel;

use super::settings::IngestVenue;

/// Returns the configuration of a venue, whose settings are in a table.
pub(super) fn venue(row: &Row, table: &str, from: &IngestVenue, layers: &mut Layers) -> VenueConfig {
    let stream =
        url(layers, &format!("{table}.stream_url"), &from.stream_url, ["ws://", "wss://"], row.stream_url);
    let rest =
        url(layers, &format!("{table}.rest_url"), &from.rest_url, ["http://", "https://"], row.rest_url);
    check_symbols(layers, table, &from.symbols);
    if let Some(wrong) = row.depth.wrong(from.depth) {
        layers.wrong(&format!("{table}.depth"), format_args!("{wrong}"));
    }
    let mut config = row.config(&stream, &rest, &from.symbols);
    config.silent_after = Duration::from_millis(from.silent_ms);
    config.terms.limits.topics_per_connection = from.topics_per_connection;
    config.depth = from.depth;
    config.channels = channels(layers, table, row.name, &from.channels, &config.channels);
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
