//! Live venues: `tickwire ingest binance`, `tickwire demo --venue`, and venues that are simulated.

mod flags;
pub(crate) mod table;

use std::time::Duration;

use tickwire_feed::{Clock, IngestStats};
use tickwire_live::simulator::{SimVenue, SimVenueConfig};
use tickwire_live::venue::Venue;
use tickwire_live::{LiveAdapter, Timings};
use tickwire_wire::FeedState;

pub(crate) use self::flags::{LiveFlags, LiveSource, SimVenueCommand};
pub(crate) use self::table::VenueName;
use crate::config::Config;
use crate::printing::{announce, say};
use crate::stop;

/// The time that a live venue has before a demo says that it is not there.
const THERE_WITHIN: Duration = Duration::from_secs(8);

/// Makes the source of a live venue; it connects when it is read.
pub(crate) fn source(config: &Config, venue: VenueName) -> LiveAdapter<Box<dyn Venue>> {
    let catalogue_s = venue.settings(&config.raw.ingest).catalogue_s;
    let venue = (venue.row().make)(config.venue(venue).clone());
    let timings = Timings { catalogue_every: Duration::from_secs(catalogue_s), ..Timings::default() };
    LiveAdapter::new(venue, timings, Clock::system())
}

/// Says plainly when a live venue is not there soon after the start.
pub(crate) async fn tell_whether_it_is_there(venue: String, stats: IngestStats) {
    tokio::time::sleep(THERE_WITHIN).await;
    let report = stats.report();
    if report.state != FeedState::Live {
        say(format_args!("there is no live data: {}", report.reason));
        say(format_args!(
            "{venue} is tried again and again; without internet, `tickwire demo` shows a simulated market"
        ));
    }
}

/// Runs a simulated venue until it is asked to stop.
pub(crate) async fn simulate(command: SimVenueCommand) -> anyhow::Result<()> {
    let stop = stop::on_signal()?;
    let venue = SimVenue::start(SimVenueConfig {
        kind: command.venue.simulated(),
        listen: command.listen,
        seed: command.seed,
        instruments: command.instruments as usize,
        events_per_second: command.rate,
        recording: command.recording,
        speed: command.speed,
        faults: command.faults,
        ..SimVenueConfig::default()
    })
    .await?;
    let (name, streams, rest) = (command.venue.row().name, venue.stream_url(), venue.rest_url());
    announce(format_args!("simulated {name}: {streams} and {rest}, {}", venue.symbols().join(" ")));
    announce(format_args!("tickwire ingest {name} --stream-url {streams} --rest-url {rest} --dry-run"));
    announce("Ctrl-C ends it");
    stop.cancelled().await;
    say(format_args!("{:?}", venue.report()));
    Ok(())
}
