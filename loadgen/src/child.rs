//! Child processes of a run: helpers, which are this program again and speak JSON, a line each way, and the server under test. Each of
//! them ends with the run.

use std::io::{BufRead as _, Write as _};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// Longest wait for a process to start, or to respond.
pub(crate) const RESPONSE_WAIT: Duration = Duration::from_secs(30);
const END_WAIT: Duration = Duration::from_secs(5);

/// See the module. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    /// A helper ends when nobody can tell it anything more; others are asked to.
    input: Option<ChildStdin>,
}

/// The lines that a process says.
pub(crate) type Output = Lines<BufReader<ChildStdout>>;

impl Child {
    fn start(command: &mut Command, input: Stdio) -> anyhow::Result<(Self, Output)> {
        let mut process = command.stdin(input).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let output = process.stdout.take().context("it has no standard output")?;
        let input = process.stdin.take();
        Ok((Self { process, input }, BufReader::new(output).lines()))
    }

    /// Starts a helper by its command, and tells it how to begin.
    ///
    /// # Errors
    /// When it cannot be started.
    ///
    /// # Cancel safety
    /// Dropping it ends the process.
    pub(crate) async fn helper(command: &str, begin: &impl Serialize) -> anyhow::Result<(Self, Output)> {
        let started = Self::start(Command::new(std::env::current_exe()?).arg(command), Stdio::piped());
        let (mut child, output) =
            started.with_context(|| format!("cannot start `tickwire-loadgen {command}`"))?;
        child.tell(begin).await?;
        Ok((child, output))
    }

    /// Starts the server under test; returns when it says `ready`, on a line of its own.
    ///
    /// # Errors
    /// When it cannot be started, or ends or says nothing for half a minute.
    ///
    /// # Cancel safety
    /// Dropping it ends the process.
    pub(crate) async fn server(command: &[String]) -> anyhow::Result<Self> {
        let name = command.join(" ");
        let [program, arguments @ ..] = command else { bail!("there is no command") };
        let started = Self::start(Command::new(program).args(arguments), Stdio::null());
        let (child, mut output) = started.with_context(|| format!("cannot start `{name}`"))?;
        let is_ready = async {
            while let Some(line) = output.next_line().await? {
                if line.trim() == "ready" {
                    return anyhow::Ok(());
                }
            }
            bail!("`{name}` ended before it said `ready`")
        };
        let is_ready = tokio::time::timeout(RESPONSE_WAIT, is_ready).await;
        is_ready.with_context(|| format!("`{name}` did not say `ready` within {RESPONSE_WAIT:?}"))??;
        // Its output is read on, so that it never waits for somebody to do so.
        tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        Ok(child)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// # Errors
    /// When the helper is gone.
    ///
    /// # Cancel safety
    /// Not cancel-safe.
    pub(crate) async fn tell(&mut self, what: &impl Serialize) -> anyhow::Result<()> {
        let Some(input) = &mut self.input else { bail!("it does not listen") };
        let line = format!("{}\n", serde_json::to_string(what)?);
        input.write_all(line.as_bytes()).await.context("the process is gone")?;
        Ok(input.flush().await?)
    }

    /// Asks it to end, and ends it.
    ///
    /// # Cancel safety
    /// Dropping it ends the process as well.
    pub(crate) async fn end(mut self) {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid as i32));
        match (self.input.take(), pid) {
            (None, Some(pid)) => drop(kill_process(pid, Signal::TERM)),
            (input, _) => drop(input),
        }
        if tokio::time::timeout(END_WAIT, self.process.wait()).await.is_err() {
            let _ = self.process.kill().await;
        }
    }
}

/// Runs something on this thread to its end; what it leaves behind is not waited for.
///
/// # Errors
/// When it fails, or the system refuses what a runtime needs.
pub(crate) fn block_on<T>(run: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(run);
    runtime.shutdown_background();
    outcome
}

/// Returns what a helper says next.
///
/// # Errors
/// When it ended, or says that it failed, which has its reason.
///
/// # Cancel safety
/// Cancel-safe.
pub(crate) async fn said<T: DeserializeOwned>(output: &mut Output) -> anyhow::Result<T> {
    let line = output.next_line().await?.context("the process ended early")?;
    serde_json::from_str::<Result<T, String>>(&line)?.map_err(anyhow::Error::msg)
}

/// Reads, in a helper, how it is to begin.
///
/// # Errors
/// When it was not started by a run.
pub(crate) fn begin<T: DeserializeOwned>() -> anyhow::Result<T> {
    let mut first = String::new();
    std::io::stdin().lock().read_line(&mut first)?;
    serde_json::from_str(&first)
        .context("this is started by `run`, which tells it what to do on its standard input")
}

/// Returns, in a helper, everything that it is told after that, until the run is gone.
pub(crate) fn orders<T: DeserializeOwned>() -> impl Iterator<Item = T> {
    let lines = std::io::stdin().lock().lines().map_while(Result::ok);
    lines.map_while(|line| serde_json::from_str(&line).ok())
}

/// Says something, or why it failed, in a helper. Returns whether the run can have heard it: one that is gone does not read.
pub(crate) fn say(said: &Result<impl Serialize, String>) -> bool {
    let text = serde_json::to_string(said).expect("it is plain data");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
#[path = "../tests/units/child.rs"]
mod tests;
