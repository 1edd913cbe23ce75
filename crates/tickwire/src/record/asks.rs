//! The recorder's requests: what the instruments of a run are, and what holds of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tickwire_bus::{Backplane, RequestError};
use tickwire_core::hub::{BATCH_TOPICS_MAX, Fetch, Pieces, retry_ns};
use tickwire_wire::pb::feed_request::Request;
use tickwire_wire::{Batch, Body, Channel, Encoding, Message, Subject, pb};
use tokio::sync::mpsc;

/// The time for which a response is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The attempts that are made before a run counts as gone.
const ATTEMPTS_MAX: u32 = 8;
/// The channels whose states are asked for. Trades have none, and bars and statistics are made anew.
const CHANNELS: [Channel; 4] = [Channel::Status, Channel::Derivative, Channel::Quote, Channel::Book];

/// A run of an ingester.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) venue: String,
    pub(super) epoch: u64,
}

/// A response, and the request that it is to.
pub(super) struct Responded {
    pub(super) run: Run,
    pub(super) subject: Subject,
    pub(super) request: Bytes,
    pub(super) response: Bytes,
    /// Whether it has the instruments of the run.
    pub(super) is_catalogue: bool,
}

/// The states that a run is asked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// Its instruments, and all that holds of them.
    Everything,
    /// The books of these instruments.
    Books(Vec<String>),
}

/// The outcome of a request.
pub(super) enum Told {
    Response(Responded),
    /// The last response came, or the run is gone.
    Done(Run),
}

/// Asks a run, and hands each response over.
pub(super) async fn ask(bus: Arc<dyn Backplane>, run: Run, wanted: Wanted, told: mpsc::Sender<Told>) {
    let _ = ask_all(&bus, &run, wanted, &told).await;
    let _ = told.send(Told::Done(run)).await;
}

/// Returns `None` where the run says nothing, or nobody takes the responses any more.
async fn ask_all(
    bus: &Arc<dyn Backplane>,
    run: &Run,
    wanted: Wanted,
    told: &mpsc::Sender<Told>,
) -> Option<()> {
    let subject = Subject::request(&run.venue, run.epoch).ok()?;
    let (channels, names): (&[Channel], _) = match wanted {
        Wanted::Everything => {
            let request = Request::Catalogue(pb::Catalogue {});
            let catalogue = hand_over(bus, run, &subject, request, told).await?;
            (&CHANNELS, symbols(&catalogue.frame))
        }
        Wanted::Books(symbols) => (&[Channel::Book], symbols),
    };
    for channel in channels {
        for symbols in names.chunks(BATCH_TOPICS_MAX) {
            let topic = |symbol: &String| pb::Topic { channel: *channel as i32, symbol: symbol.clone() };
            let topics = symbols.iter().map(topic).collect();
            hand_over(bus, run, &subject, Request::Snapshots(pb::Snapshots { topics }), told).await?;
        }
    }
    Some(())
}

async fn hand_over(
    bus: &Arc<dyn Backplane>,
    run: &Run,
    subject: &Subject,
    wanted: Request,
    told: &mpsc::Sender<Told>,
) -> Option<pb::FeedResponse> {
    let is_catalogue = matches!(wanted, Request::Catalogue(_));
    let request = pb::FeedRequest { request: Some(wanted) };
    for attempt in 0..ATTEMPTS_MAX {
        match whole(bus, subject, &request).await {
            Ok(response) => {
                let responded = Responded {
                    run: run.clone(),
                    subject: subject.clone(),
                    request: request.encode_to_vec().into(),
                    response: response.encode_to_vec().into(),
                    is_catalogue,
                };
                told.send(Told::Response(responded)).await.ok()?;
                return Some(response);
            }
            Err(reason) => {
                tracing::debug!(%subject, reason, "no response to the recorder");
                tokio::time::sleep(Duration::from_nanos(retry_ns(attempt))).await;
            }
        }
    }
    tracing::warn!(
        venue = run.venue,
        epoch = run.epoch,
        "the ingester does not say what it has: its instruments are missing in the recording"
    );
    None
}

/// Sends a request, and returns the response, put together where it comes in parts.
async fn whole(
    bus: &Arc<dyn Backplane>,
    subject: &Subject,
    request: &pb::FeedRequest,
) -> Result<pb::FeedResponse, String> {
    let mut pieces = Pieces::default();
    let mut next = request.clone();
    loop {
        let response = bus.request(subject, next.encode_to_vec().into(), TIMEOUT).await;
        let response = response.map_err(|error: RequestError| error.to_string())?;
        let response = pb::FeedResponse::decode(response).map_err(|error| error.to_string())?;
        match pieces.take(response)? {
            Fetch::Whole(response) if response.error.is_empty() => return Ok(response),
            Fetch::Whole(response) => return Err(response.error),
            Fetch::Next(request) => next = request,
        }
    }
}

/// Returns the symbols of a catalogue that have not ended.
fn symbols(frame: &[u8]) -> Vec<String> {
    let symbol = |message| match message {
        Ok(Message::Record(record)) => match record.body {
            Body::Instrument(definition) if !definition.ended => Some(definition.symbol),
            _ => None,
        },
        _ => None,
    };
    Batch::new(Encoding::Proto, frame).filter_map(symbol).collect()
}
