//! The words for users and the next program, on standard output and standard error; logs go through `tracing`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write};

/// Writes a line for the user or the next program. A reader that went away ends the process quietly, as it would any
/// member of a pipe; what cannot be written for another reason, such as a full disk, ends it with an error.
pub(crate) fn say(line: impl Display) {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            complain(format_args!("error: cannot write to standard output: {error}"));
            std::process::exit(1);
        }
    }
}

/// Writes a line about a service that goes on, whether anybody can read it or not: nobody waits for a pipe that is not read.
pub(crate) fn announce(line: impl Display) {
    crate::logs::write_out(&format!("{line}\n"));
}

/// Writes a line about what went wrong, where anybody can still read it: a log that nobody reads does not keep the process from ending.
pub(crate) fn complain(line: impl Display) {
    let line = format!("{line}\n");
    if !crate::logs::write_last(&line) {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// Returns a text from outside so that it cannot command the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Standard output for many lines at a time: what is written leaves with the next flush, or when 64 KiB are full.
pub(crate) struct Output(BufWriter<Stdout>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
