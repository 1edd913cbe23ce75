//! `docs/protocol.md` says what the code does.

use std::fmt::Write;

use tickwire_wire::{Batch, CloseCode, Encoding, decode_command, may_retry};

use crate::vectors::root;

const BEGIN: &str = "<!-- close codes: made from CloseCode::ALL -->\n";
const END: &str = "<!-- end of close codes -->\n";

fn page() -> String {
    std::fs::read_to_string(root().join("docs/protocol.md")).unwrap()
}

#[test]
fn the_close_codes_are_not_stale() {
    let mut table =
        "| code | name | text in the close frame | may retry | wait at least |\n|---|---|---|---|---|\n"
            .to_owned();
    for code in CloseCode::ALL {
        let may = if code.may_retry() { "yes" } else { "no" };
        let wait = code.retry_after().map_or("–".to_owned(), |wait| format!("{} s", wait.as_secs()));
        writeln!(table, "| {} | `{}` | {} | {may} | {wait} |", code.code(), code.name(), code.text())
            .unwrap();
    }
    let page = page();
    let (_, rest) = page.split_once(BEGIN).unwrap();
    let (there, _) = rest.split_once(END).unwrap();
    assert!(there == table, "docs/protocol.md should hold\n{table}");
}

#[test]
fn close_texts_fit_into_a_close_frame() {
    for code in CloseCode::ALL {
        assert!(code.text().len() <= 123, "{}", code.name());
        assert_eq!(CloseCode::from_code(code.code()), Some(code));
        let number = code.code();
        assert_eq!(code.may_retry(), number == 1001 || (4000..4500).contains(&number));
        assert_eq!(code.may_retry(), code.retry_after().is_some());
    }
}

#[test]
fn codes_of_websocket_that_may_be_retried_and_others() {
    let told: Vec<_> = (1000..1016).filter(|code| may_retry(*code)).collect();
    assert_eq!(told, [1000, 1001, 1004, 1005, 1006, 1011, 1012, 1013, 1014, 1015]);
    let page = page();
    let line =
        page.lines().find(|line| line.starts_with("Other codes of WebSocket")).expect("the page says it");
    for code in 1000..1015 {
        let is_known = CloseCode::from_code(code).is_some() || code == 1004;
        let (may, not) = line.split_once("; not those").expect("both kinds");
        assert_eq!(may.contains(&code.to_string()), may_retry(code) && !is_known, "{code}");
        assert_eq!(not.contains(&code.to_string()), !may_retry(code) && !is_known, "{code}");
    }
    assert!(may_retry(3000) && may_retry(4499) && !may_retry(4500) && !may_retry(4999));
}

/// Reads every line of JSON on the page, in code blocks and in the table of commands.
#[test]
fn the_examples_are_valid() {
    let page = page();
    let (mut messages, mut commands) = (0, 0);
    let cells = page.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('`'));
    for text in page.lines().chain(cells).filter(|text| text.starts_with('{')) {
        if text.starts_with("{\"op\"") {
            decode_command(Encoding::Json, text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
            commands += 1;
        } else {
            let read: Vec<_> = Batch::new(Encoding::Json, text.as_bytes()).collect();
            assert!(matches!(&read[..], [Ok(_)]), "{text}: {read:?}");
            messages += 1;
        }
    }
    assert!(messages >= 10 && commands >= 6, "{messages} messages, {commands} commands");
}
