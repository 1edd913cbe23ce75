//! Signing in by the first message (`/v1/stream?auth=message`), for those whose way to the gateway loses or shows headers.

use bytes::Bytes;
use tickwire_net::frame::{self, OpCode};
use tickwire_wire::{Batch, Command, Encoding, Message, Secret, Token, encode_command};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::error::ConnectError;
use crate::reading::{Incoming, Reading};

/// The id of the command. Those of a session's requests are others.
const ID: u64 = 0;
/// The most messages before the response. A gateway sends nothing but heartbeats there.
const MESSAGES_MAX: usize = 1_000;

/// Shows the token, and waits until the gateway says whom the session belongs to. Returns the messages that came meanwhile, that one
/// included: they are still to be taken.
///
/// # Errors
/// [`ConnectError::Closed`] with the gateway's reason; [`ConnectError::NotAGateway`] where it says something else.
///
/// # Cancel safety
/// The token may have been sent; the connection must be dropped.
pub(crate) async fn sign_in(
    address: &str,
    token: &Secret,
    encoding: Encoding,
    reading: &mut Reading,
    mut write: impl AsyncWrite + Unpin,
) -> Result<Vec<Bytes>, ConnectError> {
    let not = |reason: String| ConnectError::NotAGateway { address: address.to_owned(), reason };
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    let command = Command::Token(Token { id: ID, token: token.expose().to_owned() });
    encode_command(encoding, &command, &mut payload);
    let opcode = if encoding.is_text() { OpCode::Text } else { OpCode::Binary };
    frame::write_masked(opcode, rand::random(), &payload, &mut out);
    let sent = async {
        write.write_all(&out).await?;
        write.flush().await
    };
    sent.await.map_err(|error| not(format!("it does not take the token: {error}")))?;
    let (mut came, mut refusal) = (Vec::new(), None);
    while came.len() < MESSAGES_MAX {
        let bytes = match reading.next().await {
            Ok(Incoming::Message(bytes)) => bytes,
            Ok(Incoming::Ping(_)) => continue,
            Ok(Incoming::Closed { code, text }) => {
                let text = refusal.unwrap_or(text);
                return Err(ConnectError::Closed { address: address.to_owned(), code, text });
            }
            Err(reason) => return Err(not(format!("instead of `identity`: {reason}"))),
        };
        let mut is_known = false;
        for message in Batch::new(encoding, &bytes) {
            match message {
                Ok(Message::Identity(identity)) if identity.id == ID => is_known = true,
                // A gateway that is busy lets the client try again, and so does this client, by another connection.
                Ok(Message::Error(error)) if error.code == "token_busy" => {
                    let address = address.to_owned();
                    return Err(ConnectError::Closed { address, code: None, text: error.message });
                }
                // The close code follows.
                Ok(Message::Error(error)) => refusal = Some(error.message),
                Ok(_) => {}
                Err(error) => return Err(not(error.to_string())),
            }
        }
        came.push(bytes);
        if is_known {
            return Ok(came);
        }
    }
    Err(not("it says everything but whose session this is".to_owned()))
}
