//! The real programs, on free ports: NATS, gateways, ingesters.

use std::path::{Path, PathBuf};

use tickwire_testkit::{NatsServer, NatsServerConfig, Program};

pub(crate) const TICKWIRE: &str = env!("CARGO_BIN_EXE_tickwire");

/// Returns the root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Returns a recording from the folder that `TICKWIRE_DATA` names; `None`, said aloud, where the variable is not set.
pub(crate) fn recording(path: &str) -> Option<PathBuf> {
    let Ok(folder) = std::env::var("TICKWIRE_DATA") else {
        eprintln!("skipped: TICKWIRE_DATA does not name a folder of recordings");
        return None;
    };
    let file = Path::new(&folder).join(path);
    assert!(file.is_file(), "TICKWIRE_DATA is set, but {} is no file", file.display());
    Some(file)
}

/// Starts a NATS server as programs of the tests use it.
pub(crate) fn nats() -> NatsServer {
    NatsServer::start(NatsServerConfig::default())
}

/// A gateway process with its addresses.
pub(crate) struct Gateway {
    pub(crate) program: Program,
    /// `wss` where it was started with a certificate, else `ws`.
    pub(crate) scheme: &'static str,
    pub(crate) listen: String,
    pub(crate) admin: String,
    bus: String,
}

impl Gateway {
    /// Starts a gateway on free ports and waits until it is ready.
    pub(crate) async fn start(bus: &str) -> Self {
        Self::start_with(bus, &[]).await
    }

    pub(crate) async fn start_with(bus: &str, more: &[&str]) -> Self {
        let gateway = Self::launch(bus, "127.0.0.1:0", "127.0.0.1:0", &[more, &["--anonymous"]].concat());
        gateway.is_ready().await;
        gateway
    }

    /// Starts a gateway that takes those only who show something.
    pub(crate) async fn start_closed(bus: &str, more: &[&str]) -> Self {
        let gateway = Self::launch(bus, "127.0.0.1:0", "127.0.0.1:0", more);
        gateway.is_ready().await;
        gateway
    }

    fn launch(bus: &str, listen: &str, admin: &str, more: &[&str]) -> Self {
        let mut arguments = vec!["gateway", "--bus", bus, "--listen", listen, "--admin-listen", admin];
        arguments.extend_from_slice(more);
        let program = Program::start(TICKWIRE, &arguments);
        let address = |line: &str| line.split("//").nth(1).unwrap().split('/').next().unwrap().to_owned();
        let stream = program.line_with("stream: ws");
        let scheme = if stream.starts_with("stream: wss://") { "wss" } else { "ws" };
        let admin = address(&program.line_with("admin: http"));
        Self { program, scheme, listen: address(&stream), admin, bus: bus.to_owned() }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}/v1/stream", self.scheme, self.listen)
    }

    /// Kills the process as a crash would and starts another one on the same ports.
    pub(crate) async fn crash_and_restart(&mut self) {
        self.program.kill();
        *self = Self::launch(&self.bus, &self.listen, &self.admin, &["--anonymous"]);
        self.is_ready().await;
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn is_ready(&self) {
        let ready =
            until(|| async { self.get("/readyz").await.is_some_and(|(status, _)| status == 200) }).await;
        assert!(ready, "not ready: {:?}\n{}", self.get("/readyz").await, self.program.output());
    }

    /// Asks the admin side; status and body.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        get(&self.admin, path).await
    }
}

/// Makes a plain HTTP request.
pub(crate) async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    tickwire_net::http::get(address, path).await.ok()
}

/// Waits for a condition, a minute at most.
pub(crate) async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) -> bool {
    let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while tokio::time::Instant::now() < patience {
        if condition().await {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    false
}
