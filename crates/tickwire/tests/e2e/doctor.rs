//! `tickwire doctor` on installations that are well, and on others that are ill in one way each.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tickwire_testkit::{Authority, DelayProxy, Link, NatsServer, Program, Validity, Variation};

use crate::world::{Gateway, TICKWIRE, nats, until};

const SYMBOL: &str = "sim:BTC-USD";

/// A gateway with a market.
struct World {
    gateway: Gateway,
    ingester: Program,
    _nats: NatsServer,
}

impl World {
    async fn start(more: &[&str]) -> Self {
        let nats = nats();
        let gateway = Gateway::start_with(&nats.url(), more).await;
        let market = ["ingest", "sim", "--instruments", "4", "--rate", "400", "--bus", &nats.url()];
        let ingester = Program::start(TICKWIRE, &market);
        let world = Self { gateway, ingester, _nats: nats };
        world.feed_is("live").await;
        world
    }

    async fn feed_is(&self, state: &str) {
        let part = format!(r#""sim":"{state}""#);
        let is_so =
            || async { self.gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains(&part)) };
        assert!(until(is_so).await, "the feed is not {state}");
    }
}

/// The doctor's findings, and its exit status.
struct Told {
    code: Option<i32>,
    json: Value,
}

async fn ask(arguments: &[&str]) -> Told {
    let mut command = Command::new(TICKWIRE);
    command.args(["doctor", "--json"]).args(arguments);
    if !arguments.contains(&"--for") {
        command.args(["--for", "2s"]);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    Told { code: output.status.code(), json }
}

impl Told {
    #[track_caller]
    fn check(&self, check: &str) -> &Value {
        let all = self.json["checks"].as_array().unwrap();
        all.iter()
            .find(|known| known["check"] == check)
            .unwrap_or_else(|| panic!("no {check} in {:#}", self.json))
    }

    /// One check says this, and what follows it was left out.
    #[track_caller]
    fn fails(&self, check: &str, said: &str, remedy: &str) {
        let found = self.check(check);
        assert_eq!(found["status"], "failure", "{:#}", self.json);
        for (field, part) in [("said", said), ("remedy", remedy)] {
            assert!(found[field].as_str().unwrap().contains(part), "{part} is not in {found:#}");
        }
        assert_eq!((self.code, &self.json["ok"]), (Some(1), &false.into()));
        assert_eq!(self.json["checks"].as_array().unwrap().last().unwrap()["check"], check);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_is_well() {
    let world = World::start(&[]).await;
    let told = ask(&[&world.gateway.url(), SYMBOL]).await;
    assert_eq!((told.code, &told.json["ok"]), (Some(0), &true.into()), "{:#}", told.json);
    for check in ["tcp", "websocket", "hello", "clock", "subscribe", "data"] {
        assert_eq!(told.check(check)["status"], "ok", "{:#}", told.json);
    }
    assert!(told.check("heartbeats")["facts"]["heartbeats"].as_u64().unwrap() >= 3);
    assert!(told.check("data")["facts"]["age_ms"].as_u64().unwrap() < 10_000);
    // For people.
    let output = Command::new(TICKWIRE).args(["doctor", &world.gateway.url()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("ok   hello") && text.contains("no symbol was named"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_data_is_told() {
    let mut world = World::start(&[]).await;
    let url = world.gateway.url();
    ask(&[&url, "sim:NOPE"]).await.fails("subscribe", "is refused", "write it as the venue does");
    ask(&[&url, "elsewhere:X"]).await.fails("subscribe", "is refused", "no ingester of that venue");
    // The gateway keeps what it knows of a symbol that somebody wanted.
    assert_eq!(ask(&[&url, SYMBOL]).await.code, Some(0));
    world.ingester.kill();
    world.feed_is("down").await;
    let told = ask(&[&url, SYMBOL]).await;
    told.fails("data", "the feed of sim is down", "start the ingester of that venue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_on_the_way_is_told() {
    ask(&["http://127.0.0.1:7400"]).await.fails("url", "the scheme is `http`", "as clients do");
    ask(&["ws://nowhere.invalid:7400"]).await.fails("dns", "the name nowhere.invalid", "check the name");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    ask(&[&format!("ws://{free}")]).await.fails("tcp", "nothing listens there", "start the gateway");
    // A page where the gateway should be.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome");
        }
    });
    ask(&[&format!("ws://{page}")]).await.fails(
        "websocket",
        "HTTP 200 instead of 101",
        "does not pass Upgrade on",
    );
    ask(&[&format!("wss://{page}")]).await.fails("tls", "speaks no TLS", "write ws://");
    let bus = nats();
    let gateway = Gateway::start(&bus.url()).await;
    let wrong = format!("ws://{}/elsewhere", gateway.listen);
    ask(&[&wrong]).await.fails("websocket", "HTTP 404 instead of 101", "the path is wrong");
    let output = Command::new(TICKWIRE).arg("doctor").env_remove("TICKWIRE_URL").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_gathers_is_found_by_its_lumps() {
    let bus = nats();
    let gateway = Gateway::start(&bus.url()).await;
    let link = Link::round_trip(Duration::ZERO).varied(Variation::Lumps(Duration::from_millis(1_200)));
    let proxy = DelayProxy::start(gateway.listen.parse().unwrap(), link).await.unwrap();
    let url = format!("ws://{}", proxy.address());
    let told = ask(&["--for", "4s", &url]).await;
    let heartbeats = told.check("heartbeats");
    assert_eq!(heartbeats["status"], "failure", "{:#}", told.json);
    assert!(heartbeats["said"].as_str().unwrap().contains("come in lumps"), "{heartbeats:#}");
    assert!(heartbeats["remedy"].as_str().unwrap().contains("proxy_buffering off"), "{heartbeats:#}");
    assert_eq!(told.code, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_looked_at() {
    let authority = Authority::new("the authority");
    let (good, soon) = (authority.sign("gateway"), authority.sign_for("soon", Validity::Soon));
    let ca = authority.ca_file().display().to_string();
    let nats = nats();
    let start = async |certified: &tickwire_testkit::Certified| {
        let (cert, key) = (certified.cert.display().to_string(), certified.key.display().to_string());
        Gateway::start_with(&nats.url(), &["--tls-cert", &cert, "--tls-key", &key]).await
    };
    let gateway = start(&good).await;
    let told = ask(&["--ca-file", &ca, &gateway.url()]).await;
    assert_eq!(told.code, Some(0), "{:#}", told.json);
    let tls = told.check("tls");
    assert_eq!((&tls["status"], &tls["facts"]["version"]), (&"ok".into(), &"TLS 1.3".into()));
    assert_eq!(tls["facts"]["names"], serde_json::json!(["127.0.0.1", "localhost"]));
    assert!(tls["facts"]["days_left"].as_u64().unwrap() > 14, "{tls:#}");
    ask(&[&gateway.url()]).await.fails(
        "tls",
        "no known authority has signed it (it shows a certificate for 127.0.0.1",
        "`--ca-file`",
    );
    let other = ["--ca-file", &ca, "--server-name", "elsewhere.example", &gateway.url()];
    ask(&other).await.fails("tls", "elsewhere.example was asked for", "`--server-name`");
    ask(&["--ca-file", "/nowhere.pem", &gateway.url()]).await.fails(
        "tls",
        "/nowhere.pem cannot be read",
        "PEM",
    );
    let plain = format!("ws://{}", gateway.listen);
    ask(&[&plain]).await.fails("websocket", "speaks TLS: connect with wss://", "its text says");

    let gateway = start(&soon).await;
    let told = ask(&["--ca-file", &ca, &gateway.url()]).await;
    assert_eq!((&told.check("tls")["status"], told.code), (&"warning".into(), Some(0)), "{:#}", told.json);
    assert_eq!(ask(&["--strict", "--ca-file", &ca, &gateway.url()]).await.code, Some(1));
}

/// Whoever reads what the doctor said learns no token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_not_repeated() {
    let bus = nats();
    let gateway = Gateway::start(&bus.url()).await;
    let told = ask(&["--token", "SECRET", &gateway.url()]).await;
    assert!(!told.json.to_string().contains("SECRET"));
    let told = ask(&["ws://me:SECRET@127.0.0.1:1/"]).await;
    assert!(!told.json.to_string().contains("SECRET"), "{:#}", told.json);
}
