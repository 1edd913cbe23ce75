use proptest::prelude::*;
use tickwire_net::frame::{
    CONTROL_BYTES_MAX, Close, Fault, HEAD_BYTES_MAX, OpCode, Sender, begun, find, write, write_masked,
};

const MAX: usize = 70_000;
const MASK: [u8; 4] = [1, 2, 3, 4];

fn framed(sender: Sender, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match sender {
        Sender::Client => write_masked(opcode, MASK, payload, &mut bytes),
        Sender::Server => write(opcode, payload, &mut bytes),
    }
    bytes
}

type Expected = Result<Option<(OpCode, usize)>, Fault>;

#[track_caller]
fn check(sender: Sender, bytes: &[u8], expected: Expected) {
    let found = find(bytes, sender, MAX).map(|found| found.map(|found| (found.opcode, found.end)));
    assert_eq!(found, expected, "{bytes:02x?}");
}

#[track_caller]
fn of_client(bytes: &[u8], expected: Expected) {
    check(Sender::Client, bytes, expected);
}

#[track_caller]
fn of_server(bytes: &[u8], expected: Expected) {
    check(Sender::Server, bytes, expected);
}

fn protocol(rule: &'static str) -> Expected {
    Err(Fault::Protocol(rule))
}

#[test]
fn whole_and_incomplete() {
    of_client(&[], Ok(None));
    of_client(&[0x81], Ok(None));
    of_client(&[0x81, 0x80], Ok(None));
    of_client(&[0x81, 0x80, 1, 2, 3], Ok(None));
    of_client(&[0x81, 0x80, 1, 2, 3, 4], Ok(Some((OpCode::Text, 6))));
    of_client(&[0x81, 0x80, 1, 2, 3, 4, 0x81], Ok(Some((OpCode::Text, 6))));
    of_client(&[0x82, 0x81, 1, 2, 3, 4], Ok(None));
    of_client(&[0x82, 0x81, 1, 2, 3, 4, 5], Ok(Some((OpCode::Binary, 7))));
    of_client(&[0x89, 0x80, 0, 0, 0, 0], Ok(Some((OpCode::Ping, 6))));
    of_client(&[0x8a, 0x80, 0, 0, 0, 0], Ok(Some((OpCode::Pong, 6))));
    of_client(&[0x88, 0x80, 0, 0, 0, 0], Ok(Some((OpCode::Close, 6))));
    of_client(&[0x82, 0xfe, 0], Ok(None));
    of_client(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0], Ok(None));
    of_server(&[0x82], Ok(None));
    of_server(&[0x82, 3, 1, 2], Ok(None));
    of_server(&[0x82, 3, 1, 2, 3], Ok(Some((OpCode::Binary, 5))));
    of_server(&[0x81, 0], Ok(Some((OpCode::Text, 2))));
    of_server(&[0x89, 2, 9, 9, 0x82], Ok(Some((OpCode::Ping, 4))));
    of_server(&[0x02, 0], Ok(Some((OpCode::Binary, 2))));
    of_server(&[0x82, 126, 1], Ok(None));
    of_server(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0], Ok(None));
    of_client(&[0x89, 0xfe, 0], Ok(None));
}

#[test]
fn refused_by_the_head() {
    of_client(&[0xc1, 0x80], protocol("reserved bits are set"));
    of_client(&[0xff, 0xff], protocol("reserved bits are set"));
    of_client(&[0x83, 0x80], protocol("unknown opcode"));
    of_client(&[0x8f, 0x80], protocol("unknown opcode"));
    of_client(&[0x09, 0x80], protocol("a control frame in fragments"));
    of_client(&[0x01, 0x80], Ok(None));
    of_client(&[0x80, 0x80], Ok(None));
    of_client(&[0x81, 0x02], protocol("not masked"));
    of_client(&[0x88, 0x00], protocol("not masked"));
    of_client(&[0x89, 0xfe, 0, 126], protocol("a control frame above 125 bytes"));
    of_client(&[0x88, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], protocol("a control frame above 125 bytes"));
    of_server(&[0xc2, 0], protocol("reserved bits are set"));
    of_server(&[0x83, 0], protocol("unknown opcode"));
    of_server(&[0x82, 0x80], protocol("masked, as no server's frame is"));
    of_server(&[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0], Err(Fault::TooLarge));
}

#[test]
fn lengths_at_their_bounds() {
    for sender in [Sender::Client, Sender::Server] {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, MAX] {
            let bytes = framed(sender, OpCode::Binary, &vec![7; length]);
            check(sender, &bytes, Ok(Some((OpCode::Binary, bytes.len()))));
            check(sender, &bytes[..bytes.len() - 1], Ok(None));
        }
        check(sender, &framed(sender, OpCode::Binary, &vec![7; MAX + 1])[..10], Err(Fault::TooLarge));
        let mask = if sender == Sender::Client { 0x80 } else { 0 };
        let claim = |high: u8| [0x82, mask | 127, high, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        check(sender, &claim(0xff), protocol("a length of more than 63 bits"));
        check(sender, &claim(0x80), protocol("a length of more than 63 bits"));
        check(sender, &claim(0x7f), Err(Fault::TooLarge));
        check(sender, &claim(0), Err(Fault::TooLarge));
        for short in [&[0, 0][..], &[0, 125], &[0, 0, 0, 0, 0, 0, 0xff, 0xff], &[0; 8]] {
            let kind = if short.len() == 2 { 126 } else { 127 };
            let head = [&[0x82, mask | kind][..], short].concat();
            check(sender, &head, protocol("a length in more bytes than it needs"));
        }
    }
}

#[test]
fn a_pong_fits_where_messages_may_be_shorter() {
    let bytes = framed(Sender::Client, OpCode::Pong, &[7; 125]);
    assert!(find(&bytes, Sender::Client, 16).unwrap().is_some());
}

#[test]
fn frames_of_the_standard() {
    // RFC 6455, section 5.7.
    assert_eq!(framed(Sender::Server, OpCode::Text, b"Hello"), [&[0x81, 0x05][..], b"Hello"].concat());
    let mut masked = Vec::new();
    write_masked(OpCode::Text, [0x37, 0xfa, 0x21, 0x3d], b"Hello", &mut masked);
    assert_eq!(masked, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    assert_eq!(framed(Sender::Server, OpCode::Binary, &[0; 256])[..4], [0x82, 0x7e, 1, 0]);
    let large = framed(Sender::Server, OpCode::Binary, &vec![0; 65_536]);
    assert_eq!(large[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn close_frames_say_why() {
    let payload = Close::payload(4002, "later");
    assert_eq!(payload, [&[0x0f, 0xa2][..], b"later"].concat());
    let read = Close::read(&payload);
    assert_eq!((read.code, &*read.text), (Some(4002), "later"));
    assert_eq!(Close::read(&[]), Close { code: None, text: "".into() });
    assert_eq!(Close::read(&[3]), Close { code: None, text: "".into() });
}

#[track_caller]
fn closes(payload: &[u8], expected: Result<Option<u16>, u16>) {
    assert_eq!(Close::check(payload).map_err(Fault::close_code), expected, "{payload:02x?}");
}

#[test]
fn close_frames_that_may_be_sent_and_others() {
    closes(&[], Ok(None));
    closes(&[3], Err(1002));
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 3999, 4000, 4999_u16]
    {
        closes(&Close::payload(code, "for a reason: ö"), Ok(Some(code)));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        closes(&code.to_be_bytes(), Err(1002));
    }
    closes(&[&1000_u16.to_be_bytes()[..], b"\xce\xba\xed\xa0\x80"].concat(), Err(1007));
    closes(&[&1000_u16.to_be_bytes()[..], b"\xce"].concat(), Err(1007));
}

#[test]
fn what_has_come_of_a_frame() {
    let payload =
        |bytes: &[u8]| begun(bytes, Sender::Client).map(|begun| (begun.mask, begun.payload.to_vec()));
    assert_eq!(payload(&[0x81]), None);
    assert_eq!(payload(&[0x81, 0x85, 1, 2, 3]), None);
    assert_eq!(payload(&[0x81, 0x85, 1, 2, 3, 4]), Some((Some(MASK), vec![])));
    assert_eq!(payload(&[0x81, 0x85, 1, 2, 3, 4, 5, 6]), Some((Some(MASK), vec![5, 6])));
    assert_eq!(payload(&[0x81, 0xfe, 0, 126, 1, 2, 3]), None);
    assert_eq!(payload(&[0x81, 0xfe, 0, 126, 1, 2, 3, 4, 9]), Some((Some(MASK), vec![9])));
    let of_server = begun(&[0x81, 5, 7], Sender::Server).unwrap();
    assert_eq!((of_server.mask, of_server.payload), (None, &[7][..]));
}

proptest! {
    /// A frame that is written is found and unmasked, byte for byte, at whichever place the reads are cut.
    #[test]
    fn what_is_written_is_found(
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        mask in any::<[u8; 4]>(),
        before in proptest::collection::vec(any::<u8>(), 0..9),
        is_masked in any::<bool>(),
        cut in 0_usize..320,
    ) {
        let mut bytes = before.clone();
        let sender = if is_masked {
            write_masked(OpCode::Text, mask, &payload, &mut bytes);
            Sender::Client
        } else {
            write(OpCode::Text, &payload, &mut bytes);
            Sender::Server
        };
        prop_assert_eq!(&bytes[..before.len()], &before[..]);
        let bytes = &mut bytes[before.len()..];
        let cut = cut.min(bytes.len());
        if cut < bytes.len() {
            prop_assert_eq!(find(&bytes[..cut], sender, MAX), Ok(None));
        }
        let found = find(bytes, sender, MAX).unwrap().unwrap();
        prop_assert_eq!((found.end, found.is_last), (bytes.len(), true));
        prop_assert_eq!(found.payload(bytes), &payload[..]);
    }

    /// Hostile bytes never make it look behind their end or past the limit, and a verdict never changes when more comes.
    #[test]
    fn hostile_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        max in 0_usize..64,
        is_client in any::<bool>(),
    ) {
        let sender = if is_client { Sender::Client } else { Sender::Server };
        let whole = find(&bytes, sender, max);
        if let Ok(Some(found)) = whole {
            prop_assert!(found.head >= 2 && found.head <= HEAD_BYTES_MAX);
            prop_assert!(found.head <= found.end && found.end <= bytes.len());
            prop_assert!(found.range().len() <= max.max(CONTROL_BYTES_MAX));
            prop_assert_eq!(found.mask.is_some(), is_client);
        }
        for cut in 0..bytes.len() {
            let part = find(&bytes[..cut], sender, max);
            prop_assert!(part == Ok(None) || part == whole);
        }
    }
}
