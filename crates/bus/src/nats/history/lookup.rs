//! Requests to the stream: the direct-get interface and its responses.

use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt as _;

use super::super::envelope;
use super::search::{Found, NEAR, Part, StoredMessages};
use crate::history::{HistoryError, Recall};

/// The most messages that one request brings. They wait in the client until they are taken.
const BATCH: u64 = 256;
/// The longest wait for one response of the server.
pub(super) const RESPONSE_TIME_MAX: Duration = Duration::from_secs(2);

/// One look-up: its requests are made one after another and answered to one inbox.
pub(super) struct Lookup {
    client: Client,
    stream: String,
    recall: Recall,
    inbox: async_nats::Subject,
    responses: Subscriber,
}

impl Lookup {
    pub(super) async fn new(client: Client, stream: &str, recall: Recall) -> Result<Self, HistoryError> {
        let inbox: async_nats::Subject = client.new_inbox().into();
        let responses = client.subscribe(inbox.clone()).await.map_err(|_| HistoryError::Down)?;
        Ok(Self { client, stream: stream.to_owned(), recall, inbox, responses })
    }

    async fn ask(&self, request: String) -> Result<(), HistoryError> {
        let subject = format!("$JS.API.DIRECT.GET.{}", self.stream);
        let asked = self.client.publish_with_reply(subject, self.inbox.clone(), request.into());
        asked.await.map_err(|_| HistoryError::Down)
    }

    async fn respond(&mut self) -> Result<Message, HistoryError> {
        match tokio::time::timeout(RESPONSE_TIME_MAX, self.responses.next()).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(HistoryError::Down),
            Err(_) => Err(HistoryError::Unavailable("the server does not answer in time".into())),
        }
    }

    async fn get(&mut self, request: String) -> Result<Option<Found>, HistoryError> {
        self.ask(request).await?;
        let message = self.respond().await?;
        self.read_message(message)
    }

    async fn batch(&mut self, from: u64, messages: u64) -> Result<Part, HistoryError> {
        let (subject, bytes_max) = (&self.recall.subject, self.recall.bytes_max);
        self.ask(format!(
            r#"{{"seq":{from},"next_by_subj":"{subject}","batch":{messages},"max_bytes":{bytes_max}}}"#
        ))
        .await?;
        let mut found = Vec::new();
        let is_end = loop {
            let message = self.respond().await?;
            // The end of a batch has no sequence; it says how many messages there are behind it.
            if message.status.is_some_and(|status| status.as_u16() == 204) {
                break found.is_empty() || pending(&message) == 0;
            }
            match self.read_message(message)? {
                Some(message) => found.push(message),
                None => break true,
            }
        };
        Ok(Part { found, is_end })
    }

    /// Reads a message; returns `None` where the server has no message for this request.
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
            .ok_or_else(|| HistoryError::Unavailable("a response without a sequence".into()))?;
        // A message that was not published by this bus has no place.
        let Some((_, payload)) = envelope::open(message.payload) else {
            return Ok(Some(Found { sequence, place: None, payload: bytes::Bytes::new() }));
        };
        Ok(Some(Found { sequence, place: (self.recall.place)(&payload), payload }))
    }
}

impl StoredMessages for Lookup {
    async fn next(&mut self, from: u64) -> Result<Option<Found>, HistoryError> {
        self.get(format!(r#"{{"seq":{from},"next_by_subj":"{}"}}"#, self.recall.subject)).await
    }

    async fn last(&mut self) -> Result<Option<Found>, HistoryError> {
        self.get(format!(r#"{{"last_by_subj":"{}"}}"#, self.recall.subject)).await
    }

    async fn near(&mut self, from: u64) -> Result<Part, HistoryError> {
        self.batch(from, NEAR).await
    }

    async fn read(&mut self, from: u64) -> Result<Part, HistoryError> {
        self.batch(from, BATCH).await
    }
}

fn number(message: &Message, header: &str) -> Option<u64> {
    message.headers.as_ref()?.get(header)?.as_str().parse().ok()
}

fn pending(message: &Message) -> u64 {
    number(message, "Nats-Num-Pending").unwrap_or(0)
}
