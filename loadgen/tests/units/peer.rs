use super::*;

#[test]
fn updates_are_read_as_they_were_written() {
    let update = |symbol| Update { symbol, sequence: 1 << 50, intended_time: 1_767_623_400_123_456_789 };
    let mut bytes = Vec::new();
    update(3).write(&mut bytes);
    update(4_000_000_000).write(&mut bytes);
    assert_eq!(bytes.len(), 2 * UPDATE_BYTES);
    let mut found = Vec::new();
    assert_eq!(Update::read_all(&bytes, &mut |update| found.push(update)), Ok(()));
    assert_eq!(found, [update(3), update(4_000_000_000)]);
    assert!(Update::read_all(&bytes[..79], &mut |_| {}).unwrap_err().contains("39 bytes"));
}

#[test]
fn kinds_have_names_of_their_own() {
    let kinds = [PeerKind::Raw40, PeerKind::NatsWs, PeerKind::SocketIo, PeerKind::Centrifugo];
    assert_eq!(kinds.map(crate::scenario::forms::word), ["raw40", "nats-ws", "socket.io", "centrifugo"]);
}
