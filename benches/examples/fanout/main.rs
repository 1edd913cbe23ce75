//! The cost of a whole gateway: one process with a gateway, its bus and a source of quotes, another with the clients.
//!
//! CPU is told of the gateway, without the source, and memory as the process's. Where there are two cores the gateway has
//! the first, source and clients the second. Latency is from the source's own time of each quote to the client's read.
//!
//! ```text
//! fanout --sessions 500 --symbols 500 --each 50 --rate 5000 --for 5      dashboard, 250,000 deliveries/s
//! fanout --sessions 20 --symbols 100 --each 100 --rate 20000 --for 5     firehose, 400,000 deliveries/s
//! fanout --sessions 10000 --symbols 50 --each 5 --rate 0 --for 5         idle: memory
//! ```

// It reports on standard output.
#![allow(clippy::print_stdout)]

mod clients;
mod source;
mod usage;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tickwire_bus::{Backplane, MemoryBus};
use tickwire_gateway::{AuthSettings, Gateway, GatewayConfig, NoPages, Pacing};

/// The options of the command line.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    sessions: usize,
    symbols: usize,
    each: usize,
    rate: f64,
    seconds: f64,
    channel: String,
    cork_worth_percent: f64,
    cork_us: u64,
    /// The address of the gateway, in the process of the clients.
    connect: String,
}

impl Plan {
    fn read() -> Self {
        let mut plan = Self {
            sessions: 500,
            symbols: 500,
            each: 50,
            rate: 5000.0,
            seconds: 5.0,
            channel: "quote".to_owned(),
            cork_worth_percent: Pacing::default().worth * 100.0,
            cork_us: Pacing::default().wait_max.as_micros() as u64,
            connect: String::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            match name.as_str() {
                "--sessions" => plan.sessions = number(&name, &value),
                "--symbols" => plan.symbols = number(&name, &value),
                "--each" => plan.each = number(&name, &value),
                "--rate" => plan.rate = number(&name, &value),
                "--for" => plan.seconds = number(&name, &value),
                "--channel" => plan.channel = value,
                "--cork-worth-percent" => plan.cork_worth_percent = number(&name, &value),
                "--cork-us" => plan.cork_us = number(&name, &value),
                "--connect" => plan.connect = value,
                _ => panic!("unknown option {name}"),
            }
        }
        plan
    }
}

fn number<N: std::str::FromStr>(name: &str, value: &str) -> N {
    value.parse().unwrap_or_else(|_| panic!("{name}: `{value}` is no number"))
}

fn main() {
    let plan = Plan::read();
    if !plan.connect.is_empty() {
        usage::pin(1);
        clients::run(&plan);
        return;
    }
    usage::pin(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(serve(plan));
}

async fn serve(plan: Plan) {
    let bus: Arc<dyn Backplane> = Arc::new(MemoryBus::default());
    let free = ([127, 0, 0, 1], 0).into();
    let mut config = GatewayConfig {
        listen: free,
        admin_listen: free,
        auth: AuthSettings::anonymous(),
        ..GatewayConfig::default()
    };
    config.pacing = Pacing {
        worth: plan.cork_worth_percent / 100.0,
        wait_max: Duration::from_micros(plan.cork_us),
        ..Pacing::default()
    };
    config.limits.sessions = plan.sessions + 1;
    source::start(&plan, Arc::clone(&bus));
    let gateway = Gateway::start(config, bus, Arc::new(NoPages)).await.expect("a gateway");
    // It waits until the bus was heard for long enough.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = usage::Usage::now();
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args(std::env::args().skip(1))
        .args(["--connect", &gateway.listen_address().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the clients");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = tell.blocking_send(line);
        }
    });
    let mut start = None;
    while let Some(line) = told.recv().await {
        if line == "ready" {
            start = Some(usage::Usage::now());
            continue;
        }
        let Some(start) = &start else { panic!("{line}") };
        usage::Usage::now().print(&before, start, &line, plan.sessions);
    }
    let _ = child.wait();
    std::process::exit(0);
}
