//! The lines of a capture:
//!
//! | line | what it says |
//! |---|---|
//! | `TIME: JSON` | a message came |
//! | `URL <-> TIME` | a connection was opened |
//! | `URL <- TIME: JSON` | something was sent |
//! | `URL -> TIME: JSON` | something was fetched |
//! | `configuration: JSON` | the subscriptions of the recorder |
//!
//! Times are seconds since the Unix epoch with a fraction.

use std::io::BufRead as _;

use crate::packed::{self, Content};

/// The most bytes of a line.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// The lines of a file.
pub(super) struct Lines {
    content: Content,
    bytes: Vec<u8>,
    line: u64,
}

/// The content of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Message { time: u64, json: String },
    Opened { address: String },
    Sent,
    Response { address: String, time: u64, json: String },
    Configuration,
}

/// The outcome of reading a line.
pub(super) enum Next {
    Line(Line),
    /// A line cannot be used, and the next one can be read.
    Fault(u64, String),
    /// There is nothing any more, and where there was damage, this is it.
    End(Option<(u64, String)>),
}

impl Lines {
    pub(super) fn new(content: Content) -> Self {
        Self { content, bytes: Vec::new(), line: 0 }
    }

    /// Returns the number of the line that was read last, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn next(&mut self) -> Next {
        loop {
            self.bytes.clear();
            self.line += 1;
            let read =
                std::io::Read::take(&mut self.content, LINE_BYTES_MAX).read_until(b'\n', &mut self.bytes);
            match read {
                Ok(0) => return Next::End(None),
                Ok(_) => {}
                Err(error) => return Next::End(Some((self.line, packed::damage(&error)))),
            }
            if self.bytes.trim_ascii().is_empty() {
                continue;
            }
            let Ok(text) = std::str::from_utf8(&self.bytes) else {
                return Next::Fault(self.line, "the line is no text in UTF-8".to_owned());
            };
            return match parse(text.trim_end()) {
                Some(line) => Next::Line(line),
                None => Next::Fault(
                    self.line,
                    "the line is none of a capture: no time and no address is in front".to_owned(),
                ),
            };
        }
    }
}

fn parse(line: &str) -> Option<Line> {
    if line.starts_with("configuration: ") {
        return Some(Line::Configuration);
    }
    let (first, rest) = line.split_once(' ')?;
    if let Some(time) = first.strip_suffix(':') {
        return Some(Line::Message { time: time_of(time)?, json: rest.to_owned() });
    }
    first.contains("://").then_some(())?;
    let address = first.to_owned();
    let (arrow, rest) = rest.split_once(' ')?;
    match arrow {
        "<->" => time_of(rest).map(|_| Line::Opened { address }),
        "<-" => time_of(rest.split_once(": ")?.0).map(|_| Line::Sent),
        "->" => {
            let (time, json) = rest.split_once(": ")?;
            Some(Line::Response { address, time: time_of(time)?, json: json.to_owned() })
        }
        _ => None,
    }
}

/// Reads seconds with a fraction, exactly, as nanoseconds.
pub(super) fn time_of(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !is_number(seconds) || !is_number(fraction) {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(9)];
    let nanoseconds = format!("{fraction:0<9}").parse::<u64>().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// Returns whether a file begins as a capture does.
pub(crate) fn is_capture(begin: &[u8]) -> bool {
    let Some(line) = begin.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()) else {
        return false;
    };
    // The first line may be longer than what is looked at.
    let begin = String::from_utf8_lossy(&line[..line.len().min(4_096)]);
    matches!(
        parse(begin.trim_end()),
        Some(Line::Opened { .. } | Line::Response { .. } | Line::Sent | Line::Message { .. })
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_what_it_is() {
        let time = 1_618_678_132_934_820_200;
        let message = Line::Message { time, json: r#"{"a": 1}"#.to_owned() };
        assert_eq!(parse(r#"1618678132.9348202: {"a": 1}"#), Some(message));
        let address = "wss://x:9443/stream?streams=a@depth/b".to_owned();
        assert_eq!(
            parse(&format!("{address} <-> 1618678132.36")),
            Some(Line::Opened { address: address.clone() })
        );
        assert_eq!(parse(&format!("{address} <- 1618678132.36: {{}}")), Some(Line::Sent));
        let response = Line::Response { address: address.clone(), time, json: "[]".to_owned() };
        assert_eq!(parse(&format!("{address} -> 1618678132.9348202: []")), Some(response));
        assert_eq!(parse("configuration: {}"), Some(Line::Configuration));
        for text in
            ["", "a", "1618678132 {}", "x: {}", "1.2.3: {}", "wss://x <> 1", "wss://x -> x: {}", "-1: {}"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(
            is_capture(b"\n1618678132.5: {\"event\":\"heartbeat\"}\n") && !is_capture(b"1618678132 {}\n")
        );
        assert_eq!(time_of("1618678132"), Some(1_618_678_132_000_000_000));
        assert_eq!(time_of("99999999999999999999.1"), None);
    }
}
