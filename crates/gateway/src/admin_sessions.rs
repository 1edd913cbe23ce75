//! `/v1/sessions` and `/v1/sessions/{id}` of the admin listener. They ask every shard, wait for a limited time, and write JSON.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tickwire_wire::CloseCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{mpsc, oneshot};

use crate::shard::Order;
use tickwire_core::engine::{
    Account, Decided, Decision, DetailQuery, Fate, Run, SessionDetail, SessionPage, SessionQuery, SessionRow,
    SessionState, SubscriptionRow,
};
use tickwire_core::vocabulary::TopicId;

/// The time that a shard may take to answer. One that is stuck is named, and does not hold up the others' responses.
const SHARD_TIMEOUT: Duration = Duration::from_secs(1);
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// The most bytes that a query or an id may have.
const QUERY_BYTES_MAX: usize = 1024;

/// A request to a shard, with the channel for its response.
#[derive(Debug)]
pub(crate) enum Look {
    Page(SessionQuery, oneshot::Sender<SessionPage>),
    Detail(String, DetailQuery, oneshot::Sender<Option<SessionDetail>>),
}

/// A response: HTTP status and JSON.
pub(crate) type Reply = (u16, Value);

/// The shards. The senders are weak, so that an admin connection that stays open does not keep the shards from ending.
#[derive(Clone, Debug)]
pub(crate) struct Shards(Vec<mpsc::WeakSender<Order>>);

impl Shards {
    pub(crate) fn new(orders: &[mpsc::Sender<Order>]) -> Self {
        Self(orders.iter().map(mpsc::Sender::downgrade).collect())
    }

    /// Asks all shards at once. Returns their responses, `None` for each that does not answer in time.
    async fn ask<T>(&self, look: impl Fn(oneshot::Sender<T>) -> Look) -> Vec<Option<T>> {
        let asked = self.0.iter().map(|shard| {
            let (reply, replied) = oneshot::channel();
            let order = Order::Look(look(reply));
            async move {
                let asked = async {
                    shard.upgrade()?.send(order).await.ok()?;
                    replied.await.ok()
                };
                tokio::time::timeout(SHARD_TIMEOUT, asked).await.ok().flatten()
            }
        });
        futures_util::future::join_all(asked).await
    }

    /// Returns one page of the sessions of all shards.
    ///
    /// # Cancel safety
    /// Dropping it drops the request.
    pub(crate) async fn list(&self, query: Option<&str>) -> Reply {
        let query = match parse(query.unwrap_or_default()) {
            Ok(query) => query,
            Err(problem) => return error(400, "bad_query", &problem),
        };
        let responses = self.ask(|reply| Look::Page(query.clone(), reply)).await;
        let silent: Vec<_> = responses
            .iter()
            .enumerate()
            .filter(|(_, response)| response.is_none())
            .map(|(at, _)| at)
            .collect();
        if silent.len() == responses.len() {
            return error(503, "no_response", "no shard answered within a second; retry");
        }
        // Where a shard's page was cut at its limit, the whole page ends there too: that shard's next sessions are not known.
        let pages = || responses.iter().flatten();
        let cut = pages().filter_map(|page| page.upto.as_deref()).map(order).min();
        let mut rows: Vec<_> = responses
            .iter()
            .enumerate()
            .filter_map(|(at, response)| Some((at, response.as_ref()?)))
            .flat_map(|(at, page)| page.rows.iter().map(move |row| (at, row)))
            .filter(|(_, row)| cut.is_none_or(|cut| order(&row.id) <= cut))
            .collect();
        rows.sort_unstable_by_key(|(_, row)| order(&row.id));
        let is_long = rows.len() > query.limit;
        rows.truncate(query.limit);
        let next = match rows.last() {
            Some((_, row)) if is_long => Some(row.id.clone()),
            _ => cut.map(|(_, id)| id.to_owned()),
        };
        let now = now_ns();
        let sessions: Vec<_> = rows.into_iter().map(|(at, row)| session(at, row, now)).collect();
        (200, json!({ "sessions": sessions, "next": next, "silent_shards": silent }))
    }

    /// Returns one session, with its subscriptions and the decisions about it.
    ///
    /// # Cancel safety
    /// Dropping it drops the request.
    pub(crate) async fn one(&self, id: &str, query: Option<&str>) -> Reply {
        let query = match parse_detail(query.unwrap_or_default()) {
            Ok(query) => query,
            Err(problem) => return error(400, "bad_query", &problem),
        };
        let shown: String = id.chars().take(64).collect();
        if id.len() > QUERY_BYTES_MAX {
            return error(404, "unknown_session", &format!("there is no session `{shown}...`"));
        }
        let responses = self.ask(|reply| Look::Detail(id.to_owned(), query, reply)).await;
        let is_silent = responses.iter().any(Option::is_none);
        let found = responses.into_iter().enumerate().find_map(|(at, response)| Some((at, response??)));
        match found {
            Some((at, detail)) => (200, whole(at, &detail, query.limit, now_ns())),
            None if is_silent => error(503, "no_response", "a shard did not answer within a second; retry"),
            None => {
                let problem = format!(
                    "this gateway has no session `{shown}` now; /v1/sessions lists those that it has, and what became \
                     of one that ended is in its last ledger"
                );
                error(404, "unknown_session", &problem)
            }
        }
    }
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    (status, json!({ "error": { "code": code, "message": message } }))
}

fn order(id: &str) -> (usize, &str) {
    (id.len(), id)
}

fn parse(query: &str) -> Result<SessionQuery, String> {
    let mut wanted = SessionQuery { limit: LIMIT_DEFAULT, ..SessionQuery::default() };
    for (name, value) in parts(query)? {
        match name {
            "limit" => wanted.limit = limit(value)?,
            "after" => wanted.after = Some(value.to_owned()),
            "state" => {
                let names = SessionState::ALL.map(SessionState::name).join(", ");
                let state = SessionState::from_name(value);
                wanted.state = Some(state.ok_or_else(|| format!("state `{value}` is none of {names}"))?);
            }
            _ => return Err(format!("`{name}` means nothing here; there are limit, after and state")),
        }
    }
    Ok(wanted)
}

fn parse_detail(query: &str) -> Result<DetailQuery, String> {
    let mut wanted = DetailQuery { limit: LIMIT_DEFAULT, after: None };
    for (name, value) in parts(query)? {
        match name {
            "limit" => wanted.limit = limit(value)?,
            "after" => {
                let after = value.parse().ok();
                wanted.after =
                    Some(after.ok_or_else(|| format!("after `{value}` is not what a page before said"))?);
            }
            _ => return Err(format!("`{name}` means nothing here; there are limit and after")),
        }
    }
    Ok(wanted)
}

fn parts(query: &str) -> Result<impl Iterator<Item = (&str, &str)>, String> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(format!("the query is longer than {QUERY_BYTES_MAX} bytes"));
    }
    let parts = query.split('&').filter(|part| !part.is_empty());
    Ok(parts.map(|part| part.split_once('=').unwrap_or((part, ""))))
}

fn limit(value: &str) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| format!("limit `{value}` is no number from 1 to {LIMIT_MAX}"))
}

fn now_ns() -> u64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos().try_into().unwrap_or_default()
}

/// Returns a time as people read it. Responses have its nanoseconds beside it, as text, because a JSON number does not
/// keep that many digits.
fn rfc3339(ns: u64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(ns.into()).ok()?.format(&Rfc3339).ok()
}

fn account(account: &Account) -> Value {
    json!({
        "published": account.published,
        "delivered": account.delivered,
        "conflated": account.conflated,
        "dropped": account.dropped,
        "filtered": account.filtered,
    })
}

fn session(shard: usize, row: &SessionRow, now: u64) -> Value {
    json!({
        "id": row.id,
        "peer": row.peer.map(|peer| peer.to_string()),
        "encoding": row.dialect,
        "principal": row.principal,
        "state": row.state.name(),
        "closing": row.closing.map(CloseCode::name),
        "shard": shard,
        "opened": rfc3339(row.opened),
        "opened_ns": row.opened.to_string(),
        "age_ms": now.saturating_sub(row.opened) / 1_000_000,
        "heard": rfc3339(row.heard),
        "heard_ns": row.heard.to_string(),
        "pressure_bytes": {
            "total": row.pressure.total(),
            "control": row.pressure.control,
            "lossless": row.pressure.lossless,
            "unsent": row.pressure.unsent,
            "in_flight": row.pressure.in_flight,
        },
        "client_lag_ns": row.client_lag_ns.map(|lag| lag.to_string()),
        "subscriptions": row.subscriptions,
        "account": account(&row.account),
    })
}

fn whole(shard: usize, detail: &SessionDetail, limit: usize, now: u64) -> Value {
    let mut whole = session(shard, &detail.row, now);
    let names: HashMap<_, _> = detail.names.iter().map(|(topic, name)| (*topic, name.as_str())).collect();
    let mut decisions: Vec<_> =
        detail.decisions.iter().map(|entry| (entry.since, decided(entry, &names))).collect();
    decisions
        .extend(detail.runs.iter().map(|(topic, symbol, entry)| (entry.since, run(*topic, symbol, entry))));
    decisions.sort_by_key(|(since, _)| *since);
    let decisions = decisions.into_iter().map(|(_, decision)| decision).collect();
    whole["subscription_count"] = detail.row.subscriptions.into();
    let path = |after| format!("/v1/sessions/{}?limit={limit}&after={after}", detail.row.id);
    whole["next"] = detail.next.map(path).into();
    whole["subscriptions"] = detail.subscriptions.iter().map(subscription).collect();
    whole["decisions"] = Value::Array(decisions);
    whole
}

fn subscription(row: &SubscriptionRow) -> Value {
    json!({
        "channel": row.topic.channel().name(),
        "symbol": row.symbol,
        "max_rate": row.max_rate,
        "delay_ms": row.delay_ns / 1_000_000,
        "depth": row.depth,
        "epoch": row.epoch.to_string(),
        "last_sent": row.sequence,
        "newest": row.newest,
        "waiting_bytes": row.waiting_bytes,
        "account": account(&row.account),
    })
}

fn times(kind: &str, since: u64, until: u64) -> Value {
    json!({
        "kind": kind,
        "since": rfc3339(since),
        "since_ns": since.to_string(),
        "until": rfc3339(until),
        "until_ns": until.to_string(),
    })
}

fn with(mut value: Value, more: Value) -> Value {
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn decided(entry: &Decided, names: &HashMap<TopicId, &str>) -> Value {
    let value = times(entry.decision.name(), entry.since, entry.until);
    let of = |topic: TopicId| {
        let symbol = names.get(&topic).copied().unwrap_or_default();
        json!({ "channel": topic.channel().name(), "symbol": symbol })
    };
    let more = match entry.decision {
        Decision::Conflating { because } => json!({ "because": because.names() }),
        Decision::Prompt | Decision::SheddingEnded => json!({}),
        Decision::WindowFull { in_flight, window } => {
            json!({ "in_flight_bytes": in_flight, "window_bytes": window, "times": entry.times })
        }
        Decision::ReceiptLate { after_ns } => {
            json!({ "after_ns": after_ns.to_string(), "times": entry.times })
        }
        Decision::Shedding { pressure } => json!({ "pressure_bytes": pressure }),
        Decision::Resumed { topic, after, from } => with(of(topic), json!({ "after": after, "from": from })),
        Decision::Rate { topic, max_rate } => with(of(topic), json!({ "max_rate": max_rate })),
        Decision::Notice { code } => json!({ "code": code }),
        Decision::Closing { code } => json!({ "code": code.code(), "reason": code.name() }),
    };
    with(value, more)
}

fn run(topic: TopicId, symbol: &str, run: &Run) -> Value {
    let more = match run.fate {
        Fate::Superseded(held) | Fate::Snapshot(held) => json!({ "because": held.names() }),
        Fate::Gap(cause) => {
            json!({ "cause": cause.as_str_name().trim_start_matches("GAP_CAUSE_").to_ascii_lowercase() })
        }
    };
    let of = json!({
        "channel": topic.channel().name(),
        "symbol": symbol,
        "first": run.first,
        "last": (run.last > 0).then_some(run.last),
        "count": run.count,
        "delivered": run.delivered,
    });
    with(with(times(run.fate.name(), run.since, run.until), of), more)
}
