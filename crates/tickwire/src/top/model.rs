//! The sessions that are shown, in order, the worst first, with rates between two looks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The answers of a gateway at one time.
pub(super) struct Look {
    pub(super) readiness: Readiness,
    pub(super) sessions: Vec<Session>,
    /// Whether there are more sessions than one look asks for.
    pub(super) has_more: bool,
}

/// The body of `/readyz`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    pub(super) bus: String,
    pub(super) draining: bool,
    /// The state of each venue's feed.
    pub(super) feeds: BTreeMap<String, String>,
}

/// A session as `/v1/sessions` lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) peer: Option<String>,
    pub(super) principal: String,
    pub(super) encoding: String,
    pub(super) state: State,
    pub(super) age_ms: u64,
    pub(super) pressure_bytes: Pressure,
    /// Nanoseconds, as text.
    pub(super) client_lag_ns: Option<String>,
    pub(super) subscriptions: u64,
    pub(super) account: Account,
}

/// The place on the pressure ladder, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Prompt,
    Conflating,
    Shedding,
    Closing,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Pressure {
    pub(super) total: u64,
}

/// The counts of a session since it opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Account {
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) conflated: u64,
    pub(super) dropped: u64,
}

/// One line of the table. Rates are per second, between the last two looks.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) session: Session,
    pub(super) delivered_rate: f64,
    /// The part of what was published meanwhile that newer records superseded, from 0 to 1.
    pub(super) conflated_share: f64,
    pub(super) dropped_rate: f64,
}

impl Row {
    /// Sorts the worst first: by state, then by what is lost, then by what is owed.
    fn badness(&self) -> (State, u64, u64, u64) {
        let lag = self.lag_ns().unwrap_or_default();
        (self.session.state, (self.dropped_rate * 1e3) as u64, self.session.pressure_bytes.total, lag)
    }

    /// Returns by how much the client's program is behind, as it says.
    pub(super) fn lag_ns(&self) -> Option<u64> {
        self.session.client_lag_ns.as_deref().and_then(|text| text.parse().ok())
    }
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Model {
    limit: usize,
    pub(super) readiness: Readiness,
    pub(super) rows: Vec<Row>,
    /// The sessions that were looked at, by state.
    pub(super) states: [usize; 4],
    pub(super) has_more: bool,
    before: HashMap<String, Account>,
    looked: Option<Instant>,
}

impl Model {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            readiness: Readiness::default(),
            rows: Vec::new(),
            states: [0; 4],
            has_more: false,
            before: HashMap::new(),
            looked: None,
        }
    }

    /// Takes what the gateway said now.
    pub(super) fn take(&mut self, look: Look) {
        self.take_at(look, Instant::now());
    }

    fn take_at(&mut self, look: Look, now: Instant) {
        let seconds = self.looked.map_or(f64::INFINITY, |looked| (now - looked).as_secs_f64().max(1e-3));
        self.states = [0; 4];
        let mut accounts = HashMap::with_capacity(look.sessions.len());
        let rows = look.sessions.into_iter().map(|session| {
            self.states[session.state as usize] += 1;
            let account = session.account;
            // A session that was not there before has no rates yet.
            let before = self.before.get(&session.id).copied().unwrap_or(account);
            accounts.insert(session.id.clone(), account);
            let since = |count: fn(&Account) -> u64| count(&account).saturating_sub(count(&before)) as f64;
            Row {
                session,
                delivered_rate: since(|of| of.delivered) / seconds,
                conflated_share: since(|of| of.conflated) / since(|of| of.published).max(1.0),
                dropped_rate: since(|of| of.dropped) / seconds,
            }
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| Reverse(row.badness()));
        rows.truncate(self.limit);
        (self.rows, self.before, self.looked) = (rows, accounts, Some(now));
        (self.readiness, self.has_more) = (look.readiness, look.has_more);
    }

    /// Returns how many sessions were looked at.
    pub(super) fn sessions(&self) -> usize {
        self.states.iter().sum()
    }

    /// Returns everything as JSON.
    pub(super) fn report(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let of = &row.session;
            json!({
                "id": of.id,
                "peer": of.peer,
                "principal": of.principal,
                "encoding": of.encoding,
                "state": of.state,
                "age_ms": of.age_ms,
                "subscriptions": of.subscriptions,
                "pressure_bytes": of.pressure_bytes.total,
                "client_lag_ns": row.lag_ns(),
                "delivered_per_second": row.delivered_rate,
                "conflated_share": row.conflated_share,
                "dropped_per_second": row.dropped_rate,
            })
        });
        json!({
            "ready": self.readiness.ready,
            "draining": self.readiness.draining,
            "bus": self.readiness.bus,
            "feeds": self.readiness.feeds,
            "session_count": self.sessions(),
            "has_more": self.has_more,
            "sessions": rows.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn session(id: &str, state: &str, owed: u64, counts: [u64; 4]) -> Session {
        let [published, delivered, conflated, dropped] = counts;
        let text = json!({
            "id": id, "peer": "127.0.0.1:1", "principal": "p", "encoding": "json", "state": state, "age_ms": 5,
            "pressure_bytes": { "total": owed, "control": 0 }, "client_lag_ns": null, "subscriptions": 1,
            "account": { "published": published, "delivered": delivered, "conflated": conflated, "dropped": dropped, "filtered": 0 },
        });
        serde_json::from_value(text).unwrap()
    }

    fn look(sessions: Vec<Session>) -> Look {
        Look { readiness: Readiness::default(), sessions, has_more: false }
    }

    #[test]
    fn the_worst_are_first_and_rates_are_between_two_looks() {
        let (mut model, start) = (Model::new(3), Instant::now());
        let first = [session("a", "prompt", 0, [10, 10, 0, 0]), session("b", "conflating", 9, [10, 5, 5, 0])];
        model.take_at(look(first.to_vec()), start);
        assert!(model.rows.iter().all(|row| row.delivered_rate <= 0.0), "one look has no rates");
        let second = vec![
            session("a", "prompt", 0, [30, 30, 0, 0]),
            session("b", "conflating", 9, [30, 10, 20, 0]),
            session("c", "conflating", 90, [5, 5, 0, 0]),
            session("d", "shedding", 1, [5, 5, 0, 0]),
        ];
        model.take_at(look(second), start + Duration::from_secs(2));
        let ids: Vec<_> = model.rows.iter().map(|row| row.session.id.as_str()).collect();
        assert_eq!(ids, ["d", "c", "b"], "no more than the limit");
        assert_eq!((model.states, model.sessions()), ([1, 2, 1, 0], 4), "all are counted");
        let b = &model.rows[2];
        assert_eq!((b.delivered_rate, b.conflated_share), (2.5, 0.75));
        assert_eq!(model.report()["sessions"][2]["delivered_per_second"], 2.5);
        assert!(model.rows[0].delivered_rate <= 0.0, "it was not there before");
    }
}
