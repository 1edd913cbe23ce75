//! The data of a shard: sessions with their subscriptions, topics with their logs, and the sums that limits are kept
//! by.
//!
//! These types keep their own parts together and know nothing of what is done with several of them.

pub(crate) mod account;
pub(crate) mod backfill;
pub(crate) mod by_id;
pub(crate) mod decisions;
pub(crate) mod delays;
pub(crate) mod delivery;
pub(crate) mod depths;
pub(crate) mod dirty;
pub(crate) mod encoded_log;
pub(crate) mod entry;
pub(crate) mod fanout;
pub(crate) mod handed_in;
pub(crate) mod holders;
pub(crate) mod index;
pub(crate) mod key;
pub(crate) mod late;
pub(crate) mod latency_samples;
pub(crate) mod log_budget;
pub(crate) mod looks;
pub(crate) mod queues;
pub(crate) mod rate;
pub(crate) mod ready;
pub(crate) mod resume;
pub(crate) mod seldom;
pub(crate) mod session;
pub(crate) mod shallow;
pub(crate) mod sub;
pub(crate) mod topic;
pub(crate) mod topics;
