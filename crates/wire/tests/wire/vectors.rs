//! The golden vectors are what the codecs write and read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tickwire_wire::{Batch, Command, Encoding, Message, decode_command};

use crate::set::{self, Content};

pub(crate) fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.ancestors().nth(2).expect("crates/wire is two folders deep").to_owned()
}

pub(crate) fn decode_all(encoding: Encoding, bytes: &[u8]) -> Vec<Message> {
    Batch::new(encoding, bytes).collect::<Result<_, _>>().unwrap()
}

fn json(bytes: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(bytes).ok()
}

#[test]
fn files_are_what_the_codecs_write() {
    let folder = root().join("proto/vectors");
    let wanted = crate::manifest::files(&set::all());
    for (name, bytes) in &wanted {
        let there = std::fs::read(folder.join(name)).unwrap_or_default();
        // The manifest by its values: the order of keys depends on features that other crates may switch on.
        let same = if name == "manifest.json" { json(&there) == json(bytes) } else { there == *bytes };
        assert!(
            same,
            "proto/vectors/{name} differs: if the protocol is meant to change, run \
             `cargo run -p tickwire-wire --example vectors -- --write`"
        );
    }
    let names: BTreeSet<_> = wanted.into_iter().map(|(name, _)| name).collect();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "proto/vectors/{name} belongs to no vector");
    }
}

#[test]
fn vectors_read_back_exactly() {
    for vector in set::all() {
        for encoding in Encoding::ALL {
            let bytes = vector.encode(encoding);
            match &vector.content {
                Content::Messages(messages) => {
                    assert_eq!(decode_all(encoding, &bytes), *messages, "{} {encoding}", vector.name);
                }
                Content::Command(command) => {
                    let read: Command = decode_command(encoding, &bytes).unwrap();
                    assert_eq!(read, *command, "{} {encoding}", vector.name);
                }
            }
        }
    }
}

/// Writes every pair of messages one after another and reads both back.
#[test]
fn messages_concatenate() {
    let all = set::all();
    let messages: Vec<_> = all.iter().filter(|vector| !vector.content.messages().is_empty()).collect();
    for encoding in Encoding::ALL {
        for a in &messages {
            for b in &messages {
                let bytes = [a.encode(encoding), b.encode(encoding)].concat();
                let both = [a.content.messages(), b.content.messages()].concat();
                assert_eq!(decode_all(encoding, &bytes), both, "{} {} {encoding}", a.name, b.name);
            }
        }
    }
}
