//! The worker pool, which reads: threads of this process, or several processes with threads of their own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};
use tickwire_machine::processors;
use tokio::task::JoinHandle;

use crate::board::{Board, Counts, Phase, Signal};
use crate::child::{self, Child, Output};
use crate::layers::Layers;
use crate::part::{Merge as _, Part};
use crate::plan::Plan;
use crate::reader::{self, SecondPart};
use crate::scenario::Url;

/// A process says this often how far it is.
const TELL_PERIOD: Duration = Duration::from_millis(100);

/// First line to a process that reads.
#[derive(Debug, Serialize, Deserialize)]
struct Begin {
    layers: Layers,
    url: Url,
    at: usize,
}

/// Such a process says this.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Now(Counts, Vec<SecondPart>),
    Part(Box<Part>),
}

/// A thread that reads, or a process with several of them.
struct Worker {
    board: Arc<Board>,
    part: JoinHandle<anyhow::Result<Part>>,
    process: Option<Child>,
}

/// See the module.
pub(crate) struct WorkerPool(Vec<Worker>);

impl WorkerPool {
    /// Starts the workers; sessions begin to open at once.
    ///
    /// # Errors
    /// When threads or processes cannot be started.
    ///
    /// # Cancel safety
    /// Dropping it ends the processes.
    pub(crate) async fn start(layers: &Layers, plan: &Arc<Plan>, url: &Url) -> anyhow::Result<Self> {
        if plan.scenario.processes == 1 {
            return Self::of_threads(plan, 0);
        }
        let mut workers = Vec::new();
        for at in 0..plan.scenario.processes {
            let begin = Begin { layers: layers.clone(), url: url.clone(), at };
            let (process, output) = Child::helper("read", &begin).await?;
            let board = Arc::new(Board::default());
            let part = tokio::spawn(listen(output, Arc::clone(&board)));
            workers.push(Worker { board, part, process: Some(process) });
        }
        Ok(Self(workers))
    }

    /// Starts the threads of one process.
    fn of_threads(plan: &Arc<Plan>, process: usize) -> anyhow::Result<Self> {
        let scenario = &plan.scenario;
        processors::allow_files(scenario.sessions.count / scenario.processes + 1)?;
        let threads = (0..scenario.threads).map(|thread| {
            let at = process * scenario.threads + thread;
            let board = Arc::new(Board::default());
            let (plan, shared) = (Arc::clone(plan), Arc::clone(&board));
            let read = move || {
                processors::pin(&plan.scenario.target.generator_cpus)?;
                reader::run(&plan, shared, at)
            };
            let thread = std::thread::Builder::new().name(format!("read-{thread}")).spawn(read);
            let thread = thread.context("cannot start a thread")?;
            let join = || thread.join().map_err(|_| anyhow!("a reading thread panicked"))?;
            Ok(Worker { board, part: tokio::task::spawn_blocking(join), process: None })
        });
        threads.collect::<anyhow::Result<_>>().map(Self)
    }

    /// # Cancel safety
    /// Not cancel-safe: some may be told, and others not.
    pub(crate) async fn tell(&mut self, signal: &Signal) {
        for worker in &mut self.0 {
            match &mut worker.process {
                None => worker.board.send(signal.clone()),
                // One that is gone says so when it is joined.
                Some(process) => drop(process.tell(signal).await),
            }
        }
    }

    /// Returns counts, and the seconds that ended since the last call.
    pub(crate) fn now(&self) -> (Counts, Vec<SecondPart>) {
        let (mut counts, mut seconds) = (Counts::default(), Vec::new());
        for worker in &self.0 {
            let (of_worker, mut ended) = worker.board.take_told();
            counts.include(of_worker);
            seconds.append(&mut ended);
        }
        (counts, seconds)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.iter().all(|worker| worker.part.is_finished())
    }

    /// Returns what all of them saw.
    ///
    /// # Errors
    /// When one of them failed.
    ///
    /// # Cancel safety
    /// Dropping it ends the processes.
    pub(crate) async fn join(self) -> anyhow::Result<Part> {
        let mut whole = Part::default();
        for Worker { part, process, .. } in self.0 {
            let part = part.await?;
            if let Some(process) = process {
                process.end().await;
            }
            whole.merge(part?);
        }
        Ok(whole)
    }
}

/// Hears a process that reads until it says what it saw.
async fn listen(mut output: Output, board: Arc<Board>) -> anyhow::Result<Part> {
    loop {
        match child::said(&mut output).await? {
            Said::Now(counts, seconds) => board.tell(counts, seconds),
            Said::Part(part) => return Ok(*part),
        }
    }
}

/// Runs `tickwire-loadgen read`: one process of several.
///
/// # Errors
/// When it was not started by a run.
///
/// # Cancel safety
/// Not cancel-safe.
pub(crate) async fn run() -> anyhow::Result<()> {
    let begin: Begin = child::begin()?;
    let plan = Arc::new(Plan::new(begin.layers.read()?, &begin.url)?);
    let threads = WorkerPool::of_threads(&plan, begin.at)?;
    let boards: Vec<_> = threads.0.iter().map(|worker| Arc::clone(&worker.board)).collect();
    std::thread::spawn(move || {
        // When the run is gone, nobody will say when to end.
        let last = Signal { phase: Phase::Finish, window: (0, 0), finals: None };
        for signal in child::orders().chain([last]) {
            for board in &boards {
                board.send(signal.clone());
            }
        }
    });
    while !threads.has_ended() {
        tokio::time::sleep(TELL_PERIOD).await;
        let (counts, seconds) = threads.now();
        child::say(&Ok(Said::Now(counts, seconds)));
    }
    let part = threads.join().await;
    child::say(&part.map(|part| Said::Part(Box::new(part))).map_err(|error| format!("{error:#}")));
    Ok(())
}
