//! The worker pool, which reads: threads of this process, or several processes with threads of their own.

use std::io::{BufRead as _, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::board::{Board, Counts, Phase, Signal};
use crate::layers::Layers;
use crate::machine;
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
    Failed(String),
}

/// A thread that reads, or one that listens to a process that does.
struct Worker {
    board: Arc<Board>,
    thread: JoinHandle<anyhow::Result<Part>>,
    process: Option<(Child, ChildStdin)>,
}

/// See the module.
pub(crate) struct WorkerPool(Vec<Worker>);

impl WorkerPool {
    /// Starts the workers; sessions begin to open at once.
    ///
    /// # Errors
    /// When threads or processes cannot be started.
    pub(crate) fn start(layers: &Layers, plan: &Arc<Plan>, url: &Url) -> anyhow::Result<Self> {
        if plan.scenario.processes == 1 {
            return Self::of_threads(plan, 0);
        }
        let begin = |at| Begin { layers: layers.clone(), url: url.clone(), at };
        (0..plan.scenario.processes).map(|at| Worker::process(&begin(at))).collect::<Result<_, _>>().map(Self)
    }

    /// The threads of one process.
    fn of_threads(plan: &Arc<Plan>, process: usize) -> anyhow::Result<Self> {
        let scenario = &plan.scenario;
        machine::allow_files(scenario.sessions.count / scenario.processes + 1)?;
        let threads = (0..scenario.threads).map(|thread| {
            let at = process * scenario.threads + thread;
            let board = Arc::new(Board::default());
            let (plan, shared) = (Arc::clone(plan), Arc::clone(&board));
            let read = move || {
                machine::pin(&plan.scenario.target.generator_cpus)?;
                reader::run(&plan, shared, at)
            };
            let thread = std::thread::Builder::new().name(format!("read-{thread}")).spawn(read);
            Ok(Worker { board, thread: thread.context("cannot start a thread")?, process: None })
        });
        threads.collect::<anyhow::Result<_>>().map(Self)
    }

    pub(crate) fn tell(&mut self, signal: &Signal) {
        for worker in &mut self.0 {
            match &mut worker.process {
                None => worker.board.send(signal.clone()),
                // One that is gone says so when it is joined.
                Some((_, input)) => drop(write_line(input, signal)),
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
        self.0.iter().all(|worker| worker.thread.is_finished())
    }

    /// Returns what all of them saw.
    ///
    /// # Errors
    /// When one of them failed.
    pub(crate) fn join(self) -> anyhow::Result<Part> {
        let mut whole = Part::default();
        for Worker { thread, process, .. } in self.0 {
            let part = thread.join().map_err(|_| anyhow!("a reading thread panicked"))?;
            if let Some((mut child, input)) = process {
                drop(input);
                child.wait()?;
            }
            whole.merge(part?);
        }
        Ok(whole)
    }
}

impl Worker {
    fn process(begin: &Begin) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("read")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a process that reads")?;
        let mut input = child.stdin.take().context("it has no standard input")?;
        write_line(&mut input, begin)?;
        let output = child.stdout.take().context("it has no standard output")?;
        let board = Arc::new(Board::default());
        let shared = Arc::clone(&board);
        let thread = std::thread::spawn(move || listen(output, &shared));
        Ok(Self { board, thread, process: Some((child, input)) })
    }
}

/// Hears a process that reads until it says what it saw.
fn listen(output: ChildStdout, board: &Board) -> anyhow::Result<Part> {
    for line in BufReader::new(output).lines() {
        match serde_json::from_str(&line?)? {
            Said::Now(counts, seconds) => board.tell(counts, seconds),
            Said::Part(part) => return Ok(*part),
            Said::Failed(reason) => bail!(reason),
        }
    }
    bail!("a process that reads ended early")
}

fn write_line(mut out: impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    writeln!(out, "{}", serde_json::to_string(value)?)?;
    Ok(out.flush()?)
}

/// `tickwire-loadgen read`: one process of several.
///
/// # Errors
/// When it was not started by a run, or its threads failed.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut first = String::new();
    std::io::stdin().lock().read_line(&mut first)?;
    let begin: Begin = serde_json::from_str(&first)
        .context("`read` is started by `run --processes`, which tells it what to do on its standard input")?;
    let plan = Arc::new(Plan::new(begin.layers.read()?, &begin.url)?);
    let threads = WorkerPool::of_threads(&plan, begin.at)?;
    let boards: Vec<_> = threads.0.iter().map(|worker| Arc::clone(&worker.board)).collect();
    std::thread::spawn(move || {
        let tell = |signal: &Signal| boards.iter().for_each(|board| board.send(signal.clone()));
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Ok(signal) = serde_json::from_str(&line) {
                tell(&signal);
            }
        }
        // The run is gone: nobody will say when to end.
        tell(&Signal { phase: Phase::Finish, window: (0, 0), finals: None });
    });
    while !threads.has_ended() {
        std::thread::park_timeout(TELL_PERIOD);
        let (counts, seconds) = threads.now();
        write_line(std::io::stdout(), &Said::Now(counts, seconds))?;
    }
    let said = match threads.join() {
        Ok(part) => Said::Part(Box::new(part)),
        Err(error) => Said::Failed(format!("{error:#}")),
    };
    write_line(std::io::stdout(), &said)
}
