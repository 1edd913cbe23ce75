//! `/v1/sessions` over HTTP, with sessions over TCP.

use std::time::Duration;

use serde_json::Value;
use tickwire_client::{BoxTransport, Client};
use tickwire_gateway::{GatewayConfig, Limits};
use tickwire_wire::{Channel, Encoding};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::rig::{Rig, SYMBOL, Watcher, quote, trade};

/// The time after which a test ends that would wait for ever; nothing is measured by it.
const HANG: Duration = Duration::from_mins(1);

#[track_caller]
pub(super) fn run<F: Future<Output = ()>>(test: F) {
    let test = async { tokio::time::timeout(HANG, test).await.expect("it comes to an end") };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

pub(super) async fn raw(rig: &Rig, path: &str) -> String {
    let mut stream = TcpStream::connect(rig.gateway.admin_address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

/// Returns status and body.
async fn get(rig: &Rig, path: &str) -> (u16, Value) {
    let response = raw(rig, path).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

async fn list(rig: &Rig, query: &str) -> (Vec<String>, Value) {
    let (status, body) = get(rig, &format!("/v1/sessions{query}")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["silent_shards"], serde_json::json!([]));
    let ids = body["sessions"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned());
    (ids.collect(), body)
}

#[test]
fn all_shards_sessions_are_listed_in_pages() {
    run(async {
        let rig = Rig::start(GatewayConfig { shards: 2, ..GatewayConfig::default() }).await;
        let mut watchers = Vec::new();
        for _ in 0..5 {
            watchers.push(rig.client(Channel::Trade).await);
        }
        let (ids, body) = list(&rig, "").await;
        assert_eq!((ids.len(), &body["next"]), (5, &Value::Null));
        let shards: std::collections::BTreeSet<_> =
            body["sessions"].as_array().unwrap().iter().map(|row| row["shard"].as_u64().unwrap()).collect();
        assert_eq!(shards.len(), 2, "{body}");
        let (mut paged, mut query) = (Vec::new(), "?limit=2".to_owned());
        loop {
            let (ids, body) = list(&rig, &query).await;
            assert!(ids.len() <= 2);
            paged.extend(ids);
            let Some(next) = body["next"].as_str() else { break };
            query = format!("?limit=2&after={next}");
        }
        assert_eq!(paged, ids, "each once, in the order in which they came");
        let row = &body["sessions"][0];
        let peer: std::net::SocketAddr = row["peer"].as_str().unwrap().parse().unwrap();
        assert!(peer.ip().is_loopback());
        assert_eq!((&row["state"], &row["encoding"]), (&"prompt".into(), &"proto".into()));
        assert_eq!(row["subscriptions"], 1);
        assert!(row["opened"].as_str().unwrap().ends_with('Z'));
        assert!(row["opened_ns"].as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000_000_000_000);
        assert_eq!(list(&rig, "?state=conflating").await.0, Vec::<String>::new());
        assert_eq!(list(&rig, "?state=prompt&limit=1000").await.0.len(), 5);
        drop(watchers);
        rig.end().await;
    });
}

#[test]
fn what_does_not_exist_is_told_apart_from_what_is_wrong() {
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let (status, body) = get(&rig, "/v1/sessions/0000-17").await;
        assert_eq!((status, body["error"]["code"].as_str()), (404, Some("unknown_session")));
        for query in ["?limit=0", "?limit=1001", "?limit=x", "?state=slow", "?page=2"] {
            let (status, body) = get(&rig, &format!("/v1/sessions{query}")).await;
            assert_eq!((status, body["error"]["code"].as_str()), (400, Some("bad_query")), "{query}");
        }
        rig.end().await;
    });
}

fn has_price(watcher: &Watcher, price: i64) -> bool {
    watcher.client.quote(SYMBOL).and_then(|quote| quote.quote().bid).is_some_and(|bid| bid.price == price)
}

#[test]
fn a_session_tells_why_it_did_not_get_a_price() {
    run(async {
        let limits = Limits { socket_send_bytes: 4096, ..Limits::default() };
        let rig = Rig::start(GatewayConfig { limits, ..GatewayConfig::default() }).await;
        let url = format!("ws://{}/v1/stream", rig.gateway.listen_address());
        let builder = Client::builder(url)
            .encoding(Encoding::Json)
            .subscribe(Channel::Quote, [SYMBOL])
            .subscribe(Channel::Trade, [SYMBOL])
            .buffer_bytes(1 << 10)
            .connector(|target| async move {
                let socket = TcpSocket::new_v4()?;
                socket.set_recv_buffer_size(4096)?;
                let address = format!("{}:{}", target.host, target.port).parse().unwrap();
                Ok(Box::new(socket.connect(address).await?) as BoxTransport)
            });
        let mut watcher = Watcher { client: builder.start().unwrap(), seen: Vec::new() };
        watcher.until("live", |watcher| watcher.client.is_live(SYMBOL)).await;
        watcher.until("a quote", |watcher| !watcher.sequences().is_empty()).await;
        // The program reads nothing now, until its session is a conflating one and newer quotes supersede older ones.
        let mut price = 2;
        while list(&rig, "?state=conflating").await.0.is_empty() {
            for _ in 0..20 {
                rig.happens(1, quote(price)).await;
                price += 1;
            }
        }
        for _ in 0..20 {
            rig.happens(1, trade(price)).await;
            rig.happens(1, quote(price)).await;
            price += 1;
        }
        rig.published(Channel::Quote, price as u64 - 1).await;
        let id = loop {
            let (ids, body) = list(&rig, "?state=conflating").await;
            let parts = &body["sessions"][0]["pressure_bytes"];
            let under_way = parts["unsent"].as_u64().unwrap() + parts["in_flight"].as_u64().unwrap();
            assert!(under_way > 0, "{body}");
            if parts["lossless"].as_u64().unwrap() > 0 {
                break ids[0].clone();
            }
        };
        let newest = price - 1;
        watcher.until("the newest quote", |watcher| has_price(watcher, newest)).await;

        let (status, detail) = get(&rig, &format!("/v1/sessions/{id}")).await;
        assert_eq!(status, 200);
        let decisions = detail["decisions"].as_array().unwrap();
        let find = |kind: &str| decisions.iter().find(|entry| entry["kind"] == kind);
        let conflating = find("conflating").unwrap_or_else(|| panic!("{detail}"));
        // The reason that comes first depends on how much the kernels hold.
        let is_known = |why: &Value| *why == "socket_blocked" || *why == "window_full";
        assert!(conflating["because"].as_array().unwrap().iter().any(is_known), "{detail}");
        let superseded = find("superseded").unwrap_or_else(|| panic!("{detail}"));
        assert_eq!((&superseded["channel"], &superseded["symbol"]), (&"quote".into(), &SYMBOL.into()));
        assert!(superseded["first"].as_u64() < superseded["last"].as_u64(), "{detail}");
        assert!(superseded["since"].as_str().unwrap().contains('T'), "{detail}");
        let quotes = &detail["subscriptions"][0];
        assert_eq!((&quotes["channel"], &quotes["last_sent"]), (&"quote".into(), &quotes["newest"]));
        let account = &quotes["account"];
        let count = |name: &str| account[name].as_u64().unwrap();
        assert_eq!(count("published"), count("delivered") + count("conflated"), "{account}");

        let metrics = raw(&rig, "/metrics").await;
        for line in
            ["tickwire_sessions_by_state{state=\"closing\"}", "tickwire_pressure_bytes{part=\"unsent\"}"]
        {
            assert!(metrics.contains(line), "{metrics}");
        }
        drop(watcher);
        rig.end().await;
    });
}

#[test]
fn hops_are_told_with_what_was_counted_since_the_start() {
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let mut watcher = rig.client(Channel::Trade).await;
        let (status, before) = get(&rig, "/v1/hops").await;
        assert_eq!((status, before["hops"].as_array().map(Vec::len)), (200, Some(4)), "{before}");
        let mut number = 0;
        let told = loop {
            number += 1;
            rig.happens(number, trade(number as i64)).await;
            watcher.until("it came", |watcher| watcher.sequences().last() >= Some(&number)).await;
            let (_, told) = get(&rig, "/v1/hops").await;
            if told["hops"][1]["count"] != 0 {
                break told;
            }
        };
        assert_eq!(told["sampled_one_in"], 61, "{told}");
        let hop = &told["hops"][1];
        let name = [&hop["from"], &hop["to"], &hop["sessions"]];
        assert_eq!(name, ["gateway_in", "gateway_write", "prompt"]);
        // On a busy machine the write that was looked at may have held two records.
        let count = hop["count"].as_u64().unwrap();
        let counted: u64 = hop["counts"].as_array().unwrap().iter().map(|of| of[1].as_u64().unwrap()).sum();
        assert!(counted == count && count <= number, "{told}");
        let metrics = raw(&rig, "/metrics").await;
        let line = "tickwire_hop_seconds_count{hop=\"gateway_in-gateway_write\",sessions=\"prompt\"}";
        assert!(metrics.contains(&format!("{line} {count}\n")), "{metrics}");
    });
}
