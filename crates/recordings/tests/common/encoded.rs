//! Recordings that tests make: files of Databento's own encoder.

use dbn::encode::dbn::Encoder;
use dbn::encode::{DbnEncodable, EncodeRecord as _};
use dbn::enums::{Action, SType, Schema, Side};
use dbn::{MetadataBuilder, RecordHeader, TradeMsg};

/// Encodes records of the dataset `TEST.SET`, whose instruments have no names.
pub(crate) fn encoded<R: DbnEncodable>(schema: Schema, start: u64, records: &[R]) -> Vec<u8> {
    let metadata = MetadataBuilder::new()
        .dataset("TEST.SET")
        .schema(Some(schema))
        .start(start)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .build();
    let mut encoder = Encoder::new(Vec::new(), &metadata).unwrap();
    for record in records {
        encoder.encode_record(record).unwrap();
    }
    encoder.get_ref().clone()
}

/// Makes a trade of three, of this price in billionths, which took liquidity from the asks.
#[allow(dead_code, reason = "one of those who share this file encodes no trades")]
pub(crate) fn trade(instrument: u32, time: u64, price: i64) -> TradeMsg {
    TradeMsg {
        hd: RecordHeader::new::<TradeMsg>(dbn::rtype::MBP_0, 1, instrument, time),
        price,
        size: 3,
        action: Action::Trade as std::ffi::c_char,
        side: Side::Bid as std::ffi::c_char,
        ts_recv: time,
        ..TradeMsg::default()
    }
}
