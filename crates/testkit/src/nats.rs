//! A real nats-server for one test: it has its own port and its own files, and is gone when dropped.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// The number of log lines of the server that are kept for messages of failed tests.
const LOG_LINES_MAX: usize = 200;

/// The server to start. The default is a plain server on a free port of 127.0.0.1.
#[derive(Debug, Default)]
pub struct NatsServerConfig {
    /// The port to listen on; `None` takes a free one, which later restarts keep.
    pub port: Option<u16>,
    /// The text of a nats-server configuration file: authorization, TLS, limits.
    pub text: String,
    /// Whether JetStream is on, with its store in a directory that goes away with the server.
    pub jetstream: bool,
}

/// A running nats-server. It is killed by its process id when this is dropped.
///
/// Every method panics when the server does not do as told: a test cannot go on without it.
#[derive(Debug)]
pub struct NatsServer {
    binary: PathBuf,
    files: TempDir,
    config: NatsServerConfig,
    port: u16,
    child: Option<Child>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl NatsServer {
    /// Starts a server and returns when it accepts connections.
    ///
    /// # Panics
    /// Panics when no nats-server is found, or when it does not start.
    pub fn start(config: NatsServerConfig) -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let port = config.port.unwrap_or(0);
        let mut server = Self { binary: find_binary(), files, config, port, child: None, log };
        server.launch();
        server
    }

    /// Returns the address for clients, `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns the port that the server listens on; restarts keep it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns a directory that lives as long as this server, for keys and certificates.
    pub fn dir(&self) -> &Path {
        self.files.path()
    }

    /// Returns the last lines that the server logged.
    pub fn log(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Kills the server at once, as a crash would, and waits until it is gone. Does nothing when it is not running.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts a stopped server, or replaces a running one, on the same port.
    ///
    /// # Panics
    /// Panics when the server does not start.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    /// Replaces the text of the configuration file; it counts from the next [`restart`](Self::restart) on.
    pub fn set_config(&mut self, text: impl Into<String>) {
        self.config.text = text.into();
    }

    /// Stops the process with SIGSTOP: its sockets stay open and answer nothing. Returns when all its threads stand
    /// still; sending the signal alone leaves them a moment, in which the server may still greet someone.
    ///
    /// # Panics
    /// Panics when the server is not running.
    pub fn pause(&self) {
        let pid = self.signal(Signal::STOP);
        let stopped =
            waitpid(Some(pid), WaitOptions::UNTRACED).expect("nats-server is a child of this process");
        assert!(stopped.is_some_and(|(_, status)| status.stopped()), "nats-server died instead of stopping");
    }

    /// Lets a paused process go on.
    ///
    /// # Panics
    /// Panics when the server is not running.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) -> Pid {
        let pid = Pid::from_child(self.child.as_ref().expect("nats-server is running"));
        kill_process(pid, signal).expect("nats-server takes signals");
        pid
    }

    fn launch(&mut self) {
        let config_file = self.files.path().join("nats.conf");
        std::fs::write(&config_file, &self.config.text).expect("the configuration file is written");
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let mut command = Command::new(&self.binary);
        command.args(["--addr", "127.0.0.1", "--port", &port, "--config"]).arg(&config_file);
        if self.config.jetstream {
            command.arg("--jetstream").arg("--store_dir").arg(self.files.path().join("jetstream"));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", self.binary.display()));
        let stderr = child.stderr.take().expect("stderr is piped");
        self.child = Some(child);
        let mut reader = BufReader::new(stderr);
        while let Some(line) = next_line(&mut reader) {
            if let Some((_, address)) = line.split_once("Listening for client connections on ") {
                let port = address.rsplit(':').next().and_then(|port| port.trim().parse().ok());
                self.port = port.expect("nats-server logs its port");
            }
            let ready = line.contains("Server is ready");
            remember(&self.log, line);
            if ready {
                let log = Arc::clone(&self.log);
                std::thread::spawn(move || {
                    while let Some(line) = next_line(&mut reader) {
                        remember(&log, line);
                    }
                });
                return;
            }
        }
        self.stop();
        panic!("nats-server did not start:\n{}", self.log());
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn next_line(reader: &mut BufReader<ChildStderr>) -> Option<String> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end().to_owned()),
    }
}

fn remember(log: &Mutex<VecDeque<String>>, line: String) {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    if log.len() == LOG_LINES_MAX {
        log.pop_front();
    }
    log.push_back(line);
}

/// Finds the server: `TICKWIRE_NATS_SERVER`, then `.cache/nats-server` of this checkout, then `PATH`.
fn find_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TICKWIRE_NATS_SERVER") {
        return PathBuf::from(path);
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cached = checkout.join(".cache/nats-server");
    if cached.exists() {
        return cached;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join("nats-server"))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!("no nats-server found: run scripts/setup-tests.sh, or set TICKWIRE_NATS_SERVER")
        })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    fn greeting(server: &NatsServer) -> std::io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port()))?;
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        let mut head = [0; 5];
        socket.read_exact(&mut head)?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    #[test]
    fn starts_stops_restarts_on_the_same_port_and_pauses() {
        let mut server = NatsServer::start(NatsServerConfig::default());
        let port = server.port();
        assert_eq!(greeting(&server).unwrap(), "INFO ");
        server.stop();
        assert!(greeting(&server).is_err());
        server.restart();
        assert_eq!(server.port(), port);
        assert_eq!(greeting(&server).unwrap(), "INFO ");
        server.pause();
        assert!(greeting(&server).is_err());
        server.resume();
        assert_eq!(greeting(&server).unwrap(), "INFO ");
    }

    #[test]
    fn a_wrong_configuration_panics_with_the_log() {
        let config = NatsServerConfig { text: "no_such_option: 1".to_owned(), ..Default::default() };
        let panic = std::panic::catch_unwind(|| NatsServer::start(config)).unwrap_err();
        let text = panic.downcast_ref::<String>().expect("a message");
        assert!(text.contains("no_such_option"), "{text}");
    }
}
