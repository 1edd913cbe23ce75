use super::*;

fn delimited(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], &delimited(bytes)[..]].concat()
}

fn publication(update: Update) -> Vec<u8> {
    let mut data = Vec::new();
    update.write(&mut data);
    let push = [field(2, b"u.7"), field(4, &[field(4, &data), vec![6 << 3, 9]].concat())].concat();
    delimited(&field(4, &push))
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    websocket::put(&mut frame, Opcode::Binary, payload);
    frame
}

#[track_caller]
fn check(session: &mut Centrifugo, message: &[u8], answer: &[u8], progress: Progress) {
    let mut out = Vec::new();
    assert_eq!(session.message(Opcode::Binary, message, &mut out, &mut |_| {}), Ok(progress));
    assert_eq!(out, if answer.is_empty() { Vec::new() } else { frame(answer) });
}

#[test]
fn from_the_connect_to_an_update() {
    let mut session = Centrifugo::default();
    let mut out = Vec::new();
    session.open(&[7, 12], &mut out);
    assert_eq!(out, frame(&[4, 0x08, 1, 0x22, 0]));
    let subscribes = b"\x09\x08\x02\x2a\x05\x0a\x03u.7\x0a\x08\x03\x2a\x06\x0a\x04u.12";
    check(
        &mut session,
        &delimited(&[&[0x08, 1], &field(5, b"\x0a\x01x")[..]].concat()),
        subscribes,
        Progress::More,
    );
    check(&mut session, &[4, 0x08, 2, 0x32, 0], &[], Progress::More);
    check(&mut session, &[4, 0x08, 3, 0x32, 0], &[], Progress::Ready);
    check(&mut session, &[0], &[0], Progress::More);

    let updates = [1, 2].map(|sequence| Update { symbol: 7, sequence, intended_time: 5 });
    let message: Vec<u8> = updates.into_iter().flat_map(publication).collect();
    let mut found = Vec::new();
    let taken = session.message(Opcode::Binary, &message, &mut out, &mut |update| found.push(update));
    assert_eq!((taken, found), (Ok(Progress::More), updates.to_vec()));
    for cut in 1..message.len() {
        if cut != message.len() / 2 {
            let taken = session.message(Opcode::Binary, &message[..cut], &mut Vec::new(), &mut |_| {});
            assert!(taken.is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn what_is_wrong_is_told() {
    let told = |reply: &[u8]| {
        let mut session = Centrifugo::default();
        session.message(Opcode::Binary, &delimited(reply), &mut Vec::new(), &mut |_| {}).unwrap_err()
    };
    let error = [&[0x08, 103][..], &field(2, b"permission denied")].concat();
    assert!(told(&[&[0x08, 2], &field(2, &error)[..]].concat()).contains("permission denied"));
    assert!(told(&field(4, &field(11, &[]))).contains("disconnect"));
    assert!(told(&field(4, &field(4, &field(4, b"short")))).contains("5 bytes"));
}
