//! WebSocket frames (RFC 6455, section 5.2) as far as a plain client needs them.

/// A frame that came whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A reader that cuts a server's bytes into frames, however they are split up.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    start: usize,
}

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.start));
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next frame that is there as a whole.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let rest = &self.bytes[self.start..];
        let (head, length): (usize, usize) = match (*rest.get(1)?, rest) {
            (126, [_, _, a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, _) => (10, u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?) as usize),
            (126, _) => return None,
            (short, _) => (2, usize::from(short & 0x7f)),
        };
        let payload = rest.get(head..head.checked_add(length)?)?.to_vec();
        let opcode = rest[0] & 0x0f;
        self.start += head + length;
        Some(Frame { opcode, payload })
    }

    /// Returns how many bytes are there of a frame that has not come as a whole.
    pub(crate) fn partial_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// Makes a client's frame: masked, as clients must.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length => {
            out.push(0x80 + 126);
            let length = u16::try_from(length).expect("no command is that long");
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let mut bytes = vec![0x82, 3, 1, 2, 3, 0x89, 0, 0x82, 126, 1, 0];
        bytes.extend_from_slice(&[7; 256]);
        bytes.extend_from_slice(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        bytes.extend_from_slice(&vec![8; 65_536]);
        let expected =
            [(BINARY, vec![1, 2, 3]), (PING, vec![]), (BINARY, vec![7; 256]), (BINARY, vec![8; 65_536])];
        for piece in [1, 2, 7, 100_000] {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for part in bytes.chunks(piece) {
                frames.push(part);
                while let Some(frame) = frames.next() {
                    got.push((frame.opcode, frame.payload));
                }
            }
            assert_eq!(got, expected, "in pieces of {piece}");
            assert_eq!(frames.partial_bytes(), 0);
        }
    }

    #[test]
    fn a_masked_frame_is_the_one_of_the_standard() {
        // The example is of RFC 6455, section 5.7.
        let expected = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(masked(1, b"Hello"), expected);
    }
}
