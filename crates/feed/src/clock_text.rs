//! Times as venues write them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns a time of RFC 3339 in nanoseconds since the Unix epoch, where it is one.
pub(crate) fn nanoseconds(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos()).ok()
}
