//! The configuration of a connection to NATS. It is plain data: nothing is read from files or the environment before
//! `connect`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::history::HistoryConfig;
use super::words::without_secrets;

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The TLS settings of connections to NATS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// The file of certificates to trust (PEM); without it those of the system are trusted.
    pub ca_file: Option<PathBuf>,
    /// The file of the own certificate chain (PEM), for servers that verify clients.
    pub cert_file: Option<PathBuf>,
    /// The file of the own certificate's key (PEM).
    pub key_file: Option<PathBuf>,
    /// Whether servers without TLS are refused; `tls://` in a server's address says it for that server.
    pub required: bool,
}

/// The configuration of a connection to NATS. At most one way to sign in may be given.
///
/// `deploy/nats/users.conf` has the permissions that ingesters and gateways need.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsConfig {
    /// The addresses, `nats://host:port` or `tls://host:port`, tried in random order. They may hold `user:password@`,
    /// the same in all of them.
    pub servers: Vec<String>,
    /// The file with a user's JWT and seed, as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
    /// The file with the seed of a user's nkey.
    pub nkey_seed_file: Option<PathBuf>,
    /// The user name, with `password`.
    pub user: Option<String>,
    /// The password, with `user`.
    pub password: Option<Secret>,
    /// The token to sign in with.
    pub token: Option<Secret>,
    /// The TLS settings.
    pub tls: TlsConfig,
    /// The name of this connection, as the server shows it.
    pub name: String,
    /// The subjects at which responses come begin so. Sides with permissions of their own have one of their own, so that none
    /// of them can listen to what another one is answered.
    pub inbox_prefix: String,
    /// The longest wait before the first new attempt after a lost connection; waits are random up to it (full jitter).
    pub reconnect_min: Duration,
    /// The longest wait between attempts.
    pub reconnect_max: Duration,
    /// The longest time for one attempt to connect.
    pub connect_timeout: Duration,
    /// The silence after which the server is probed. A server that has gone mute is noticed within three of these. A
    /// server that is only busy answers late: at 200 ms, connections at full load broke on a machine without a free
    /// core.
    pub ping_interval: Duration,
    /// The number of messages that may wait for the connection task; beyond that `publish` says `Full`. It is small, as
    /// what waits here is stale when the connection returns.
    pub publish_queue: usize,
    /// The number of messages of one subject that may wait between the connection task and its inbox. It takes up one
    /// burst of the socket; memory is used only while something waits.
    pub subscription_queue: usize,
    /// The most requests on their way at a time; further ones wait within their time-out.
    pub requests_max: usize,
    /// The most requests that wait at one server of requests; further ones run into their time-out.
    pub served_max: usize,
    /// The messages that can be looked up again; without it, what is lost is lost.
    pub history: Option<HistoryConfig>,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            credentials_file: None,
            nkey_seed_file: None,
            user: None,
            password: None,
            token: None,
            tls: TlsConfig::default(),
            name: "tickwire".to_owned(),
            inbox_prefix: "_INBOX".to_owned(),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            ping_interval: Duration::from_secs(2),
            publish_queue: 1_024,
            subscription_queue: 65_536,
            requests_max: 1_024,
            served_max: 1_024,
            history: None,
        }
    }
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|server| without_secrets(server)).collect();
        f.debug_struct("NatsConfig")
            .field("servers", &servers)
            .field("credentials_file", &self.credentials_file)
            .field("nkey_seed_file", &self.nkey_seed_file)
            .field("user", &self.user)
            .field("password", &self.password)
            .field("token", &self.token)
            .field("tls", &self.tls)
            .field("name", &self.name)
            .field("inbox_prefix", &self.inbox_prefix)
            .field("reconnect_min", &self.reconnect_min)
            .field("reconnect_max", &self.reconnect_max)
            .field("connect_timeout", &self.connect_timeout)
            .field("ping_interval", &self.ping_interval)
            .field("publish_queue", &self.publish_queue)
            .field("subscription_queue", &self.subscription_queue)
            .field("requests_max", &self.requests_max)
            .field("served_max", &self.served_max)
            .field("history", &self.history)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let config = NatsConfig {
            servers: vec!["nats://u:hunter2@a:1".into(), "bad:hunter2@x".into(), "tls://b".into()],
            user: Some("u".into()),
            password: Some(Secret::new("hunter2")),
            token: Some(Secret::new("hunter2")),
            ..NatsConfig::default()
        };
        let text = format!("{config:?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("nats://..@a:1") && text.contains("tls://b"), "{text}");
    }
}
