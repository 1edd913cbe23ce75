//! Rights as tokens, key files and settings write them, and what they mean to the engine.
//!
//! A name that is not known is an error, never ignored: a limit with a spelling fault would otherwise be no limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tickwire_core::engine::{Entitlement, Pattern, Principal, RATE_MIN};
use tickwire_wire::{Channel, Encoding, is_venue};

/// The most entitlements that the grants of one token make: a grant makes one for each pair of a venue and a symbol.
const ENTITLEMENTS_MAX: usize = 4096;
/// The longest name of a symbol or a venue, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The longest delay: a week.
const DELAY_MAX: Duration = Duration::from_hours(7 * 24);
const RATE_MAX: f64 = 1e6;

/// The rights of a principal: the claim `tickwire` of a token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// The grants: it may see everything that one of these covers.
    pub grants: Vec<Grant>,
    /// The encodings that sessions may have: `proto`, `msgpack`, `json`. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encodings: Option<Vec<String>>,
    /// The fastest rate of each subscription, in updates per second, on channels that are not lossless. Absent: the gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<f64>,
    /// The most subscriptions of a session. Absent: the gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<u32>,
    /// The most sessions at one gateway at the same time. Absent: the gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
}

/// Something that may be seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grant {
    /// The venues. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venues: Option<Vec<Name>>,
    /// The symbols of these venues, as the venue writes them. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbols: Option<Vec<Name>>,
    /// The channels. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    /// The age that a record must have, in milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_ms: u64,
    /// The levels of a book that may be seen on each side. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
}

/// A name, or all that begin so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a name is a text, or {\"begins\": a text}")]
pub enum Name {
    /// This one.
    Is(String),
    /// Those that begin so.
    Begins {
        /// The beginning.
        begins: String,
    },
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Self::Is(text) | Self::Begins { begins: text } => text,
        }
    }

    fn pattern(&self) -> Pattern {
        match self {
            Self::Is(text) => Pattern::Is(text.clone()),
            Self::Begins { begins } => Pattern::Begins(begins.clone()),
        }
    }
}

impl Grant {
    /// Says what is wrong with it.
    ///
    /// # Errors
    /// The first fault, in words.
    pub fn check(&self) -> Result<(), String> {
        for (field, names) in [("venues", &self.venues), ("symbols", &self.symbols)] {
            let Some(names) = names else { continue };
            if names.is_empty() {
                return Err(format!("`{field}` is empty; leave it out to grant all"));
            }
            for name in names {
                if name.text().is_empty() || name.text().len() > NAME_BYTES_MAX {
                    return Err(format!("a name in `{field}` has to have 1 to {NAME_BYTES_MAX} bytes"));
                }
                if matches!(name, Name::Is(text) if field == "venues" && !is_venue(text)) {
                    return Err(format!("`{}` cannot name a venue", shown(name.text())));
                }
            }
        }
        for channel in self.channels.iter().flatten() {
            if Channel::from_name(channel).is_none() {
                let all = Channel::ALL.map(Channel::name).join(", ");
                return Err(format!("there is no channel `{}`; channels: {all}", shown(channel)));
            }
        }
        if self.channels.as_ref().is_some_and(Vec::is_empty) {
            return Err("`channels` is empty; leave it out to grant all".to_owned());
        }
        if u128::from(self.delay_ms) > DELAY_MAX.as_millis() {
            return Err(format!("`delay_ms` is above {}", DELAY_MAX.as_millis()));
        }
        if self.depth == Some(0) {
            return Err("`depth` is 0; leave the channel `book` out of `channels` instead".to_owned());
        }
        Ok(())
    }

    fn count(&self) -> usize {
        let count = |names: &Option<Vec<Name>>| names.as_ref().map_or(1, Vec::len);
        count(&self.venues).saturating_mul(count(&self.symbols))
    }

    fn entitlements(&self) -> Vec<Entitlement> {
        let patterns = |names: &Option<Vec<Name>>| match names {
            None => vec![Pattern::All],
            Some(names) => names.iter().map(Name::pattern).collect::<Vec<_>>(),
        };
        let channels = self.channels.as_ref();
        let channels: Option<Vec<_>> =
            channels.map(|names| names.iter().filter_map(|name| Channel::from_name(name)).collect());
        let symbols = patterns(&self.symbols);
        let one = |venues: &Pattern, symbols: &Pattern| Entitlement {
            venues: venues.clone(),
            symbols: symbols.clone(),
            channels: channels.clone(),
            delay_ns: self.delay_ms.saturating_mul(1_000_000),
            depth: self.depth,
        };
        let venues = patterns(&self.venues);
        venues.iter().flat_map(|venue| symbols.iter().map(|symbol| one(venue, symbol))).collect()
    }
}

impl Rights {
    /// Says what is wrong with them.
    ///
    /// # Errors
    /// The first fault, in words.
    pub fn check(&self) -> Result<(), String> {
        let mut count = 0_usize;
        for (at, grant) in self.grants.iter().enumerate() {
            grant.check().map_err(|why| format!("grant {}: {why}", at + 1))?;
            count = count.saturating_add(grant.count());
        }
        if count > ENTITLEMENTS_MAX {
            return Err(format!(
                "the grants name {count} pairs of a venue and a symbol, at most {ENTITLEMENTS_MAX}"
            ));
        }
        for name in self.encodings.iter().flatten() {
            if Encoding::from_name(name).is_none() {
                let all = Encoding::ALL.map(Encoding::name).join(", ");
                return Err(format!("there is no encoding `{}`; encodings: {all}", shown(name)));
            }
        }
        if self.encodings.as_ref().is_some_and(Vec::is_empty) {
            return Err("`encodings` is empty; leave it out to allow all".to_owned());
        }
        if self.max_rate.is_some_and(|rate| !(RATE_MIN..=RATE_MAX).contains(&rate)) {
            return Err(format!("`max_rate` is not within {RATE_MIN} to {RATE_MAX}"));
        }
        for (field, value) in [("subscriptions", self.subscriptions), ("sessions", self.sessions)] {
            if value == Some(0) {
                return Err(format!("`{field}` is 0; give out no token instead"));
            }
        }
        Ok(())
    }

    /// Gives a principal these rights. They were checked before.
    pub fn give(&self, principal: &mut Principal) {
        principal.entitlements = self.grants.iter().flat_map(Grant::entitlements).collect();
        principal.rate_max = self.max_rate.unwrap_or(f64::INFINITY);
        principal.subscriptions_max = self.subscriptions.map_or(usize::MAX, |most| most as usize);
        principal.encodings = self
            .encodings
            .as_ref()
            .map(|names| names.iter().filter_map(|name| Encoding::from_name(name)).collect());
    }
}

/// Returns as much of a wrong name as is repeated in a message, without what would break a header.
fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    name.chars().filter(|c| plain(*c)).take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickwire_core::engine::Permit;
    use tickwire_wire::SymbolName;

    #[track_caller]
    fn rights(text: &str) -> Rights {
        let rights: Rights = serde_json::from_str(text).unwrap();
        rights.check().unwrap();
        rights
    }

    #[track_caller]
    fn wrong(text: &str, part: &str) {
        let told = match serde_json::from_str::<Rights>(text) {
            Ok(rights) => rights.check().unwrap_err(),
            Err(error) => error.to_string(),
        };
        assert!(told.contains(part), "{told}");
    }

    #[test]
    fn grants_become_entitlements() {
        let rights = rights(
            r#"{"grants": [
                {"venues": ["binance"], "symbols": ["BTCUSDT", {"begins": "ETH"}], "channels": ["quote", "trade"]},
                {"venues": ["binance"], "delay_ms": 900000, "depth": 10}
            ], "encodings": ["proto"], "max_rate": 10, "subscriptions": 5, "sessions": 2}"#,
        );
        let mut one = Principal::clone(&Principal::anonymous());
        rights.give(&mut one);
        let permit = |name: &str, channel| one.permit(&SymbolName::parse(name).unwrap(), channel);
        assert_eq!(permit("binance:BTCUSDT", Channel::Quote), Permit::Live);
        assert_eq!(permit("binance:ETHBTC", Channel::Trade), Permit::Live);
        assert_eq!(permit("binance:BTCUSDT", Channel::Status), Permit::Delayed(900_000_000_000));
        assert_eq!(permit("binance:BTCUSDT", Channel::Book), Permit::Delayed(900_000_000_000));
        assert_eq!(permit("kraken:BTCUSDT", Channel::Quote), Permit::Nothing);
        assert_eq!((one.rate_max, one.subscriptions_max), (10.0, 5));
        assert_eq!(one.encodings, Some(vec![Encoding::Proto]));
        let written = serde_json::to_string(&rights).unwrap();
        assert_eq!(serde_json::from_str::<Rights>(&written).unwrap(), rights);
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        wrong(r#"{"grant": []}"#, "unknown field `grant`");
        wrong(r#"{"grants": [{"venue": "x"}]}"#, "unknown field `venue`");
        wrong(
            r#"{"grants": [{"channels": ["quotes"]}]}"#,
            "grant 1: there is no channel `quotes`; channels: quote",
        );
        wrong(r#"{"grants": [{}, {"venues": ["a b"]}]}"#, "grant 2: `ab` cannot name a venue");
        wrong(r#"{"grants": [{"symbols": []}]}"#, "`symbols` is empty; leave it out to grant all");
        wrong(r#"{"grants": [{"symbols": [5]}]}"#, "a name is a text, or");
        wrong(r#"{"grants": [{"depth": 0}]}"#, "`depth` is 0");
        wrong(r#"{"grants": [{"delay_ms": 700000000}]}"#, "`delay_ms` is above 604800000");
        wrong(r#"{"encodings": ["xml"]}"#, "there is no encoding `xml`; encodings: proto, msgpack, json");
        wrong(r#"{"max_rate": 0}"#, "`max_rate` is not within");
        wrong(r#"{"sessions": 0}"#, "`sessions` is 0");
        let many = vec![r#""x""#; 65].join(",");
        wrong(
            &format!(r#"{{"grants": [{{"venues": [{many}], "symbols": [{many}]}}]}}"#),
            "4225 pairs of a venue and a symbol, at most 4096",
        );
    }
}
