//! Those who read: threads of this process, or several processes with threads of their own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

use crate::layers::Layers;
use crate::machine;
use crate::part::Part;
use crate::plan::Plan;
use crate::reader::{self, Phase, SecondPart, Shared};
use crate::scenario::Url;

/// How often a process says how far it is.
const TELL_PERIOD: Duration = Duration::from_millis(100);

/// Counts of all, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CountsNow {
    pub(crate) opened: u64,
    pub(crate) not_opened: u64,
    pub(crate) ended_early: u64,
    pub(crate) live: u64,
    pub(crate) violations: u64,
    pub(crate) behind: u64,
    /// Threads that know whether they are behind.
    pub(crate) settled: u64,
}

/// What those who read are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Signal {
    phase: u8,
    window: (u64, u64),
    finals: Option<Vec<(u64, u64)>>,
}

/// First line to a process that reads.
#[derive(Debug, Serialize, Deserialize)]
struct Begin {
    layers: Layers,
    address: String,
    path: String,
    is_tls: bool,
    at: usize,
}

/// What such a process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Now(CountsNow, Vec<SecondPart>),
    Part(Box<Part>),
    Failed(String),
}

/// Threads of one process.
struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<anyhow::Result<Part>>>,
}

impl Threads {
    fn start(plan: &Arc<Plan>, process: usize) -> anyhow::Result<Self> {
        let scenario = &plan.scenario;
        machine::allow_files(scenario.sessions.count / scenario.processes + 1)?;
        let shared = Arc::new(Shared::default());
        let all = scenario.processes * scenario.threads;
        let spawn = |thread| {
            let (plan, shared) = (Arc::clone(plan), Arc::clone(&shared));
            let at = process * scenario.threads + thread;
            let read = move || {
                machine::pin(&plan.scenario.target.generator_cpus)?;
                reader::run(&plan, shared, at, all)
            };
            std::thread::Builder::new().name(format!("read-{thread}")).spawn(read)
        };
        let handles =
            (0..scenario.threads).map(spawn).collect::<Result<_, _>>().context("cannot start a thread")?;
        Ok(Self { shared, handles })
    }

    fn tell(&self, signal: &Signal) {
        self.shared.window_from.store(signal.window.0, Ordering::Release);
        self.shared.window_to.store(signal.window.1, Ordering::Release);
        if let Some(finals) = &signal.finals {
            let _ = self.shared.finals.set(finals.clone());
        }
        self.shared.enter(phase(signal.phase));
    }

    fn now(&self) -> (CountsNow, Vec<SecondPart>) {
        let counts = &self.shared.counts;
        let now = CountsNow {
            opened: counts.opened.load(Ordering::Acquire),
            not_opened: counts.not_opened.load(Ordering::Acquire),
            ended_early: counts.ended_early.load(Ordering::Acquire),
            live: counts.live.load(Ordering::Acquire),
            violations: counts.violations.load(Ordering::Acquire),
            behind: counts.behind.load(Ordering::Acquire),
            settled: counts.settled.load(Ordering::Acquire),
        };
        let mut seconds = self.shared.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        (now, std::mem::take(&mut *seconds))
    }

    fn has_ended(&self) -> bool {
        self.handles.iter().all(JoinHandle::is_finished)
    }

    fn join(self) -> anyhow::Result<Part> {
        let mut whole = Part::default();
        let mut memory: Option<(u64, u64)> = None;
        for handle in self.handles {
            let part = handle.join().map_err(|_| anyhow!("a reading thread panicked"))??;
            memory = Some((part.resident_bytes_before, part.resident_bytes));
            whole.merge(part);
        }
        // Memory is of the process, not of a thread.
        (whole.resident_bytes_before, whole.resident_bytes) = memory.unwrap_or_default();
        Ok(whole)
    }
}

fn phase(number: u8) -> Phase {
    [Phase::Open, Phase::Measure, Phase::Settle, Phase::Finish][usize::from(number.min(3))]
}

/// One process of several.
struct Process {
    child: Child,
    input: ChildStdin,
    told: Arc<Mutex<Told>>,
    listener: JoinHandle<()>,
}

#[derive(Default)]
struct Told {
    now: CountsNow,
    seconds: Vec<SecondPart>,
    part: Option<anyhow::Result<Part>>,
}

impl Process {
    fn start(begin: &Begin) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .arg("read")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a process that reads")?;
        let mut input = child.stdin.take().context("it has no standard input")?;
        writeln!(input, "{}", serde_json::to_string(begin)?)?;
        let output = child.stdout.take().context("it has no standard output")?;
        let told = Arc::new(Mutex::new(Told::default()));
        let listen = {
            let told = Arc::clone(&told);
            move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    match serde_json::from_str(&line) {
                        Ok(Said::Now(now, seconds)) => {
                            told.now = now;
                            told.seconds.extend(seconds);
                        }
                        Ok(Said::Part(part)) => told.part = Some(Ok(*part)),
                        Ok(Said::Failed(reason)) => told.part = Some(Err(anyhow!(reason))),
                        Err(error) => told.part = Some(Err(error.into())),
                    }
                }
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.part.get_or_insert_with(|| Err(anyhow!("a process that reads ended early")));
            }
        };
        Ok(Self { child, input, told, listener: std::thread::spawn(listen) })
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(mut self) -> anyhow::Result<Part> {
        let _ = self.listener.join();
        drop(self.input);
        self.child.wait()?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.part.take().unwrap_or_else(|| Err(anyhow!("a process that reads said nothing")))
    }
}

/// See the module.
pub(crate) struct Crew(Members);

enum Members {
    Own(Threads),
    Processes(Vec<Process>),
}

impl Crew {
    /// Sessions begin to open at once.
    ///
    /// # Errors
    /// When threads or processes cannot be started.
    pub(crate) fn start(layers: &Layers, plan: &Arc<Plan>, url: &Url) -> anyhow::Result<Self> {
        if plan.scenario.processes == 1 {
            return Ok(Self(Members::Own(Threads::start(plan, 0)?)));
        }
        let begin = |at| Begin {
            layers: layers.clone(),
            address: url.address.clone(),
            path: url.path.clone(),
            is_tls: url.is_tls,
            at,
        };
        let processes = (0..plan.scenario.processes).map(|at| Process::start(&begin(at)));
        Ok(Self(Members::Processes(processes.collect::<anyhow::Result<_>>()?)))
    }

    pub(crate) fn tell(&mut self, phase: Phase, window: (u64, u64), finals: Option<Vec<(u64, u64)>>) {
        let signal = Signal { phase: phase as u8, window, finals };
        match &mut self.0 {
            Members::Own(threads) => threads.tell(&signal),
            Members::Processes(processes) => {
                let line = serde_json::to_string(&signal).expect("it is plain data");
                for process in processes {
                    // One that is gone says so when it is joined.
                    let _ = writeln!(process.input, "{line}").and_then(|()| process.input.flush());
                }
            }
        }
    }

    /// Counts, and the seconds that ended since the last call.
    pub(crate) fn now(&self) -> (CountsNow, Vec<SecondPart>) {
        match &self.0 {
            Members::Own(threads) => threads.now(),
            Members::Processes(processes) => {
                let (mut all, mut seconds) = (CountsNow::default(), Vec::new());
                for process in processes {
                    let mut told = process.told();
                    all.opened += told.now.opened;
                    all.not_opened += told.now.not_opened;
                    all.ended_early += told.now.ended_early;
                    all.live += told.now.live;
                    all.violations += told.now.violations;
                    all.behind += told.now.behind;
                    all.settled += told.now.settled;
                    seconds.append(&mut told.seconds);
                }
                (all, seconds)
            }
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        match &self.0 {
            Members::Own(threads) => threads.has_ended(),
            Members::Processes(processes) => processes.iter().all(|process| process.told().part.is_some()),
        }
    }

    /// What all of them saw.
    ///
    /// # Errors
    /// When one of them failed.
    pub(crate) fn join(self) -> anyhow::Result<Part> {
        match self.0 {
            Members::Own(threads) => threads.join(),
            Members::Processes(processes) => {
                let mut whole = Part::default();
                for process in processes {
                    whole.merge(process.join()?);
                }
                Ok(whole)
            }
        }
    }
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
    let url = Url { address: begin.address, path: begin.path, is_tls: begin.is_tls };
    let plan = Arc::new(Plan::new(begin.layers.read()?, &url)?);
    let threads = Threads::start(&plan, begin.at)?;
    let shared = Arc::clone(&threads.shared);
    std::thread::spawn(move || {
        let signals = Threads { shared, handles: Vec::new() };
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Ok(signal) = serde_json::from_str(&line) {
                signals.tell(&signal);
            }
        }
        // The run is gone: nobody will say when to end.
        signals.shared.enter(Phase::Finish);
    });
    let say = |said: &Said| -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(said)?)?;
        Ok(out.flush()?)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    while !threads.has_ended() {
        runtime.block_on(async { tokio::time::sleep(TELL_PERIOD).await });
        let (now, seconds) = threads.now();
        say(&Said::Now(now, seconds))?;
    }
    match threads.join() {
        Ok(part) => say(&Said::Part(Box::new(part))),
        Err(error) => say(&Said::Failed(format!("{error:#}"))),
    }
}
