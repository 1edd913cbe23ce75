use proptest::prelude::*;
use tickwire_net::frame::{Fault, Found, OpCode, Sender, begun, find, write_masked};
use tickwire_net::text::{TextCheck, Utf8};

const MASK: [u8; 4] = [9, 8, 7, 6];

/// Takes the parts one after another. Returns the bytes after which it failed, and whether it ended with a whole character.
fn take(parts: &[&[u8]]) -> Result<bool, usize> {
    let (mut utf8, mut taken) = (Utf8::default(), 0);
    for part in parts {
        taken += part.len();
        utf8.take(part).map_err(|fault| {
            assert_eq!(fault, Fault::NotUtf8);
            taken
        })?;
    }
    Ok(utf8.is_whole())
}

#[test]
fn characters_may_be_cut_and_fail_at_the_first_byte_that_cannot_be() {
    assert_eq!(take(&[b"\xf0\x9f", b"\x98", b"\x80"]), Ok(true));
    assert_eq!(take(&[b"a\xf0", b"\x9f\x98\x80b"]), Ok(true));
    assert_eq!(take(&[b"\xf0\x9f\x98"]), Ok(false));
    // Above U+10FFFF: the second byte tells.
    assert_eq!(take(&[b"ok\xf4", b"\x90", b"\x80\x80"]), Err(4));
    // A surrogate, an overlong form, a byte that begins nothing.
    assert_eq!(take(&[b"\xed", b"\xa0", b"\x80"]), Err(2));
    assert_eq!(take(&[b"\xc0", b"\xaf"]), Err(1));
    assert_eq!(take(&[b"\x80"]), Err(1));
    assert_eq!(take(&[b"\xe2\x82", b"", b"a"]), Err(3));
}

/// Feeds frames whose bytes come one at a time. Returns the fault, and how many bytes had come.
fn frames(frames: &[(OpCode, bool, &[u8])]) -> Result<(), (Fault, usize)> {
    let (mut check, mut all, mut at) = (TextCheck::default(), Vec::new(), 0);
    for (opcode, is_last, payload) in frames {
        let start = all.len();
        write_masked(*opcode, MASK, payload, &mut all);
        all[start] = (all[start] & 0x7f) | if *is_last { 0x80 } else { 0 };
    }
    let all = all;
    for end in 1..=all.len() {
        let mut bytes = all[at..end].to_vec();
        let checked = match find(&bytes, Sender::Client, 1 << 20).unwrap() {
            Some(found) => {
                at = end;
                let payload = found.payload(&mut bytes);
                check.frame(&found, payload).map(drop)
            }
            None => begun(&bytes, Sender::Client)
                .map_or(Ok(()), |begun| check.begun(begun.opcode, begun.mask, begun.payload)),
        };
        checked.map_err(|fault| (fault, end))?;
    }
    assert!(check.is_none() || !frames.last().is_some_and(|(_, is_last, _)| *is_last));
    Ok(())
}

#[test]
fn messages_in_frames() {
    use OpCode::{Binary, Continuation, Text};
    assert_eq!(frames(&[(Text, true, "grün".as_bytes()), (Text, true, b"x")]), Ok(()));
    assert_eq!(
        frames(&[(Text, false, b"gr\xc3"), (Continuation, false, b""), (Continuation, true, b"\xbcn")]),
        Ok(())
    );
    // Within the frame, long before its end.
    assert_eq!(frames(&[(Text, true, b"gr\xc3n and more")]), Err((Fault::NotUtf8, 6 + 4)));
    // Within the second frame.
    assert_eq!(
        frames(&[(Text, false, b"gr\xc3"), (Continuation, true, b"n and more")]),
        Err((Fault::NotUtf8, 6 + 3 + 6 + 1))
    );
    // It ends within a character.
    assert_eq!(frames(&[(Text, true, b"gr\xc3")]), Err((Fault::NotUtf8, 6 + 3)));
    // Bytes are whatever they are; so is what continues them.
    assert_eq!(frames(&[(Binary, false, b"\xff"), (Continuation, true, b"\xfe")]), Ok(()));
    assert_eq!(frames(&[(Binary, true, b"\xff"), (Text, true, b"ok")]), Ok(()));
}

proptest! {
    /// The verdict is the standard library's, wherever the bytes are cut.
    #[test]
    fn cuts_change_nothing(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xf0), Just(0x9f), Just(0x98), Just(0xe2), Just(0x82), Just(b'a')], 0..24),
        cuts in proptest::collection::vec(0_usize..24, 0..6),
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let (mut parts, mut from) = (Vec::new(), 0);
        for cut in cuts {
            parts.push(&bytes[from..cut]);
            from = cut;
        }
        parts.push(&bytes[from..]);
        prop_assert_eq!(take(&parts) == Ok(true), std::str::from_utf8(&bytes).is_ok());
        let found = Found { opcode: OpCode::Text, is_last: true, mask: None, head: 0, end: bytes.len() };
        prop_assert_eq!(TextCheck::default().frame(&found, &bytes).is_ok(), std::str::from_utf8(&bytes).is_ok());
    }
}
