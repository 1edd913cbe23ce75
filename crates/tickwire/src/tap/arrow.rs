//! A stream as Arrow IPC: by the program that exports, because what writes Arrow is large and no gateway needs it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tickwire_client::Event;
use tickwire_wire::Channel;

use super::recorder::Recorder;
use crate::export;

/// The program that writes Arrow, fed with the stream as it is recorded.
pub(super) struct ArrowOut {
    recorder: Option<Recorder>,
    program: Child,
    sent_time: Option<u64>,
}

impl ArrowOut {
    /// Starts the program; `-` is the standard output, and a file must not exist.
    pub(super) fn start(channel: Channel, file: &Path) -> io::Result<Self> {
        let out = if file.as_os_str() == "-" {
            Stdio::inherit()
        } else {
            std::fs::File::create_new(file)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?
                .into()
        };
        let path: PathBuf = export::program();
        let mut command = Command::new(&path);
        command.args(["--arrow", channel.name()]).stdin(Stdio::piped()).stdout(out);
        let mut program =
            command.spawn().map_err(|error| io::Error::new(error.kind(), export::missing(&path, &error)))?;
        let input = program.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let recorder = Some(Recorder::to(Path::new("the stream to tickwire-export"), Box::new(input)));
        Ok(Self { recorder, program, sent_time: None })
    }

    pub(super) fn event(&mut self, event: &Event, sent_time: Option<u64>) {
        self.sent_time = sent_time;
        if let Some(recorder) = &mut self.recorder {
            recorder.event(event, sent_time);
        }
    }

    /// Hands over what came together.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let sent_time = self.sent_time.take();
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.hand_over(sent_time))
    }
}

impl Drop for ArrowOut {
    fn drop(&mut self) {
        // The end of its input ends it, when everything is written.
        self.recorder = None;
        let _ = self.program.wait();
    }
}
