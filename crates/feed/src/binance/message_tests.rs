use super::*;

#[track_caller]
fn check(text: &str, expected: &str, expected_hint: Hint) {
    let mut found = Vec::new();
    read(text, &mut |message, hint| {
        let name = match &message {
            Message::Trade(_) => "trade",
            Message::Aggregate(_) => "aggregate",
            Message::Ticker(_) => "ticker",
            Message::Mark(_) => "mark",
            Message::Depth(_) => "depth",
            Message::Snapshot(_) => "snapshot",
            Message::Info(_) => "info",
            Message::Other(kind) => kind,
            Message::Response => "response",
        };
        found.push(format!("{name} {}", message.symbol()).trim_end().to_owned());
        assert_eq!(hint, expected_hint, "{text}");
        Ok(())
    })
    .unwrap();
    assert_eq!(found.join(", "), expected, "{text}");
}

const DEPTH: &str = r#""s":"AB","U":1,"u":2,"b":[],"a":[]"#;
const TICKER: &str = r#"{"u":1,"s":"AB","b":"1","B":"1","a":"2","A":"1"}"#;

#[test]
fn a_message_is_known_by_what_it_says() {
    use Hint::{None, Sure, Usual};
    let trade = r#"{"q":"1","p":"1","t":1,"s":"AB"}"#;
    check(trade, "trade AB", None);
    check(&format!(r#"{{"data":{trade},"stream":"x@y"}}"#), "trade AB", None);
    check(
        r#"{"e":"aggTrade","q":"1","p":"1","a":1,"f":1,"s":"AB","M":true}"#,
        "aggregate AB",
        Usual(Market::Spot),
    );
    check(&format!("[{TICKER},{TICKER}]"), "ticker AB, ticker AB", Usual(Market::Spot));
    check(&format!(r#"{{"stream":"!bookTicker@arr","data":[{TICKER}]}}"#), "ticker AB", Usual(Market::Spot));
    let mark = r#"{"e":"markPriceUpdate","E":1,"s":"AB","p":"1.5","i":"1","P":"1","r":"","T":0}"#;
    check(mark, "mark AB", Usual(Market::Usdm));
    let all = format!(r#"{{"stream":"!markPrice@arr@1s","data":[{mark},{}]}}"#, mark.replace("AB", "XY"));
    check(&all, "mark AB, mark XY", Usual(Market::Usdm));
    check(&format!("{{{DEPTH}}}"), "depth AB", Sure(Market::Spot));
    check(&format!(r#"{{"e" : "depthUpdate", "pu" : 1, {DEPTH}}}"#), "depth AB", Sure(Market::Usdm));
    check(&format!(r#"{{{DEPTH},"ps":"A","pu":0}}"#), "depth AB", Sure(Market::Cm));
    let coin = DEPTH.replace("AB", "ABUSD_PERP");
    check(&format!(r#"{{{coin},"pu":0}}"#), "depth ABUSD_PERP", Sure(Market::Cm));
    let partial = format!(r#"{{"stream":"ab@depth20@100ms","data":{{"e":"depthUpdate","pu":1,{DEPTH}}}}}"#);
    check(&partial, "depth20", Sure(Market::Usdm));
    let snapshot = r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#;
    check(snapshot, "snapshot", Usual(Market::Spot));
    check(&snapshot.replace('{', r#"{"E":1,"T":1,"#), "snapshot", Usual(Market::Usdm));
    check(
        &snapshot.replace('{', r#"{"E":1,"T":1,"pair":"x","symbol":"ABUSD_PERP","#),
        "snapshot ABUSD_PERP",
        Usual(Market::Cm),
    );
    check(
        &format!(r#"{{"stream":"ab@depthSnapshot","data":{snapshot}}}"#),
        "snapshot AB",
        Usual(Market::Spot),
    );
    check(&format!(r#"{{"id":7,"status":200,"result":{snapshot}}}"#), "snapshot", Usual(Market::Spot));
    check(r#"{"symbols":[],"futuresType":"U_MARGINED"}"#, "info", Usual(Market::Usdm));
    check(r#"{"stream":"ab@kline_1m","data":{"e":"kline"}}"#, "kline", None);
    check(r#"{"stream":"ab@kline_1m","data":{}}"#, "kline_1m", None);
    check(r#"{"result":null,"id":1}"#, "response", None);
    check("[]", "", None);
}

#[test]
fn an_envelope_reads_alike_however_it_is_written() {
    let plain = [
        format!(r#"{{"stream":"ab@bookTicker","data":{TICKER}}}"#),
        format!("{{\"stream\":\"ab@bookTicker\",\"data\":{TICKER} }}\r\n"),
    ];
    let other = [
        format!(r#"{{"stream":"ab@bookTicker","data": {TICKER}}}"#),
        format!(r#"{{"stream":"ab@bookTicker","data":{TICKER},"more":{{}}}}"#),
        format!(r#"{{"stream":"ab@book\u0054icker","data":{TICKER}}}"#),
        format!(r#"{{"data":{TICKER},"stream":"ab@bookTicker"}}"#),
    ];
    for (texts, is_plain) in [(plain.as_slice(), true), (&other, false)] {
        for text in texts {
            check(text, "ticker AB", Hint::Usual(Market::Spot));
            let fields = split_plain(text).map(|(_, data)| serde_json::from_str::<Fields>(data).is_ok());
            assert_eq!(fields == Some(true), is_plain, "{text}");
        }
    }
    for broken in [
        format!(r#"{{"stream":"ab@bookTicker","data":{TICKER}"#),
        format!(r#"{{"stream":"ab@bookTicker","data":{TICKER}}}}}"#),
        format!("{{\"stream\":\"ab\n@bookTicker\",\"data\":{TICKER}}}"),
    ] {
        assert!(read(&broken, &mut |_, _| panic!("{broken}")).is_err(), "{broken}");
    }
}

#[test]
fn levels_read_alike_as_strings_and_as_numbers() {
    let read = |text| {
        let levels = levels(serde_json::from_str(text).unwrap()).unwrap();
        levels.into_iter().map(|(price, size)| (price.exact, size.exact)).collect::<Vec<_>>()
    };
    let strings = read(r#"[["1.50","20"],["3","0.0",[]]]"#);
    assert_eq!(strings.len(), 2);
    for other in ["[[1.50,20],[3,0.0]]", r#"[["1.5e0","2e1"],["3",0]]"#, r#" [ ["1.5", 20], [3, "0"] ] "#] {
        assert_eq!(read(other), strings, "{other}");
    }
    for broken in [r#"[["1.5"]]"#, r#"[["1.5",""]]"#, r#"[["x","1"]]"#, r#"[["1\u002e5","1"]]"#] {
        assert!(levels(serde_json::from_str(broken).unwrap()).is_err(), "{broken}");
    }
}

#[test]
fn one_bad_element_costs_only_itself() {
    let mut count = 0;
    let array = format!(r#"[{TICKER},[1,2],{{"e":"trade"}},{TICKER}]"#);
    let error = read(&array, &mut |_, _| {
        count += 1;
        Ok(())
    });
    assert_eq!(count, 2);
    assert!(error.unwrap_err().to_string().starts_with("element 2 of the array: this is neither"));
}
