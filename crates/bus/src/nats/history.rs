//! History over JetStream: a stream that captures the subjects of some channels, and looking messages up in it.
//!
//! No consumer is made. A question goes to the stream's direct-get interface (nats-server ADR-31), which any replica
//! answers: the next message of a subject from a stream sequence on, or a batch of them. The first wanted message is
//! found by halving the range of stream sequences. `DeliverLastPerSubject` and multi-subject gets are not used: they
//! can pin a core of the server (nats-server #7821).

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Config as StreamConfig;
use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tracing::{error, info};

use super::envelope;
use super::link::Link;
use crate::backplane::{BoxFuture, BusState};
use crate::history::{History, HistoryError, HistoryState, Recall, Recalled};

/// Messages of one question. They wait in the client until they are taken.
const BATCH: usize = 256;
/// When the first wanted message is known to be within so many stream sequences, they are read instead of halved.
const NEAR: u64 = 64;
/// Between two looks at a stream that cannot be used; doubles up to the second.
const LOOK_MIN: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_mins(1);
/// Longest wait for one answer of the server.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The stream that captures what is to be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Its name: 1 to 32 of `A-Z a-z 0-9 - _`.
    pub stream: String,
    /// Channels whose messages it captures, of all venues and symbols.
    pub channels: Vec<String>,
    /// Make the stream, and keep its settings as they are here. Otherwise somebody else does.
    pub make: bool,
    /// What is older goes.
    pub max_age: Duration,
    /// What is more goes, oldest first. Bytes on disk.
    pub max_bytes: u64,
    /// Copies in a cluster, 1 to 5.
    pub replicas: usize,
}

impl HistoryConfig {
    fn subjects(&self) -> Vec<String> {
        self.channels.iter().map(|channel| format!("tw.v1.*.{channel}.*")).collect()
    }

    fn stream_config(&self) -> StreamConfig {
        StreamConfig {
            name: self.stream.clone(),
            description: Some("Lossless channels of Tickwire, for clients that were away".to_owned()),
            subjects: self.subjects(),
            max_age: self.max_age,
            max_bytes: i64::try_from(self.max_bytes).unwrap_or(i64::MAX),
            max_messages: -1,
            max_messages_per_subject: -1,
            num_replicas: self.replicas,
            allow_direct: true,
            // Nobody publishes with a reply subject here; this says that nobody is to be answered.
            no_ack: true,
            ..StreamConfig::default()
        }
    }
}

pub(super) struct NatsHistory {
    config: HistoryConfig,
    link: Arc<Link>,
    state: watch::Sender<HistoryState>,
}

impl NatsHistory {
    pub(super) fn new(config: HistoryConfig, link: Arc<Link>) -> Self {
        Self { config, link, state: watch::Sender::new(HistoryState::Checking) }
    }

    /// Looks at the stream after each connect, and again and again while it cannot be used.
    pub(super) async fn look(self: Arc<Self>) {
        let mut bus = self.link.state();
        let mut wait = LOOK_MIN;
        loop {
            let Ok(generation) = bus.wait_for(BusState::is_up).await.map(|now| now.generation()) else {
                return;
            };
            let found = match self.link.client() {
                Some(client) => self.check(client).await,
                None => Err("not connected".to_owned()),
            };
            let is_there = found.is_ok();
            self.tell(found);
            let is_other = bus.wait_for(|now| now.generation() != generation);
            if is_there {
                wait = LOOK_MIN;
                if is_other.await.is_err() {
                    return;
                }
            } else if tokio::time::timeout(wait, is_other).await.is_err() {
                wait = (wait * 2).min(LOOK_MAX);
            }
        }
    }

    /// Takes over what was found, and logs what is new.
    fn tell(&self, found: Result<(), String>) {
        let stream = &self.config.stream;
        let state = match found {
            Ok(()) => HistoryState::Ready,
            Err(reason) => HistoryState::Unavailable { reason: reason.into() },
        };
        let is_new = self.state.send_if_modified(|known| {
            let is_new = *known != state;
            known.clone_from(&state);
            is_new
        });
        match &state {
            HistoryState::Unavailable { reason } if is_new => {
                error!(%stream, %reason, "history cannot be used; what clients missed is announced as gaps");
            }
            HistoryState::Ready if is_new => info!(%stream, "history ready"),
            _ => {}
        }
    }

    /// Makes the stream where that was asked for, and checks that it serves.
    async fn check(&self, client: &Client) -> Result<(), String> {
        if !client.is_server_compatible(2, 11, 0) {
            let version = client.server_info().version;
            return Err(format!(
                "nats-server {version} cannot look up messages in batches; take 2.11 or later"
            ));
        }
        let mut context = async_nats::jetstream::new(client.clone());
        context.set_timeout(ANSWER_MAX);
        let stream = &self.config.stream;
        let found = match context.get_stream(stream).await {
            Ok(found) => Some(found.cached_info().config.clone()),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.code() == 404 => None,
                GetStreamErrorKind::JetStream(error) => return Err(format!("stream `{stream}`: {error}")),
                _ => {
                    return Err(format!(
                        "JetStream does not answer ({error}): switch it on at the server, and let this user \
                         publish to `$JS.API.>`"
                    ));
                }
            },
        };
        let wanted = self.config.stream_config();
        let found = match found {
            Some(found) if !self.config.make || is_same(&found, &wanted) => found,
            None if !self.config.make => {
                return Err(format!(
                    "there is no stream `{stream}`: let an ingester make it (`bus.history.make = true`), or make it \
                     as docs/operations.md says"
                ));
            }
            _ => {
                let made = context.create_or_update_stream(wanted).await;
                made.map_err(|error| explain(stream, &error))?.config
            }
        };
        if !found.allow_direct {
            return Err(format!("stream `{stream}` does not answer look-ups: set its `allow_direct`"));
        }
        for subject in self.config.subjects() {
            if !found.subjects.iter().any(|pattern| covers(pattern, &subject)) {
                return Err(format!(
                    "stream `{stream}` does not capture `{subject}`: add it to its subjects"
                ));
            }
        }
        Ok(())
    }
}

fn explain(stream: &str, error: &async_nats::jetstream::context::CreateStreamError) -> String {
    match error.kind() {
        CreateStreamErrorKind::JetStream(told) => format!("stream `{stream}` cannot be made: {told}"),
        _ => format!("stream `{stream}` cannot be made: {error}"),
    }
}

/// As far as this crate cares.
fn is_same(found: &StreamConfig, wanted: &StreamConfig) -> bool {
    (found.max_age, found.max_bytes, found.num_replicas, found.allow_direct, &found.subjects)
        == (wanted.max_age, wanted.max_bytes, wanted.num_replicas, wanted.allow_direct, &wanted.subjects)
}

/// Whether every subject that matches `subject` matches `pattern`, by the rules of NATS.
fn covers(pattern: &str, subject: &str) -> bool {
    let (mut patterns, mut tokens) = (pattern.split('.'), subject.split('.'));
    loop {
        match (patterns.next(), tokens.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(pattern), Some(token)) if pattern == token => {}
            _ => return false,
        }
    }
}

impl History for NatsHistory {
    fn recall(&self, recall: Recall) -> BoxFuture<'_, Result<Recalled, HistoryError>> {
        Box::pin(async move {
            let client = self.link.client().filter(|_| self.link.is_up()).ok_or(HistoryError::Down)?;
            let mut lookup = Lookup::new(client.clone(), &self.config.stream, recall).await?;
            let from = match lookup.recall.cursor {
                0 => lookup.find().await?,
                cursor => Some(cursor),
            };
            match from {
                Some(from) => lookup.read(from).await,
                None => Ok(Recalled::default()),
            }
        })
    }

    fn state(&self) -> watch::Receiver<HistoryState> {
        self.state.subscribe()
    }
}

/// One looking up: its questions are asked one after another and answered to one inbox.
struct Lookup {
    client: Client,
    stream: String,
    recall: Recall,
    inbox: async_nats::Subject,
    answers: Subscriber,
}

/// A message of the stream.
struct Found {
    sequence: u64,
    place: Ordering,
    payload: bytes::Bytes,
}

impl Lookup {
    async fn new(client: Client, stream: &str, recall: Recall) -> Result<Self, HistoryError> {
        let inbox: async_nats::Subject = client.new_inbox().into();
        let answers = client.subscribe(inbox.clone()).await.map_err(|_| HistoryError::Down)?;
        Ok(Self { client, stream: stream.to_owned(), recall, inbox, answers })
    }

    async fn ask(&self, question: String) -> Result<(), HistoryError> {
        let subject = format!("$JS.API.DIRECT.GET.{}", self.stream);
        let asked = self.client.publish_with_reply(subject, self.inbox.clone(), question.into());
        asked.await.map_err(|_| HistoryError::Down)
    }

    async fn answer(&mut self) -> Result<Message, HistoryError> {
        match tokio::time::timeout(ANSWER_MAX, self.answers.next()).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(HistoryError::Down),
            Err(_) => Err(HistoryError::Unavailable("the server does not answer in time".into())),
        }
    }

    /// The stream sequence from which on to read; at most [`NEAR`] messages before the first that is wanted. `None`
    /// when nothing of the subject is wanted.
    async fn find(&mut self) -> Result<Option<u64>, HistoryError> {
        let Some(first) = self.next(1).await? else { return Ok(None) };
        if first.place != Ordering::Less {
            return Ok((first.place == Ordering::Equal).then_some(first.sequence));
        }
        let Some(last) = self.get(&format!(r#"{{"last_by_subj":"{}"}}"#, self.recall.subject)).await? else {
            return Ok(None);
        };
        if last.place == Ordering::Less {
            return Ok(None);
        }
        // All messages up to `low` come before; from `high` on none does.
        let (mut low, mut high) = (first.sequence, last.sequence);
        while high - low > NEAR {
            let middle = low + (high - low) / 2;
            match self.next(middle).await? {
                Some(found) if found.place == Ordering::Less && found.sequence < high => low = found.sequence,
                _ => high = middle,
            }
        }
        Ok(Some(low + 1))
    }

    /// The first message of the subject from a stream sequence on.
    async fn next(&mut self, from: u64) -> Result<Option<Found>, HistoryError> {
        self.get(&format!(r#"{{"seq":{from},"next_by_subj":"{}"}}"#, self.recall.subject)).await
    }

    async fn get(&mut self, question: &str) -> Result<Option<Found>, HistoryError> {
        self.ask(question.to_owned()).await?;
        let message = self.answer().await?;
        self.read_message(message)
    }

    /// Reads on until the limits, the end, or a message behind what is wanted.
    async fn read(&mut self, mut from: u64) -> Result<Recalled, HistoryError> {
        let mut recalled = Recalled::default();
        let mut bytes = 0;
        loop {
            let (subject, bytes_max) = (&self.recall.subject, self.recall.bytes_max);
            self.ask(format!(
                r#"{{"seq":{from},"next_by_subj":"{subject}","batch":{BATCH},"max_bytes":{bytes_max}}}"#
            ))
            .await?;
            let (mut is_done, mut count) = (false, 0);
            let is_end = loop {
                let message = self.answer().await?;
                // The end of a batch has no sequence; it says how many messages there are behind it.
                if message.status.is_some_and(|status| status.as_u16() == 204) {
                    break count == 0 || pending(&message) == 0;
                }
                let Some(found) = self.read_message(message)? else { break true };
                count += 1;
                if is_done {
                    continue;
                }
                let is_full = recalled.messages.len() >= self.recall.messages_max
                    || (bytes + found.payload.len() > self.recall.bytes_max && !recalled.messages.is_empty());
                match found.place {
                    Ordering::Greater => is_done = true,
                    Ordering::Equal if is_full => (recalled.more, is_done) = (true, true),
                    Ordering::Equal => {
                        bytes += found.payload.len();
                        recalled.messages.push(found.payload);
                        from = found.sequence + 1;
                    }
                    Ordering::Less => from = found.sequence + 1,
                }
                recalled.cursor = from;
            };
            if is_done || is_end {
                return Ok(recalled);
            }
        }
    }

    /// `None` where the server has no message to this question.
    fn read_message(&self, message: Message) -> Result<Option<Found>, HistoryError> {
        if let Some(status) = message.status.filter(|status| status.as_u16() >= 300) {
            return match status.as_u16() {
                404 => Ok(None),
                503 => Err(HistoryError::Unavailable(format!("no stream `{}` answers", self.stream).into())),
                code => {
                    let reason = message.description.unwrap_or_default();
                    Err(HistoryError::Unavailable(format!("the server says {code} {reason}").into()))
                }
            };
        }
        let sequence = number(&message, "Nats-Sequence")
            .ok_or_else(|| HistoryError::Unavailable("an answer without a sequence".into()))?;
        // What was not published by this bus lies nowhere; as if it came before.
        let Some((_, payload)) = envelope::open(&message.payload) else {
            return Ok(Some(Found { sequence, place: Ordering::Less, payload: bytes::Bytes::new() }));
        };
        Ok(Some(Found { sequence, place: (self.recall.place)(&payload), payload }))
    }
}

fn number(message: &Message, header: &str) -> Option<u64> {
    message.headers.as_ref()?.get(header)?.as_str().parse().ok()
}

fn pending(message: &Message) -> u64 {
    number(message, "Nats-Num-Pending").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_subjects() {
        for (pattern, subject, expected) in [
            ("tw.v1.*.trade.*", "tw.v1.*.trade.*", true),
            ("tw.v1.>", "tw.v1.*.trade.*", true),
            (">", "tw.v1.*.trade.*", true),
            ("tw.v1.sim.trade.*", "tw.v1.*.trade.*", false),
            ("tw.v1.*.*.*", "tw.v1.*.trade.*", true),
            ("tw.v1.*.trade", "tw.v1.*.trade.*", false),
            ("tw.v1.*.trade.*.>", "tw.v1.*.trade.*", false),
            ("tw.v1.*.status.*", "tw.v1.*.trade.*", false),
        ] {
            assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
        }
    }
}
