//! A connection in memory: for programs that run a gateway inside, and for tests that decide what each end sees.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf};

use super::came::Came;

/// One end of a pipe of the runtime.
#[derive(Debug)]
pub(crate) struct Pipe {
    stream: DuplexStream,
    /// The waker that the pipe wakes, as it would wake a task, when a read or a write that was in vain is worth another try.
    waker: Waker,
}

impl Pipe {
    pub(super) fn new(stream: DuplexStream) -> Self {
        Self { stream, waker: Waker::noop().clone() }
    }

    pub(super) fn waker(&mut self) -> &mut Waker {
        &mut self.waker
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Came> {
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(&self.waker), &mut into) {
            Poll::Pending => Ok(Came::Nothing),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) if into.filled().is_empty() => Ok(Came::End),
            // The waker hears of further bytes only after a read that found nothing.
            Poll::Ready(Ok(())) => Ok(Came::Bytes { count: into.filled().len(), is_all: false }),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        // The waker hears of room only after a write of which nothing was taken.
        while taken < bytes.len() {
            let mut context = Context::from_waker(&self.waker);
            match Pin::new(&mut self.stream).poll_write(&mut context, &bytes[taken..]) {
                Poll::Pending => break,
                Poll::Ready(more) => taken += more?,
            }
        }
        Ok(taken)
    }

    pub(super) fn shut_write(&mut self) {
        let _ = Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(&self.waker));
    }
}
