use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Returns what comes of a response in these bytes.
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
