//! The vocabulary of hub and shards. It stands before both and knows neither.

mod events;
mod form;
mod ids;
mod interests;
mod update;

pub use events::{Ended, Event, FeedStatus, TopicState};
pub use form::{Form, Origin, WriteRecord};
pub use ids::{InstrumentInfo, TopicId, VenueIndex, View};
pub use interests::{BackfillAsk, Backfilled, TopicInterest};
pub use update::{Update, gap_record};
