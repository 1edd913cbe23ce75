//! The end of a connection that got a response and no session.
//!
//! A kernel that closes a socket which still holds unread bytes sends a reset, and a reset makes the other side forget what it has
//! not read yet. So a client that is still writing its head when it is refused would see a broken connection in place of the
//! refusal. Therefore the writing side is closed first, and what the client still sends is read and dropped until it closes its
//! side too; within bounds, because it may go on for ever.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that are dropped of one connection.
const DROPPED_BYTES_MAX: usize = 1 << 20;
/// The bytes that are read at once.
const PIECE: usize = 4 << 10;

/// A stream that is shut down as the module says.
#[derive(Debug)]
pub(crate) struct Lingering<C> {
    stream: C,
    farewell: Arc<Farewell>,
    is_shut: bool,
    dropped: usize,
}

/// The state of the end of a stream, for whoever watches its time.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    has_begun: AtomicBool,
    is_over: AtomicBool,
}

impl Farewell {
    /// Returns whether the response was written, and only the client's end is waited for.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    /// Says that nothing more is waited for: the stream ends when it is polled next.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl<C> Lingering<C> {
    pub(crate) fn new(stream: C, farewell: Arc<Farewell>) -> Self {
        Self { stream, farewell, is_shut: false, dropped: 0 }
    }

    pub(crate) fn into_inner(self) -> C {
        self.stream
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Lingering<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, into)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.is_shut = true;
            this.farewell.has_begun.store(true, Ordering::Relaxed);
        }
        let mut room = [MaybeUninit::uninit(); PIECE];
        while this.dropped < DROPPED_BYTES_MAX && !this.farewell.is_over.load(Ordering::Relaxed) {
            let mut piece = ReadBuf::uninit(&mut room);
            // How the client ends the connection does not matter any more.
            if ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece)).is_err()
                || piece.filled().is_empty()
            {
                break;
            }
            this.dropped += piece.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn pair() -> (Lingering<tokio::io::DuplexStream>, tokio::io::DuplexStream, Arc<Farewell>) {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let farewell = Arc::<Farewell>::default();
        (Lingering::new(ours, Arc::clone(&farewell)), theirs, farewell)
    }

    #[tokio::test]
    async fn it_ends_when_the_client_does() {
        let (mut ours, mut theirs, farewell) = pair();
        ours.write_all(b"no").await.unwrap();
        let ending = tokio::spawn(async move { ours.shutdown().await });
        // More than the pipe holds: it has to be read by somebody.
        theirs.write_all(&[b'x'; 10 << 10]).await.unwrap();
        let mut told = Vec::new();
        theirs.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, b"no");
        assert!(farewell.has_begun() && !ending.is_finished());
        drop(theirs);
        ending.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn it_waits_for_nobody_for_ever() {
        // For no more than so many bytes.
        let (mut ours, mut theirs, _) = pair();
        let ending = tokio::spawn(async move { ours.shutdown().await });
        let sent = tokio::spawn(async move {
            let mut count = 0;
            while theirs.write_all(&[0; 1 << 10]).await.is_ok() {
                count += 1 << 10;
            }
            count
        });
        ending.await.unwrap().unwrap();
        assert!(sent.await.unwrap() <= DROPPED_BYTES_MAX + (2 << 10));
        // Nor for longer than whoever watches the time allows.
        let (mut ours, _theirs, farewell) = pair();
        let mut ending = std::pin::pin!(ours.shutdown());
        assert!(futures_util::poll!(&mut ending).is_pending());
        farewell.end();
        ending.await.unwrap();
    }
}
