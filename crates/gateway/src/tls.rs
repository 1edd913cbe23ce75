//! TLS at the listeners: handshakes on a thread of their own, and certificates that may change while sessions go on.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tickwire_net::tls::rustls::HandshakeKind;
use tickwire_net::tls::{Reload, ServerFiles, ServerTls, ServerTlsError, ServerTlsStream};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncWriteExt as _, copy, sink};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::lobby::Guest;
use crate::outcome::Outcome;
use crate::stats::TlsCounts;
use crate::traces::span;

/// The wait before files that cannot be used are looked at again.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// The thread that makes handshakes gives way to those of shards by this much: where they share a core, it gets a tenth of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// The response to a request that is not sealed.
const PLAIN: &str = "this listener speaks TLS: connect with wss:// or https://\n";

/// The part that the listeners share.
#[derive(Debug)]
pub(crate) struct Tls {
    server: ServerTls,
    /// The thread that makes handshakes: a flood of them takes one core at most, and gives way to sessions.
    thread: Handle,
    full: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
    reloads: AtomicU64,
    reload_failures: AtomicU64,
    /// The reason why what the files hold now is not in use; empty: it is.
    problem: Mutex<String>,
}

impl Tls {
    /// Reads the files, and starts the thread that makes handshakes until `stop`.
    ///
    /// # Errors
    /// When the files cannot be used, or the system gives no thread.
    pub(crate) fn start(
        files: ServerFiles,
        stop: CancellationToken,
    ) -> Result<(Arc<Self>, JoinHandle<()>), TlsError> {
        let server = ServerTls::load(files).map_err(TlsError::Files)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TlsError::Thread)?;
        let thread = runtime.handle().clone();
        let run = move || {
            #[cfg(target_os = "linux")]
            if let Err(error) = rustix::process::nice(NICENESS) {
                tracing::debug!(%error, "handshakes have the priority of sessions");
            }
            runtime.block_on(stop.cancelled());
            runtime.shutdown_background();
        };
        let running =
            std::thread::Builder::new().name("handshakes".to_owned()).spawn(run).map_err(TlsError::Thread)?;
        let tls = Self {
            server,
            thread,
            full: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            reload_failures: AtomicU64::new(0),
            problem: Mutex::default(),
        };
        Ok((Arc::new(tls), running))
    }

    /// Runs a connection on the thread of handshakes.
    pub(crate) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.thread.spawn(connection);
    }

    /// Agrees on keys with a client within the time that the lobby gives it. `None`: they did not agree.
    ///
    /// # Cancel safety
    /// Dropping it drops the connection.
    pub(crate) async fn shake(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        guest: &Guest,
    ) -> Option<ServerTlsStream<TcpStream>> {
        let shaken = tokio::select! {
            shaken = self.accept(stream) => shaken.map_err(|error| error.to_string()),
            why = guest.over() => Err(format!("{why:?}")),
        };
        match shaken {
            Ok(Some(stream)) => {
                let is_resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                let count = if is_resumed { &self.resumed } else { &self.full };
                count.fetch_add(1, Ordering::Relaxed);
                Some(stream)
            }
            // Balancers connect and go, to see whether somebody is there.
            Ok(None) => None,
            Err(reason) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%peer, reason, "a TLS handshake failed");
                None
            }
        }
    }

    /// Returns `None` where the client went without a word.
    async fn accept(&self, mut stream: TcpStream) -> io::Result<Option<ServerTlsStream<TcpStream>>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        // A record of TLS begins with a number below 32, and a request of HTTP with a letter.
        if !first[0].is_ascii_uppercase() {
            return self.server.accept(stream).await.map(Some);
        }
        let length = PLAIN.len();
        let response = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{PLAIN}"
        );
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await?;
        // The client's unread request would turn the response into a reset.
        copy(&mut stream, &mut sink()).await?;
        Err(io::Error::other("the client speaks no TLS"))
    }

    /// Looks at the files until it is told to stop, and uses what is good.
    pub(crate) async fn watch(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut wait = every;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = match self.look().await {
                // Certificate and key may be replaced one after the other.
                Some(Reload::Kept { is_known: false, .. }) => every.min(SECOND_LOOK),
                _ => every,
            };
        }
    }

    /// Looks at the files at once, because whoever changed them says that they are complete.
    ///
    /// # Cancel safety
    /// The files may have been taken.
    pub(crate) async fn reload(self: &Arc<Self>) -> Outcome {
        let mut looked = self.look().await;
        if matches!(looked, Some(Reload::Kept { is_known: false, .. })) {
            looked = self.look().await;
        }
        match looked {
            Some(Reload::Same) => Outcome::Same,
            Some(Reload::Replaced) => Outcome::Replaced,
            Some(Reload::Kept { error, .. }) => Outcome::Kept(error.to_string()),
            None => Outcome::Kept("the files were not looked at".to_owned()),
        }
    }

    /// Looks at the files once, and uses them where they are good. `None`: the runtime did not let it.
    async fn look(self: &Arc<Self>) -> Option<Reload> {
        let tls = Arc::clone(self);
        let looked = match tokio::task::spawn_blocking(move || tls.server.reload()).await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::error!(%error, "the TLS files were not looked at");
                return None;
            }
        };
        match &looked {
            Reload::Same => self.problem().clear(),
            Reload::Replaced => {
                self.problem().clear();
                self.reloads.fetch_add(1, Ordering::Relaxed);
                let _span = span!("reload", what = "TLS certificate", expires = self.expires_text());
                tracing::info!(expires = self.expires_text(), "new TLS certificate in use; sessions go on");
            }
            Reload::Kept { is_known: false, .. } => {}
            Reload::Kept { error, is_known: true } => self.refused(error),
        }
        Some(looked)
    }

    fn refused(&self, error: &ServerTlsError) {
        let told = error.to_string();
        let mut problem = self.problem();
        if *problem != told {
            self.reload_failures.fetch_add(1, Ordering::Relaxed);
            let _span = span!("reload", what = "TLS certificate", error = told.as_str());
            tracing::error!(
                error = told,
                "the TLS files changed and cannot be used; the certificate from before stays in use"
            );
            *problem = told;
        }
    }

    fn problem(&self) -> MutexGuard<'_, String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expires_text(&self) -> String {
        OffsetDateTime::from(self.server.expires()).format(&Rfc3339).unwrap_or_default()
    }

    /// Returns the seconds until the certificate in use expires; negative when it has.
    fn expires_in_s(&self) -> i64 {
        match self.server.expires().duration_since(SystemTime::now()) {
            Ok(left) => left.as_secs() as i64,
            Err(over) => -(over.duration().as_secs() as i64),
        }
    }

    /// Returns the state of the certificate, for `/readyz`.
    pub(crate) fn to_json(&self) -> Value {
        let problem = self.problem().clone();
        json!({
            "expires": self.expires_text(),
            "expires_in_s": self.expires_in_s(),
            "reload_error": (!problem.is_empty()).then_some(problem),
        })
    }

    /// Returns the counts, for metrics.
    pub(crate) fn counts(&self) -> TlsCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TlsCounts {
            full: load(&self.full),
            resumed: load(&self.resumed),
            failed: load(&self.failed),
            reloads: load(&self.reloads),
            reload_failures: load(&self.reload_failures),
            expires_in_s: Some(self.expires_in_s()),
        }
    }
}

/// The reason why there is no TLS.
#[derive(Debug)]
pub(crate) enum TlsError {
    Files(ServerTlsError),
    Thread(io::Error),
}
