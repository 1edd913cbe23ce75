//! Grants as people write them on a command line or in a setting: `binance:BTC* quote,trade delay=15m`.

use crate::rights::{Grant, Name};

/// Reads a grant. It is `VENUE:SYMBOL`, `VENUE:BEGINNING*`, `VENUE:*` or `*`, and may go on with a list of channels,
/// `delay=15m` (`ms`, `s`, `m`, `h`) and `depth=10`; or it is the object that a claim has, in JSON, which is how names with
/// blanks or a star at their end are written.
///
/// # Errors
/// Says what is wrong.
pub fn parse_grant(text: &str) -> Result<Grant, String> {
    let text = text.trim();
    let grant = if text.starts_with('{') {
        serde_json::from_str(text).map_err(|error| format!("the grant is no JSON of a grant: {error}"))?
    } else {
        parse_words(text)?
    };
    grant.check()?;
    Ok(grant)
}

fn parse_words(text: &str) -> Result<Grant, String> {
    let mut words = text.split_whitespace();
    let target = words
        .next()
        .ok_or("a grant is empty; write it as `binance:BTC* quote,trade`, or `*` for everything")?;
    let mut grant = Grant::default();
    if target != "*" {
        let (venue, symbol) = target
            .split_once(':')
            .ok_or_else(|| format!("`{target}` has no colon; write VENUE:SYMBOL, VENUE:* or *"))?;
        grant.venues = pattern(venue).map(|name| vec![name]);
        grant.symbols = pattern(symbol).map(|name| vec![name]);
    }
    for word in words {
        match word.split_once('=') {
            Some(("delay", delay)) => grant.delay_ms = milliseconds(delay)?,
            Some(("depth", depth)) => {
                grant.depth =
                    Some(depth.parse().map_err(|_| format!("depth `{depth}` is no number of levels"))?);
            }
            Some((name, _)) => {
                return Err(format!("`{name}=` means nothing here; there are delay= and depth="));
            }
            None => grant
                .channels
                .get_or_insert_default()
                .extend(word.split(',').filter(|name| !name.is_empty()).map(str::to_owned)),
        }
    }
    Ok(grant)
}

fn pattern(text: &str) -> Option<Name> {
    match text.strip_suffix('*') {
        Some("") => None,
        Some(begins) => Some(Name::Begins { begins: begins.to_owned() }),
        None => Some(Name::Is(text.to_owned())),
    }
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no delay; write it as 500ms, 30s, 15m or 1h");
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = match parse_grant(text) {
            Ok(grant) => serde_json::to_string(&grant).unwrap(),
            Err(told) => told,
        };
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn grants_of_people() {
        check("*", "{}");
        check("binance:*", r#"{"venues":["binance"]}"#);
        check("*:BTC", r#"{"symbols":["BTC"]}"#);
        check(
            "binance:BTC* quote,trade delay=15m depth=10",
            r#"{"venues":["binance"],"symbols":[{"begins":"BTC"}],"channels":["quote","trade"],"delay_ms":900000,"depth":10}"#,
        );
        check(r#"{"symbols": ["BTC USD*"]}"#, r#"{"symbols":["BTC USD*"]}"#);
        check("binance", "`binance` has no colon; write VENUE:SYMBOL, VENUE:* or *");
        check(
            "* quotes",
            "there is no channel `quotes`; channels: quote, trade, book, bar, stat, status, instrument, derivative",
        );
        check("* delay=15", "`15` is no delay; write it as 500ms, 30s, 15m or 1h");
        check("* rate=5", "`rate=` means nothing here; there are delay= and depth=");
        check("", "a grant is empty; write it as `binance:BTC* quote,trade`, or `*` for everything");
    }
}
