//! Recordings of vendors: counts as their manifest says, books as their own snapshots say.
//!
//! `TICKWIRE_DATA` names the folder of the recordings; without it these tests have nothing to read.

mod common;

use std::collections::BTreeMap;

use common::{data, read};
use tickwire_recordings::said::{FixedLevels, What};
use tickwire_wire::Channel;

/// Every DBN file of the manifest has as many records as that says, of its schema.
#[test]
fn dbn_counts() {
    let Some(folder) = data() else { return };
    let mut files = 0;
    for (file, stats) in common::manifest(&folder).iter().filter(|(_, stats)| stats.format == "dbn") {
        let reading = read(&folder.join(file));
        assert_eq!((reading.faults, Some(reading.records)), (vec![], stats.messages), "{file}");
        let of = |channel: Channel| {
            reading.said.iter().filter(|said| said.what.channel() == channel).count() as u64
        };
        let schema = stats.schema.as_deref().unwrap_or_default();
        let said = match schema {
            "trades" => of(Channel::Trade),
            "tbbo" | "mbp-1" | "cmbp-1" | "bbo-1s" | "bbo-1m" | "cbbo-1s" | "cbbo-1m" => of(Channel::Quote),
            "status" => of(Channel::Status),
            _ => reading.records,
        };
        assert_eq!(said, reading.records, "{file}");
        files += 1;
    }
    assert!(files > 100);
}

type Side = BTreeMap<i64, i64>;

fn apply(book: &mut (Side, Side), levels: &FixedLevels) {
    for (side, levels) in [(&mut book.0, &levels.bids), (&mut book.1, &levels.asks)] {
        for level in levels {
            side.insert(level.price.mantissa, level.size.mantissa);
        }
        side.retain(|_, size| *size > 0);
    }
}

/// The book of a day goes on from its own snapshot without an unknown order, and begins as the snapshot of the day before.
#[test]
fn books_of_orders() {
    let Some(folder) = data() else { return };
    let folder = folder.join("databento/nautilus");
    let eve = read(&folder.join("esh4-glbx-mdp3-20231224.mbo.dbn.zst"));
    let day = read(&folder.join("esh4-glbx-mdp3-20231225.mbo.dbn.zst"));
    let books = |reading: &common::Reading| {
        let of = |what: &What| if let What::Book(levels) = what { Some(levels.clone()) } else { None };
        reading.said.iter().filter_map(|said| of(&said.what)).collect::<Vec<_>>()
    };
    let first = books(&day);
    assert_eq!(books(&eve), first[..1]);
    let (mut book, mut crossed, mut changes) = ((Side::new(), Side::new()), 0, 0);
    for said in &day.said {
        match &said.what {
            What::Book(levels) => {
                book = (Side::new(), Side::new());
                apply(&mut book, levels);
            }
            What::Change(levels) => apply(&mut book, levels),
            What::Gap { .. } => panic!("{said:?}"),
            _ => continue,
        }
        changes += 1;
        let best = book.0.last_key_value().zip(book.1.first_key_value());
        crossed += u64::from(best.is_some_and(|((bid, _), (ask, _))| bid >= ask));
    }
    // Of 47,022 changes behind the snapshot, 891 leave a book that is crossed, before the market opens perhaps.
    assert_eq!((changes, crossed), (47_023, 891));
    assert_eq!(day.unused, BTreeMap::new());
}
