//! The history of the bus in memory: the last messages of each subject, and ways to delay responses.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::future::BoxFuture;
use crate::history::{History, HistoryError, HistoryState, Recall, Recalled};
use tickwire_wire::Subject;

/// The number of subjects whose messages are kept; what is published to further ones is not.
const SUBJECTS_MAX: usize = 65_536;

pub(super) struct MemoryHistory {
    messages_max: usize,
    kept: Mutex<HashMap<Subject, SubjectHistory>>,
    is_held: watch::Sender<bool>,
    state: watch::Sender<HistoryState>,
}

#[derive(Default)]
struct SubjectHistory {
    /// The number of messages that are gone.
    gone: u64,
    messages: VecDeque<Bytes>,
}

impl MemoryHistory {
    pub(super) fn new(messages_max: usize) -> Self {
        Self {
            messages_max: messages_max.max(1),
            kept: Mutex::default(),
            is_held: watch::Sender::new(false),
            state: watch::Sender::new(HistoryState::Ready),
        }
    }

    pub(super) fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    pub(super) fn keep(&self, subject: &Subject, payload: &Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= SUBJECTS_MAX && !kept.contains_key(subject) {
            return;
        }
        let kept = kept.entry(subject.clone()).or_default();
        if kept.messages.len() == self.messages_max {
            kept.messages.pop_front();
            kept.gone += 1;
        }
        kept.messages.push_back(Bytes::copy_from_slice(payload));
    }

    fn look_up(&self, recall: &Recall) -> Recalled {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = kept.get(&recall.subject) else { return Recalled::default() };
        let start = match recall.cursor {
            0 => {
                let is_before =
                    |payload: &Bytes| matches!((recall.place)(payload), None | Some(Ordering::Less));
                kept.messages.iter().take_while(|payload| is_before(payload)).count()
            }
            cursor => (cursor - 1).saturating_sub(kept.gone) as usize,
        };
        let (mut recalled, mut bytes) = (Recalled::default(), 0);
        recalled.cursor = kept.gone + start as u64 + 1;
        for payload in kept.messages.iter().skip(start) {
            match (recall.place)(payload) {
                Some(Ordering::Greater) => break,
                Some(Ordering::Equal) => {}
                None | Some(Ordering::Less) => {
                    recalled.cursor += 1;
                    continue;
                }
            }
            bytes += payload.len();
            let count = recalled.messages.len();
            if count >= recall.messages_max || (bytes > recall.bytes_max && count > 0) {
                recalled.more = true;
                break;
            }
            recalled.messages.push(payload.clone());
            recalled.cursor += 1;
        }
        recalled
    }
}

impl History for MemoryHistory {
    fn recall(&self, recall: Recall) -> BoxFuture<'_, Result<Recalled, HistoryError>> {
        let mut is_held = self.is_held.subscribe();
        Box::pin(async move {
            is_held.wait_for(|is_held| !is_held).await.map_err(|_| HistoryError::Down)?;
            Ok(self.look_up(&recall))
        })
    }

    fn state(&self) -> watch::Receiver<HistoryState> {
        self.state.subscribe()
    }
}
