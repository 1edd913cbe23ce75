//! Lines on their way to standard error or standard output. Its disk may be full, its terminal may be gone, and whoever reads the
//! pipe behind it may stand still: none of that stops anybody. Lines wait for a thread of their own, which writes them one by one.
//! What cannot be written, and what has no room to wait, is counted, by whether it belongs to the audit log.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tickwire_gateway::{AUDIT_TARGET, LOST_LINES, LostLines};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// The lines that wait to be written. Clones share them.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    /// The most bytes that wait.
    bytes_max: usize,
    lost: &'static LostLines,
    waiting: Mutex<Waiting>,
    /// A line came.
    came: Condvar,
    /// Nothing waits any more.
    left: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<(bool, Box<[u8]>)>,
    /// The bytes of these, and of the one that is being written.
    bytes: usize,
}

/// The writer of one line, which comes as a whole.
pub(super) struct Line<'a> {
    lines: &'a Lines,
    is_audit: bool,
}

impl Lines {
    /// Starts the thread that writes them there. Where the system gives no thread, none is written.
    pub(super) fn start(bytes_max: usize, to: impl Write + Send + 'static) -> Self {
        Self::write_to(bytes_max, &LOST_LINES, to)
    }

    pub(super) fn write_to(
        bytes_max: usize,
        lost: &'static LostLines,
        mut to: impl Write + Send + 'static,
    ) -> Self {
        let (waiting, came, left) = Default::default();
        let lines = Self(Arc::new(Shared { bytes_max, lost, waiting, came, left }));
        let shared = Arc::clone(&lines.0);
        // It lives as long as the process: a write that blocks ends with it.
        let _ = thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_all(&mut to));
        lines
    }

    /// Has a line written, where there is room for it to wait.
    pub(super) fn push(&self, is_audit: bool, line: &[u8]) {
        let Shared { bytes_max, lost, came, .. } = &*self.0;
        let mut waiting = self.0.waiting();
        if waiting.bytes + line.len() > *bytes_max {
            return lost.count(is_audit);
        }
        waiting.bytes += line.len();
        waiting.lines.push_back((is_audit, line.into()));
        came.notify_one();
    }

    /// Waits until all lines are written, for some time at most.
    pub(super) fn flush(&self, patience: Duration) {
        let waiting = self.0.waiting();
        let waited = self.0.left.wait_timeout_while(waiting, patience, |waiting| waiting.bytes > 0);
        drop(waited);
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, to: &mut impl Write) {
        loop {
            let waiting = self.came.wait_while(self.waiting(), |waiting| waiting.lines.is_empty());
            let next = waiting.unwrap_or_else(PoisonError::into_inner).lines.pop_front();
            let Some((is_audit, line)) = next else { continue };
            if to.write_all(&line).is_err() {
                self.lost.count(is_audit);
            }
            let mut waiting = self.waiting();
            waiting.bytes -= line.len();
            if waiting.bytes == 0 {
                self.left.notify_all();
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, is_audit: false }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line<'a> {
        Line { lines: self, is_audit: of.target() == AUDIT_TARGET }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.push(self.is_audit, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc;

    use super::*;

    /// The reader of a pipe: it takes a line only when it is told to.
    pub(in crate::logs) struct Reader {
        pub(in crate::logs) takes: mpsc::Receiver<()>,
        pub(in crate::logs) taken: mpsc::SyncSender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            if self.takes.recv().is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let _ = self.taken.send(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(in crate::logs) fn new_counts() -> &'static LostLines {
        Box::leak(Box::default())
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_nothing_else() {
        let ((take, takes), (taken, told)) = (mpsc::sync_channel(16), mpsc::sync_channel(16));
        let lost = new_counts();
        let lines = Lines::write_to(25, lost, Reader { takes, taken });
        // Five lines of five bytes have room, the one that is being written among them.
        (0..8).for_each(|number| lines.push(number == 6, format!("line{number}").as_bytes()));
        assert_eq!(lost.counts(), (1, 2));
        (0..5).for_each(|_| take.send(()).unwrap());
        assert_eq!(told.iter().take(5).collect::<String>(), "line0line1line2line3line4");
        lines.flush(Duration::MAX);
        // There is room again, and what comes now is read.
        lines.push(true, b"again");
        take.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), "again");
        lines.flush(Duration::MAX);
        // The reader goes: that is told, as a full disk is.
        drop(take);
        lines.push(true, b"audit");
        lines.push(false, b"other");
        lines.flush(Duration::MAX);
        assert_eq!(lost.counts(), (2, 3));
    }

    #[test]
    fn the_end_waits_for_nobody_who_stands_still() {
        let ((_take, takes), (taken, _told)) = (mpsc::sync_channel(16), mpsc::sync_channel(16));
        let lines = Lines::write_to(100, new_counts(), Reader { takes, taken });
        lines.push(false, b"line");
        lines.flush(Duration::from_millis(1));
    }
}
