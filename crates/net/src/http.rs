//! One page of a server, over any stream.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::beside;

/// A longer page is not read.
const BYTES_MAX: usize = 4 << 20;

/// A response of a server.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A request for a page.
#[derive(Clone, Copy, Debug)]
pub struct Get<'g> {
    /// The host, and the port where it is not the usual one.
    pub host: &'g str,
    /// The path and the query.
    pub path: &'g str,
    /// Names and values of further headers.
    pub headers: &'g [(&'g str, &'g str)],
    /// A body that is longer than so many bytes is not read.
    pub body_bytes_max: usize,
}

impl Get<'_> {
    /// Asks for the page over a stream that nothing was written to yet.
    ///
    /// # Errors
    /// When the server answers with something else than HTTP, and when the body is too long.
    ///
    /// # Cancel safety
    /// Dropping it drops the stream.
    pub async fn over<S>(self, stream: S) -> io::Result<Response>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let mut request = Request::get(self.path).header(HOST, self.host);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
        let response = async {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.body_bytes_max).collect().await.map_err(io::Error::other)?;
            Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        beside(&mut Some(connection), response).await
    }
}

/// Returns the status and the body of a page of `host:port`, over a plain connection.
///
/// # Errors
/// When the server cannot be reached or answers with something else than HTTP, and when the body is longer than 4 MiB or no UTF-8.
///
/// # Cancel safety
/// Dropping it drops the connection.
pub async fn get(address: &str, path: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect(address).await?;
    let get = Get { host: address, path, headers: &[], body_bytes_max: BYTES_MAX };
    let response = get.over(stream).await?;
    let body = String::from_utf8(response.body.into()).map_err(io::Error::other)?;
    Ok((response.status.as_u16(), body))
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    /// A stream whose other side says no before anything was asked of it.
    struct Refusing;

    impl AsyncRead for Refusing {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("show a certificate")))
        }
    }

    #[tokio::test]
    async fn the_reason_of_a_connection_that_ended_before_the_request_is_told() {
        let get = Get { host: "refusing", path: "/", headers: &[], body_bytes_max: BYTES_MAX };
        let error = get.over(tokio::io::join(Refusing, tokio::io::sink())).await.err().unwrap();
        let (mut told, mut next) = (Vec::new(), Some(&error as &dyn Error));
        while let Some(error) = next {
            told.push(error.to_string());
            next = error.source();
        }
        assert!(told.iter().any(|text| text.contains("show a certificate")), "{told:?}");
    }
}
