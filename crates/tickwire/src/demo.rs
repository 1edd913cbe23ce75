//! `tickwire demo`: ingester, bus, gateway and a page in one process.

use std::sync::Arc;

use bytes::Bytes;
use tickwire_bus::{Backplane, MemoryBus, MemoryLimits, NatsBus};
use tickwire_feed::adapter::Adapter;
use tickwire_feed::{IngestControl, IngestError, Ingester, Summary};
use tickwire_gateway::{Gateway, Method, Page, Pages};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::{DemoCommand, Settings};
use crate::config::Config;
use crate::gateway::log_bounds;
use crate::ingest::{recorded, simulated};
use crate::printing::say;
use crate::stop;

/// The page at `/`.
const PAGE: &[u8] = include_bytes!("../../../dashboard/index.html");

/// Runs until it is asked to stop.
pub(crate) async fn run(settings: &Settings, command: DemoCommand) -> anyhow::Result<()> {
    let is_replay = !command.replay.is_empty();
    let mut flags: Vec<_> = command.listen.settings().into_iter().chain(command.sim.settings()).collect();
    flags.push(command.bus.setting());
    flags.push(("ingest.replay.speed", command.speed.map(|speed| speed.to_string())));
    if is_replay {
        flags.push(("ingest.replay.looped", Some("true".to_owned())));
        flags.push(("ingest.replay.rebase", Some("true".to_owned())));
    }
    let config = settings.load(&flags)?;
    let stop = stop::on_signal()?;
    let bus: Arc<dyn Backplane> = if command.bus.servers.is_empty() {
        Arc::new(MemoryBus::new(MemoryLimits::default()))
    } else {
        Arc::new(NatsBus::connect(&config.nats)?)
    };
    let feeding = CancellationToken::new();
    let feed = if is_replay {
        let Some(replay) = recorded(&config, command.replay, &stop).await? else { return Ok(()) };
        start_feed(&config, replay, &bus, &feeding)
    } else {
        start_feed(&config, simulated(&config.sim)?, &bus, &feeding)
    };
    let source = if is_replay { "replay" } else { "sim" };
    let pages = Arc::new(DemoPages { venue: feed.venue.clone(), source, control: feed.control });
    log_bounds(&config.gateway);
    let gateway = Gateway::start(config.gateway, Arc::clone(&bus), pages).await?;
    say(format_args!(
        "Tickwire demo, {}: open http://{}/ in a browser",
        feed.venue,
        gateway.listen_address()
    ));
    say(format_args!("stream: ws://{}/v1/stream", gateway.listen_address()));
    say(format_args!("admin: http://{}/metrics", gateway.admin_address()));
    say("Ctrl-C ends it");
    let mut task = feed.task;
    tokio::select! {
        () = stop.cancelled() => {}
        ended = &mut task => {
            let reason = match ended {
                Ok(Ok(summary)) => summary.lost.unwrap_or_else(|| "it ended".to_owned()),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            gateway.drain().await;
            anyhow::bail!("the feed stopped: {reason}");
        }
    }
    gateway.drain().await;
    feeding.cancel();
    let _ = task.await;
    bus.close().await;
    Ok(())
}

struct Feed {
    venue: String,
    control: IngestControl,
    task: JoinHandle<Result<Summary, IngestError>>,
}

fn start_feed(
    config: &Config,
    adapter: impl Adapter + 'static,
    bus: &Arc<dyn Backplane>,
    stop: &CancellationToken,
) -> Feed {
    let venue = adapter.venue().to_owned();
    let ingester = Ingester::new(config.ingest.clone(), adapter, Arc::clone(bus));
    let control = ingester.control();
    Feed { venue, control, task: tokio::spawn(ingester.run(stop.clone())) }
}

/// The page, what it is to know, and the two buttons that show what a dead feed looks like.
struct DemoPages {
    venue: String,
    source: &'static str,
    control: IngestControl,
}

impl Pages for DemoPages {
    fn answer(&self, method: &Method, path: &str) -> Option<Page> {
        match (method, path) {
            (&Method::GET | &Method::HEAD, "/" | "/index.html") => {
                Some(Page { content_type: "text/html; charset=utf-8", body: Bytes::from_static(PAGE) })
            }
            (&Method::GET, "/demo.json") => Some(self.state()),
            (&Method::POST, "/demo/freeze") => {
                self.control.pause();
                Some(self.state())
            }
            (&Method::POST, "/demo/resume") => {
                self.control.resume();
                Some(self.state())
            }
            _ => None,
        }
    }
}

impl DemoPages {
    fn state(&self) -> Page {
        let state = serde_json::json!({
            "venues": [self.venue],
            "controls": true,
            "source": self.source,
            "frozen": self.control.is_paused(),
        });
        Page { content_type: "application/json", body: state.to_string().into() }
    }
}
