//! A disk that is full, and a pipe that nobody reads: logs are lost and counted, and sessions go on.

use std::fs::File;
use std::process::{Command, Stdio};

use tickwire_client::wire::Channel;
use tickwire_client::{Client, Event};
use tickwire_testkit::Program;

use crate::session::fed;
use crate::world::{Gateway, TICKWIRE, get, nats, until};

/// Returns how many lines of each kind were lost: of the audit, and others.
async fn lost(admin: &str) -> [u64; 2] {
    let (_, metrics) = get(admin, "/metrics").await.unwrap();
    ["audit", "other"].map(|kind| {
        let name = format!("tickwire_log_lines_lost_total{{kind=\"{kind}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name.as_str()));
        value.unwrap_or_else(|| panic!("{name} is not in {metrics}")).parse().unwrap()
    })
}

async fn follow(url: &str) {
    let mut client = Client::builder(url).subscribe(Channel::Quote, ["sim:*"]).connect().await.unwrap();
    let mut records = 0;
    while records < 100 {
        let batch = client.next().await.unwrap_or_else(|| panic!("{:?}", client.end()));
        records += batch.iter().filter(|event| matches!(event, Event::Record(_))).count();
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_that_cannot_be_written_stop_nobody_and_are_counted() {
    let nats = nats();
    // Both outputs are full from the first byte on, so the addresses cannot be read from there either.
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (listen, admin) = (port().to_string(), port().to_string());
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let mut gateway = Command::new(TICKWIRE)
        .args(["gateway", "--anonymous", "--bus", &nats.url(), "--listen", &listen, "--admin-listen", &admin])
        .stdin(Stdio::null())
        .stdout(full())
        .stderr(full())
        .spawn()
        .unwrap();
    let market = ["ingest", "sim", "--instruments", "5", "--rate", "500", "--bus", &nats.url()];
    let _ingester = Program::start(TICKWIRE, &market);
    let is_fed = || async {
        get(&admin, "/readyz")
            .await
            .is_some_and(|(status, body)| status == 200 && body.contains(r#""sim":"live""#))
    };
    assert!(until(is_fed).await, "{:?}", gateway.try_wait());
    let [audit, other] = lost(&admin).await;
    assert!(audit == 0 && other > 0, "{audit} {other}");
    for sessions in 1..=3 {
        follow(&format!("ws://{listen}/v1/stream")).await;
        // One line when it opens, and one when it ends.
        let are_counted = || async { lost(&admin).await[0] == 2 * sessions };
        assert!(until(are_counted).await, "{:?}", lost(&admin).await);
    }
    assert!(gateway.try_wait().unwrap().is_none(), "it goes on");
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_nobody_and_is_counted() {
    let nats = nats();
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (listen, admin) = (port().to_string(), port().to_string());
    let (log, pipe) = std::io::pipe().unwrap();
    // The pipe is all but full from the beginning, so that little has to be logged.
    let mut filling = fill(&pipe, "61440");
    // What it says at its start finds no room at all.
    let (output, full) = std::io::pipe().unwrap();
    let mut filled = fill(&full, "65536");
    filled.wait().unwrap();
    let mut gateway = Command::new(TICKWIRE)
        .args(["gateway", "--anonymous", "--bus", &nats.url(), "--listen", &listen, "--admin-listen", &admin])
        .args(["--log-level", "trace", "--set", "log.lines_max=0", "--set", "log.waiting_bytes=4096"])
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(pipe)
        .spawn()
        .unwrap();
    let market = ["ingest", "sim", "--instruments", "5", "--rate", "500", "--bus", &nats.url()];
    let _ingester = Program::start(TICKWIRE, &market);
    let is_ready = || async { get(&admin, "/readyz").await.is_some_and(|(status, _)| status == 200) };
    assert!(until(is_ready).await, "{:?}", gateway.try_wait());
    // The pipe takes what the system lets it hold, then lines wait, then they are lost. Sessions do not notice.
    let mut sessions = 0;
    while lost(&admin).await[0] == 0 {
        follow(&format!("ws://{listen}/v1/stream")).await;
        sessions += 1;
        assert!(sessions < 1_000, "nothing fills the pipe");
    }
    // It ends in good order, too.
    Command::new("kill").arg(gateway.id().to_string()).status().unwrap();
    let ended = tokio::task::spawn_blocking(move || gateway.wait().unwrap());
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), ended).await;
    assert_eq!(ended.expect("it does not end").unwrap().code(), Some(0));
    drop((log, output));
    filling.wait().unwrap();
}

/// Puts so many bytes into a pipe.
fn fill(pipe: &std::io::PipeWriter, bytes: &str) -> std::process::Child {
    let pipe = pipe.try_clone().unwrap();
    Command::new("head").args(["-c", bytes, "/dev/zero"]).stdout(pipe).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_goes_on_whose_words_nobody_can_read() {
    let nats = nats();
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (listen, admin) = (port().to_string(), port().to_string());
    let closed = || std::io::pipe().unwrap().1;
    let mut gateway = Command::new(TICKWIRE)
        .args(["gateway", "--anonymous", "--bus", &nats.url(), "--listen", &listen, "--admin-listen", &admin])
        .stdin(Stdio::null())
        .stdout(closed())
        .stderr(closed())
        .spawn()
        .unwrap();
    let is_ready = || async { get(&admin, "/readyz").await.is_some_and(|(status, _)| status == 200) };
    assert!(until(is_ready).await, "{:?}", gateway.try_wait());
    Command::new("kill").arg(gateway.id().to_string()).status().unwrap();
    let ended = tokio::task::spawn_blocking(move || gateway.wait().unwrap()).await;
    assert_eq!(ended.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_room_nothing_is_lost() {
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let _ingester = fed(&nats, &gateway).await;
    follow(&gateway.url()).await;
    let has_ended = || async { gateway.program.output().contains("session ended") };
    assert!(until(has_ended).await);
    assert_eq!(lost(&gateway.admin).await, [0, 0]);
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(TICKWIRE).arg("config").stdout(full).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("cannot write to standard output"), "{told}");
}
