//! CSV of Tardis.dev: each kind of data, damage, and the real files.

mod common;

use common::{data, manifest, read};
use proptest::prelude::*;
use tickwire_recordings::Format;
use tickwire_recordings::said::{FixedLevels, What};
use tickwire_recordings::source::{Entry, Place};

const CHANGES: &str = "\
exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
deribit,A,1000000,1500000,false,bid,9,1
deribit,A,2000000,2500000,true,bid,10.5,3
deribit,A,2000000,2500000,true,ask,11,4
deribit,B,2000000,2500000,true,ask,1,1
deribit,A,2100000,2600000,false,bid,10.5,0
deribit,A,2100000,2600000,false,bid,10,2
deribit,A,2100000,2600000,false,bid,10,5
deribit,A,3000000,3500000,true,ask,12,1
";

fn entries(text: &str) -> Vec<Entry> {
    let mut source = Format::Tardis.source_of(text.as_bytes().to_vec(), None).unwrap();
    let mut entries = Vec::new();
    while source.read(&mut entries) {}
    entries
}

fn levels(levels: &FixedLevels) -> String {
    let side = |side: &[tickwire_recordings::said::FixedLevel]| {
        let level = |level: &tickwire_recordings::said::FixedLevel| {
            format!("{}e-{}x{}", level.price.mantissa, level.price.decimals, level.size.mantissa)
        };
        side.iter().map(level).collect::<Vec<_>>().join(" ")
    };
    format!("{} | {}", side(&levels.bids), side(&levels.asks))
}

fn brief(entries: &[Entry]) -> Vec<String> {
    let brief = |entry: &Entry| match entry {
        Entry::Said(said) => {
            let what = match &said.what {
                What::Book(all) => format!("book {}", levels(all)),
                What::Change(changed) => format!("change {}", levels(changed)),
                What::Trade { price, size, aggressor, id, id_text } => {
                    format!(
                        "trade {}e-{} {} {aggressor:?} {id} {id_text}",
                        price.mantissa, price.decimals, size.mantissa
                    )
                }
                What::Quote { bid, ask } => format!("quote {} {}", bid.is_some(), ask.is_some()),
                other => format!("{other:?}"),
            };
            format!("{} {} {what}", said.symbol, said.receive_time / 1_000_000)
        }
        Entry::Unused(kind) => (*kind).to_owned(),
        Entry::Fault(place, reason) => format!("{place}: {reason}"),
    };
    entries.iter().map(brief).collect()
}

#[test]
fn changes_of_one_time_are_one_statement_and_a_snapshot_begins_anew() {
    let expected = [
        "changes of a book before its snapshot",
        "0 2500 book 105e-1x3 | 11e-0x4",
        "1 2500 book  | 1e-0x1",
        "0 2600 change 105e-1x0 10e-0x5 | ",
        "0 3500 book  | 12e-0x1",
    ];
    assert_eq!(brief(&entries(CHANGES)), expected);
}

#[test]
fn a_row_that_cannot_be_read_breaks_the_books() {
    let broken = CHANGES.replace("2600000,false,bid,10,2", "2600000,false,bid,ten,2");
    let said = brief(&entries(&broken));
    let expected = [
        "0 2600 change 105e-1x0 | ",
        "0 2600 Gap { channel: Book, count: None }",
        "1 2600 Gap { channel: Book, count: None }",
        "line 7: `ten` is no decimal number",
        "changes of a book before its snapshot",
        "0 3500 book  | 12e-0x1",
    ];
    assert_eq!(said[3..], expected);
}

#[test]
fn a_part_of_a_snapshot_is_no_book() {
    let broken = CHANGES.replace("2500000,true,bid,10.5,3", "2500000,true,bid,x,3");
    let said = brief(&entries(&broken));
    let expected = [
        "changes of a book before its snapshot",
        "line 3: `x` is no decimal number",
        "rows of a snapshot that is not whole",
        "rows of a snapshot that is not whole",
        "changes of a book before its snapshot",
        "0 3500 book  | 12e-0x1",
    ];
    assert_eq!(said, expected);
    let in_its_middle = CHANGES.replace("2500000,true,ask,11,4", "2500000,true,ask,x,4");
    let said = brief(&entries(&in_its_middle));
    assert!(!said.iter().any(|said| said.contains("2500 book")), "{said:?}");
    let quoted = CHANGES.replace("bid,9,1", "bid,\"9,1");
    assert!(brief(&entries(&quoted)).contains(&"0 3500 book  | 12e-0x1".to_owned()));
}

#[test]
fn trades_quotes_tops_and_derivatives() {
    let trades = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n\
        bitmex,XBTUSD,1000000,2000000,ccc3c1fa-212c,sell,8531.5,2152\n\
        bitmex,XBTUSD,1000000,2000000,77,buy,8531.5,1\nother,XBTUSD,1000000,2000000,7,buy,1,1\n";
    let expected = [
        "0 2000 trade 85315e-1 2152 Sell 0 ccc3c1fa-212c",
        "0 2000 trade 85315e-1 1 Buy 77 ",
        "rows of other exchanges",
    ];
    assert_eq!(brief(&entries(trades)), expected);
    let quotes = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n\
        x,A,1000000,2000000,1,2,1,1\nx,A,1000000,2000000,,,1,1\n";
    assert_eq!(brief(&entries(quotes)), ["0 2000 quote true true", "0 2000 quote true false"]);
    let tops = "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[0].price,bids[0].amount,asks[1].price,asks[1].amount,bids[1].price,bids[1].amount\n\
        x,A,1000000,2000000,11,1,10,1,12,1,9,1\nx,A,1000000,2000000,11,1,10,1,12,1,9,1\nx,A,1000000,2000000,11,2,10,1,,,9,1\n";
    let expected = [
        "0 2000 book 10e-0x1 9e-0x1 | 11e-0x1 12e-0x1",
        "levels that did not change",
        "0 2000 change  | 12e-0x0 11e-0x2",
    ];
    assert_eq!(brief(&entries(tops)), expected);
    let derivatives = "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,index_price,mark_price\n\
        x,A,1000000,2000000,9000000,0.0001,,123.5,1,10.25,10.5\n";
    let entries = entries(derivatives);
    let [Entry::Said(said)] = &entries[..] else { panic!("{entries:?}") };
    let What::Derivative(derivative, open_interest) = &said.what else { panic!("{said:?}") };
    assert_eq!(
        (derivative.mark_price, derivative.index_price, derivative.price_decimals),
        (Some(1050), Some(1025), 2)
    );
    assert_eq!((derivative.funding_rate, derivative.rate_decimals), (Some(1), 4));
    assert_eq!((derivative.next_funding_time, open_interest.unwrap().mantissa), (9_000_000_000, 1235));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let short = CHANGES.replace("deribit,A,2100000,2600000,false,bid,10,2\n", "deribit,A\n");
    assert!(entries(&short).iter().any(|entry| matches!(entry, Entry::Fault(Place::Line(7), _))));
    for (text, reason) in [
        ("exchange,symbol,timestamp,local_timestamp,strike\nx,A,1,1,1\n", "no kind of data"),
        ("exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n", "no rows"),
        (
            "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\nx y,A,1,1,1,buy,1,1\n",
            "no name of a venue",
        ),
    ] {
        let told = Format::Tardis.source_of(text.as_bytes().to_vec(), None).err().unwrap();
        assert!(told.contains(reason), "{told}");
    }
}

#[test]
fn rows_of_the_real_files() {
    let Some(folder) = data() else { return };
    let mut files = 0;
    for (file, stats) in manifest(&folder).into_iter().filter(|(_, stats)| stats.format == "tardis-csv") {
        files += 1;
        let reading = read(&folder.join(&file));
        // The manifest counts line ends: that of the columns among them, and none where the last row has none.
        let rows = stats.messages.unwrap();
        assert!([rows, rows - 1].contains(&reading.records), "{file}: {} {rows}", reading.records);
        assert_eq!(reading.faults, [], "{file}");
        let unused: u64 = reading.unused.values().sum();
        assert!(reading.said.len() as u64 + unused <= reading.records && !reading.said.is_empty(), "{file}");
        if file.contains("trades") || file.contains("quotes") {
            assert_eq!(reading.said.len() as u64, reading.records, "{file}");
        }
        if file == "tardis/tardis_trades.csv.gz" {
            let first = brief(&[Entry::Said(reading.said[0].clone())]);
            assert_eq!(first, ["0 1582329602418 trade 9682e-0 132 Buy 42377944 "]);
            assert_eq!(reading.records, 9_999);
        }
    }
    assert_eq!(files, 7);
}

proptest! {
    #[test]
    fn no_flipped_bit_panics(at in 0usize..10_000, bit in 0u8..8, cut in any::<bool>()) {
        let mut bytes = CHANGES.as_bytes().to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        if let Ok(mut source) = Format::Tardis.source_of(bytes, None) {
            let mut entries = Vec::new();
            while source.read(&mut entries) {}
        }
    }
}
