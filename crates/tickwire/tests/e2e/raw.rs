//! An independent reading of a recorded Binance stream: no code of the product, no cleverness.
//!
//! Prices and sizes are integers of 10^-8, which is the precision of the recordings' texts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use serde_json::Value;

/// The content of a recording of one symbol.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    /// The trades in the order of the file: id, price, size, whether the buyer was the maker.
    pub(crate) trades: Vec<(u64, i64, u64, bool)>,
    pub(crate) bids: BTreeMap<i64, u64>,
    pub(crate) asks: BTreeMap<i64, u64>,
    /// The last bookTicker: bid, bid size, ask, ask size.
    pub(crate) quote: (i64, u64, i64, u64),
}

/// Reads a recording of one symbol of the spot market.
pub(crate) fn read_spot(path: &Path) -> Raw {
    let mut head = [0; 2];
    File::open(path).unwrap().read_exact(&mut head).unwrap();
    let file = File::open(path).unwrap();
    let reader: Box<dyn Read> =
        if head == [0x1f, 0x8b] { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut raw = Raw::default();
    let mut last_update = None;
    let mut waiting: Vec<Value> = Vec::new();
    for line in BufReader::new(reader).lines() {
        let line = line.unwrap();
        let Some((_, json)) = line.split_once(' ') else { continue };
        let Ok(value) = serde_json::from_str::<Value>(json) else { continue };
        if let Some(id) = value.get("lastUpdateId") {
            let id = id.as_u64().unwrap();
            apply(&mut raw.bids, &value["bids"]);
            apply(&mut raw.asks, &value["asks"]);
            last_update = Some(id);
            for update in waiting.drain(..).filter(|update| update["u"].as_u64().unwrap() > id) {
                apply(&mut raw.bids, &update["b"]);
                apply(&mut raw.asks, &update["a"]);
            }
            continue;
        }
        let stream = value["stream"].as_str().unwrap_or_default().to_owned();
        let data = &value["data"];
        if stream.ends_with("@trade") {
            let trade = (
                data["t"].as_u64().unwrap(),
                fixed(&data["p"]),
                fixed(&data["q"]) as u64,
                data["m"].as_bool().unwrap(),
            );
            raw.trades.push(trade);
        } else if stream.ends_with("@bookTicker") {
            raw.quote =
                (fixed(&data["b"]), fixed(&data["B"]) as u64, fixed(&data["a"]), fixed(&data["A"]) as u64);
        } else if stream.contains("@depth") {
            match last_update {
                None => waiting.push(data.clone()),
                Some(id) if data["u"].as_u64().unwrap() <= id => {}
                Some(_) => {
                    apply(&mut raw.bids, &data["b"]);
                    apply(&mut raw.asks, &data["a"]);
                }
            }
        }
    }
    raw
}

fn apply(side: &mut BTreeMap<i64, u64>, levels: &Value) {
    for level in levels.as_array().unwrap() {
        let (price, size) = (fixed(&level[0]), fixed(&level[1]) as u64);
        if size == 0 {
            side.remove(&price);
        } else {
            side.insert(price, size);
        }
    }
}

/// Returns a decimal text as an integer of 10^-8.
fn fixed(text: &Value) -> i64 {
    let text = text.as_str().unwrap();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<8}").parse().unwrap()
}
