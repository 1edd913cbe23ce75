//! The program on recordings, and what polars and duckdb find in the files that it writes.

#[path = "../../recordings/tests/common/encoded.rs"]
mod encoded;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dbn::enums::{Action, Schema};
use dbn::{FlagSet, MboMsg, RecordHeader, Side, flags};

use crate::encoded::trade;

const SECOND: u64 = 1_000_000_000;
/// 2026-01-05T10:00:00Z.
const HOUR: u64 = 1_767_607_200 * SECOND;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn export(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tickwire-export")).args(arguments).output().unwrap()
}

/// Returns what both readers find in a folder.
fn found(folder: &Path) -> Vec<serde_json::Value> {
    let python =
        std::env::var("TICKWIRE_PYTHON").map_or_else(|_| root().join(".cache/venv/bin/python"), Into::into);
    assert!(python.is_file(), "{} is not there: run scripts/setup-tests.sh", python.display());
    let output =
        Command::new(python).arg(root().join("tests/python/read_parquet.py")).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn write<R: dbn::encode::DbnEncodable>(path: &Path, schema: Schema, records: &[R]) {
    std::fs::write(path, encoded::encoded(schema, HOUR, records)).unwrap();
}

fn order(time: u64, action: Action, id: u64, size: u32, more: u8) -> MboMsg {
    MboMsg {
        hd: RecordHeader::new::<MboMsg>(dbn::rtype::MBO, 1, 7, time),
        order_id: id,
        price: 5_250_000_000,
        size,
        flags: FlagSet::new(flags::LAST | more),
        action: action as std::ffi::c_char,
        side: Side::Ask as std::ffi::c_char,
        ts_recv: time,
        ..MboMsg::default()
    }
}

#[test]
fn one_file_for_each_channel_instrument_and_hour() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("a.dbn"), folder.path().join("out"));
    let trades = [
        trade(5, HOUR + SECOND, 12_500_000_000),
        trade(6, HOUR + 2 * SECOND, 7_000_000_000),
        trade(5, HOUR + 3_600 * SECOND, 12_750_000_000),
    ];
    write(&file, Schema::Trades, &trades);
    let output = export(&["--parquet", out.to_str().unwrap(), file.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["files"], &summary["rows"], &summary["gaps"]), (&3.into(), &3.into(), &0.into()));
    let found = found(&out);
    let of = |n: usize| (found[n]["path"].as_str().unwrap(), found[n]["prices"].to_string());
    assert_eq!(of(0), ("venue=test-set/channel=trade/symbol=5/2026-01-05T10.parquet", "[1250]".to_owned()));
    assert_eq!(of(1), ("venue=test-set/channel=trade/symbol=5/2026-01-05T11.parquet", "[1275]".to_owned()));
    assert_eq!(of(2), ("venue=test-set/channel=trade/symbol=6/2026-01-05T10.parquet", "[7]".to_owned()));
    assert_eq!(found[0]["told"]["tickwire.price_decimals"], "2");
    assert_eq!(found[0]["times"][0], "2026-01-05T10:00:01+00:00");
    // What is there is left as it is: a second run adds to it.
    let output = export(&["--parquet", out.to_str().unwrap(), file.to_str().unwrap()]);
    assert!(output.status.success());
    assert_eq!(self::found(&out).len(), 6);
}

#[test]
fn what_is_missing_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("a.dbn"), folder.path().join("out"));
    let orders = [
        order(HOUR, Action::Clear, 0, 0, 0),
        order(HOUR + 1, Action::Add, 1, 4, 0),
        order(HOUR + 2, Action::Cancel, 9, 4, 0),
        order(HOUR + 3, Action::Add, 2, 4, 0),
        order(HOUR + 4, Action::Clear, 0, 0, 0),
        order(HOUR + 5, Action::Add, 3, 2, flags::MAYBE_BAD_BOOK),
    ];
    write(&file, Schema::Mbo, &orders);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let output = export(&["--parquet", out.to_str().unwrap(), file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("1 places of the recordings could not be read"), "{said}");
    let found = found(&out);
    let [book] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&book["gaps"], &book["told"]["tickwire.gaps_of_unknown_size"]), (&1.into(), &"1".into()));
    assert_eq!(book["prices"].to_string(), "[null,525,null,null]");
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let check = |arguments: &[&str], code: i32, part: &str| {
        let output = export(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(part), "{told}");
    };
    check(&["--parquet", "out"], 2, "FILE");
    check(&["--parquet", "out", "/nowhere/a.dbn"], 1, "cannot read `/nowhere/a.dbn`");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.dbn");
    write(&file, Schema::Trades, &[trade(5, HOUR, 1)]);
    check(&["--parquet", "/dev/null/out", file.to_str().unwrap()], 1, "check the folder");
}

/// A day of a real market: as many rows as there are trades, and the levels of a book that has no gap.
#[test]
fn a_day_of_orders() {
    let Some(data) = std::env::var_os("TICKWIRE_DATA").map(PathBuf::from) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = data.join("databento/nautilus/esh4-glbx-mdp3-20231225.mbo.dbn.zst");
    let output = export(&["--parquet", folder.path().to_str().unwrap(), file.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = found(folder.path());
    let trades = found.iter().filter(|it| it["path"].as_str().unwrap().contains("channel=trade"));
    assert_eq!(trades.map(|it| it["rows"].as_u64().unwrap()).sum::<u64>(), 2_973);
    assert!(found.iter().all(|it| it["gaps"] == 0));
}
