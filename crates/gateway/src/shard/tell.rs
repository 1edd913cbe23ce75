//! A shard's reports to the admin listener: counts twice a second, and sessions when it is asked.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::connection::Connection;
use super::state::Shard;
use crate::admin_sessions::Look;
use crate::audit;
use tickwire_core::engine::{Pace, SessionKey, SessionRow};
use tickwire_core::schedule::ShardSchedule;

impl Shard {
    /// Writes a line of the audit log about a session, where that log is wanted.
    pub(super) fn audit(&self, key: SessionKey, write: impl FnOnce(&SessionRow)) {
        if !audit::is_wanted() {
            return;
        }
        if let Some(mut row) = self.engine.session(key) {
            row.peer = self.connections.get(key).and_then(Connection::peer);
            write(&row);
        }
    }

    pub(super) fn look(&self, look: Look) {
        let peer = |key| self.connections.get(key)?.peer();
        // The one who asked may have gone.
        match look {
            Look::Page(query, reply) => {
                let mut page = self.engine.session_page(&query);
                for row in &mut page.rows {
                    row.peer = peer(row.key);
                }
                drop(reply.send(page));
            }
            Look::Detail(id, query, reply) => {
                let mut detail = self.engine.session_detail(&id, query);
                if let Some(detail) = &mut detail {
                    detail.row.peer = peer(detail.row.key);
                }
                drop(reply.send(detail));
            }
        }
    }

    /// Adds the engine's latency samples to the shard's counts, and tells the schedule how old prompt sessions' records were.
    pub(super) fn note_latency_samples(&mut self, schedule: &mut ShardSchedule) {
        if self.engine.has_latency_samples() {
            let mut hops = self.stats.hops.lock().unwrap_or_else(PoisonError::into_inner);
            for sample in self.engine.take_latency_samples() {
                if sample.pace == Pace::Prompt {
                    schedule.on_age(sample.written.saturating_sub(sample.arrived));
                }
                hops.add(&sample);
            }
        }
    }

    pub(super) fn publish_stats(&self) {
        let set = |count: &AtomicU64, value: u64| count.store(value, Ordering::Relaxed);
        let survey = self.engine.survey();
        let (totals, parts) = (survey.totals, survey.pressure);
        set(&self.stats.sessions, self.engine.sessions() as u64);
        set(&self.stats.topics, self.engine.topics() as u64);
        set(&self.stats.log_bytes, self.engine.log_bytes() as u64);
        let delayed = self.engine.delayed();
        set(&self.stats.delays, delayed.delays as u64);
        set(&self.stats.depths, delayed.depths as u64);
        set(&self.stats.delayed_topics, delayed.topics as u64);
        set(&self.stats.delayed_bytes, delayed.bytes as u64);
        set(&self.stats.delayed_dropped, delayed.dropped);
        set(&self.stats.published, totals.published);
        set(&self.stats.delivered, totals.delivered);
        set(&self.stats.conflated, totals.conflated);
        set(&self.stats.dropped, totals.dropped);
        set(&self.stats.filtered, totals.filtered);
        let parts = [parts.control, parts.lossless, parts.unsent, parts.in_flight];
        for (to, bytes) in self.stats.pressure.iter().zip(parts) {
            set(to, bytes as u64);
        }
        for (to, count) in self.stats.states.iter().zip(survey.states) {
            set(to, count as u64);
        }
        for (to, count) in self.stats.decisions.iter().zip(survey.decisions) {
            set(to, count);
        }
    }
}
