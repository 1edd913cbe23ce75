//! The wire contract of Tickwire.
#[allow(missing_docs, clippy::pedantic)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/tickwire.v1.rs"));
}
