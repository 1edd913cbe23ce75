//! Settings that are written in a form of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use tickwire_config::settings;
use tickwire_wire::{Channel, Encoding};

pub(super) const RATE_MAX: f64 = 50e6;
pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
/// Readers whose ages may be bounded, and parts of the way; in the order of reports.
const READERS: [&str; 4] = ["prompt", "throttled", "stalled", "slow-program"];
const HOPS: [&str; 6] = [
    "intended-ingester",
    "ingester-gateway_write",
    "ingester-gateway_in",
    "gateway_in-gateway_write",
    "gateway_write-read",
    "read-decoded",
];

/// Returns the name of a kind, as settings and reports have it.
pub(crate) fn word(kind: impl Serialize) -> String {
    let name = serde_json::to_value(kind).ok();
    name.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The address that sessions connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub(crate) struct Url {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) path: String,
    pub(crate) is_tls: bool,
}

impl Url {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_tls { "wss" } else { "ws" }
    }
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        format!("{}://{}{}", url.scheme(), url.address, url.path)
    }
}

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        // What is behind the path may be secret.
        let shown = url.split('?').next().unwrap_or_default();
        let wrong = || format!("{shown}: write ws://HOST:PORT/v1/stream, or wss://");
        let (rest, is_tls) = match url.split_once("://") {
            Some((scheme @ ("ws" | "wss"), rest)) => (rest, scheme == "wss"),
            _ => return Err(wrong()),
        };
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        let name = port.map_or(host, |port| &host[..host.len() - port.len() - 1]);
        if name.is_empty() || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong());
        }
        let address = match port {
            Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => host.to_owned(),
            Some(port) => return Err(format!("{shown}: `{port}` is no port")),
            None => format!("{host}:{}", if is_tls { 443 } else { 7400 }),
        };
        Ok(Self { address, path: path.to_owned(), is_tls })
    }
}

/// The way by which a peer gets its updates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub(crate) enum Publish {
    Tcp(String),
    WebSocket(Url),
    Nats(String),
}

impl TryFrom<String> for Publish {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("tcp", address)) if address.contains(':') => Ok(Self::Tcp(address.to_owned())),
            Some(("ws", _)) => Url::try_from(text).map(Self::WebSocket),
            Some(("nats", address)) if address.contains(':') => Ok(Self::Nats(address.to_owned())),
            _ => Err("has to be tcp://HOST:PORT, ws://HOST:PORT/publish or nats://HOST:PORT".to_owned()),
        }
    }
}

/// Reads a command: a list, or a text that is split at spaces.
pub(super) fn command<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let parts = Vec::<String>::deserialize(from)?;
    Ok(match parts.as_slice() {
        [one] => one.split_whitespace().map(str::to_owned).collect(),
        _ => parts,
    })
}

pub(super) fn channel_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "enum": Channel::ALL.map(Channel::name) } })
}

pub(super) fn channels<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Channel>, D::Error> {
    let mut found = Vec::new();
    for name in Vec::<String>::deserialize(from)? {
        match Channel::from_name(&name) {
            Some(channel) if !found.contains(&channel) => found.push(channel),
            _ => return Err(D::Error::custom(format!("names {name} twice"))),
        }
    }
    Ok(found)
}

/// One encoding for all sessions, or the weight of each.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Encodings {
    One(#[schemars(schema_with = "encoding_names")] String),
    Weights(Weights),
}

settings! {
    #[derive(Copy)]
    pub(crate) struct Quantiles {
        p50: Option<Duration> = None,
        p99: Option<Duration> = None,
        p999: Option<Duration> = None,
        max: Option<Duration> = None,
    }

    pub(super) struct Weights {
        proto: f64 = 0.0 => 0..=1e6,
        msgpack: f64 = 0.0 => 0..=1e6,
        json: f64 = 0.0 => 0..=1e6,
    }
}

fn encoding_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Encoding::ALL.map(Encoding::name) })
}

pub(super) fn encodings<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Encoding, f64)>, D::Error> {
    let found: Vec<_> = match Encodings::deserialize(from)? {
        Encodings::One(name) => {
            Encoding::from_name(&name).into_iter().map(|encoding| (encoding, 1.0)).collect()
        }
        Encodings::Weights(Weights { proto, msgpack, json }) => {
            let all = [(Encoding::Proto, proto), (Encoding::MsgPack, msgpack), (Encoding::Json, json)];
            all.into_iter().filter(|(_, weight)| *weight > 0.0).collect()
        }
    };
    if found.is_empty() {
        return Err(D::Error::custom("no weight in there is above 0, as in { proto = 3, json = 1 }"));
    }
    Ok(found)
}

pub(super) fn ages(generator: &mut SchemaGenerator) -> Schema {
    named(generator, &READERS)
}

pub(super) fn hops(generator: &mut SchemaGenerator) -> Schema {
    named(generator, &HOPS)
}

fn named(generator: &mut SchemaGenerator, names: &[&str]) -> Schema {
    let quantiles = generator.subschema_for::<Quantiles>().to_value();
    let properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), quantiles.clone())).collect();
    json_schema!({ "type": "object", "properties": properties, "order": names })
}

pub(super) fn by_name<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, Quantiles)>, D::Error> {
    let mut found: Vec<_> = BTreeMap::<String, Quantiles>::deserialize(from)?.into_iter().collect();
    found.sort_by_key(|(name, _)| READERS.iter().chain(&HOPS).position(|known| known == name));
    Ok(found)
}
