use super::*;

const INFO: &[u8] = b"INFO {\"server_id\":\"x\",\"max_payload\":1048576}\r\n";

fn message(update: Update) -> Vec<u8> {
    let mut bytes = format!("MSG u.{} {} 40\r\n", update.symbol, update.symbol + 1).into_bytes();
    update.write(&mut bytes);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// A line's end inside an update must not be taken for one.
fn updates() -> Vec<Update> {
    let intended_time = u64::from_le_bytes(*b"\r\nMSG \r\n");
    (0..5).map(|symbol| Update { symbol, sequence: 0x0a0d, intended_time }).collect()
}

#[test]
fn it_does_not_matter_where_messages_are_cut() {
    let stream = [INFO, b"PONG\r\n", &updates().into_iter().flat_map(message).collect::<Vec<_>>()].concat();
    for cut in 0..stream.len() {
        for second in [cut, (cut + 7).min(stream.len())] {
            let mut session = NatsWs::default();
            let (mut found, mut ready, mut out) = (Vec::new(), 0, Vec::new());
            for part in [&stream[..cut], &stream[cut..second], &stream[second..]] {
                let progress =
                    session.message(Opcode::Binary, part, &mut out, &mut |update| found.push(update));
                ready += usize::from(progress == Ok(Progress::Ready));
            }
            assert_eq!((found, ready, out.len(), session.kept.len()), (updates(), 1, 0, 0), "cut at {cut}");
        }
    }
}

#[test]
fn it_subscribes_to_the_symbols() {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    NatsWs::default().open(&[0, 7], &mut out);
    let said = b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nSUB u.0 1\r\nSUB u.7 8\r\nPING\r\n";
    websocket::put(&mut expected, Opcode::Binary, said);
    assert_eq!(out, expected);
}

#[test]
fn a_ping_is_answered() {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    let taken = NatsWs::default().message(Opcode::Binary, b"PING\r\n", &mut out, &mut |_| {});
    assert_eq!(taken, Ok(Progress::More));
    websocket::put(&mut expected, Opcode::Binary, b"PONG\r\n");
    assert_eq!(out, expected);
}

#[test]
fn what_is_wrong_is_told() {
    let told = |bytes: &[u8]| {
        NatsWs::default().message(Opcode::Binary, bytes, &mut Vec::new(), &mut |_| {}).unwrap_err()
    };
    assert!(told(b"-ERR 'Slow Consumer'\r\n").contains("Slow Consumer"));
    assert!(told(b"MSG u.1 2 41\r\n").contains("41"));
    assert!(told(&[b"MSG u.1 2 40\r\n", &[0; 42][..]].concat()).contains("end"));
    assert!(told(&vec![b'x'; LINE_BYTES_MAX + 1]).contains("line"));
}
