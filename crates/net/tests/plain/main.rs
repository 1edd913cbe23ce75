//! Back-off and rate limits.

mod backoff;
mod bucket;
