//! WebSocket frames by hand (RFC 6455, section 5.2): those of a client are masked, those of a server are not.
//!
//! A library would bring a buffer for each session. Here a frame is a range of bytes that were read anyway.

/// Largest payload of a control frame (section 5.5).
pub(crate) const CONTROL_BYTES_MAX: usize = 125;
/// A larger message is not a server's under test: a gateway's largest is a burst of book snapshots.
const PAYLOAD_BYTES_MAX: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn code(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        all.into_iter().find(|opcode| opcode.code() == code)
    }
}

/// What the front of the bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// A whole frame: its payload is `bytes[head..head + length]`.
    Frame { opcode: Opcode, is_final: bool, head: usize, length: usize },
    /// The begin of one: so many bytes are needed until more is known.
    Part { needed: usize },
    /// Nothing that a server may send.
    Wrong(&'static str),
}

/// Looks at the front of what a server sent.
pub(crate) fn front(bytes: &[u8]) -> Front {
    let [first, second, rest @ ..] = bytes else { return Front::Part { needed: 2 } };
    if first & 0x70 != 0 {
        return Front::Wrong("a frame with an extension that was not agreed on");
    }
    let Some(opcode) = Opcode::from_code(first & 0x0f) else {
        return Front::Wrong("a frame with an unknown opcode");
    };
    if second & 0x80 != 0 {
        return Front::Wrong("a masked frame; a server does not mask");
    }
    let (head, length) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (4, u64::from(u16::from_be_bytes([*a, *b]))),
        (126, _) => return Front::Part { needed: 4 },
        (127, [a, b, c, d, e, f, g, h, ..]) => (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        (127, _) => return Front::Part { needed: 10 },
        (short, _) => (2, u64::from(short)),
    };
    if length > PAYLOAD_BYTES_MAX {
        return Front::Wrong("a frame of more than 64 MiB");
    }
    let length = length as usize;
    if bytes.len() < head + length {
        return Front::Part { needed: head + length };
    }
    Front::Frame { opcode, is_final: first & 0x80 != 0, head, length }
}

/// Appends a client's frame: whole, and masked. The mask is fixed: it guards proxies, of which there is none here.
pub(crate) fn put(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    out.push(0x80 | opcode.code());
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 0x7e);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 0x7f);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Front) {
        assert_eq!(front(bytes), expected);
        if let Front::Frame { head, length, .. } = expected {
            for cut in 0..head + length {
                assert!(
                    matches!(front(&bytes[..cut]), Front::Part { needed } if needed > cut),
                    "cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn frames_of_all_lengths() {
        let frame = |opcode, head, length| Front::Frame { opcode, is_final: true, head, length };
        check(&[0x82, 3, 1, 2, 3], frame(Opcode::Binary, 2, 3));
        check(&[0x81, 0], frame(Opcode::Text, 2, 0));
        check(&[&[0x89, 2, 9, 9][..], &[0x82]].concat()[..4], frame(Opcode::Ping, 2, 2));
        check(&[&[0x82, 126, 1, 0][..], &[7; 256]].concat(), frame(Opcode::Binary, 4, 256));
        check(
            &[&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &vec![7; 65_536]].concat(),
            frame(Opcode::Binary, 10, 65_536),
        );
        check(&[0x02, 0], Front::Frame { opcode: Opcode::Binary, is_final: false, head: 2, length: 0 });
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        assert!(matches!(front(&[0xc2, 0]), Front::Wrong(_)));
        assert!(matches!(front(&[0x83, 0]), Front::Wrong(_)));
        assert!(matches!(front(&[0x82, 0x80]), Front::Wrong(_)));
        assert!(matches!(front(&[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]), Front::Wrong(_)));
    }

    #[test]
    fn what_is_put_is_masked_and_whole() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut out = Vec::new();
            put(&mut out, Opcode::Text, &payload);
            let head = out.len() - length - 4;
            assert_eq!((out[0], out[1] & 0x80), (0x81, 0x80));
            let mask: [u8; 4] = out[head..head + 4].try_into().unwrap();
            let plain: Vec<u8> =
                out[head + 4..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            assert_eq!(plain, payload);
            // Without mask and its bit it is what a server would send.
            let mut sent = out[..head].to_vec();
            sent[1] &= 0x7f;
            sent.extend_from_slice(&plain);
            assert!(matches!(front(&sent), Front::Frame { length: l, .. } if l == length));
        }
    }
}
