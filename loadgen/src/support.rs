//! Processes that a run starts and ends: the server under test, and the own source.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::layers::Layers;
use crate::serve::{Begin, Said, Told};
use crate::source::Published;

/// Longest wait for a process to start, or to respond.
const RESPONSE_WAIT: Duration = Duration::from_secs(30);
const UNEXPECTED: &str = "the source says something unexpected";
const END_WAIT: Duration = Duration::from_secs(5);

/// `tickwire-loadgen serve`.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
}

impl Served {
    /// # Errors
    /// When it does not start; the text has its reason.
    ///
    /// # Cancel safety
    /// Dropping it ends the process.
    pub(crate) async fn start(layers: &Layers, has_gateway: bool) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the source")?;
        let input = child.stdin.take().context("it has no standard input")?;
        let output = BufReader::new(child.stdout.take().context("it has no standard output")?).lines();
        let mut served = Self { child, input, output, listen: None, admin: None };
        served.write(&Begin { layers: layers.clone(), has_gateway }).await?;
        let Said::Ready { listen, admin } = served.said().await? else { bail!(UNEXPECTED) };
        (served.listen, served.admin) = (listen, admin);
        Ok(served)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    async fn write(&mut self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let line = format!("{}\n", serde_json::to_string(value)?);
        self.input.write_all(line.as_bytes()).await.context("the source is gone")?;
        Ok(self.input.flush().await?)
    }

    /// # Errors
    /// When it is gone.
    ///
    /// # Cancel safety
    /// Not cancel-safe.
    pub(crate) async fn tell(&mut self, told: &Told) -> anyhow::Result<()> {
        self.write(told).await
    }

    async fn said(&mut self) -> anyhow::Result<Said> {
        let line = tokio::time::timeout(RESPONSE_WAIT, self.output.next_line()).await;
        let line = line.context("the source does not answer")??;
        let line = line.context("the source ended before it answered")?;
        match serde_json::from_str(&line)? {
            Said::Failed(reason) => bail!(reason),
            said => Ok(said),
        }
    }

    /// Asks what was published.
    ///
    /// # Errors
    /// When the source failed.
    ///
    /// # Cancel safety
    /// Not cancel-safe.
    pub(crate) async fn published(&mut self) -> anyhow::Result<Published> {
        self.tell(&Told::Report).await?;
        let Said::Published(published) = self.said().await? else { bail!(UNEXPECTED) };
        Ok(*published)
    }

    /// Restarts the gateway.
    ///
    /// # Errors
    /// When it does not come back.
    ///
    /// # Cancel safety
    /// Not cancel-safe.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.tell(&Told::Restart).await?;
        let Said::Restarted = self.said().await? else { bail!(UNEXPECTED) };
        Ok(())
    }

    /// Ends it.
    ///
    /// # Cancel safety
    /// Dropping it ends the process as well.
    pub(crate) async fn end(mut self) {
        drop(self.input);
        let ended = tokio::time::timeout(END_WAIT, self.child.wait()).await;
        if ended.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// A server that a command starts.
#[derive(Debug)]
pub(crate) struct Spawned {
    child: Child,
}

impl Spawned {
    /// Returns when it says `ready`, on a line of its own.
    ///
    /// # Errors
    /// When it cannot be started, or ends or says nothing for half a minute.
    ///
    /// # Cancel safety
    /// Dropping it ends the process.
    pub(crate) async fn start(command: &[String]) -> anyhow::Result<Self> {
        let name = command.join(" ");
        let [program, arguments @ ..] = command else { bail!("there is no command") };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start `{name}`"))?;
        let mut output = BufReader::new(child.stdout.take().context("it has no standard output")?).lines();
        let is_ready = async {
            while let Some(line) = output.next_line().await? {
                if line.trim() == "ready" {
                    return anyhow::Ok(());
                }
            }
            bail!("`{name}` ended before it said `ready`")
        };
        tokio::time::timeout(RESPONSE_WAIT, is_ready)
            .await
            .with_context(|| format!("`{name}` did not say `ready` within {RESPONSE_WAIT:?}"))??;
        // Its output is read on, so that it never waits for somebody to do so.
        tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks it to end, and ends it.
    ///
    /// # Cancel safety
    /// Dropping it ends the process as well.
    pub(crate) async fn end(mut self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid as i32));
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(END_WAIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}
