//! The permissions of `deploy/nats/users.conf`: both sides work with them, and nothing else is allowed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tickwire_bus::{HistoryConfig, HistoryState, InboxLimits, NatsConfig, Secret, Subject};
use tickwire_testkit::{NatsServer, NatsServerConfig};

use crate::fixture::{PATIENCE, connect, data, messages, nats_config, take, up};

const INGEST: &str = "ingest";
const GATEWAY: &str = "gateway";

/// Starts a server with the users of the file as it ships.
fn server() -> NatsServer {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/nats/users.conf");
    let users = std::fs::read_to_string(file).unwrap();
    let text = format!("INGEST_PASSWORD: {INGEST}\nGATEWAY_PASSWORD: {GATEWAY}\n{users}");
    NatsServer::start(NatsServerConfig { text, jetstream: true, ..NatsServerConfig::default() })
}

fn signed_in(server: &NatsServer, user: &str) -> NatsConfig {
    let channels = vec!["trade".to_owned()];
    let history = HistoryConfig {
        stream: "TICKWIRE".to_owned(),
        channels,
        make: user == INGEST,
        max_age: Duration::from_mins(1),
        max_bytes: 1 << 20,
        replicas: 1,
    };
    NatsConfig {
        user: Some(user.to_owned()),
        password: Some(Secret::new(user)),
        inbox_prefix: format!("_INBOX.{user}"),
        history: Some(history),
        ..nats_config(server)
    }
}

#[tokio::test]
async fn each_side_can_do_what_it_has_to() {
    let server = server();
    let (ingester, gateway) = (connect(&signed_in(&server, INGEST)), connect(&signed_in(&server, GATEWAY)));
    for bus in [&ingester, &gateway] {
        up(bus.as_ref()).await;
    }
    let (interest, mut inbox) = gateway.inbox(InboxLimits::default());
    let heartbeat = Subject::heartbeat("sim").unwrap();
    interest.subscribe(&data("A"), 1).unwrap();
    interest.subscribe(&heartbeat, 2).unwrap();
    gateway.flush(PATIENCE).await.unwrap();
    ingester.publish(&data("A"), Bytes::from("x")).unwrap();
    ingester.publish(&heartbeat, Bytes::from("y")).unwrap();
    assert_eq!(messages(&take(&mut inbox, 2).await), [(1, b"x".as_slice()), (2, b"y")]);
    // An ingester keeps leases, and a gateway does not.
    let revision = ingester.register().unwrap().write("feed", Bytes::from("me"), 0).await.unwrap().unwrap();
    let entry = ingester.register().unwrap().read("feed").await.unwrap();
    assert_eq!(entry.map(|entry| entry.revision), Some(revision));
    let refused =
        tokio::time::timeout(Duration::from_secs(1), gateway.register().unwrap().read("feed")).await;
    assert!(!matches!(refused, Ok(Ok(_))), "{refused:?}");
    // A request and its response.
    let subject = Subject::request("sim", 7).unwrap();
    let mut requests = ingester.serve(&subject).await.unwrap();
    let asked = tokio::spawn(async move {
        for n in 0..3_u8 {
            let response =
                gateway.request(&Subject::request("sim", 7).unwrap(), Bytes::from(vec![n]), PATIENCE).await;
            assert_eq!(response.unwrap(), vec![n, n]);
        }
        gateway
    });
    for _ in 0..3 {
        let request = requests.next().await.unwrap();
        let twice = [&request.payload()[..], &request.payload()[..]].concat();
        request.reply(twice.into()).unwrap();
    }
    let gateway = asked.await.unwrap();
    // The stream that the ingester makes, and the gateway looks into.
    for bus in [&ingester, &gateway] {
        let mut state = bus.history().unwrap().state();
        let ready = tokio::time::timeout(PATIENCE, state.wait_for(|state| *state == HistoryState::Ready));
        assert!(ready.await.is_ok(), "{:?}", bus.history().unwrap().state().borrow());
    }
}

/// A connection that speaks the protocol of NATS itself, so that nothing stands between it and the server's refusals.
struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    fn connect(server: &NatsServer, user: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self { stream: BufReader::new(stream) };
        assert!(raw.line().starts_with("INFO "));
        let options = format!(r#"{{"user":"{user}","pass":"{user}","verbose":false,"pedantic":false}}"#);
        assert_eq!(raw.ask(&format!("CONNECT {options}\r\n")), Vec::<String>::new());
        raw
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends something, and returns what the server said to it.
    fn ask(&mut self, text: &str) -> Vec<String> {
        self.stream.get_mut().write_all(format!("{text}PING\r\n").as_bytes()).unwrap();
        let mut said = Vec::new();
        loop {
            match self.line().as_str() {
                "PONG" => return said,
                "" => panic!("the server closed the connection: {said:?}"),
                "PING" => self.stream.get_mut().write_all(b"PONG\r\n").unwrap(),
                line => said.push(line.to_owned()),
            }
        }
    }

    fn subscribe(&mut self, subject: &str) -> Vec<String> {
        self.ask(&format!("SUB {subject} 1\r\n"))
    }

    fn publish(&mut self, subject: &str) -> Vec<String> {
        self.ask(&format!("PUB {subject} 1\r\nx\r\n"))
    }
}

#[track_caller]
fn check_refused(said: &[String], what: &str) {
    let refused = format!("-ERR 'Permissions Violation for {what}");
    assert!(matches!(said, [one] if one.to_lowercase().starts_with(&refused.to_lowercase())), "{said:?}");
}

#[test]
fn what_a_side_does_not_need_is_refused() {
    let server = server();
    let (mut ingester, mut gateway) = (Raw::connect(&server, INGEST), Raw::connect(&server, GATEWAY));
    // An ingester reads no market data, by no name of it, and nothing that is answered to gateways.
    for subject in [
        "tw.v1.sim.quote.A",
        "tw.v1.>",
        "tw.>",
        ">",
        "tw.heartbeat.v1.*",
        "tw.revoke.v1",
        "_INBOX.>",
        "_INBOX.gateway.>",
        "$JS.>",
    ] {
        check_refused(&ingester.subscribe(subject), &format!("Subscription to \"{subject}\""));
    }
    // It asks nobody, looks nothing up, and revokes nobody's token.
    for subject in [
        "tw.request.v1.sim.7",
        "tw.revoke.v1",
        "$JS.API.DIRECT.GET.TICKWIRE",
        "$JS.API.STREAM.DELETE.TICKWIRE",
        "_INBOX.gateway.x",
    ] {
        check_refused(&ingester.publish(subject), &format!("Publish to \"{subject}\""));
    }
    // A gateway writes no market data, and does not answer for an ingester.
    for subject in [
        "tw.v1.sim.quote.A",
        "tw.v1.sim.trade.A",
        "tw.heartbeat.v1.sim",
        "_INBOX.gateway.x",
        "_INBOX.ingest.x",
        "$JS.API.STREAM.CREATE.TICKWIRE",
        "$JS.API.STREAM.UPDATE.TICKWIRE",
        "$JS.API.STREAM.DELETE.TICKWIRE",
        "$JS.API.STREAM.PURGE.TICKWIRE",
    ] {
        check_refused(&gateway.publish(subject), &format!("Publish to \"{subject}\""));
    }
    for subject in ["tw.request.v1.*.*", "tw.>", ">", "_INBOX.>", "_INBOX.ingest.>", "$JS.>", "$SYS.>"] {
        check_refused(&gateway.subscribe(subject), &format!("Subscription to \"{subject}\""));
    }
    // The refusals say nothing of what is allowed: the same connections do that.
    assert_eq!(ingester.publish("tw.v1.sim.quote.A"), Vec::<String>::new());
    assert_eq!(gateway.subscribe("tw.v1.>"), Vec::<String>::new());
    assert_eq!(gateway.publish("tw.request.v1.sim.7"), Vec::<String>::new());
    assert_eq!(gateway.subscribe("tw.revoke.v1"), Vec::<String>::new());
    assert_eq!(gateway.publish("tw.revoke.v1"), Vec::<String>::new());
}

/// A request may name any subject for its response, and whoever answers may write market data.
#[tokio::test]
async fn a_response_goes_to_no_subject_of_the_bus_itself() {
    let server = server();
    let ingester = connect(&signed_in(&server, INGEST));
    up(ingester.as_ref()).await;
    let mut requests = ingester.serve(&Subject::request("sim", 7).unwrap()).await.unwrap();
    let mut gateway = Raw::connect(&server, GATEWAY);
    assert_eq!(gateway.subscribe("tw.v1.>"), Vec::<String>::new());
    let asked = |reply: &str| format!("PUB tw.request.v1.sim.7 {reply} 1\r\nx\r\n");
    assert_eq!(gateway.ask(&asked("tw.v1.sim.trade.A")), Vec::<String>::new());
    assert_eq!(gateway.ask(&asked("_INBOX.gateway.x")), Vec::<String>::new());
    // Only the second one arrives.
    let request = tokio::time::timeout(PATIENCE, requests.next()).await.unwrap().unwrap();
    request.reply(Bytes::from("y")).unwrap();
    ingester.flush(PATIENCE).await.unwrap();
    assert!(futures_util::poll!(std::pin::pin!(requests.next())).is_pending());
    assert_eq!(gateway.ask(""), Vec::<String>::new(), "nothing came on market subjects");
}
