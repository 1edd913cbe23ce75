//! `tickwire demo`: ingester, bus, gateway and a page in one process.

use std::sync::Arc;

use bytes::Bytes;
use tickwire_bus::{Backplane, MemoryBus, MemoryLimits, NatsBus};
use tickwire_feed::adapter::Adapter;
use tickwire_feed::{IngestControl, IngestError, IngestStats, Ingester, Summary};
use tickwire_gateway::{Gateway, HeaderMap, Method, Page, Pages, StatusCode, Uri};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::{DemoCommand, Settings};
use crate::config::{Config, Purpose};
use crate::gateway::{Schemes, prepare};
use crate::ingest::simulated;
use crate::live;
use crate::printing::announce;
use crate::recorded;
use crate::stop;

/// The page at `/`.
const PAGE: &[u8] = include_bytes!("../../../dashboard/index.html");

/// Runs until it is asked to stop.
pub(crate) async fn run(settings: &Settings, command: DemoCommand) -> anyhow::Result<()> {
    let is_replay = !command.replay.is_empty();
    let mut flags: Vec<_> = command.listen.settings().into_iter().chain(command.sim.settings()).collect();
    flags.push(command.bus.setting());
    flags.push(("--speed", "ingest.replay.speed", command.speed.map(|speed| speed.to_string())));
    if is_replay {
        flags.push(("--replay", "ingest.replay.looped", Some("true".to_owned())));
        flags.push(("--replay", "ingest.replay.rebase", Some("true".to_owned())));
    }
    let mut config = settings.load_for(Purpose::Serve, &flags)?;
    // Nobody has to sign in to look at a demo, unless somebody says with what.
    config.gateway.auth.anonymous |= !config.keys.are_named();
    let keys = std::mem::take(&mut config.keys);
    let (authenticator, _files, _tasks) = keys.start(config.gateway.auth.clone());
    let stop = stop::on_signal()?;
    let bus: Arc<dyn Backplane> = if command.bus.servers.is_empty() {
        Arc::new(MemoryBus::new(MemoryLimits::default()))
    } else {
        Arc::new(NatsBus::connect(&config.nats)?)
    };
    let feeding = CancellationToken::new();
    let feed = if let Some(venue) = command.venue {
        start_feed(&config, live::source(&config, venue), &bus, &feeding)
    } else if is_replay {
        let Some(replay) = recorded::open(&config, command.replay, &stop).await? else { return Ok(()) };
        start_feed(&config, replay, &bus, &feeding)
    } else {
        start_feed(&config, simulated(&config.sim)?, &bus, &feeding)
    };
    let source = match (command.venue, is_replay) {
        (Some(_), _) => "live",
        (None, true) => "replay",
        (None, false) => "sim",
    };
    let pages = Arc::new(DemoPages { venue: feed.venue.clone(), source, control: feed.control });
    prepare(&config.gateway);
    let schemes = Schemes::of(&config.gateway);
    let gateway = Gateway::start_with(config.gateway, authenticator, Arc::clone(&bus), pages).await?;
    announce(format_args!(
        "Tickwire demo, {}: open {}://{}/ in a browser",
        feed.venue,
        schemes.pages,
        gateway.listen_address()
    ));
    announce(format_args!("stream: {}://{}/v1/stream", schemes.stream, gateway.listen_address()));
    announce(format_args!("admin: {}://{}/metrics", schemes.admin, gateway.admin_address()));
    announce("Ctrl-C ends it");
    let mut task = feed.task;
    if command.venue.is_some() {
        tokio::spawn(
            stop.clone().run_until_cancelled_owned(live::tell_whether_it_is_there(feed.venue, feed.stats)),
        );
    }
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
    stats: IngestStats,
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
    let (control, stats) = (ingester.control(), ingester.stats());
    Feed { venue, stats, control, task: tokio::spawn(ingester.run(stop.clone())) }
}

/// The page, what it is to know, and the two buttons that show what a dead feed looks like.
struct DemoPages {
    venue: String,
    source: &'static str,
    control: IngestControl,
}

impl Pages for DemoPages {
    fn respond(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Page> {
        let switch: fn(&IngestControl) = match (method, path) {
            (&Method::GET | &Method::HEAD, "/" | "/index.html") => {
                return Some(page(StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(PAGE)));
            }
            (&Method::GET, "/demo.json") => return Some(self.state()),
            (&Method::POST, "/demo/freeze") => IngestControl::pause,
            (&Method::POST, "/demo/resume") => IngestControl::resume,
            _ => return None,
        };
        if let Err(reason) = is_own(headers) {
            return Some(page(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", reason.into()));
        }
        switch(&self.control);
        Some(self.state())
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
        page(StatusCode::OK, "application/json", state.to_string().into())
    }
}

fn page(status: StatusCode, content_type: &'static str, body: Bytes) -> Page {
    Page { status, content_type, body }
}

/// Returns whether a request comes from the demo's own page: any page on the web can make a browser send one here.
///
/// Browsers name the page's origin with each POST. That it has the same name as this server is not enough: a name of
/// somebody else's can be made to lead here. So the name must be an address, or `localhost`.
fn is_own(headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text("host").and_then(|host| host.parse::<Uri>().ok()?.into_parts().authority) else {
        return Err("this button is for the demo's own page: the request names no host\n");
    };
    let name = host.host().trim_matches(['[', ']']);
    if name != "localhost" && name.parse::<std::net::IpAddr>().is_err() {
        return Err("this button works where the demo is opened by its address or as localhost\n");
    }
    let origin = text("origin").and_then(|origin| origin.parse::<Uri>().ok()?.into_parts().authority);
    match origin {
        Some(origin) if origin == host => Ok(()),
        Some(_) => {
            Err("this button is for the demo's own page: the request comes from another one (Origin)\n")
        }
        None => {
            Err("this button is for the demo's own page: the request does not say where it comes from; send \
                     Origin: http://HOST:PORT of this server\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, origin: Option<&str>, told: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().unwrap());
        }
        match (is_own(&headers), told) {
            (Ok(()), None) => {}
            (Err(reason), Some(part)) => assert!(reason.contains(part), "{host} {origin:?}: {reason}"),
            (got, _) => panic!("{host} {origin:?}: {got:?}"),
        }
    }

    #[test]
    fn buttons_are_for_the_own_page() {
        check("127.0.0.1:7400", Some("http://127.0.0.1:7400"), None);
        check("localhost:7400", Some("http://localhost:7400"), None);
        check("[::1]:7400", Some("http://[::1]:7400"), None);
        check("192.168.1.7", Some("http://192.168.1.7"), None);
        check("127.0.0.1:7400", Some("https://news.example"), Some("another one"));
        check("127.0.0.1:7400", Some("http://127.0.0.1:8080"), Some("another one"));
        check("127.0.0.1:7400", Some("http://localhost:7400"), Some("another one"));
        check("127.0.0.1:7400", Some("null"), Some("another one"));
        check("127.0.0.1:7400", None, Some("does not say"));
        check("127.0.0.1:7400", Some("?"), Some("does not say"));
        check("evil.example:7400", Some("http://evil.example:7400"), Some("by its address"));
        check("", Some("http://127.0.0.1:7400"), Some("names no host"));
    }
}
