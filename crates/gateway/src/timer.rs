//! Waits of less than a millisecond, and how busy a thread is.

#[cfg(target_os = "linux")]
use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Times that differ by less are the same.
#[cfg(target_os = "linux")]
const SAME: Duration = Duration::from_micros(5);

/// A timer of the kernel's own grain, on Linux. The runtime's own, which count milliseconds, stand in where the system has none.
#[derive(Debug)]
pub(crate) struct Timer {
    #[cfg(target_os = "linux")]
    descriptor: Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>,
    /// When the descriptor goes off.
    #[cfg(target_os = "linux")]
    armed: Option<Instant>,
}

#[cfg(target_os = "linux")]
impl Timer {
    /// Makes a timer.
    pub(crate) fn new() -> Self {
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
    pub(crate) async fn wait(&mut self, wait: Duration) {
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
    /// Makes a timer.
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// Waits that long, or a millisecond longer.
    pub(crate) async fn wait(&mut self, wait: Duration) {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// The share of a core that this thread takes.
#[derive(Debug)]
pub(crate) struct Busy {
    since: Instant,
    cpu: Duration,
}

impl Busy {
    pub(crate) fn start() -> Self {
        Self { since: Instant::now(), cpu: cpu_time() }
    }

    /// Returns the share since it was last asked.
    pub(crate) fn share(&mut self) -> f64 {
        let (now, cpu) = (Instant::now(), cpu_time());
        let passed = now - std::mem::replace(&mut self.since, now);
        let used = cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu));
        (used.as_secs_f64() / passed.as_secs_f64().max(1e-9)).min(1.0)
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
