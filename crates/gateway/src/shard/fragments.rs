//! Putting together a client's message that comes in several frames (RFC 6455, section 5.4). No I/O.

use std::borrow::Cow;

use fastwebsockets::OpCode;

use super::client_frame::Fault;

/// What came of a message so far. Most messages are one frame, so most sessions never have any.
#[derive(Debug, Default)]
pub(crate) struct Fragments(Option<Vec<u8>>);

impl Fragments {
    /// Bytes of the message that came so far.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::len)
    }

    /// Takes a frame that is no control frame. Returns the message that it ends, or `None` where more is to come.
    ///
    /// # Errors
    /// When the frames contradict each other, or together are larger than `max` bytes.
    pub(crate) fn take<'a>(
        &mut self,
        opcode: OpCode,
        is_last: bool,
        payload: &'a [u8],
        max: usize,
    ) -> Result<Option<Cow<'a, [u8]>>, Fault> {
        let mut whole = match (opcode, self.0.take()) {
            (OpCode::Continuation, None) => {
                return Err(Fault::Protocol("a fragment of no message"));
            }
            (OpCode::Continuation, Some(whole)) => whole,
            (_, Some(_)) => return Err(Fault::Protocol("a message within the fragments of another")),
            (_, None) if is_last => return Ok(Some(Cow::Borrowed(payload))),
            (_, None) => Vec::new(),
        };
        if whole.len() + payload.len() > max {
            return Err(Fault::TooLarge);
        }
        whole.extend_from_slice(payload);
        if is_last {
            return Ok(Some(Cow::Owned(whole)));
        }
        self.0 = Some(whole);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: `T`ext or a `-` for a continuation, `.` where it is the last, then the payload.
    #[track_caller]
    fn check(steps: &[&str], expected: Result<&[&str], Fault>) {
        let (mut fragments, mut messages) = (Fragments::default(), Vec::new());
        for step in steps {
            let opcode = if step.starts_with('T') { OpCode::Text } else { OpCode::Continuation };
            match fragments.take(opcode, &step[1..2] == ".", &step.as_bytes()[2..], 6) {
                Ok(message) => messages.extend(message.map(|m| String::from_utf8(m.into_owned()).unwrap())),
                Err(fault) => return assert_eq!(Err(fault), expected, "{steps:?}"),
            }
        }
        assert_eq!(
            Ok(messages.iter().map(String::as_str).collect::<Vec<_>>().as_slice()),
            expected,
            "{steps:?}"
        );
    }

    #[test]
    fn fragments_are_joined_up_to_a_length() {
        check(&["T.ab", "T.", "T.cd"], Ok(&["ab", "", "cd"]));
        check(&["T,ab", "-.cd", "T.ef"], Ok(&["abcd", "ef"]));
        check(&["T,", "-,a", "-,", "-,bcdef", "-."], Ok(&["abcdef"]));
        check(&["T,ab", "-,cd"], Ok(&[]));
        check(&["T,abcd", "-.efg"], Err(Fault::TooLarge));
        check(&["T,abcd", "-,ef", "-,g"], Err(Fault::TooLarge));
        check(&["-.ab"], Err(Fault::Protocol("a fragment of no message")));
        check(&["T,ab", "-.cd", "-.ef"], Err(Fault::Protocol("a fragment of no message")));
        check(&["T,ab", "T.cd"], Err(Fault::Protocol("a message within the fragments of another")));
    }
}
