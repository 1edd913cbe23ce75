//! Writes small recordings as first inputs for fuzzing: `recording_seeds FOLDER` fills `FOLDER/recording/`. `scripts/fuzz.sh` runs it.

use std::path::Path;

use dbn::encode::EncodeRecord as _;
use dbn::encode::dbn::Encoder;
use dbn::enums::{Action, SType, Schema};
use dbn::{FlagSet, MboMsg, Mbp1Msg, MetadataBuilder, RecordHeader, Side, flags};

const START: u64 = 1_700_000_000_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("a folder")?;
    let folder = Path::new(&folder).join("recording");
    std::fs::create_dir_all(&folder)?;
    let seed = |name: &str, format: u8, bytes: &[u8]| {
        std::fs::write(folder.join(name), [&[format, 200][..], bytes].concat())
    };
    let mut orders = encoder(Schema::Mbo)?;
    for (n, action) in
        [Action::Clear, Action::Add, Action::Add, Action::Modify, Action::Cancel].into_iter().enumerate()
    {
        orders.encode_record(&MboMsg {
            hd: RecordHeader::new::<MboMsg>(dbn::rtype::MBO, 1, 7, START + n as u64),
            order_id: 1 + n as u64 % 2,
            price: 5_000_000_000,
            size: 3,
            flags: FlagSet::new(flags::LAST),
            action: action as std::ffi::c_char,
            side: Side::Bid as std::ffi::c_char,
            ts_recv: START + n as u64,
            ..MboMsg::default()
        })?;
    }
    seed("orders", 0, orders.get_ref())?;
    let mut quotes = encoder(Schema::Mbp1)?;
    let hd = RecordHeader::new::<Mbp1Msg>(dbn::rtype::MBP_1, 1, 7, START);
    quotes.encode_record(&Mbp1Msg { hd, ts_recv: START, ..Mbp1Msg::default() })?;
    seed("quotes", 0, quotes.get_ref())?;
    seed("capture", 1, &capture())?;
    Ok(())
}

fn encoder(schema: Schema) -> dbn::Result<Encoder<Vec<u8>>> {
    let metadata = MetadataBuilder::new()
        .dataset("TEST.SET")
        .schema(Some(schema))
        .start(START)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .build();
    Encoder::new(Vec::new(), &metadata)
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
