//! `proto/vectors/manifest.json`: what every file says, in plain JSON.

use std::fmt::Write;

use serde_json::{Value, json};
use tickwire_wire::{Encoding, Level, book_checksum};

use crate::set::{Content, Vector, checksum_example};

/// Returns the name and bytes of every file of `proto/vectors`.
pub(crate) fn files(all: &[Vector]) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("manifest.json".to_owned(), text(&manifest(all)))];
    for vector in all {
        files.extend(Encoding::ALL.map(|encoding| (vector.file(encoding), vector.encode(encoding))));
    }
    files
}

fn manifest(all: &[Vector]) -> Value {
    json!({
        "about": "Golden vectors of tickwire.v1. `expected` is what the bytes say, in the form of the JSON encoding.",
        "vectors": all.iter().map(entry).collect::<Vec<_>>(),
        "checksums": [checksum()],
    })
}

fn entry(vector: &Vector) -> Value {
    let files =
        Encoding::ALL.map(|encoding| (encoding.name().to_owned(), Value::from(vector.file(encoding))));
    let json = vector.encode(Encoding::Json);
    let expected: Vec<Value> = json
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("the JSON encoding is JSON"))
        .collect();
    let mut entry = json!({
        "name": vector.name,
        "kind": "message",
        "about": vector.about,
        "files": serde_json::Map::from_iter(files),
        "expected": expected,
    });
    if let Content::Command(_) = vector.content {
        entry["kind"] = "command".into();
    } else {
        entry["scale"] = json!({
            "symbol": vector.scale.symbol,
            "price_decimals": vector.scale.price_decimals,
            "size_decimals": vector.scale.size_decimals,
        });
    }
    entry
}

/// Makes the worked example of `docs/protocol.md`.
fn checksum() -> Value {
    let (bids, asks) = checksum_example();
    let pairs =
        |levels: &[Level]| levels.iter().map(|level| json!([level.price, level.size])).collect::<Vec<_>>();
    let mut bytes = String::new();
    for level in bids.iter().chain(&asks) {
        for byte in [level.price.to_le_bytes(), level.size.to_le_bytes()].concat() {
            write!(bytes, "{byte:02x}").expect("writing to memory");
        }
    }
    json!({
        "name": "checksum",
        "bids": pairs(&bids),
        "asks": pairs(&asks),
        "bytes": bytes,
        "crc32": book_checksum(bids.iter().copied(), asks.iter().copied()),
    })
}

fn text(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("JSON from memory");
    text.push(b'\n');
    text
}
