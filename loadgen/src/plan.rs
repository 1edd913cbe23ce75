//! The plan says which sessions read how, in which encoding, and what they subscribe to. All of it follows from the scenario and
//! its seed, so that every thread and process knows it without being told.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use tickwire_feed::open_loop::{self, Popularity, mix};
use tickwire_net::tls::{ClientTls, Trust};
use tickwire_wire::Encoding;

use crate::scenario::access::TLS_SETTINGS;
use crate::scenario::{Reader, ReaderKind, Scenario, Url, VENUE};

/// More symbols than this are subscribed to as `venue:*`.
const NAMED_MAX: usize = 4096;
/// Most bytes of a handshake with its certificates.
const SHAKE_BYTES: usize = 16 << 10;
/// Most bytes of one symbol in the response to a subscription, and of its state.
const RESPONSE_BYTES: usize = 512;
/// A running ingester is taken to have so many symbols, because that is not known.
const RUNNING_SYMBOLS: usize = 4096;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    /// None: the connection is plain.
    pub(crate) tls: Option<ClientTls>,
    /// Kinds of readers; the last one is prompt.
    pub(crate) kinds: Vec<Reader>,
    /// The place in `kinds` of each session.
    readers: Vec<u8>,
    encodings: Vec<Encoding>,
    popularity: Popularity,
    /// Whether a session loses its connection, by storm and session.
    storms: Vec<Vec<bool>>,
}

impl Plan {
    /// # Errors
    /// When the address cannot be resolved, or TLS has nobody to trust.
    pub(crate) fn new(scenario: Scenario, url: &Url) -> anyhow::Result<Self> {
        let mut addresses =
            url.address.to_socket_addrs().with_context(|| format!("cannot find {}", url.address))?;
        let address = addresses.next().with_context(|| format!("{} has no address", url.address))?;
        let default = scenario.peer.as_ref().map_or("/v1/stream", |peer| peer.kind.path());
        let mut path = if url.path.is_empty() { default.to_owned() } else { url.path.clone() };
        let asked = [("window_ms", scenario.sessions.window), ("heartbeat_ms", scenario.sessions.heartbeat)];
        for (name, duration) in asked.into_iter().filter(|(_, duration)| !duration.is_zero()) {
            let mark = if path.contains('?') { '&' } else { '?' };
            path = format!("{path}{mark}{name}={}", duration.as_millis());
        }
        let trust = scenario.sessions.trust.clone();
        let (authorities, insecure, server_name) = (trust.authorities, trust.insecure, trust.server_name);
        let trust = Trust { authorities, insecure, server_name, identity: None };
        let tls = url.is_tls.then(|| ClientTls::new(&trust, &url.address, &TLS_SETTINGS)).transpose()?;
        // Sessions stand for clients that know nothing of each other: each handshake costs the server its whole price.
        let tls = tls.map(ClientTls::without_resumption);
        let count = scenario.sessions.count;
        let kinds = [&scenario.readers[..], &[Reader::default()]].concat();
        let shares: Vec<f64> = scenario.readers.iter().map(|reader| reader.share).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
        let mut readers = deal(count, &shares);
        readers.shuffle(&mut rng);
        let total: f64 = scenario.sessions.encodings.iter().map(|(_, weight)| weight).sum();
        let shares: Vec<f64> = scenario.sessions.encodings.iter().map(|(_, weight)| weight / total).collect();
        let mut encodings: Vec<_> = deal(count, &shares[..shares.len() - 1])
            .into_iter()
            .map(|at| scenario.sessions.encodings[at as usize].0)
            .collect();
        encodings.shuffle(&mut rng);
        let storms = scenario.churn.storms.iter().enumerate().map(|(at, storm)| {
            let mut rng = ChaCha8Rng::seed_from_u64(mix(scenario.seed ^ mix(at as u64)));
            let mut is_in: Vec<_> = deal(count, &[storm.share]).into_iter().map(|place| place == 0).collect();
            is_in.shuffle(&mut rng);
            is_in
        });
        let storms = storms.collect();
        let symbols = scenario.source.symbols;
        Ok(Self {
            popularity: Popularity::new(symbols, scenario.sessions.skew),
            storms,
            host: url.address.clone(),
            tls,
            scenario,
            address,
            path,
            kinds,
            readers,
            encodings,
        })
    }

    /// Returns the address of the server, as reports have it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}{}", if self.tls.is_some() { "wss" } else { "ws" }, self.host, self.path)
    }

    /// Returns the path of a session, and a header with its token where the token goes there.
    pub(crate) fn admission(&self, session: usize) -> (String, String) {
        let tokens = &self.scenario.sessions.tokens;
        match (tokens.of(session), &tokens.parameter) {
            (None, _) => (self.path.clone(), String::new()),
            (Some(token), None) => (self.path.clone(), token.bearer()),
            (Some(token), Some(name)) => {
                let joint = if self.path.contains('?') { '&' } else { '?' };
                (format!("{}{joint}{name}={}", self.path, token.escaped()), String::new())
            }
        }
    }

    /// Returns what a server said to a session, without the session's token.
    pub(crate) fn redacted(&self, session: usize, text: String) -> String {
        match self.scenario.sessions.tokens.of(session) {
            Some(token) => token.redact(&text),
            None => text,
        }
    }

    pub(crate) fn reader(&self, session: usize) -> usize {
        self.readers[session].into()
    }

    /// Returns None for a peer, which knows no encodings.
    pub(crate) fn encoding(&self, session: usize) -> Option<Encoding> {
        self.scenario.peer.is_none().then(|| self.encodings[session])
    }

    /// Returns the symbols of the own source that a session takes.
    pub(crate) fn symbols(&self, session: usize) -> Vec<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(mix(self.scenario.seed ^ mix(session as u64)));
        self.popularity.choose_some(self.scenario.sessions.symbols_each, &mut rng)
    }

    /// Returns the same by names, as a subscription has them.
    pub(crate) fn names(&self, session: usize) -> Vec<String> {
        if self.scenario.source.is_running() {
            return self.scenario.sessions.symbols.clone();
        }
        let symbols = self.symbols(session);
        if symbols.len() == self.scenario.source.symbols && symbols.len() > NAMED_MAX {
            return vec![format!("{VENUE}:*")];
        }
        symbols.into_iter().map(name).collect()
    }

    /// Returns how long the opening of a session may take: a throttled reader needs more than at full speed for its handshake
    /// and the responses to its subscriptions.
    pub(crate) fn open_wait(&self, session: usize, at_full_speed: Duration) -> Duration {
        let reader = self.kinds[self.reader(session)];
        if reader.kind != ReaderKind::Throttled {
            return at_full_speed;
        }
        let scenario = &self.scenario;
        let symbols = match (scenario.source.is_running(), scenario.sessions.symbols_each) {
            (true, _) => RUNNING_SYMBOLS,
            (false, 0) => scenario.source.symbols,
            (false, each) => each,
        };
        let responses = symbols * scenario.sessions.channels.len() * RESPONSE_BYTES;
        at_full_speed + Duration::from_secs_f64((SHAKE_BYTES + responses) as f64 / reader.bytes_per_second)
    }

    /// Returns the longest opening of all sessions.
    pub(crate) fn open_wait_max(&self, at_full_speed: Duration) -> Duration {
        let all = (0..self.readers.len()).map(|session| self.open_wait(session, at_full_speed));
        all.max().unwrap_or(at_full_speed)
    }

    /// Returns whether a storm takes this session's connection.
    pub(crate) fn is_in_storm(&self, storm: usize, session: usize) -> bool {
        self.storms[storm][session]
    }

    /// Returns how many connections a storm takes.
    pub(crate) fn in_storm(&self, storm: usize) -> usize {
        self.storms[storm].iter().filter(|is_in| **is_in).count()
    }
}

/// Writes a symbol of the own source as `venue:SYMBOL`.
pub(crate) fn name(symbol: u32) -> String {
    format!("{VENUE}:{}", open_loop::symbol_name(symbol))
}

/// Deals out places by their shares, to the nearest whole; what is left gets the place behind the last.
fn deal(count: usize, shares: &[f64]) -> Vec<u8> {
    let mut dealt = Vec::with_capacity(count);
    let mut sum = 0.0;
    for (at, share) in shares.iter().enumerate() {
        sum += share;
        dealt.resize(((count as f64 * sum).round() as usize).clamp(dealt.len(), count), at as u8);
    }
    dealt.resize(count, shares.len() as u8);
    dealt
}

#[cfg(test)]
#[path = "../tests/units/plan.rs"]
mod tests;
