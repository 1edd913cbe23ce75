//! The edges of a real process: crowds of idle connections, too few open files, a terminal that closes, foreign pages.

use tickwire_testkit::Program;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{TICKWIRE, get, nats, until};

/// A demo with its addresses: a gateway with a page that needs no bus.
struct Demo {
    program: Program,
    listen: String,
    admin: String,
}

impl Demo {
    async fn start(more: &[&str]) -> Self {
        let mut arguments = vec!["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        arguments.extend_from_slice(more);
        Self::of(Program::start(TICKWIRE, &arguments)).await
    }

    /// Starts the demo after this command of a shell, in the same process.
    async fn start_after(shell: &str) -> Self {
        let script = format!(
            "{shell}\nexec \"$0\" demo --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --set gateway.shards=1"
        );
        Self::of(Program::start("sh", &["-c", &script, TICKWIRE])).await
    }

    async fn of(program: Program) -> Self {
        let address = |line: String| line.split("//").nth(1).unwrap().split('/').next().unwrap().to_owned();
        let listen = address(program.line_with("stream: ws://"));
        let admin = address(program.line_with("admin: http://"));
        let demo = Self { program, listen, admin };
        let ready = until(|| async { demo.ask("/readyz").await == 200 });
        assert!(ready.await, "{}", demo.program.output());
        demo
    }

    async fn ask(&self, path: &str) -> u16 {
        get(&self.admin, path).await.map_or(0, |(status, _)| status)
    }

    async fn metric(&self, name: &str) -> u64 {
        let (_, body) = get(&self.admin, "/metrics").await.unwrap();
        let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {body}")).parse().unwrap()
    }

    /// Shakes hands; the status, and the socket.
    async fn session(&self) -> (u16, TcpStream) {
        let mut stream = TcpStream::connect(&self.listen).await.unwrap();
        let request = "GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = head(&mut stream).await;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, stream)
    }

    async fn post(&self, path: &str, headers: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.listen).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n",
            self.listen
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        (response.split(' ').nth(1).unwrap().parse().unwrap(), response)
    }
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Opens so many connections that send this, and reads the response where one is expected.
async fn crowd(address: &str, count: usize, said: &[u8], answered: bool) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        if answered {
            assert!(head(&mut stream).await.starts_with("HTTP/1.1 "), "no response");
        }
        all.push(stream);
    }
    all
}

const HALF: &[u8] = b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnec";
const PAGE: &[u8] = b"GET /demo.json HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_crowds_lock_nobody_out() {
    let _ = tickwire_gateway::raise_open_files();
    // Nothing here ends because its time is over.
    let demo = Demo::start(&["--set", "gateway.handshake_ms=60000"]).await;
    let mut idle = Vec::new();
    for (kind, (said, answered)) in [(&b""[..], false), (HALF, false), (PAGE, true)].into_iter().enumerate() {
        idle.extend(crowd(&demo.listen, 1_100, said, answered).await);
        // Sessions open while all of these are there, and each of them stays.
        for _ in 0..20 {
            let (status, stream) = demo.session().await;
            assert_eq!(status, 101, "beside crowd {kind}");
            idle.push(stream);
        }
        let page = get(&demo.listen, "/demo.json").await.unwrap();
        assert_eq!(page.0, 200);
        assert_eq!(demo.ask("/healthz").await, 200);
    }
    assert_eq!(demo.metric("tickwire_sessions").await, 60);
    assert!(demo.metric("tickwire_connections_evicted_total").await > 2_000);
    // The administration has a crowd of its own.
    let _admin = crowd(&demo.admin, 300, HALF, false).await;
    assert_eq!(demo.ask("/healthz").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_open_files_left_the_administration_answers_and_sessions_go_on() {
    let mut demo = Demo::start_after("ulimit -n 220").await;
    let warning = demo.program.line_with("the limit of open files is below");
    assert!(warning.contains("ulimit -n") && warning.contains("open_files=220"), "{warning}");
    let mut sessions = Vec::new();
    let mut refused = 0;
    while refused < 20 {
        assert!(sessions.len() < 220, "more than there are open files");
        match demo.session().await {
            (101, stream) => sessions.push(stream),
            (503, _) => refused += 1,
            other => panic!("{other:?} after {} sessions", sessions.len()),
        }
    }
    assert!(sessions.len() >= 20, "{} sessions", sessions.len());
    let idle = crowd(&demo.listen, 300, b"", false).await;
    let _admin = crowd(&demo.admin, 100, b"", false).await;
    assert_eq!(demo.ask("/healthz").await, 200);
    assert_eq!(demo.metric("tickwire_sessions").await, sessions.len() as u64);
    assert_eq!(demo.session().await.0, 503);
    // Those that are there are served: each gets heartbeats, the first as well as the last.
    let last = sessions.len() - 1;
    for at in [0, last] {
        let mut told = String::new();
        while !told.contains("\"heartbeat\"") {
            let mut buffer = [0; 4096];
            let read = sessions[at].read(&mut buffer).await.unwrap();
            assert!(read > 0, "session {at} was ended: {told}");
            told.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }
    drop(idle);
    let left = sessions.len() / 2;
    sessions.truncate(left);
    let fewer = until(|| async { demo.metric("tickwire_sessions").await == left as u64 });
    assert!(fewer.await);
    for _ in 0..5 {
        let (status, stream) = demo.session().await;
        assert_eq!(status, 101);
        sessions.push(stream);
    }
    let output = demo.program.output();
    assert_eq!(output.matches("cannot accept").count(), 0, "{output}");
    demo.program.terminate();
    assert_eq!(demo.program.ended().code(), Some(0));
}

#[test]
fn a_limit_that_leaves_nothing_is_an_error_with_a_remedy() {
    let script = "ulimit -n 64; exec \"$0\" demo --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";
    let mut program = Program::start("sh", &["-c", script, TICKWIRE]);
    assert_eq!(program.ended().code(), Some(1), "{}", program.output());
    let output = program.output();
    assert!(output.contains("limit of open files is 64") && output.contains("ulimit -n"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_closes_drains() {
    // Standard error takes nothing any more, as that of a closed terminal, and SIGHUP comes twice.
    let mut demo = Demo::start_after("exec 2>/dev/full").await;
    let (status, mut stream) = demo.session().await;
    assert_eq!(status, 101);
    // Before the hello, the connection has shaken hands and is no session yet.
    let mut told = vec![0; 4096];
    let hello = stream.read(&mut told).await.unwrap();
    told.truncate(hello);
    assert!(String::from_utf8_lossy(&told).contains("hello"));
    demo.program.hang_up();
    demo.program.hang_up();
    stream.read_to_end(&mut told).await.unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("\"draining\"") && told.contains("draining: the gateway"), "{told}");
    assert_eq!(demo.program.ended().code(), Some(0));

    let nats = nats();
    let gateway = crate::world::Gateway::start(&nats.url()).await;
    let mut ingester = Program::start(TICKWIRE, &["ingest", "sim", "--json", "--bus", &nats.url()]);
    let live = until(|| async {
        gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""sim":"live""#))
    });
    assert!(live.await, "the feed is not live:\n{}", ingester.output());
    ingester.hang_up();
    assert_eq!(ingester.ended().code(), Some(0), "{}", ingester.output());
    ingester.line_with("\"records\":");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_a_terminal_does_not_care_for_one() {
    let mut demo = Demo::start_after("trap '' HUP").await;
    demo.program.hang_up();
    let (status, _stream) = demo.session().await;
    assert_eq!((status, demo.ask("/readyz").await), (101, 200));
    demo.program.terminate();
    assert_eq!(demo.program.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_pages_press_no_buttons() {
    let demo = Demo::start(&[]).await;
    for headers in ["", "Origin: https://news.example\r\n", "Origin: null\r\n"] {
        let (status, response) = demo.post("/demo/freeze", headers).await;
        assert_eq!(status, 403, "{response}");
        assert!(response.contains("the demo's own page"), "{response}");
    }
    let state = get(&demo.listen, "/demo.json").await.unwrap().1;
    assert!(state.contains("\"frozen\":false"), "{state}");
    let own = format!("Origin: http://{}\r\n", demo.listen);
    let (status, response) = demo.post("/demo/freeze", &own).await;
    assert!(status == 200 && response.contains("\"frozen\":true"), "{response}");
    let (status, response) = demo.post("/demo/resume", &own).await;
    assert!(status == 200 && response.contains("\"frozen\":false"), "{response}");
}
