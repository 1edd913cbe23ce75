//! The limits that a client may meet, as a public table: `/v1/limits` and docs/limits.md are made from it.

use serde_json::{Value, json};
use tickwire_auth::TOKEN_BYTES_MAX;
use tickwire_net::frame::CONTROL_BYTES_MAX;
use tickwire_wire::CloseCode;

use crate::config::GatewayConfig;
use crate::refusal::Refusal;

/// A limit.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The name in `/v1/limits`.
    pub name: &'static str,
    /// The setting that it is configured by; `None` where it is fixed.
    pub setting: Option<&'static str>,
    /// The unit of its value.
    pub unit: &'static str,
    /// A description of what it limits.
    pub about: &'static str,
    /// The thing that a client sees which reaches it.
    pub at: At,
    value: fn(&GatewayConfig) -> Value,
}

/// The thing that a client sees at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The request is refused; the metric `handshakes_refused_total` counts it by the refusal's name.
    Refused(Refusal),
    /// The session is closed; the metric `sessions_closed_total` counts it by the code's name.
    Closed(CloseCode),
    /// An `error` with this code answers; going on closes the session.
    Error(&'static str, CloseCode),
    /// `subscribed` refuses the symbol with this code.
    Symbol(&'static str),
    /// Less is granted than was asked for.
    Granted,
    /// Trades are announced as gaps with this cause; the metric `records_dropped_total` counts them.
    Gap(&'static str),
    /// The gateway does this much by itself.
    Nothing,
}

impl At {
    /// Returns it in words.
    pub fn text(self) -> String {
        match self {
            Self::Refused(refusal) => {
                let status = refusal
                    .status()
                    .map_or("the connection ends".to_owned(), |status| format!("HTTP {}", status.as_u16()));
                format!("{status} (`{}`)", refusal.name())
            }
            Self::Closed(code) => format!("close code {} (`{}`)", code.code(), code.name()),
            Self::Error(error, code) => {
                format!("`error` with `{error}`; then close code {} (`{}`)", code.code(), code.name())
            }
            Self::Symbol(code) => format!("refused with `{code}`"),
            Self::Granted => "the limit is granted".to_owned(),
            Self::Gap(cause) => format!("gaps with cause `{cause}`"),
            Self::Nothing => "–".to_owned(),
        }
    }
}

impl Limit {
    /// Returns the value that is in force, in its unit.
    pub fn value(&self, config: &GatewayConfig) -> Value {
        (self.value)(config)
    }
}

const MS: u64 = 1_000_000;

macro_rules! limits {
    ($($name:literal $setting:expr, $unit:literal, $about:literal, $at:expr, |$config:ident| $value:expr;)*) => {
        /// All limits that a client may meet.
        pub static LIMITS: &[Limit] = &[$(Limit {
            name: $name,
            setting: $setting,
            unit: $unit,
            about: $about,
            at: $at,
            value: |$config| json!($value),
        }),*];
    };
}

limits! {
    "sessions" Some("gateway.limits.sessions"), "sessions",
        "sessions of the process", At::Refused(Refusal::Full), |c| c.limits.sessions;
    "address_sessions" Some("gateway.limits.address_sessions"), "sessions",
        "sessions of one address; 0: no limit", At::Refused(Refusal::AddressFull), |c| c.admission.address_sessions;
    "user_sessions" Some("gateway.limits.user_sessions"), "sessions",
        "sessions of one user; its token or API key may allow fewer; 0: what these allow", At::Refused(Refusal::UserFull),
        |c| c.admission.user_sessions;
    "handshakes_per_second" Some("gateway.limits.handshakes_per_second"), "a second",
        "requests for sessions of all clients, of which five seconds' worth may come at once; 0: no limit",
        At::Refused(Refusal::Rate), |c| c.admission.handshakes_per_second;
    "address_handshakes_per_second" Some("gateway.limits.address_handshakes_per_second"), "a second",
        "requests for sessions of one address, of which five seconds' worth may come at once; 0: no limit",
        At::Refused(Refusal::AddressRate), |c| c.admission.address_handshakes_per_second;
    "handshake_ms" Some("gateway.handshake_ms"), "ms",
        "time for a whole request, from its connection or the response before", At::Refused(Refusal::Late),
        |c| c.handshake_timeout.as_millis() as u64;
    "head_bytes" Some("gateway.limits.head_bytes"), "bytes",
        "head of a request", At::Refused(Refusal::HeadTooLarge), |c| c.admission.head_bytes;
    "headers" None, "headers",
        "headers of a request", At::Refused(Refusal::HeadTooLarge), |_c| crate::accept::HEADERS_MAX;
    "url_bytes" Some("gateway.limits.url_bytes"), "bytes",
        "path and query of a request", At::Refused(Refusal::UrlTooLong), |c| c.admission.url_bytes;
    "token_bytes" None, "bytes",
        "a token or an API key", At::Refused(Refusal::Unauthorized), |_c| TOKEN_BYTES_MAX;
    "token_life_max_s" Some("gateway.auth.token_life_max_s"), "s",
        "time from now until the end of a token", At::Refused(Refusal::Unauthorized), |c| c.auth.life_max.as_secs();
    "first_message_ms" Some("gateway.auth.first_message_ms"), "ms",
        "time for the token of a session that opens with `?auth=message`; 0: there are no such sessions",
        At::Closed(CloseCode::Unauthorized), |c| c.auth.first_message.as_millis() as u64;
    "token_grace_s" None, "s",
        "time from the end of a session's token until it is closed: `gateway.auth.grace_s`, or `leeway_s` where that is longer",
        At::Closed(CloseCode::TokenExpired), |c| c.auth.grace.max(c.auth.leeway).as_secs();
    "subscriptions_per_session" Some("gateway.limits.subscriptions_per_session"), "subscriptions",
        "subscriptions of one session", At::Symbol("limit"), |c| c.limits.engine.subscriptions_per_session;
    "subscriptions" Some("gateway.limits.subscriptions"), "subscriptions",
        "subscriptions of all sessions", At::Symbol("limit"), |c| c.limits.subscriptions;
    "delays" Some("gateway.limits.delays"), "delays",
        "different delays of a shard's sessions that may not see live data; a longer one may serve", At::Symbol("limit"),
        |c| c.limits.engine.delays;
    "depths" Some("gateway.limits.depths"), "depths",
        "different depths of books of a shard's sessions that may not see all of them; a shallower one may serve", At::Symbol("limit"),
        |c| c.limits.engine.depths;
    "rate_max" Some("gateway.limits.rate_max"), "a second",
        "updates of a subscription that asks for a rate", At::Granted, |c| c.limits.engine.rate_max;
    "heartbeat_min_ms" Some("gateway.limits.heartbeat_min_ms"), "ms",
        "shortest heartbeat interval of a session that asks for one", At::Granted, |c| c.limits.engine.heartbeat_ms_min;
    "heartbeat_max_ms" Some("gateway.limits.heartbeat_max_ms"), "ms",
        "longest heartbeat interval of a session that asks for one", At::Granted, |c| c.limits.engine.heartbeat_ms_max;
    "command_bytes" Some("gateway.limits.command_bytes"), "bytes",
        "a message of a client, its fragments together", At::Closed(CloseCode::TooLarge), |c| c.limits.engine.command_bytes;
    "message_ms" Some("gateway.message_ms"), "ms",
        "time for a message of a client, from its first byte to its last", At::Closed(CloseCode::Unfinished),
        |c| c.message_timeout.as_millis() as u64;
    "control_bytes" None, "bytes",
        "payload of a ping, a pong or a close frame", At::Closed(CloseCode::Protocol), |_c| CONTROL_BYTES_MAX;
    "commands_per_second" Some("gateway.limits.commands_per_second"), "a second",
        "commands, pings, pongs that nobody asked for, and empty fragments of one session, of which a second's worth may come at once",
        At::Error("rate_limit", CloseCode::Flood), |c| c.limits.engine.commands_per_second;
    "names_per_second" None, "a second",
        "names in these commands: 40 times as many as commands", At::Error("rate_limit", CloseCode::Flood),
        |c| c.limits.engine.names_per_second();
    "names_at_once" None, "names",
        "names in these commands at once: four times `subscriptions_per_session`",
        At::Error("rate_limit", CloseCode::Flood), |c| c.limits.engine.names_at_once();
    "ping_ms" Some("gateway.ping_ms"), "ms",
        "silence of a client after which it is pinged", At::Nothing, |c| c.limits.engine.ping_after_ns / MS;
    "silent_ms" None, "ms",
        "silence of a client after which it is closed: three times `ping_ms`", At::Closed(CloseCode::Silent),
        |c| 3 * c.limits.engine.ping_after_ns / MS;
    "no_progress_ms" Some("gateway.no_progress_ms"), "ms",
        "time without anything read by a client that is behind", At::Closed(CloseCode::SlowConsumer),
        |c| c.limits.engine.no_progress_ns / MS;
    "shed_bytes" Some("gateway.limits.shed_bytes"), "bytes",
        "bytes owed to a session, above which trades are dropped", At::Gap("shed"), |c| c.limits.engine.shed_bytes;
    "close_bytes" Some("gateway.limits.close_bytes"), "bytes",
        "bytes owed to a session, above which it is closed", At::Closed(CloseCode::SlowConsumer), |c| c.limits.engine.close_bytes;
}

/// Returns `/v1/limits`: each limit by its name.
pub(crate) fn document(config: &GatewayConfig) -> String {
    let limit = |limit: &Limit| {
        let said = json!({
            "value": limit.value(config),
            "unit": limit.unit,
            "about": limit.about,
            "setting": limit.setting,
            "at": limit.at.text(),
        });
        (limit.name.to_owned(), said)
    };
    let limits: serde_json::Map<_, _> = LIMITS.iter().map(limit).collect();
    format!("{:#}\n", json!({ "limits": limits }))
}
