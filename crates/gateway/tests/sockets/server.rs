//! The process under test: source, ingester, bus in memory and gateway. It is this test program, started once more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tickwire_bus::{Backplane, MemoryBus};
use tickwire_feed::{IngestConfig, Ingester};
use tickwire_gateway::{AuthSettings, Gateway, GatewayConfig, NoPages};
use tickwire_testkit::{Pace, Program, StockClient};
use tickwire_wire::Channel;
use tokio_util::sync::CancellationToken;

use super::source::Metronome;

/// The variable that is set for the process under test: what it is to be, as numbers.
const PLAN: &str = "TICKWIRE_TEST_SERVER";
/// The time after which it ends by itself, also when the test was killed.
const LIFETIME: Duration = Duration::from_mins(10);
const MS: u64 = 1_000_000;
/// The longest wait for what takes no time on a healthy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The plan of the process under test: what it is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) instruments: u32,
    /// The updates of each instrument, per second.
    pub(crate) updates: u32,
    /// The time of `EngineLimits::ping_after_ns`; none: the default.
    pub(crate) ping_ms: Option<u64>,
    /// The time of `EngineLimits::no_progress_ns`; none: the default.
    pub(crate) no_progress_ms: Option<u64>,
    /// Whether it is without the freshness window.
    pub(crate) is_windowless: bool,
}

impl Default for Plan {
    /// Makes a plan of 10,000 quotes a second: about 404 KB/s.
    fn default() -> Self {
        Self { instruments: 200, updates: 50, ping_ms: None, no_progress_ms: None, is_windowless: false }
    }
}

pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) address: String,
    pub(crate) plan: Plan,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Server {
    /// Starts it and waits until its quotes flow. Tests in this program wait for each other here.
    pub(crate) async fn start(plan: Plan) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self::start_with(plan, Some(alone)).await
    }

    /// Starts another beside this one.
    pub(crate) async fn beside(&self, plan: Plan) -> Self {
        Self::start_with(plan, None).await
    }

    async fn start_with(plan: Plan, alone: Option<MutexGuard<'static, ()>>) -> Self {
        let numbers = [
            u64::from(plan.instruments),
            u64::from(plan.updates),
            plan.ping_ms.unwrap_or(0),
            plan.no_progress_ms.unwrap_or(0),
            u64::from(plan.is_windowless),
        ];
        let text = numbers.map(|number| number.to_string()).join(" ");
        let binary = std::env::current_exe().unwrap();
        let arguments = ["--exact", "server::process_under_test", "--ignored", "--nocapture"];
        let program = Program::start_with(binary, &arguments, &[(PLAN, &text)]);
        let line = program.line_with("stream: ");
        let address = line.rsplit("stream: ").next().unwrap().trim().to_owned();
        let server = Self { program, address, plan, _alone: alone };
        let mut first = server.client(server.plan.instruments).await;
        let flows = first.read_until(Pace::Prompt, PATIENCE, |seen| seen.records > 0).await;
        assert!(flows.unwrap(), "no quotes:\n{}", server.program.output());
        server
    }

    /// Opens a session on the quotes of the first so many instruments, all of them granted.
    pub(crate) async fn client(&self, instruments: u32) -> StockClient {
        client(&self.address, instruments, Pace::Prompt).await
    }

    /// Opens a session that never read faster than this.
    pub(crate) async fn client_at(&self, pace: Pace) -> StockClient {
        client(&self.address, self.plan.instruments, pace).await
    }

    /// Opens a session that never answers a ping.
    pub(crate) async fn silent_client(&self) -> StockClient {
        open(&self.address, self.plan.instruments, Pace::Prompt, false).await
    }

    pub(crate) fn socket_address(&self) -> std::net::SocketAddr {
        self.address.parse().unwrap()
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        self.program.resident_bytes() as f64 / f64::from(1 << 20)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the server said:\n{}", self.program.output());
        }
    }
}

/// Opens a session on the quotes of the first so many instruments, all of them granted.
pub(crate) async fn client(address: &str, instruments: u32, pace: Pace) -> StockClient {
    open(address, instruments, pace, true).await
}

async fn open(address: &str, instruments: u32, pace: Pace, answers_pings: bool) -> StockClient {
    let mut refusal = String::new();
    // A gateway or a venue that has just begun may not be ready yet.
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(if refusal.is_empty() { 0 } else { 50 })).await;
        let mut client = match StockClient::open(address).await {
            Ok(client) => client,
            Err(error) => {
                refusal = error.to_string();
                continue;
            }
        };
        let symbols = (0..instruments).map(|index| format!("sim:S{index}")).collect();
        client.subscribe(Channel::Quote, symbols).await.unwrap();
        client.answers_pings = answers_pings;
        let all = instruments as usize;
        let answered = |seen: &tickwire_testkit::Account| seen.granted == all || !seen.violations.is_empty();
        let answered = client.read_until(pace, PATIENCE, answered).await.unwrap();
        assert!(answered, "no response to a subscription");
        if client.seen.granted == all {
            client.seen.take_ages();
            return client;
        }
        refusal = client.seen.violations.join("\n");
    }
    panic!("no session on all quotes: {refusal}");
}

#[test]
#[ignore = "the process under test; the other tests start it"]
fn process_under_test() {
    let Ok(plan) = std::env::var(PLAN) else { return };
    let numbers: Vec<u64> = plan.split(' ').map(|number| number.parse().unwrap()).collect();
    let [instruments, updates, ping_ms, no_progress_ms, is_windowless] = numbers[..] else {
        panic!("{plan}")
    };
    let mut config = GatewayConfig::default();
    let free = ([127, 0, 0, 1], 0).into();
    (config.listen, config.admin_listen) = (free, free);
    config.auth = AuthSettings::anonymous();
    if ping_ms > 0 {
        config.limits.engine.ping_after_ns = ping_ms * MS;
    }
    if no_progress_ms > 0 {
        config.limits.engine.no_progress_ns = no_progress_ms * MS;
    }
    if is_windowless > 0 {
        config.limits.engine.freshness_ns = 0;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let bus: Arc<dyn Backplane> = Arc::new(MemoryBus::default());
        let source = Metronome::new(instruments as u32, updates as u32);
        let ingester = Ingester::new(IngestConfig::default(), source, Arc::clone(&bus));
        tokio::spawn(ingester.run(CancellationToken::new()));
        let gateway = Gateway::start(config, bus, Arc::new(NoPages)).await.unwrap();
        println!("stream: {}", gateway.listen_address());
        tokio::time::sleep(LIFETIME).await;
    });
}
