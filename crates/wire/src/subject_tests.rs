use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(symbol: &str, expected: &str) {
    let subject = Subject::data("sim", "quote", symbol).unwrap();
    assert_eq!(subject.as_str(), format!("tw.v1.sim.quote.{expected}"));
    let back = Subject::parse(subject.as_str()).unwrap();
    let wanted =
        ParsedSubject::Data { venue: "sim".into(), channel: "quote".into(), symbol: symbol.to_owned() };
    assert_eq!(back, wanted);
}

#[test]
fn symbols_with_anything_in_them_are_reversible() {
    check("BTCUSDT", "BTCUSDT");
    check("BRK.B", "BRK%2EB");
    check("BTC/USD", "BTC%2FUSD");
    check("ES Z6", "ES%20Z6");
    check("*", "%2A");
    check(">", "%3E");
    check("100%", "100%25");
    check("$SYS", "%24SYS");
    check("%2E", "%252E");
    check("ö", "%C3%B6");
    check("a\r\n\t\0", "a%0D%0A%09%00");
}

#[test]
fn heartbeats_and_requests_are_reversible() {
    let heartbeat = Subject::heartbeat("a.b").unwrap();
    assert_eq!(heartbeat.as_str(), "tw.heartbeat.v1.a%2Eb");
    assert_eq!(Subject::parse(heartbeat.as_str()), Ok(ParsedSubject::Heartbeat { venue: "a.b".into() }));
    let ask = Subject::request("a.b", 7).unwrap();
    assert_eq!(ask.as_str(), "tw.request.v1.a%2Eb.7");
    assert_eq!(Subject::parse(ask.as_str()), Ok(ParsedSubject::Request { venue: "a.b".into(), epoch: 7 }));
}

#[track_caller]
fn refused(text: &str, error: SubjectError) {
    assert_eq!(Subject::parse(text), Err(error), "{text}");
}

#[test]
fn other_layouts_wildcards_and_second_spellings_are_refused() {
    refused("", SubjectError::Layout);
    refused("tw.v2.sim.quote.A", SubjectError::Layout);
    refused("tw.v1.sim.quote", SubjectError::Layout);
    refused("tw.v1.sim.quote.A.B", SubjectError::Layout);
    refused("tw.v1..quote.A", SubjectError::Empty);
    refused("tw.v1.sim.Quote.A", SubjectError::Channel);
    refused("tw.v1.sim.quote.*", SubjectError::Escape);
    refused("tw.v1.sim.quote.>", SubjectError::Escape);
    refused("tw.heartbeat.v1.*", SubjectError::Escape);
    refused("tw.heartbeat.v1.", SubjectError::Empty);
    refused("tw.request.v1.a", SubjectError::Layout);
    refused("tw.request.v1.a.b", SubjectError::Escape);
    refused("tw.request.v1.a.07", SubjectError::Escape);
    refused("tw.request.v1.a.7.8", SubjectError::Escape);
    refused("tw.v1.sim.quote.%2e", SubjectError::Escape);
    refused("tw.v1.sim.quote.%41", SubjectError::Escape);
    refused("tw.v1.sim.quote.%2", SubjectError::Escape);
    refused("tw.v1.sim.quote.%FF", SubjectError::Escape);
}

#[test]
fn names_are_limited() {
    let longest = "x".repeat(NAME_BYTES_MAX);
    assert!(Subject::data("sim", "quote", &longest).is_ok());
    let longer = "x".repeat(NAME_BYTES_MAX + 1);
    assert_eq!(Subject::data("sim", "quote", &longer), Err(SubjectError::TooLong(129)));
    refused(&format!("tw.v1.sim.quote.{longer}"), SubjectError::TooLong(129));
    assert_eq!(Subject::data("sim", "quote", ""), Err(SubjectError::Empty));
    assert_eq!(Subject::data("", "quote", "A"), Err(SubjectError::Empty));
    assert_eq!(Subject::data("sim", "", "A"), Err(SubjectError::Empty));
    assert_eq!(Subject::data("sim", "a.b", "A"), Err(SubjectError::Channel));
}

#[test]
fn wildcards_know_what_they_are() {
    assert!(Subject::heartbeats_all().is_wildcard());
    let all = Subject::data_all_symbols("sim", "quote").unwrap();
    assert!(all.is_wildcard());
    let star = Subject::data("sim", "quote", "*").unwrap();
    assert!(!star.is_wildcard());
    assert_eq!(all.stem(), star.stem());
}

proptest! {
    #[test]
    fn any_name_comes_back(venue in "\\PC{1,40}", symbol in any::<String>()) {
        prop_assume!(!symbol.is_empty() && symbol.len() <= NAME_BYTES_MAX && venue.len() <= NAME_BYTES_MAX);
        let subject = Subject::data(&venue, "trade", &symbol).unwrap();
        prop_assert_eq!(
            Subject::parse(subject.as_str()),
            Ok(ParsedSubject::Data { venue, channel: "trade".into(), symbol })
        );
    }

    #[test]
    fn never_a_character_that_nats_treats_specially(venue in "\\PC{1,40}", symbol in any::<String>()) {
        prop_assume!(!symbol.is_empty() && symbol.len() <= NAME_BYTES_MAX && venue.len() <= NAME_BYTES_MAX);
        let subject = Subject::data(&venue, "trade", &symbol).unwrap();
        prop_assert_eq!(subject.as_str().split('.').count(), 5);
        for byte in subject.as_str().bytes() {
            prop_assert!(is_plain(byte) || byte == b'%' || byte == b'.');
        }
    }

    #[test]
    fn what_parses_is_what_would_be_built(text in "tw\\.(v1|heartbeat\\.v1)\\.[a-z%0-9A-F.*]{1,12}(\\.q\\.[%0-9A-Fa-f]{1,9})?") {
        if let Ok(parsed) = Subject::parse(&text) {
            let again = match parsed {
                ParsedSubject::Data { venue, channel, symbol } => Subject::data(&venue, &channel, &symbol),
                ParsedSubject::Heartbeat { venue } => Subject::heartbeat(&venue),
                ParsedSubject::Request { venue, epoch } => Subject::request(&venue, epoch),
            };
            let again = again.unwrap();
            prop_assert_eq!(again.as_str(), text);
        }
    }
}
