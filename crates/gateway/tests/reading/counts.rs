//! Each session that the gateway closes is counted once, however its client answers.

use std::sync::Arc;

use tickwire_auth::{ApiKeys, AuthSettings, Authenticator, hash_of, key_of};
use tickwire_bus::{Backplane, MemoryBus};
use tickwire_gateway::{Gateway, GatewayConfig, NoPages};

use super::{CLOSE, HANG, Rig, TEXT, masked};

/// Returns the sessions that were closed, by the names of the codes.
async fn closed(rig: &Rig) -> Vec<String> {
    let metrics = rig.admin("/metrics").await;
    let counts = metrics.lines().filter_map(|line| line.strip_prefix("tickwire_sessions_closed_total{code="));
    counts.filter(|count| !count.ends_with(" 0")).map(str::to_owned).collect()
}

/// Starts a gateway where tokens may come by the first message.
async fn rig() -> Rig {
    let hash = hash_of(&key_of([1; 32])).unwrap();
    let file = format!("[[key]]\nname = \"desk\"\nsha256 = \"{hash}\"\ngrants = [{{}}]\n");
    let authenticator = Authenticator::new(AuthSettings { anonymous: true, ..AuthSettings::default() })
        .with_api_keys(ApiKeys::parse(&file).unwrap());
    let free = ([127, 0, 0, 1], 0).into();
    let config = GatewayConfig { listen: free, admin_listen: free, ..GatewayConfig::default() };
    let bus: Arc<dyn Backplane> = Arc::new(MemoryBus::default());
    let gateway = Gateway::start_with(config, Arc::new(authenticator), bus, Arc::new(NoPages)).await.unwrap();
    Rig { gateway }
}

#[tokio::test]
async fn a_session_that_is_closed_is_counted_once_however_its_client_closes() {
    let rig = rig().await;
    // It is ready when sessions are taken.
    drop(rig.connect(&[]).await);
    let request =
        b"GET /v1/stream?auth=message HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (mut peer, head) = rig.send(request).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    peer.send(&masked(TEXT, br#"{"op":"token","id":1,"token":"a.b.c"}"#)).await;
    let code = peer.next(CLOSE).await;
    assert_eq!(code[..2], 4503_u16.to_be_bytes());
    // No frame may have this code.
    peer.send(&masked(CLOSE, &1005_u16.to_be_bytes())).await;
    assert_eq!(peer.close_code().await, None);
    let counting = async {
        while closed(&rig).await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, counting).await.expect("it is not counted");
    assert_eq!(closed(&rig).await, ["\"unauthorized\"} 1"]);
    // One that the client closes so by itself is closed for that.
    let mut peer = rig.connect(&masked(CLOSE, &1005_u16.to_be_bytes())).await;
    assert_eq!(peer.close_code().await, Some(1002));
    assert_eq!(closed(&rig).await.len(), 2);
    rig.gateway.drain().await;
}
