//! Writes small recordings as first inputs for fuzzing: `recording_seeds FOLDER` fills `FOLDER/recording/`. `scripts/fuzz.sh` runs it.

#[path = "../tests/common/encoded.rs"]
mod encoded;

use std::path::Path;

use dbn::enums::{Action, Schema};
use dbn::{FlagSet, MboMsg, Mbp1Msg, RecordHeader, Side, flags};

use tickwire_recordings::bus::{Note, Writer};

use crate::encoded::encoded;

const START: u64 = 1_700_000_000_000_000_000;

const TARDIS: &str = "\
exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
x,A,1000000,1500000,true,bid,9,1
x,A,1000000,1500000,true,ask,10.5,1
x,A,1000000,1600000,false,bid,9,0
";
const KRAKEN: &str = r#"wss://ws.kraken.com <-> 1618678132.5
1618678133.0: [1,{"as":[["10.502","10.00000000","1618678130.5"]],"bs":[["10.400","1.00000000","1618678131.5"]]},"book-2","A/B"]
1618678133.1: [1,{"b":[["10.400","5.00000000","1618678132.5"]],"c":"7"},"book-2","A/B"]
1618678133.4: [2,[["10.4","0.50","1618678133.25","s","l",""]],"trade","A/B"]
"#;
const COINBASE: &str = r#"wss://ws-feed.pro.coinbase.com <-> 1618677816.8
1618677817.2: {"type":"snapshot","product_id":"A-B","asks":[["14.80","12.77"]],"bids":[["14.7","1"]]}
1618677817.3: {"type":"l2update","product_id":"A-B","changes":[["sell","14.80","0"]],"time":"2021-04-17T16:43:37.075687Z"}
1618677817.5: {"type":"match","trade_id":8,"side":"sell","size":"0.04","price":"14.7","product_id":"A-B"}
"#;

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
    let mut bus = Writer::new(Vec::new())?;
    bus.note(START, &Note::Begin { venue: "sim".to_owned(), file: 1, by: "a seed".to_owned() })?;
    seed("bus", 3, &bus.end(START)?)?;
    seed("tardis", 5, TARDIS.as_bytes())?;
    seed("kraken", 6, KRAKEN.as_bytes())?;
    seed("coinbase", 6, COINBASE.as_bytes())?;
    seed(
        "lobster",
        7,
        b"34200.004241176,1,16113575,18,5853300,1\n34200.5,4,16113575,8,5853300,1\n34201,7,0,0,-1,-1\n",
    )?;
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
