//! The bus over NATS.
//!
//! Each handle owns one connection and one thread with a single-threaded runtime, which runs the client, the pump that
//! feeds it, and the draining of all inboxes. How order is kept is told in [`order`]. The thread does no work per
//! session, and none per message of an inbox beyond sorting and moving it.

mod backoff;
mod config;
mod envelope;
mod history;
mod inbox;
mod link;
mod order;
mod pump;
mod ready;
mod register;
mod validate;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::ConnectOptions;
use bytes::Bytes;
use thiserror::Error;
use tickwire_net::Backoff;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::error;

use self::backoff::Waits;
pub use self::config::{NatsConfig, Secret, TlsConfig};
use self::envelope::Sealer;
pub use self::history::HistoryConfig;
use self::history::NatsHistory;
use self::inbox::NatsInbox;
use self::link::Link;
use self::pump::{Job, Pump, refused};
use self::register::NatsRegister;
pub use self::validate::ConfigError;
use self::validate::{Checked, SignIn};
use crate::backplane::{Backplane, BusState, FlushError, PublishError, RequestError, Requests, ServeError};
use crate::future::BoxFuture;
use crate::history::History;
use crate::inbox::{Inbox, InboxLimits, Interest, InterestSink, pair};
use crate::register::Register;
use tickwire_wire::Subject;

/// The number of commands that may wait inside the client. It is as few as keep the client busy: after an outage that
/// no one has noticed yet, they are delivered stale.
const CLIENT_QUEUE: usize = 128;

/// The time between two looks at the connection, beside its events, which the client drops when there are many.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A bus over NATS. Dropping it ends the connection at once; [`Backplane::close`] sends first what was accepted.
pub struct NatsBus {
    link: Arc<Link>,
    jobs: mpsc::Sender<Job>,
    requests: Semaphore,
    served_max: usize,
    history: Option<Arc<NatsHistory>>,
    register: NatsRegister,
}

/// The reason why no connection was even tried.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The configuration has errors; these are all of them.
    #[error("{}", join(.0))]
    Config(Vec<ConfigError>),
    /// The thread or its runtime could not be made.
    #[error("cannot start the bus thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl NatsBus {
    /// Checks the configuration, reads its files, and starts to connect. Returns at once; `state` tells how it goes,
    /// and it is tried again until it works.
    ///
    /// # Errors
    /// When the configuration has errors, or the thread cannot be started.
    pub fn connect(config: &NatsConfig) -> Result<Self, ConnectError> {
        let Checked { servers, sign_in } = config.check().map_err(ConnectError::Config)?;
        let backoff = Backoff::new(config.reconnect_min, config.reconnect_max);
        let link = Arc::new(Link::new(Waits::new(backoff, servers.len())));
        let options = options(config, sign_in, &link)?;
        let (jobs, receiver) = mpsc::channel(config.publish_queue);
        let back = jobs.downgrade();
        let history =
            config.history.clone().map(|history| Arc::new(NatsHistory::new(history, Arc::clone(&link))));
        let looked_at = history.clone();
        let register = NatsRegister::new(Arc::clone(&link));
        let parks = Arc::clone(&link);
        let runtime =
            Builder::new_current_thread().enable_all().on_thread_park(move || parks.gather()).build()?;
        let thread_link = Arc::clone(&link);
        std::thread::Builder::new().name(format!("{}-bus", config.name)).spawn(move || {
            let link = thread_link;
            let done = run(&runtime, async {
                let client = options.connect(servers).await.map_err(|error| error.to_string())?;
                link.set_client(client.clone());
                tokio::spawn(look(Arc::clone(&link)));
                if let Some(history) = looked_at {
                    tokio::spawn(history.look());
                }
                let sealer = Sealer::new(rand::random());
                let pump = Pump { client, link: Arc::clone(&link), jobs: receiver, back, sealer };
                Ok(pump.run().await)
            });
            link.close();
            runtime.shutdown_background();
            if let Some(done) = done {
                let _ = done.send(());
            }
        })?;
        Ok(Self {
            link,
            jobs,
            requests: Semaphore::new(config.requests_max),
            served_max: config.served_max,
            history,
            register,
        })
    }
}

type Done = Option<oneshot::Sender<()>>;

fn run(runtime: &Runtime, work: impl Future<Output = Result<Done, String>>) -> Done {
    runtime.block_on(work).unwrap_or_else(|reason| {
        error!(reason, "the NATS client could not be made");
        None
    })
}

async fn look(link: Arc<Link>) {
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    loop {
        interval.tick().await;
        link.refresh();
    }
}

fn options(config: &NatsConfig, sign_in: SignIn, link: &Arc<Link>) -> Result<ConnectOptions, ConnectError> {
    // Another crate in the process may have brought a second provider, and then there is no default.
    let _ = async_nats::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let on_event = Arc::clone(link);
    let on_wait = Arc::clone(link);
    let on_attempt = Arc::clone(link);
    let mut options = ConnectOptions::new()
        .name(&config.name)
        .custom_inbox_prefix(&config.inbox_prefix)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(config.connect_timeout)
        .ping_interval(config.ping_interval)
        .client_capacity(CLIENT_QUEUE)
        .subscription_capacity(config.subscription_queue)
        .skip_subject_validation(true)
        .require_tls(config.tls.required)
        .event_callback(move |event| {
            on_event.on_event(&event);
            std::future::ready(())
        })
        .reconnect_delay_callback(move |_| on_wait.next_wait())
        // This chooses nothing: it is the only place where the client tells why attempts failed.
        .reconnect_to_server_callback(move |servers, _| {
            on_attempt.attempts_failed(&servers);
            std::future::ready(None)
        });
    if let Some(path) = &config.tls.ca_file {
        options = options.add_root_certificates(path.clone());
    }
    if let (Some(cert), Some(key)) = (&config.tls.cert_file, &config.tls.key_file) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(match sign_in {
        SignIn::Nothing => options,
        SignIn::UserPassword(user, password) => options.user_and_password(user, password.expose().to_owned()),
        SignIn::Token(token) => options.token(token.expose().to_owned()),
        SignIn::Nkey(seed) => options.nkey(seed.expose().to_owned()),
        SignIn::Credentials(text) => options.credentials(text.expose()).map_err(|_| {
            ConnectError::Config(vec![ConfigError {
                field: "credentials_file".to_owned(),
                problem: "the file does not hold a JWT and a seed".to_owned(),
                remedy: "make one with: nsc generate creds".to_owned(),
            }])
        })?,
    })
}

impl Backplane for NatsBus {
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError> {
        if subject.is_wildcard() {
            return Err(PublishError::Wildcard);
        }
        let bytes_max = self.link.payload_max();
        if payload.len() > bytes_max {
            return Err(PublishError::TooLarge { bytes: payload.len(), bytes_max });
        }
        if !self.link.is_up() {
            return Err(PublishError::Down);
        }
        let job = Job::Publish { subject: subject.clone(), payload };
        self.jobs.try_send(job).map_err(|error| refused(&error))
    }

    fn payload_max(&self) -> usize {
        self.link.payload_max()
    }

    fn inbox(&self, limits: InboxLimits) -> (Interest, Inbox) {
        let inbox = NatsInbox::new(limits, Arc::clone(&self.link));
        let queue = Arc::clone(&inbox.queue);
        self.link.add_inbox(&inbox);
        if self.link.is_closed() {
            queue.close();
            inbox.close();
        }
        pair(queue, inbox)
    }

    fn request(
        &self,
        subject: &Subject,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, RequestError>> {
        let subject = subject.clone();
        Box::pin(async move {
            if payload.len() > self.link.payload_max() {
                return Err(RequestError::TooLarge);
            }
            let mut state = self.link.state();
            let generation = state.borrow_and_update().generation();
            if generation.is_none() {
                return Err(RequestError::Down);
            }
            let asked = async {
                let _one_of_many = self.requests.acquire().await;
                let (response, receiver) = oneshot::channel();
                let job = Job::Ask { subject, payload, response };
                self.jobs.send(job).await.map_err(|_| RequestError::Down)?;
                receiver.await.unwrap_or(Err(RequestError::Down))
            };
            tokio::select! {
                biased;
                result = asked => result,
                _ = state.wait_for(|state| state.generation() != generation) => Err(RequestError::Down),
                () = tokio::time::sleep(timeout) => Err(RequestError::TimedOut),
            }
        })
    }

    fn serve(&self, subject: &Subject) -> BoxFuture<'_, Result<Requests, ServeError>> {
        let subject = subject.clone();
        Box::pin(async move {
            if subject.is_wildcard() {
                return Err(ServeError::Wildcard);
            }
            let (requests, receiver) = mpsc::channel(self.served_max);
            let (ready, is_ready) = oneshot::channel();
            let mut state = self.link.state();
            let job = Job::Serve { subject, requests, ready };
            self.jobs.send(job).await.map_err(|_| ServeError::Closed)?;
            tokio::select! {
                biased;
                _ = is_ready => {}
                _ = state.wait_for(|state| !state.is_up()) => {}
            }
            if self.link.is_closed() { Err(ServeError::Closed) } else { Ok(Requests::new(receiver)) }
        })
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.link.state()
    }

    fn flush(&self, timeout: Duration) -> BoxFuture<'_, Result<(), FlushError>> {
        Box::pin(async move {
            let mut state = self.link.state();
            let generation = state.borrow_and_update().generation();
            if generation.is_none() {
                return Err(FlushError::Down);
            }
            let flushed = async {
                let (done, is_done) = oneshot::channel();
                self.jobs.send(Job::Flush { done }).await.map_err(|_| FlushError::Down)?;
                is_done.await.map_err(|_| FlushError::Down)
            };
            tokio::select! {
                biased;
                result = flushed => result,
                _ = state.wait_for(|state| state.generation() != generation) => Err(FlushError::Down),
                () = tokio::time::sleep(timeout) => Err(FlushError::TimedOut),
            }
        })
    }

    fn history(&self) -> Option<&dyn History> {
        self.history.as_deref().map(|history| history as &dyn History)
    }

    fn register(&self) -> Option<&dyn Register> {
        Some(&self.register)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (done, is_done) = oneshot::channel();
            if self.jobs.send(Job::Close { done }).await.is_ok() {
                let _ = is_done.await;
            }
        })
    }
}

impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBus").field("state", &*self.link.state().borrow()).finish_non_exhaustive()
    }
}

fn join(errors: &[ConfigError]) -> String {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
