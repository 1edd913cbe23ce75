//! Responses that did not fit into one message of the bus are put together.

use prost::Message as _;
use tickwire_wire::pb;

/// Most bytes of one response, whatever it claims: some 64 books of 20,000 levels a side, or a catalogue of 100,000
/// instruments.
const RESPONSE_BYTES_MAX: u64 = 64 << 20;

/// The next step.
#[derive(Debug)]
pub enum Fetch {
    /// The response is whole.
    Whole(pb::FeedResponse),
    /// This is the next request; its response goes into [`Pieces::take`].
    Next(pb::FeedRequest),
}

/// The pieces of the response to one request.
#[derive(Debug, Default)]
pub struct Pieces {
    parts: Option<pb::Parts>,
    next: u32,
    whole: Vec<u8>,
}

impl Pieces {
    /// Takes the response to the request, and then to each [`Fetch::Next`].
    ///
    /// # Errors
    /// When the ingester refuses a piece, or the pieces are not what was announced.
    pub fn take(&mut self, response: pb::FeedResponse) -> Result<Fetch, String> {
        match self.parts {
            None => {
                let Some(parts) = response.parts else { return Ok(Fetch::Whole(response)) };
                if parts.bytes > RESPONSE_BYTES_MAX {
                    return Err(format!(
                        "a response of {} bytes; {RESPONSE_BYTES_MAX} are taken",
                        parts.bytes
                    ));
                }
                self.parts = Some(parts);
            }
            Some(_) if !response.error.is_empty() => return Err(response.error),
            Some(_) => self.whole.extend_from_slice(&response.piece),
        }
        let Some(parts) = self.parts else { return Ok(Fetch::Whole(response)) };
        let length = self.whole.len() as u64;
        if self.next < parts.count && length <= parts.bytes {
            let request =
                pb::feed_request::Request::Part(pb::Part { ticket: parts.ticket, index: self.next });
            self.next += 1;
            return Ok(Fetch::Next(pb::FeedRequest { request: Some(request) }));
        }
        if length != parts.bytes {
            return Err(format!("a response of {} bytes came as {length}", parts.bytes));
        }
        let whole = pb::FeedResponse::decode(self.whole.as_slice());
        Ok(Fetch::Whole(whole.map_err(|error| format!("the response cannot be read: {error}"))?))
    }
}
