//! What the engine does, by what happens to it. Each file imports only those that it calls, and none of them calls it.

pub(crate) mod backfill;
pub(crate) mod budget;
pub(crate) mod calls;
pub(crate) mod close;
pub(crate) mod command;
pub(crate) mod ending;
pub(crate) mod event;
pub(crate) mod fill;
pub(crate) mod grant;
pub(crate) mod hand_out;
pub(crate) mod heartbeat;
pub(crate) mod insight;
pub(crate) mod leave;
pub(crate) mod ledger;
pub(crate) mod ready;
pub(crate) mod refusal;
pub(crate) mod release;
pub(crate) mod say;
pub(crate) mod session;
pub(crate) mod shed;
pub(crate) mod throttle;
pub(crate) mod tick;
pub(crate) mod waiting;
