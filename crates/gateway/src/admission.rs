//! Admission says who may open a session, how often, and from where: it is what the public listener asks before a session opens.
//!
//! Clients on this machine are not limited by their address, nor counted in the rate of all: load generators and tests open
//! thousands of sessions from there. Where a proxy runs on this machine, it has to be listed; its clients are then those that it tells.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;

use crate::addresses::{AddressKey, Exceeded, Rates};
use crate::clock::Clock;
use crate::holders::{Holder, Holders, Seat};
use crate::origin;
use crate::proxies::Proxies;
use crate::refusal::{Refusal, Refused};

/// The settings of what the public listener asks before a session opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The origins from which browsers may open sessions beside the gateway's own: `https://app.example`, `null`, or `*` for all.
    pub origins: Vec<String>,
    /// The proxies before the gateway.
    pub proxies: Proxies,
    /// The most requests for sessions that all clients make in a second; 0 for no such limit. Of these and the next, five seconds'
    /// worth may come at once.
    pub handshakes_per_second: u32,
    /// The most requests for sessions that one address makes in a second; 0 for no such limit.
    pub address_handshakes_per_second: u32,
    /// The most addresses that are told apart by the rate of their requests.
    pub addresses: usize,
    /// The most sessions of one address at the same time; 0 for no such limit.
    pub address_sessions: u32,
    /// The most sessions of one user at the same time, by the subject of tokens or the name of API keys, where these allow more; 0 for no
    /// such limit.
    pub user_sessions: u32,
    /// The largest head of a request, in bytes, at least 8192.
    pub head_bytes: usize,
    /// The longest path and query of a request, in bytes.
    pub url_bytes: usize,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            proxies: Proxies::default(),
            handshakes_per_second: 2_000,
            address_handshakes_per_second: 20,
            addresses: 65_536,
            address_sessions: 1_000,
            user_sessions: 0,
            head_bytes: 16 << 10,
            url_bytes: 4 << 10,
        }
    }
}

/// Everything that stands between a connection and a session; see the module.
#[derive(Debug)]
pub(crate) struct Doors {
    admission: Admission,
    rates: Rates,
    holders: Arc<Holders>,
    /// The limits in force, as a document.
    limits: Bytes,
    clock: Clock,
}

impl Doors {
    pub(crate) fn new(admission: Admission, holders: Arc<Holders>, limits: Bytes, clock: Clock) -> Self {
        let Admission { address_handshakes_per_second, handshakes_per_second, addresses, .. } = admission;
        let rates = Rates::new(address_handshakes_per_second, handshakes_per_second, addresses);
        Self { admission, rates, holders, limits, clock }
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        &self.admission.proxies
    }

    pub(crate) fn head_bytes(&self) -> usize {
        // The library takes no less.
        self.admission.head_bytes.max(8 << 10)
    }

    pub(crate) fn url_bytes(&self) -> usize {
        self.admission.url_bytes
    }

    pub(crate) fn limits(&self) -> Bytes {
        self.limits.clone()
    }

    /// Returns the client's address. `source` is where its connection comes from, a pipe from nowhere.
    pub(crate) fn client(&self, source: Option<SocketAddr>, headers: &HeaderMap) -> Option<SocketAddr> {
        Some(self.admission.proxies.client(source?, headers))
    }

    /// Counts a request for a session.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn ask(&self, client: Option<SocketAddr>) -> Result<(), Refused> {
        let Some(address) = limited(client) else { return Ok(()) };
        self.rates.take(address, self.clock.now()).map_err(|exceeded| match exceeded {
            Exceeded::OfAddress { retry_after } => {
                let text = "too many requests for sessions from this address: keep those that you have";
                Refused::new(Refusal::AddressRate, text).after(retry_after)
            }
            Exceeded::OfAll { retry_after } => {
                let text = "too many requests for sessions: try later or another gateway";
                Refused::new(Refusal::Rate, text).after(retry_after)
            }
        })
    }

    /// Checks the page that asks, where a browser names one.
    ///
    /// # Errors
    /// When it may not ask.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refused> {
        if origin::is_allowed(headers, &self.admission.origins) {
            return Ok(());
        }
        let text =
            "pages of this origin may not open sessions here; the operator can list it in gateway.origins";
        Err(Refused::new(Refusal::Origin, text))
    }

    /// Takes what a session counts for. `source` is where the connection comes from.
    ///
    /// # Errors
    /// When its address has as many sessions as it may.
    pub(crate) fn seat(
        &self,
        permit: OwnedSemaphorePermit,
        source: Option<SocketAddr>,
        client: Option<SocketAddr>,
    ) -> Result<Seat, Refused> {
        let max = self.admission.address_sessions;
        let mut held = Vec::new();
        if let Some(address) = limited(client).filter(|_| max > 0) {
            held.push(self.holders.hold(Holder::Address(address), max).ok_or_else(|| {
                let text = format!("this address has {max} sessions, as many as it may: close one first");
                Refused::new(Refusal::AddressFull, text)
            })?);
        }
        // The system knows the other end of a connection that no proxy stands before.
        let is_told = client != source || self.admission.proxies.with_header;
        Ok(Seat::new(permit, client.filter(|_| is_told), held))
    }
}

/// Returns the address by which a client is limited; `None` for one on this machine.
fn limited(client: Option<SocketAddr>) -> Option<AddressKey> {
    client
        .map(|client| client.ip().to_canonical())
        .filter(|address| !address.is_loopback())
        .map(AddressKey::of)
}
