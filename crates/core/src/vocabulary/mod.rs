//! The vocabulary of hub and shards. It stands before both and knows neither.

mod events;
mod ids;
mod interests;
mod update;

pub use events::{Ended, Event, FeedStatus, TopicState};
pub use ids::{InstrumentInfo, TopicId, VenueIndex};
pub use interests::{BackfillAsk, Backfilled, TopicInterest};
pub use update::{Update, gap_record};
