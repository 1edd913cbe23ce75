//! The kind of a message of a connection, before anybody reads what is in it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The most characters of a venue's text that are shown.
const SHOWN_CHARS: usize = 200;

/// A message by its kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Control<'t> {
    /// Data of this stream.
    Data(Cow<'t, str>),
    Granted(u64),
    Refused(u64, String),
    Shutdown,
    Other,
}

#[derive(Deserialize)]
struct Head<'t> {
    #[serde(borrow)]
    stream: Option<Cow<'t, str>>,
    #[serde(borrow)]
    e: Option<Cow<'t, str>>,
    id: Option<Value>,
    error: Option<Problem>,
    code: Option<i64>,
    msg: Option<String>,
    #[serde(borrow)]
    result: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    msg: String,
}

impl<'t> Control<'t> {
    /// Reads a message.
    pub(super) fn read(text: &'t str) -> Result<Self, String> {
        // Nearly all messages begin so, and the stream's name is all that is needed of them here.
        let stream = text.strip_prefix(r#"{"stream":""#).and_then(|rest| rest.split_once('"'));
        if let Some((stream, _)) = stream.filter(|(stream, _)| !stream.contains('\\')) {
            return Ok(Self::of_stream(Cow::Borrowed(stream)));
        }
        let head: Head = serde_json::from_str(text).map_err(|error| format!("no message: {error}"))?;
        if let Some(stream) = head.stream {
            return Ok(Self::of_stream(stream));
        }
        if head.e.as_deref() == Some("serverShutdown") {
            return Ok(Self::Shutdown);
        }
        let id = head.id.as_ref().and_then(Value::as_u64);
        let problem = head.error.or_else(|| {
            let code = head.code?;
            Some(Problem { code, msg: head.msg.unwrap_or_default() })
        });
        match (id, problem) {
            (Some(id), Some(Problem { code, msg })) => Ok(Self::Refused(id, format!("{msg} (code {code})"))),
            (None, Some(Problem { code, msg })) => Err(format!("the venue says: {msg} (code {code})")),
            (Some(id), None) => Ok(Self::Granted(id)),
            (None, None) if head.result.is_some() || head.e.is_some() => Ok(Self::Other),
            (None, None) => Err(format!("no message that is known here: {}", clip(text))),
        }
    }

    fn of_stream(stream: Cow<'t, str>) -> Self {
        if stream == "!serverShutdown" { Self::Shutdown } else { Self::Data(stream) }
    }
}

/// Returns what is wrong, of a response that is no success.
pub(super) fn refusal(body: &str) -> String {
    match serde_json::from_str::<Problem>(body) {
        Ok(Problem { code, msg }) if !msg.is_empty() => format!("{msg} (code {code})"),
        _ => clip(body),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Control<'_>, &str>) {
        match (Control::read(text), expected) {
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (read, expected) => assert_eq!(read, expected.map_err(str::to_owned)),
        }
    }

    #[test]
    fn messages_by_their_kind() {
        let data = || Ok(Control::Data("btcusdt@trade".into()));
        check(r#"{"stream":"btcusdt@trade","data":{"e":"trade"}}"#, data());
        check(r#"{"data":{"e":"trade"}, "stream": "btcusdt@trade"}"#, data());
        check(r#"{"result":null,"id":7}"#, Ok(Control::Granted(7)));
        let refused = |id, text: &str| Ok(Control::Refused(id, text.to_owned()));
        check(
            r#"{"error":{"code":2,"msg":"Invalid request: bad name"},"id":8}"#,
            refused(8, "Invalid request: bad name (code 2)"),
        );
        check(r#"{"code":3,"msg":"Invalid JSON","id":9}"#, refused(9, "Invalid JSON (code 3)"));
        check(r#"{"error":{"code":3,"msg":"Too many"}}"#, Err("the venue says: Too many (code 3)"));
        check(r#"{"e":"serverShutdown","E":1700000000000}"#, Ok(Control::Shutdown));
        check(r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown"}}"#, Ok(Control::Shutdown));
        check(r#"{"e":"somethingNew"}"#, Ok(Control::Other));
        check("{}", Err("no message that is known here: {}"));
        check("ping", Err("no message: "));
        assert_eq!(refusal(r#"{"code":-1121,"msg":"Invalid symbol."}"#), "Invalid symbol. (code -1121)");
        assert_eq!(refusal("<html>"), "<html>");
    }
}
