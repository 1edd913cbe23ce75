//! What hub and shards say to each other. It stands before both and knows neither.

mod events;
mod ids;
mod update;
mod wishes;

pub use events::{Ended, Event, FeedStatus, TopicState};
pub use ids::{InstrumentInfo, TopicId, VenueIndex};
pub use update::{Update, gap_record};
pub use wishes::{BackfillAsk, Backfilled, Wish};
