use super::*;

#[track_caller]
fn check(session: &mut SocketIo, said: &str, answer: &str, progress: Progress) {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    let taken = session.message(Opcode::Text, said.as_bytes(), &mut out, &mut |_| {});
    assert_eq!(taken, Ok(progress));
    if !answer.is_empty() {
        websocket::put(&mut expected, Opcode::Text, answer.as_bytes());
    }
    assert_eq!(out, expected);
}

#[test]
fn from_the_handshake_to_an_update() {
    let mut session = SocketIo::default();
    let mut out = Vec::new();
    session.open(&[3, 70], &mut out);
    assert!(out.is_empty());
    check(&mut session, "0{\"sid\":\"x\",\"pingInterval\":25000}", "40", Progress::More);
    check(&mut session, "40{\"sid\":\"y\"}", "42[\"sub\",[3, 70]]", Progress::More);
    check(&mut session, "42[\"ok\"]", "", Progress::Ready);
    check(&mut session, "2", "3", Progress::More);
    check(&mut session, "451-[\"u\",{\"_placeholder\":true,\"num\":0}]", "", Progress::More);
    let update = Update { symbol: 70, sequence: 9, intended_time: 5 };
    let mut bytes = Vec::new();
    update.write(&mut bytes);
    let mut found = Vec::new();
    let taken = session.message(Opcode::Binary, &bytes, &mut out, &mut |update| found.push(update));
    assert_eq!((taken, found), (Ok(Progress::More), vec![update]));
}

#[test]
fn what_is_wrong_is_told() {
    let told = |said: &str| {
        let mut session = SocketIo::default();
        session.message(Opcode::Text, said.as_bytes(), &mut Vec::new(), &mut |_| {}).unwrap_err()
    };
    assert!(told("44{\"message\":\"no\"}").contains("44"));
    assert!(told("452-[\"u\",1]").contains("452"));
}
