//! The one task that hands work to the NATS client, so that everything goes out in the order in which it was handed
//! over: subscriptions first, then messages and requests.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{Client, Message, RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::envelope::Sealer;
use super::link::{Link, while_up};
use super::words::wire;
use crate::backplane::{PublishError, Request, RequestError};
use tickwire_wire::Subject;

/// Subjects of the bus itself begin so.
const OWN_SUBJECTS: &str = "tw.";

/// The number of jobs taken at a time; changed interest is looked at between.
const JOBS_PER_TURN: usize = 64;

/// A subject that no one serves, and the server says so at once: a round trip that needs no partner.
const SYNC_SUBJECT: &str = "tw.sync.v1";

/// The longest time that closing waits for what was accepted.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

pub(super) enum Job {
    Publish { subject: Subject, payload: Bytes },
    Response { subject: async_nats::Subject, payload: Bytes },
    Ask { subject: Subject, payload: Bytes, response: oneshot::Sender<Result<Bytes, RequestError>> },
    Serve { subject: Subject, requests: mpsc::Sender<Request>, ready: oneshot::Sender<()> },
    Flush { done: oneshot::Sender<()> },
    Close { done: oneshot::Sender<()> },
}

pub(super) struct Pump {
    pub(super) client: Client,
    pub(super) link: Arc<Link>,
    pub(super) jobs: mpsc::Receiver<Job>,
    /// The way back for responses; it is weak, so that the last handle ends the pump.
    pub(super) back: mpsc::WeakSender<Job>,
    pub(super) sealer: Sealer,
}

impl Pump {
    /// Runs until the last handle is gone or the bus is closed; returns whom to tell.
    pub(super) async fn run(mut self) -> Option<oneshot::Sender<()>> {
        let mut batch = Vec::with_capacity(JOBS_PER_TURN);
        loop {
            self.look_at_interest().await;
            tokio::select! {
                biased;
                () = self.link.interest.notified() => {}
                taken = self.jobs.recv_many(&mut batch, JOBS_PER_TURN) => {
                    if taken == 0 {
                        return None;
                    }
                    // Whoever handed one of these over may have subscribed just before.
                    self.look_at_interest().await;
                    for job in batch.drain(..) {
                        if let Some(done) = self.work(job).await {
                            return Some(done);
                        }
                    }
                }
            }
        }
    }

    async fn look_at_interest(&mut self) {
        for inbox in self.link.take_new_inboxes() {
            tokio::spawn(inbox.drain(self.client.clone()));
        }
        if !self.link.is_up() || !self.link.take_interest_changed() {
            return;
        }
        for inbox in self.link.inboxes() {
            if !inbox.apply(&self.client).await {
                // What is left is done when the connection is back, which wakes the pump.
                self.link.interest_remains();
                return;
            }
        }
    }

    async fn work(&mut self, job: Job) -> Option<oneshot::Sender<()>> {
        match job {
            Job::Publish { subject, payload } => {
                // What waited through the loss of the connection is stale.
                if self.link.is_up() {
                    let sealed = self.sealer.seal(&payload);
                    self.publish("a message", wire(&subject), sealed).await;
                }
            }
            Job::Response { subject, payload } => {
                self.publish("a response", subject, payload).await;
            }
            Job::Ask { subject, payload, response } => {
                start(ask(self.client.clone(), subject, payload, response));
            }
            Job::Serve { subject, requests, ready } => {
                let back = self.back.clone();
                start(serve(self.client.clone(), Arc::clone(&self.link), subject, requests, ready, back));
            }
            Job::Flush { mut done } => {
                let client = self.client.clone();
                start(async move {
                    tokio::select! {
                        () = round_trip(&client) => { let _ = done.send(()); }
                        () = done.closed() => {}
                    }
                });
            }
            Job::Close { done } => {
                let last = while_up(&self.link, round_trip(&self.client));
                let _ = tokio::time::timeout(CLOSE_WAIT, last).await;
                return Some(done);
            }
        }
        None
    }
}

impl Pump {
    async fn publish(&self, what: &str, subject: async_nats::Subject, payload: Bytes) {
        let bytes = payload.len();
        let published = while_up(&self.link, self.client.publish(subject, payload)).await;
        if let Some(Err(error)) = published
            && error.kind() == PublishErrorKind::MaxPayloadExceeded
        {
            self.link.refused_by_client(what, bytes);
        }
    }
}

/// Spawns work after a first step, so that what it sends at once keeps its place.
fn start(work: impl Future<Output = ()> + Send + 'static) {
    let mut work = Box::pin(work);
    let is_done = futures_util::FutureExt::now_or_never(work.as_mut()).is_some();
    if !is_done {
        tokio::spawn(work);
    }
}

/// Sends a request with its own reply subject: the client's shared one keeps a map entry for each time-out, forever.
async fn send_request(
    client: &Client,
    subject: async_nats::Subject,
    payload: Bytes,
) -> Result<Message, async_nats::RequestError> {
    let request = async_nats::Request::new().payload(payload).inbox(client.new_inbox()).timeout(None);
    client.send_request(subject, request).await
}

async fn ask(
    client: Client,
    subject: Subject,
    payload: Bytes,
    mut response: oneshot::Sender<Result<Bytes, RequestError>>,
) {
    let result = tokio::select! {
        result = send_request(&client, wire(&subject), payload) => result,
        // The caller keeps the time.
        () = response.closed() => return,
    };
    let result = result.map(|message| message.payload).map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => RequestError::NoResponder,
        RequestErrorKind::TimedOut => RequestError::TimedOut,
        RequestErrorKind::MaxPayloadExceeded => RequestError::TooLarge,
        _ => RequestError::Down,
    });
    let _ = response.send(result);
}

/// Waits until the server has everything that was sent before: it has once it said that no one listens here.
async fn round_trip(client: &Client) {
    let _ = send_request(client, async_nats::Subject::from_static(SYNC_SUBJECT), Bytes::new()).await;
}

async fn serve(
    client: Client,
    link: Arc<Link>,
    subject: Subject,
    requests: mpsc::Sender<Request>,
    ready: oneshot::Sender<()>,
    back: mpsc::WeakSender<Job>,
) {
    let Ok(mut subscriber) = client.subscribe(wire(&subject)).await else { return };
    if link.is_up() {
        while_up(&link, round_trip(&client)).await;
    }
    let _ = ready.send(());
    loop {
        let message = tokio::select! {
            message = subscriber.next() => message,
            () = requests.closed() => break,
        };
        let Some(message) = message else { break };
        // Whoever may ask only must not have market data written for it by the one that answers.
        let Some(reply) = message.reply.filter(|reply| !reply.starts_with(OWN_SUBJECTS)) else { continue };
        let (link, back) = (Arc::clone(&link), back.clone());
        let request =
            Request::new(message.payload, move |response| send_response(&link, &back, reply, response));
        if requests.try_send(request).is_err() {
            debug!(%subject, "a request was dropped, as too many wait");
        }
    }
    unsubscribe(&link, &mut subscriber).await;
}

async fn unsubscribe(link: &Link, subscriber: &mut Subscriber) {
    while_up(link, subscriber.unsubscribe()).await;
}

fn send_response(
    link: &Link,
    back: &mpsc::WeakSender<Job>,
    subject: async_nats::Subject,
    payload: Bytes,
) -> Result<(), PublishError> {
    let bytes_max = link.payload_max();
    if payload.len() > bytes_max {
        return Err(PublishError::TooLarge { bytes: payload.len(), bytes_max });
    }
    let jobs = back.upgrade().filter(|_| link.is_up()).ok_or(PublishError::Down)?;
    jobs.try_send(Job::Response { subject, payload }).map_err(|error| refused(&error))
}

pub(super) fn refused(error: &mpsc::error::TrySendError<Job>) -> PublishError {
    match error {
        mpsc::error::TrySendError::Full(_) => PublishError::Full,
        mpsc::error::TrySendError::Closed(_) => PublishError::Down,
    }
}
