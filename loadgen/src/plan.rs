//! Who does what: which sessions read how, in which encoding, and what they subscribe to. All of it follows from the
//! scenario and its seed, so that every thread and process knows it without being told.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tickwire_net::tls::ClientTls;
use tickwire_wire::Encoding;

use crate::scenario::access::TLS_SETTINGS;
use crate::scenario::{ReaderKind, Scenario, Url, VENUE};
use crate::source::{self, Popularity};

/// More symbols than this are asked for as `venue:*`.
const NAMED_MAX: usize = 4096;
/// Of a handshake with its certificates, at most.
const SHAKE_BYTES: usize = 16 << 10;
/// Of one symbol in the answer to a subscription, and of its state, at most.
const ANSWER_BYTES: usize = 512;
/// Symbols of a running ingester, where it is not known how many there are.
const RUNNING_SYMBOLS: usize = 4096;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    /// None: plain.
    pub(crate) tls: Option<ClientTls>,
    /// Kinds of readers; the last one is prompt.
    pub(crate) kinds: Vec<ReaderKind>,
    /// Of each session: place in `kinds`.
    readers: Vec<u8>,
    encodings: Vec<Encoding>,
    popularity: Popularity,
    /// Of each storm and session: whether it loses its connection.
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
        let window = scenario.sessions.window.as_millis();
        if window > 0 {
            path = format!("{path}{}window_ms={window}", if path.contains('?') { '&' } else { '?' });
        }
        let trust = &scenario.sessions.trust;
        let tls = url.is_tls.then(|| ClientTls::new(trust, &url.address, &TLS_SETTINGS)).transpose()?;
        // Sessions stand for clients that know nothing of each other: each handshake costs the server its whole price.
        let tls = tls.map(ClientTls::without_resumption);
        let count = scenario.sessions.count;
        let mut kinds: Vec<_> = scenario.readers.iter().map(|reader| reader.kind).collect();
        kinds.push(ReaderKind::Prompt);
        let shares: Vec<f64> = scenario.readers.iter().map(|reader| reader.share).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
        let mut readers = deal(count, &shares);
        source::shuffle(&mut readers, &mut rng);
        let total: f64 = scenario.sessions.encodings.iter().map(|(_, weight)| weight).sum();
        let shares: Vec<f64> = scenario.sessions.encodings.iter().map(|(_, weight)| weight / total).collect();
        let mut encodings: Vec<_> = deal(count, &shares[..shares.len() - 1])
            .into_iter()
            .map(|at| scenario.sessions.encodings[at as usize].0)
            .collect();
        source::shuffle(&mut encodings, &mut rng);
        let storms = scenario.churn.storms.iter().enumerate().map(|(at, storm)| {
            let mut rng = ChaCha8Rng::seed_from_u64(source::mix(scenario.seed ^ source::mix(at as u64)));
            let mut is_in: Vec<_> = deal(count, &[storm.share]).into_iter().map(|place| place == 0).collect();
            source::shuffle(&mut is_in, &mut rng);
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

    /// Path of a session, and a header with its token where it goes there.
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

    /// What a server said to a session, without its token.
    pub(crate) fn redacted(&self, session: usize, text: String) -> String {
        match self.scenario.sessions.tokens.of(session) {
            Some(token) => token.redact(&text),
            None => text,
        }
    }

    pub(crate) fn reader(&self, session: usize) -> usize {
        self.readers[session].into()
    }

    /// None: a peer, which knows no encodings.
    pub(crate) fn encoding(&self, session: usize) -> Option<Encoding> {
        self.scenario.peer.is_none().then(|| self.encodings[session])
    }

    /// Symbols of the own source that a session takes.
    pub(crate) fn symbols(&self, session: usize) -> Vec<u32> {
        let mut rng =
            ChaCha8Rng::seed_from_u64(source::mix(self.scenario.seed ^ source::mix(session as u64)));
        self.popularity.choose_some(self.scenario.sessions.symbols_each, &mut rng)
    }

    /// The same, by names as a subscription has them.
    pub(crate) fn names(&self, session: usize) -> Vec<String> {
        if self.scenario.source.is_running {
            return self.scenario.sessions.symbols.clone();
        }
        let symbols = self.symbols(session);
        if symbols.len() == self.scenario.source.symbols && symbols.len() > NAMED_MAX {
            return vec![format!("{VENUE}:*")];
        }
        symbols.into_iter().map(name).collect()
    }

    /// How long the opening of a session may take: so long at full speed, and what a throttled reader needs beyond that for
    /// a handshake and the answers to its subscriptions.
    pub(crate) fn open_wait(&self, session: usize, at_full_speed: Duration) -> Duration {
        let ReaderKind::Throttled { bytes_per_second, .. } = self.kinds[self.reader(session)] else {
            return at_full_speed;
        };
        let scenario = &self.scenario;
        let symbols = match (scenario.source.is_running, scenario.sessions.symbols_each) {
            (true, _) => RUNNING_SYMBOLS,
            (false, 0) => scenario.source.symbols,
            (false, each) => each,
        };
        let answers = symbols * scenario.sessions.channels.len() * ANSWER_BYTES;
        at_full_speed + Duration::from_secs_f64((SHAKE_BYTES + answers) as f64 / bytes_per_second)
    }

    /// Longest opening of all sessions.
    pub(crate) fn open_wait_max(&self, at_full_speed: Duration) -> Duration {
        let all = (0..self.readers.len()).map(|session| self.open_wait(session, at_full_speed));
        all.max().unwrap_or(at_full_speed)
    }

    /// Whether a storm takes this session's connection.
    pub(crate) fn is_in_storm(&self, storm: usize, session: usize) -> bool {
        self.storms[storm][session]
    }

    /// How many connections a storm takes.
    pub(crate) fn in_storm(&self, storm: usize) -> usize {
        self.storms[storm].iter().filter(|is_in| **is_in).count()
    }
}

/// `venue:SYMBOL` of a symbol of the own source.
pub(crate) fn name(symbol: u32) -> String {
    format!("{VENUE}:{}", source::symbol_name(symbol))
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
mod tests {
    use super::*;
    use crate::scenario::fields::Fields;
    use crate::scenario::read;

    fn plan(text: &str) -> Plan {
        let mut fields = Fields::default();
        fields.add_file("x", text);
        let scenario = read(&mut fields, 2);
        assert_eq!(fields.mistakes(), [""; 0]);
        Plan::new(scenario, &Url { address: "127.0.0.1:7400".to_owned(), path: String::new(), is_tls: false })
            .unwrap()
    }

    #[test]
    fn shares_are_kept_to_the_session() {
        let plan = plan(
            "[sessions]\ncount = 100\nencodings = { proto = 3, json = 1 }\nwindow = \"16ms\"\n\
             [[readers]]\nkind = \"silent\"\nshare = 0.1\n[[readers]]\nkind = \"half-open\"\nshare = 0.25\n",
        );
        let of = |kind| (0..100).filter(|at| plan.kinds[plan.reader(*at)] == kind).count();
        assert_eq!((of(ReaderKind::Silent), of(ReaderKind::HalfOpen), of(ReaderKind::Prompt)), (10, 25, 65));
        let json = (0..100).filter(|at| plan.encoding(*at) == Some(Encoding::Json)).count();
        assert_eq!(json, 25);
        assert_eq!(plan.path, "/v1/stream?window_ms=16");
    }

    #[test]
    fn a_storm_takes_its_share_to_the_session_and_others_the_next_time() {
        let plan = plan(
            "[sessions]\ncount = 101\n[churn]\nstorms = [{ at = \"1s\", share = 0.5 }, { at = \"2s\", share = 0.5 }, { at = \"3s\" }]\n",
        );
        assert_eq!((0..3).map(|storm| plan.in_storm(storm)).collect::<Vec<_>>(), [51, 51, 101]);
        let of = |storm| (0..101).filter(|at| plan.is_in_storm(storm, *at)).collect::<Vec<_>>();
        assert_ne!(of(0), of(1));
        assert_ne!(of(0), (0..51).collect::<Vec<_>>());
    }

    #[test]
    fn throttled_readers_may_take_longer_to_open() {
        let plan = plan(
            "[source]\nsymbols = 1000\n[sessions]\ncount = 2\nchannels = [\"quote\", \"trade\"]\n\
             [[readers]]\nkind = \"throttled\"\nshare = 0.5\nbytes_per_second = 1000\n",
        );
        let second = Duration::from_secs(1);
        let waits: Vec<_> = (0..2).map(|session| plan.open_wait(session, second)).collect();
        let throttled = second + Duration::from_secs_f64(16.384 + 2.0 * 512.0);
        assert!(waits.contains(&second) && waits.contains(&throttled), "{waits:?}");
        assert_eq!(plan.open_wait_max(second), throttled);
    }

    #[test]
    fn sessions_choose_their_symbols_for_good() {
        let plan = plan("[source]\nsymbols = 50\n[sessions]\nsymbols_each = 5\nskew = 1.0\n");
        assert_eq!(plan.names(3).len(), 5);
        assert_eq!(plan.names(3), plan.names(3));
        assert_ne!(plan.names(3), plan.names(4));
    }
}
