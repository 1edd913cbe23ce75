//! The operations of the engine, a file for each thing that happens. An operation is a function over [`Fanout`]; what
//! it calls stands in its imports, and no file imports one that imports it.
//!
//! [`Fanout`]: super::data::fanout::Fanout

pub(crate) mod arrive;
pub(crate) mod ask;
pub(crate) mod backfill;
pub(crate) mod budget;
pub(crate) mod close;
pub(crate) mod command;
pub(crate) mod delay;
pub(crate) mod ending;
pub(crate) mod entitled;
pub(crate) mod event;
pub(crate) mod fill;
pub(crate) mod grant;
pub(crate) mod hand_out;
pub(crate) mod heartbeat;
pub(crate) mod hold;
pub(crate) mod identity;
pub(crate) mod insight;
pub(crate) mod known;
pub(crate) mod leave;
pub(crate) mod ledger;
pub(crate) mod listing;
pub(crate) mod pass_on;
pub(crate) mod ready;
pub(crate) mod refill;
pub(crate) mod refusal;
pub(crate) mod release;
pub(crate) mod resolve;
pub(crate) mod say;
pub(crate) mod session;
pub(crate) mod shed;
pub(crate) mod throttle;
pub(crate) mod tick;
pub(crate) mod view;
pub(crate) mod waiting;
