//! The bus side of a gateway: the task around the core's hub, and look-ups in the history of the bus.

mod history;
mod run;

pub(crate) use history::{HistorySetup, LOOKUPS_WAITING_MAX, PART_MEMORY, run as run_history};
pub(crate) use run::{HubSetup, HubStats, ShardLink, run};
pub use run::{deliver, fetch};
