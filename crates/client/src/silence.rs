//! Tells a mute connection from a quiet market: a reader that fails when no byte comes for too long.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The error inside the `io::Error`: a kernel that gives a connection up says `TimedOut` too.
#[derive(Debug)]
pub(crate) struct Silence;

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no byte came for too long")
    }
}

impl std::error::Error for Silence {}

/// Returns whether a read failed because of [`Silence`].
pub(crate) fn is_silence(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<Silence>())
}

/// The longest silence that is allowed; it changes once, when `Hello` has come.
#[derive(Clone)]
pub(crate) struct SilenceLimit(Arc<AtomicU64>);

impl SilenceLimit {
    pub(crate) fn new(limit: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(limit.as_nanos() as u64)))
    }

    pub(crate) fn set(&self, limit: Duration) {
        self.0.store(limit.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// Counts silence only while somebody waits for bytes: while a slow program holds the reader back, the silence is not
/// the gateway's.
pub(crate) struct SilenceWatch<R> {
    inner: R,
    limit: SilenceLimit,
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl<R> SilenceWatch<R> {
    pub(crate) fn new(inner: R, limit: SilenceLimit) -> Self {
        let timer = Box::pin(tokio::time::sleep(limit.get()));
        Self { inner, limit, timer, is_waiting: false }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for SilenceWatch<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(result) = Pin::new(&mut this.inner).poll_read(cx, buf) {
            this.is_waiting = false;
            return Poll::Ready(result);
        }
        if !this.is_waiting {
            this.is_waiting = true;
            this.timer.as_mut().reset(Instant::now() + this.limit.get());
        }
        this.timer.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, Silence)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn only_silence_ends_the_reading() {
        let (mut gateway, client) = tokio::io::duplex(64);
        let mut watch = SilenceWatch::new(client, SilenceLimit::new(LIMIT));
        for _ in 0..10 {
            let write = async {
                tokio::time::sleep(LIMIT.mul_f64(0.9)).await;
                gateway.write_all(b"x").await.unwrap();
            };
            assert_eq!(tokio::join!(watch.read_u8(), write).0.unwrap(), b'x');
        }
        let start = Instant::now();
        assert!(is_silence(&watch.read_u8().await.unwrap_err()));
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_reads_does_not_count() {
        let (mut gateway, client) = tokio::io::duplex(64);
        let mut watch = SilenceWatch::new(client, SilenceLimit::new(LIMIT));
        tokio::time::sleep(LIMIT * 10).await;
        let write = async {
            tokio::time::sleep(LIMIT / 2).await;
            gateway.write_all(b"x").await.unwrap();
        };
        let (read, ()) = tokio::join!(watch.read_u8(), write);
        assert_eq!(read.unwrap(), b'x');
    }
}
