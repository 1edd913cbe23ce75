//! Rust SDK of Tickwire: typed records, books, gaps, reconnect.
