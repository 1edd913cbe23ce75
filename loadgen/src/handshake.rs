//! TCP and the WebSocket handshake (RFC 6455, section 4), without an HTTP library: ten thousand sessions should not each
//! keep one's buffers.

use std::io::Cursor;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastwebsockets::handshake::generate_key;
use fastwebsockets::{Role, WebSocketRead, WebSocketWrite, after_handshake_split};
use sha1::{Digest as _, Sha1};
use tickwire_wire::Encoding;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Chain};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::cli::Target;

/// An answer longer than this is not a gateway's.
const HEAD_BYTES_MAX: usize = 8192;
/// A gateway's largest message is a burst of book snapshots.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

pub(crate) type Reading = WebSocketRead<Chain<Cursor<Bytes>, OwnedReadHalf>>;
pub(crate) type Writing = WebSocketWrite<OwnedWriteHalf>;

/// Opens a connection.
///
/// # Cancel safety
/// Dropping it drops the connection.
pub(crate) async fn open(target: &Target, encoding: Encoding) -> anyhow::Result<(Reading, Writing)> {
    let mut stream = TcpStream::connect(&target.address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let key = generate_key();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tickwire-loadgen/{}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Protocol: {}\r\n\r\n",
        target.path,
        target.address,
        env!("CARGO_PKG_VERSION"),
        encoding.subprotocol()
    );
    stream.write_all(request.as_bytes()).await.context("the connection broke")?;
    let mut read = Vec::with_capacity(512);
    let end = loop {
        if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        ensure!(read.len() < HEAD_BYTES_MAX, "it answers with more than {HEAD_BYTES_MAX} bytes of head");
        let count = stream.read_buf(&mut read).await.context("the connection broke")?;
        ensure!(count > 0, "it ended the connection before it answered");
    };
    verify(&String::from_utf8_lossy(&read[..end]), &String::from_utf8_lossy(&read[end..]), &key, encoding)?;
    let rest = Bytes::copy_from_slice(&read[end..]);
    let (read_half, write_half) = stream.into_split();
    let source = Cursor::new(rest).chain(read_half);
    let (mut reading, writing) = after_handshake_split(source, write_half, Role::Client);
    reading.set_auto_close(false);
    reading.set_auto_pong(false);
    reading.set_max_message_size(MESSAGE_BYTES_MAX);
    Ok((reading, writing))
}

fn verify(head: &str, body: &str, key: &str, encoding: Encoding) -> anyhow::Result<()> {
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default();
    if status != "101" {
        let said: String = body.trim().chars().take(200).collect();
        bail!("it answers with HTTP {status}: {said}");
    }
    let header = |name: &str| {
        let mut fields = lines.clone().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let accepted = header("sec-websocket-accept");
    ensure!(accepted == Some(&accept_key(key)), "it does not prove that it read our key");
    let protocol = header("sec-websocket-protocol");
    ensure!(protocol == Some(encoding.subprotocol()), "it speaks {protocol:?}, not {encoding}");
    Ok(())
}

/// RFC 6455, section 4.2.2, step 5.4.
fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key and proof are the example of RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[track_caller]
    fn check(head: &str, body: &str, expected: Result<(), &str>) {
        let got = verify(&head.replace('\n', "\r\n"), body, KEY, Encoding::Proto);
        match (got.map_err(|error| error.to_string()), expected) {
            (Ok(()), Ok(())) => {}
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}"),
            (got, expected) => panic!("{got:?} is not {expected:?}"),
        }
    }

    #[test]
    fn answers_are_checked() {
        let good = "HTTP/1.1 101 Switching Protocols\nsec-websocket-ACCEPT: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\
                    Sec-WebSocket-Protocol: tickwire.v1.proto\n\n";
        check(good, "", Ok(()));
        check(&good.replace("s3pP", "s3pX"), "", Err("our key"));
        check(&good.replace("proto\n", "json\n"), "", Err("tickwire.v1.json"));
        check("HTTP/1.1 503 Service Unavailable\n\n", "draining\n", Err("HTTP 503: draining"));
        check("", "", Err("HTTP"));
    }
}
