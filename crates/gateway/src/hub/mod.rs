//! The bus side of a gateway: the task around the core's hub, and looking up what the bus remembers.

mod history;
mod run;

pub(crate) use history::{HistorySetup, PART_MEMORY, QUESTIONS_MAX, run as run_history};
pub(crate) use run::{HubSetup, HubStats, ShardLink, run};
pub use run::{deliver, fetch};
