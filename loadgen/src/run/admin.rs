//! A gateway's admin listener, as a run asks it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A page that takes longer is not waited for.
const WAIT: Duration = Duration::from_millis(500);
const BYTES_MAX: usize = 4 << 20;
const RETRY: Duration = Duration::from_millis(50);

/// A page with status 200; none where it cannot be had in time.
///
/// # Cancel safety
/// Dropping it drops the connection.
pub(super) async fn page(admin: &str, path: &str) -> Option<String> {
    tokio::time::timeout(WAIT, get(admin, path)).await.ok()?.ok()
}

/// Returns when the gateway is ready and hears the own source.
pub(super) async fn readiness(admin: &str) {
    let live = format!("\"{}\":\"live\"", crate::scenario::VENUE);
    while !page(admin, "/readyz").await.is_some_and(|text| text.replace(' ', "").contains(&live)) {
        tokio::time::sleep(RETRY).await;
    }
}

async fn get(admin: &str, path: &str) -> anyhow::Result<String> {
    let address = admin.trim_start_matches("http://").trim_end_matches('/');
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(HOST, address).body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        anyhow::ensure!(answer.status() == 200, "{path}: {}", answer.status());
        let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?;
        Ok(String::from_utf8(body.to_bytes().into())?)
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The end of the connection may be seen before the answer that it held.
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What comes of an answer in these bytes.
    async fn answered(bytes: &'static str) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = format!("http://{}/", listener.local_addr().unwrap());
        let answers = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /x HTTP/1.1\r\n"));
            stream.write_all(bytes.as_bytes()).await.unwrap();
        };
        tokio::join!(page(&admin, "/x"), answers).0
    }

    #[tokio::test]
    async fn a_page_is_what_came_with_status_200() {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nye\r\n1\r\ns\r\n0\r\n\r\n";
        assert_eq!(answered(chunked).await.as_deref(), Some("yes"));
        assert_eq!(answered("HTTP/1.1 200 OK\r\n\r\nyes").await.as_deref(), Some("yes"), "to the end");
        assert_eq!(answered("HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno").await, None);
        assert_eq!(answered("nothing\r\n\r\n").await, None);
        assert_eq!(page("127.0.0.1:1", "/x").await, None);
    }
}
