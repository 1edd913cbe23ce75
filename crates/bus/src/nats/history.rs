//! History over JetStream: a stream captures the subjects of some channels, and messages are looked up in it.
//!
//! No consumer is made. A request goes to the stream's direct-get interface (nats-server ADR-31), which any replica
//! answers: the next message of a subject from a stream sequence on, or a batch of them ([`lookup`]). The first wanted
//! message is found by halving the range of stream sequences ([`search`]). `DeliverLastPerSubject` and multi-subject
//! gets are not used: they can pin a core of the server (nats-server #7821).

mod lookup;
mod search;

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Config as StreamConfig;
use tokio::sync::watch;
use tracing::{error, info};

use self::lookup::{Lookup, RESPONSE_TIME_MAX};
use self::search::Limits;
use super::link::Link;
use crate::backplane::BusState;
use crate::future::BoxFuture;
use crate::history::{History, HistoryError, HistoryState, Recall, Recalled};

/// The first wait between two looks at a stream that cannot be used; it doubles up to the second.
const LOOK_MIN: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_mins(1);

/// The stream that captures what is to be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryConfig {
    /// The name of the stream: 1 to 32 of `A-Z a-z 0-9 - _`.
    pub stream: String,
    /// The channels whose messages it captures, of all venues and symbols.
    pub channels: Vec<String>,
    /// Whether this process makes the stream, and keeps its settings as they are here. Otherwise somebody else does.
    pub make: bool,
    /// The age beyond which messages are deleted.
    pub max_age: Duration,
    /// The bytes on disk beyond which messages are deleted, oldest first.
    pub max_bytes: u64,
    /// The number of copies in a cluster, 1 to 5.
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

    /// Makes the stream where the configuration says so, and checks that it serves.
    async fn check(&self, client: &Client) -> Result<(), String> {
        if !client.is_server_compatible(2, 11, 0) {
            let version = client.server_info().version;
            return Err(format!(
                "nats-server {version} cannot look up messages in batches; take 2.11 or later"
            ));
        }
        let mut context = async_nats::jetstream::new(client.clone());
        context.set_timeout(RESPONSE_TIME_MAX);
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

/// Returns whether two settings are the same, as far as this crate cares.
fn is_same(found: &StreamConfig, wanted: &StreamConfig) -> bool {
    (found.max_age, found.max_bytes, found.num_replicas, found.allow_direct, &found.subjects)
        == (wanted.max_age, wanted.max_bytes, wanted.num_replicas, wanted.allow_direct, &wanted.subjects)
}

/// Returns whether every subject that matches `subject` matches `pattern`, by the rules of NATS.
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
            let limits = Limits::of(&recall);
            let mut lookup = Lookup::new(client.clone(), &self.config.stream, recall).await?;
            search::recall(&mut lookup, limits).await
        })
    }

    fn state(&self) -> watch::Receiver<HistoryState> {
        self.state.subscribe()
    }
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
