//! Standard error as the place of log lines. Its disk may be full, and its terminal may be gone: that stops nobody, and what could
//! not be written is counted, by whether it belongs to the audit log.

use std::io::{self, Write};

use tickwire_gateway::{AUDIT_TARGET, LOST_LINES};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Makes a writer for each line.
#[derive(Clone, Copy, Debug)]
pub(super) struct StandardError;

/// The writer of one line, which comes as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    is_audit: bool,
}

impl MakeWriter<'_> for StandardError {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { is_audit: false }
    }

    fn make_writer_for(&self, of: &Metadata<'_>) -> Line {
        Line { is_audit: of.target() == AUDIT_TARGET }
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = io::stderr().write_all(line);
        if written.is_err() {
            LOST_LINES.count(self.is_audit);
        }
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
