//! Framings: they put the messages of a session into the frames of its kind of connection.

/// The frames of a kind of connection, such as WebSocket. The engine says where a message begins and ends, where a probe stands
/// and with which code a session ends; it knows no protocol of frames.
pub trait Framing {
    /// Begins a message: leaves room for what stands in front of it.
    fn begin(&self, out: &mut Vec<u8>);

    /// Ends the message that begins at `start`, and for which [`begin`](Self::begin) was called at `head`.
    fn end(&self, head: usize, start: usize, is_text: bool, out: &mut Vec<u8>);

    /// Returns how many bytes a probe takes.
    fn probe_bytes(&self) -> usize;

    /// Appends a probe, which the client answers with its time when it has read what stands before.
    fn probe(&self, time: u64, out: &mut Vec<u8>);

    /// Appends the response to a client's ping.
    fn pong(&self, payload: &[u8], out: &mut Vec<u8>);

    /// Appends the frame that ends the session, with the code and the text of the session's dialect.
    fn close(&self, code: u16, text: &str, out: &mut Vec<u8>);
}
