//! Pages of servers that speak plain HTTP.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A longer page is not read.
const BYTES_MAX: usize = 4 << 20;

/// Returns the status and the body of a page of `host:port`.
///
/// # Errors
/// When the server cannot be reached or answers with something else than HTTP, and when the body is longer than 4 MiB or no UTF-8.
///
/// # Cancel safety
/// Dropping it drops the connection.
pub async fn get(address: &str, path: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get(path).header(HOST, address).body(Empty::<Bytes>::new());
    let request = request.map_err(io::Error::other)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await.map_err(io::Error::other)?;
        let body = String::from_utf8(body.to_bytes().into()).map_err(io::Error::other)?;
        Ok((status, body))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The end of the connection may be seen before the response that it held.
        _ = connection => answer.await,
    }
}
