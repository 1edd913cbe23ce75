//! Waits of less than a millisecond.

#[cfg(target_os = "linux")]
use std::io;
use std::time::Duration;
#[cfg(target_os = "linux")]
use std::time::Instant;

/// Times that differ by less are the same.
#[cfg(target_os = "linux")]
const SAME: Duration = Duration::from_micros(5);

/// A timer of the kernel's own grain, on Linux. The runtime's own, which count milliseconds, stand in where the system has none.
#[derive(Debug)]
pub struct Timer {
    #[cfg(target_os = "linux")]
    descriptor: Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>,
    /// When the descriptor goes off.
    #[cfg(target_os = "linux")]
    armed: Option<Instant>,
}

#[cfg(target_os = "linux")]
impl Timer {
    /// Makes a timer, within a runtime.
    pub fn new() -> Self {
        let descriptor = Self::open().inspect_err(
            |error| tracing::warn!(%error, "no timer of the kernel: waits are up to 1 ms longer"),
        );
        Self { descriptor: descriptor.ok(), armed: None }
    }

    fn open() -> io::Result<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(deprecated, reason = "its successor is unsafe; the descriptor is owned and never replaced")]
        tokio::io::unix::AsyncFd::new(descriptor)
    }

    /// Waits that long.
    ///
    /// # Cancel safety
    /// It can be cancelled; the timer may go off later for nobody.
    pub async fn wait(&mut self, wait: Duration) {
        if !wait.is_zero() && self.wait_exactly(wait).await.is_err() {
            tokio::time::sleep(wait).await;
        }
    }

    async fn wait_exactly(&mut self, wait: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let Some(descriptor) = &self.descriptor else { return Err(io::ErrorKind::Unsupported.into()) };
        let until = Instant::now() + wait;
        let is_same = |armed: Instant| {
            armed.saturating_duration_since(until).max(until.saturating_duration_since(armed)) < SAME
        };
        if !self.armed.is_some_and(is_same) {
            let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            timerfd_settime(descriptor, TimerfdTimerFlags::empty(), &once)?;
            self.armed = Some(until);
        }
        loop {
            // The list tells each time that it goes off; nobody has to read how often it did.
            descriptor.readable().await?.clear_ready();
            if self.armed.is_none_or(|armed| armed <= Instant::now() + SAME) {
                self.armed = None;
                return Ok(());
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Timer {
    /// Makes a timer, within a runtime.
    pub fn new() -> Self {
        Self {}
    }

    /// Waits that long, or a millisecond longer.
    ///
    /// # Cancel safety
    /// It can be cancelled.
    pub async fn wait(&mut self, wait: Duration) {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_off_again_and_after_a_wait_that_was_dropped() {
        let mut timer = Timer::new();
        let long = timer.wait(Duration::from_secs(3600));
        assert!(tokio::time::timeout(Duration::from_millis(1), long).await.is_err());
        let begin = Instant::now();
        for _ in 0..3 {
            timer.wait(Duration::from_micros(300)).await;
        }
        assert!(begin.elapsed() >= Duration::from_micros(3 * 295));
        timer.wait(Duration::ZERO).await;
    }
}
