//! The words of a panic go the way of log lines: whoever reads the log may stand still, and a thread that panics must not wait for
//! that, least of all one that holds up others. Only the main thread waits a little, because the process ends with it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::thread;
use std::time::SystemTime;

use serde_json::json;

use super::FAREWELL;
use super::lines::Lines;
use crate::config::LogFormat;

/// The target that its line has.
const TARGET: &str = "tickwire::panic";

/// Has panics of this process told by a line of the log, from now on. It does not go through `tracing`, in whose midst a panic may be.
pub(super) fn tell(lines: Lines, format: LogFormat) {
    panic::set_hook(Box::new(move |info| {
        let (thread, backtrace) = (thread::current(), Backtrace::capture());
        let name = thread.name().unwrap_or("unnamed");
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        lines.push(false, line(info, name, backtrace.as_deref(), format).as_bytes());
        if name == "main" {
            lines.flush(FAREWELL);
        }
    }));
}

fn line(info: &PanicHookInfo<'_>, thread: &str, backtrace: Option<&str>, format: LogFormat) -> String {
    let time = humantime::format_rfc3339_micros(SystemTime::now());
    let words = info.payload_as_str().unwrap_or("something that is no text");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    if format == LogFormat::Json {
        let fields = json!({
            "message": "a thread panicked", "thread": thread, "place": place, "panic": words, "backtrace": backtrace
        });
        let line =
            json!({"timestamp": time.to_string(), "level": "ERROR", "fields": fields, "target": TARGET});
        return format!("{line}\n");
    }
    let backtrace = backtrace.map(|backtrace| format!("\n{}", backtrace.trim_end())).unwrap_or_default();
    format!("{time} ERROR {TARGET}: thread `{thread}` panicked at {place}: {words}{backtrace}\n")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::lines::tests::{Reader, new_counts};
    use super::*;

    fn panics() {
        let panicking = thread::Builder::new().name("shard-9".to_owned()).spawn(|| panic!("number {}", 5));
        panicking.unwrap().join().unwrap_err();
    }

    #[test]
    fn a_panic_is_told_by_a_line_and_waits_for_nobody() {
        let ((take, takes), (taken, told)) = (mpsc::sync_channel(16), mpsc::sync_channel(16));
        let lines = Lines::write_to(1 << 16, new_counts(), Reader { takes, taken });
        let before = panic::take_hook();
        for format in [LogFormat::Text, LogFormat::Json] {
            tell(lines.clone(), format);
            panics();
        }
        panic::set_hook(before);
        // Nobody has read anything until now.
        let next = || {
            loop {
                take.send(()).unwrap();
                let line = told.recv().unwrap();
                // Another test may panic meanwhile.
                if line.contains("shard-9") {
                    return line;
                }
            }
        };
        let text = next();
        let words =
            " ERROR tickwire::panic: thread `shard-9` panicked at crates/tickwire/src/logs/panics.rs:";
        assert!(text.contains(words) && text.contains(": number 5") && text.ends_with('\n'), "{text}");
        let line: serde_json::Value = serde_json::from_str(&next()).unwrap();
        let fields = &line["fields"];
        assert_eq!(
            (&line["level"], &fields["thread"], &fields["panic"]),
            (&"ERROR".into(), &"shard-9".into(), &"number 5".into())
        );
        assert!(fields["place"].as_str().unwrap().contains("panics.rs:"), "{line}");
    }
}
