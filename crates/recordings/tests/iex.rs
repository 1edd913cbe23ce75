//! A capture of IEX: packets and messages as the manifest says.

mod common;

use std::sync::Arc;

use common::{data, read};
use tickwire_recordings::source::Place;
use tickwire_recordings::{Format, Hints, Recording, contents};
use tickwire_wire::Channel;

#[test]
fn messages_by_type() {
    let Some(folder) = data() else { return };
    let file = folder.join("iex/TOPS16.pcap.gz");
    let text = std::fs::read_to_string(folder.join("MANIFEST.json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let stats = &list.iter().find(|entry| entry["file"] == "iex/TOPS16.pcap.gz").unwrap()["stats"];
    let recording = Recording::open(&file, &Hints::default()).unwrap();
    let contents = contents::read(&recording, &Arc::default()).unwrap();
    assert_eq!((contents.format, contents.venue.as_str()), (Format::Iex, "iex"));

    let reading = read(&file);
    assert_eq!((reading.faults, Some(reading.records)), (vec![], stats["messages"].as_u64()));
    let of = |channel| reading.said.iter().filter(|said| said.what.channel() == channel).count() as u64;
    let unused = |kind| reading.unused.get(kind).copied().unwrap_or_default();
    let counts = [
        ("Q", of(Channel::Quote)),
        ("T", of(Channel::Trade)),
        ("H", of(Channel::Status)),
        ("D", unused("security directory")),
        ("B", unused("trade break")),
        ("O", unused("operational halt status")),
        ("P", unused("short sale price test status")),
        ("A", unused("auction information")),
        ("S", unused("system event")),
    ];
    for (kind, count) in counts {
        assert_eq!(Some(count), stats["types"][kind].as_u64(), "{kind}");
    }

    // A packet that is cut off is the one behind the last.
    let mut content = Vec::new();
    std::io::copy(&mut recording.content().unwrap(), &mut content).unwrap();
    content.extend([0; 5]);
    let cut = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(cut.path(), content).unwrap();
    let last = stats["packets"].as_u64().unwrap() + 1;
    let faults = [(Place::Packet(last), "the file ends within a packet".to_owned())];
    assert_eq!(read(cut.path()).faults, faults);
}
