//! Framings: they make bytes of a connection of what a session is sent.

/// Frames of a kind of connection: WebSocket, an event stream. The engine puts messages into it and says where probes stand
/// and with which code a session ends; it knows no protocol of frames.
pub trait Framing {
    /// Begins a message: leaves room for what stands in front of it.
    fn begin(&self, out: &mut Vec<u8>);

    /// Ends the message that begins at `start`, and for which [`begin`](Self::begin) was called at `head`.
    fn end(&self, head: usize, start: usize, is_text: bool, out: &mut Vec<u8>);

    /// Bytes of a probe.
    fn probe_bytes(&self) -> usize;

    /// Appends a probe, which the client answers with its time when it has read what stands before.
    fn probe(&self, time: u64, out: &mut Vec<u8>);

    /// Appends the response to a client's ping.
    fn pong(&self, payload: &[u8], out: &mut Vec<u8>);

    /// Appends the end, with the code and the words of the session's dialect.
    fn close(&self, code: u16, text: &str, out: &mut Vec<u8>);
}
