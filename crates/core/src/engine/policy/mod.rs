//! Rules that look at numbers only: they know no session and no topic.

pub(crate) mod limits;
pub(crate) mod pace;
pub(crate) mod price;
pub(crate) mod rate;
