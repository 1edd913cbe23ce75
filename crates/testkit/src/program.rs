//! A program under test: it is a process of its own whose output is kept, and is gone when dropped.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tickwire_machine::processes::Watched;

/// The longest wait for a line or an end, generous because test machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. It is killed by its process id when this is dropped.
///
/// Every method panics, with what the program wrote, when the program does not do as expected.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    output: Arc<Output>,
    /// The threads that read its output, until that ends.
    readers: [JoinHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Output {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                output.lines().push(line);
                output.more.notify_all();
            }
        })
    }
}

impl Program {
    /// Starts a program without the settings that the tests' own environment may hold.
    ///
    /// # Panics
    /// Panics when it cannot be started.
    pub fn start(binary: impl AsRef<Path>, arguments: &[&str]) -> Self {
        Self::start_with(binary, arguments, &[])
    }

    /// Starts a program as [`Program::start`] does, with variables in its environment.
    ///
    /// # Panics
    /// Panics when it cannot be started.
    pub fn start_with(binary: impl AsRef<Path>, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let binary = binary.as_ref();
        let name = format!("{} {}", binary.display(), arguments.join(" "));
        // A test run that ignores SIGHUP, as under `nohup`, does not pass that on.
        let mut child = Command::new("env")
            .arg("--default-signal=HUP")
            .arg(binary)
            .args(arguments)
            .env_remove("TICKWIRE_CONFIG")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let output = Arc::new(Output::default());
        let readers = [
            output.follow(child.stdout.take().expect("stdout is piped")),
            output.follow(child.stderr.take().expect("stderr is piped")),
        ];
        Self { name, child, output, readers }
    }

    /// Waits for a line, on either output, that holds `text`, and returns it.
    ///
    /// # Panics
    /// Panics when it does not come within a minute.
    pub fn line_with(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.output.lines();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line with `{text}` from {}:\n{}", self.name, lines.join("\n"));
            lines = self.output.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns everything that it wrote so far.
    pub fn output(&self) -> String {
        self.output.lines().join("\n")
    }

    /// Returns how many bytes of memory it holds at the moment, shared code included (Linux only).
    ///
    /// # Panics
    /// Panics when it is gone already.
    pub fn resident_bytes(&self) -> u64 {
        self.watched().resident_bytes().unwrap_or_else(|| panic!("{} is gone:\n{}", self.name, self.output()))
    }

    /// Returns for how long its threads ran and for how long they waited for a processor, up to now (Linux only).
    ///
    /// # Panics
    /// Panics when it is gone already.
    pub fn ran_and_waited(&self) -> (Duration, Duration) {
        self.watched().ran_and_waited().unwrap_or_else(|| panic!("{} is gone:\n{}", self.name, self.output()))
    }

    fn watched(&self) -> Watched {
        Watched { pid: self.child.id() }
    }

    /// Asks it to stop: SIGTERM.
    ///
    /// # Panics
    /// Panics when it is gone already.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Tells it that its terminal closed: SIGHUP.
    ///
    /// # Panics
    /// Panics when it is gone already.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Stops it with SIGSTOP: its sockets stay open and nobody reads them. Returns when all its threads stand still.
    ///
    /// # Panics
    /// Panics when it is gone already.
    pub fn pause(&self) {
        let pid = self.signal(Signal::STOP);
        let stopped = waitpid(Some(pid), WaitOptions::UNTRACED).expect("it is a child of this process");
        assert!(
            stopped.is_some_and(|(_, status)| status.stopped()),
            "{} died instead of stopping",
            self.name
        );
    }

    /// Lets it go on after [`Program::pause`].
    ///
    /// # Panics
    /// Panics when it is gone already.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) -> Pid {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}\n{}", self.name, self.output()));
        pid
    }

    /// Kills it at once, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself and all that it wrote was read.
    ///
    /// # Panics
    /// Panics when it does not within a minute.
    pub fn ended(&mut self) -> ExitStatus {
        self.ended_within(PATIENCE)
    }

    /// Waits until it ends by itself and all that it wrote was read.
    ///
    /// # Panics
    /// Panics when it does not within the time.
    pub fn ended_within(&mut self, patience: Duration) -> ExitStatus {
        let until = Instant::now() + patience;
        let (lock, pause) = (Mutex::new(()), Condvar::new());
        loop {
            let status = self.child.try_wait().expect("a child can be waited for");
            if let Some(status) = status.filter(|_| self.readers.iter().all(JoinHandle::is_finished)) {
                return status;
            }
            assert!(Instant::now() < until, "{} does not end:\n{}", self.name, self.output());
            let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
            drop(pause.wait_timeout(guard, Duration::from_millis(20)));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
