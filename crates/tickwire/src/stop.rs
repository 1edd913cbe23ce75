//! Being asked to stop: Ctrl-C, SIGTERM, and a terminal that closes (SIGHUP). A second Ctrl-C or SIGTERM ends the process at
//! once; a second SIGHUP does not, because a terminal that closes may send two.
//!
//! A service has no terminal that could close. To one, SIGHUP says that its files have changed, as to most services.

use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Requests to read files again: SIGHUP to a process without a terminal.
#[derive(Debug)]
pub(crate) struct Reloads(Option<Signal>);

impl Reloads {
    /// Waits for the next request; for ever where SIGHUP means something else.
    ///
    /// # Cancel safety
    /// It is safe: a signal that came is told by the next call.
    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => pending().await,
        }
    }
}

/// Returns a token that is cancelled by the first signal. A process that was started to outlive its terminal (`nohup`)
/// ignores SIGHUP as before.
pub(crate) fn on_signal() -> anyhow::Result<CancellationToken> {
    let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    watch(hangup)
}

/// Returns what [`on_signal`] does, for a process that can read its files again: where it has no terminal, SIGHUP asks for that and
/// stops nothing.
pub(crate) fn on_signal_or_reload() -> anyhow::Result<(CancellationToken, Reloads)> {
    if ignores_hangup() {
        return Ok((watch(None)?, Reloads(None)));
    }
    let hangup = signal(SignalKind::hangup())?;
    if has_terminal() {
        Ok((watch(Some(hangup))?, Reloads(None)))
    } else {
        Ok((watch(None)?, Reloads(Some(hangup))))
    }
}

fn watch(mut hangup: Option<Signal>) -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = token.clone();
    tokio::spawn(async move {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} _ = hung_up => {} }
        tracing::info!("stopping; a second SIGINT or SIGTERM ends at once");
        asked.cancel();
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        std::process::exit(130);
    });
    Ok(token)
}

/// Returns whether this process belongs to a terminal, which then may close: only such a process can open it by this name.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Returns whether this process was started with SIGHUP ignored. Elsewhere than on Linux nobody tells without unsafe code.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_ignored(&status, 1))
}

/// Reads the mask of ignored signals of `/proc/PID/status`.
fn is_ignored(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals() {
        let status = "Name:\ttickwire\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert!(is_ignored(status, 1) && is_ignored(status, 13));
        assert!(!is_ignored(status, 2) && !is_ignored(status, 15));
        assert!(!is_ignored("Name:\tx\n", 1) && !is_ignored("SigIgn:\tzz\n", 1));
    }
}
