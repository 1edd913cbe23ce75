//! Writes small recordings as first inputs for fuzzing: `recording_seeds FOLDER` fills `FOLDER/recording/`. `scripts/fuzz.sh` runs it.

#[path = "../tests/common/encoded.rs"]
mod encoded;

use std::path::Path;

use dbn::enums::{Action, Schema};
use dbn::{FlagSet, MboMsg, Mbp1Msg, RecordHeader, Side, flags};

use crate::encoded::encoded;

const START: u64 = 1_700_000_000_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("a folder")?;
    let folder = Path::new(&folder).join("recording");
    std::fs::create_dir_all(&folder)?;
    let seed = |name: &str, format: u8, bytes: &[u8]| {
        std::fs::write(folder.join(name), [&[format, 200][..], bytes].concat())
    };
    let actions = [Action::Clear, Action::Add, Action::Add, Action::Modify, Action::Cancel];
    let order = |(n, action)| MboMsg {
        hd: RecordHeader::new::<MboMsg>(dbn::rtype::MBO, 1, 7, START + n),
        order_id: 1 + n % 2,
        price: 5_000_000_000,
        size: 3,
        flags: FlagSet::new(flags::LAST),
        action: action as std::ffi::c_char,
        side: Side::Bid as std::ffi::c_char,
        ts_recv: START + n,
        ..MboMsg::default()
    };
    let orders: Vec<_> = (0u64..).zip(actions).map(order).collect();
    seed("orders", 0, &encoded(Schema::Mbo, START, &orders))?;
    let hd = RecordHeader::new::<Mbp1Msg>(dbn::rtype::MBP_1, 1, 7, START);
    let quote = Mbp1Msg { hd, ts_recv: START, ..Mbp1Msg::default() };
    seed("quotes", 0, &encoded(Schema::Mbp1, START, &[quote]))?;
    seed("capture", 1, &capture())?;
    seed("itch", 2, &itch())?;
    Ok(())
}

/// Makes a file of TotalView-ITCH: the first event of a day, and an order.
fn itch() -> Vec<u8> {
    let mut bytes = vec![0, 12, b'S', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'O'];
    bytes.extend([0, 36, b'A', 0, 7, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend(1u64.to_be_bytes());
    bytes.push(b'B');
    bytes.extend(100u32.to_be_bytes());
    bytes.extend(b"ABC     ");
    bytes.extend(12_500u32.to_be_bytes());
    bytes
}

/// Makes a capture of one packet: a segment of IEX-TP with a quote in a datagram of UDP over IPv4.
fn capture() -> Vec<u8> {
    let mut quote = vec![b'Q', 0];
    quote.extend(START.to_le_bytes());
    quote.extend(b"ABC     ");
    quote.extend(100u32.to_le_bytes());
    quote.extend(12_500i64.to_le_bytes());
    quote.extend(12_600i64.to_le_bytes());
    quote.extend(200u32.to_le_bytes());
    let mut segment = vec![1, 0, 3, 0x80];
    segment.extend(1u32.to_le_bytes());
    segment.extend(7u32.to_le_bytes());
    segment.extend((quote.len() as u16 + 2).to_le_bytes());
    segment.extend(1u16.to_le_bytes());
    segment.extend(0i64.to_le_bytes());
    segment.extend(1i64.to_le_bytes());
    segment.extend(START.to_le_bytes());
    segment.extend((quote.len() as u16).to_le_bytes());
    segment.extend(&quote);
    let (udp, ip) = (segment.len() as u16 + 8, segment.len() as u16 + 28);
    let mut packet = vec![0; 12];
    packet.extend([8, 0, 0x45, 0]);
    packet.extend(ip.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 233, 215, 21, 4, 0x28, 0x3c, 0x28, 0x3c]);
    packet.extend(udp.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(&segment);
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    bytes.extend((packet.len() as u32).to_le_bytes());
    bytes.extend((packet.len() as u32).to_le_bytes());
    bytes.extend(&packet);
    bytes
}
