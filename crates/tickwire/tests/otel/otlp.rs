//! A collector of spans over loopback, and as much of OTLP as it takes to read them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A span that came.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) id: Vec<u8>,
    pub(crate) parent: Vec<u8>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) took_ns: u64,
}

/// A collector, with the bodies of all requests.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let bodies = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&bodies);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let body = take(stream).await;
                kept.lock().unwrap().push(body);
            }
        });
        Self { endpoint, bodies }
    }

    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap().clone()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.bodies().iter().flat_map(|body| spans(body)).collect()
    }
}

/// Reads one request, and answers it.
async fn take(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "a request is cut off");
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        break (head.clone(), end + 4 + length.parse::<usize>().unwrap());
    };
    assert!(
        head.starts_with("post /v1/traces http/1.1") && head.contains("application/x-protobuf"),
        "{head}"
    );
    while bytes.len() < length {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "a request is cut off");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    bytes.split_off(bytes.len() - (length - head.len() - 4))
}

/// The value of a field: a number, or bytes.
enum Value<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

impl Value<'_> {
    fn number(&self) -> u64 {
        if let Self::Number(number) = self { *number } else { panic!("bytes in place of a number") }
    }
}

/// Returns the fields of a message.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)),
            1 => Value::Number(u64::from_le_bytes(split(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let length = varint(&mut bytes) as usize;
                Value::Bytes(split(&mut bytes, length))
            }
            5 => Value::Number(u32::from_le_bytes(split(&mut bytes, 4).try_into().unwrap()).into()),
            kind => panic!("a field of kind {kind}"),
        };
        found.push((key >> 3, value));
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for at in 0..10 {
        let byte = split(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn split<'b>(bytes: &mut &'b [u8], length: usize) -> &'b [u8] {
    let (first, rest) = bytes.split_at(length);
    *bytes = rest;
    first
}

/// Returns the messages in a field of a message.
fn within(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let of = |(found, value)| match value {
        Value::Bytes(bytes) if found == number => Some(bytes),
        _ => None,
    };
    fields(bytes).into_iter().filter_map(of).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Reads an `ExportTraceServiceRequest`.
fn spans(body: &[u8]) -> Vec<Span> {
    let resources = within(body, 1);
    let scopes = resources.iter().flat_map(|resource| within(resource, 2));
    scopes.flat_map(|scope| within(scope, 2)).map(span).collect()
}

fn span(bytes: &[u8]) -> Span {
    let one = |number| within(bytes, number).first().map(|bytes| bytes.to_vec()).unwrap_or_default();
    let time = |number| {
        fields(bytes).iter().find(|(found, _)| *found == number).map_or(0, |(_, value)| value.number())
    };
    let attribute = |bytes: &[u8]| {
        let key = text(within(bytes, 1)[0]);
        let value = match fields(within(bytes, 2)[0]).into_iter().next() {
            Some((1, Value::Bytes(value))) => text(value),
            Some((_, Value::Number(number))) => number.to_string(),
            _ => String::new(),
        };
        (key, value)
    };
    Span {
        name: text(&one(5)),
        id: one(2),
        parent: one(4),
        attributes: within(bytes, 9).into_iter().map(attribute).collect(),
        took_ns: time(8) - time(7),
    }
}
