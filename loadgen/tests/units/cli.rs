//! Flags over scenarios.

use super::*;

fn layers(arguments: &str) -> anyhow::Result<Layers> {
    let arguments = ["tickwire-loadgen", "run"].into_iter().chain(arguments.split_whitespace());
    match Cli::try_parse_from(arguments)?.command {
        Command::Run(options) => options.layers(),
        _ => unreachable!("it is `run`"),
    }
}

#[track_caller]
fn check_refused(arguments: &str, expected: &str) {
    let error = layers(arguments).and_then(|layers| layers.read()).expect_err("it is wrong");
    let error = format!("{error:#}");
    assert!(error.contains(expected), "{arguments}: {error}");
}

#[test]
fn flags_stand_over_the_scenario() {
    let scenario =
        layers("dashboard --for 3s --sessions 7 --rate 9 --set sessions.window=16ms --encoding json");
    let scenario = scenario.unwrap().read().unwrap();
    assert_eq!((scenario.name.as_str(), scenario.sessions.count), ("dashboard", 7));
    assert_eq!(scenario.duration.as_secs(), 3);
    assert_eq!(scenario.sessions.window.as_millis(), 16);
    assert!((scenario.source.rates()[0].rate - 9.0).abs() < 1e-9);
    assert!(scenario.text.contains("# --for: duration = 3s"));
}

#[test]
fn one_encoding_stands_over_weights_and_weights_over_one() {
    let encodings = |flags: &str| layers(flags).unwrap().read().unwrap().sessions.encodings;
    assert_eq!(encodings("soak --encoding json"), [(tickwire_wire::Encoding::Json, 1.0)]);
    let both = encodings("--encoding json --set sessions.encodings.msgpack=2");
    assert_eq!(both, [(tickwire_wire::Encoding::MsgPack, 2.0)]);
}

#[test]
fn a_running_source_needs_no_file() {
    let scenario =
        layers("--url ws://127.0.0.1:7400/v1/stream --symbols sim:*,binance:BTCUSDT --channels quote,trade");
    let scenario = scenario.unwrap().read().unwrap();
    assert!(scenario.source.is_running());
    assert_eq!(scenario.sessions.symbols, ["sim:*", "binance:BTCUSDT"]);
    assert_eq!(scenario.sessions.channels.len(), 2);
}

#[test]
fn errors_name_the_flag_and_the_remedy() {
    check_refused("nosuch", "there are dashboard, firehose");
    check_refused("--set x", "FIELD=VALUE");
    check_refused("--set sessions.cuont=1", "did you mean `sessions.count`");
    check_refused("--sessions many --for 20", "--sessions: `sessions.count`: has to be a whole number");
    check_refused("--sessions many --for 20", "--for: `duration`: has to be a time");
    check_refused("--rate 0", "--rate: `source.rate`: is 0, and without updates nothing is measured");
    for rate in ["-5", "-1e3", "nan", "-inf"] {
        let expected = "--rate: `source.rate`: has to be a number from 0 to 50000000 (updates/s), not";
        check_refused(&format!("--rate {rate}"), expected);
        check_refused(&format!("--rate={rate}"), expected);
    }
    check_refused("--for -5s --sessions -1", "--for: `duration`: has to be a time");
    check_refused("--rate --sessions 5", "a value is missing: this is the next option");
    check_refused("--set readers[3].share=0.5", "there is no `readers` yet; with `readers[0].kind`");
    check_refused("--set =5", "names no setting: write NAME=VALUE");
    check_refused(
        "--generator-cpus 100000",
        "--generator-cpus: `target.generator_cpus`: there is no processor 100000",
    );
    check_refused("--encoding cbor", "proto, msgpack, json");
    check_refused("--url ws://127.0.0.1:1/", "--symbols");
}
