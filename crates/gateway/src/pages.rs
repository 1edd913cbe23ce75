//! The documents and the protocols beside those of the gateway itself, which whoever runs it brings.

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use tickwire_core::engine::Dialect;

/// The documents that the public listener serves beside `/v1/stream`, such as the demo's page.
pub trait Pages: Send + Sync + 'static {
    /// Returns the response to a request, or `None` where there is no such document.
    fn respond(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Page>;

    /// Returns the protocol of a session at this path, where it is another than the gateway's own; `None` where there is none. Such
    /// a session has no subprotocol.
    fn dialect(&self, path: &str) -> Option<Box<dyn Dialect>> {
        let _ = path;
        None
    }
}

/// A small document.
#[derive(Clone, Debug)]
pub struct Page {
    /// The HTTP status.
    pub status: StatusCode,
    /// The value of the header `content-type`.
    pub content_type: &'static str,
    /// The bytes that follow the headers.
    pub body: Bytes,
}

/// Pages that have no document at all.
#[derive(Debug)]
pub struct NoPages;

impl Pages for NoPages {
    fn respond(&self, _: &Method, _: &str, _: &HeaderMap) -> Option<Page> {
        None
    }
}
