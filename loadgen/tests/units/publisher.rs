use super::*;

#[test]
fn updates_as_each_peer_takes_them() {
    let updates = [Update { symbol: 3, sequence: 1, intended_time: 9 }; 2];
    let encoded = |publish: &Publish| {
        let mut out = Vec::new();
        encode(publish, &updates, &mut out);
        out
    };
    assert_eq!(encoded(&Publish::Tcp(String::new())).len(), 80);
    let nats = encoded(&Publish::Nats(String::new()));
    assert!(nats.starts_with(b"PUB u.3 40\r\n\x03"));
    assert_eq!(nats.len(), 2 * (12 + 40 + 2));
}
