use tickwire_net::fragments::{Fragments, Joined};
use tickwire_net::frame::{Fault, Found, OpCode};

/// Takes steps: each is `T`ext or a `-` for a continuation, `.` where it is the last, then the payload.
#[track_caller]
fn check(steps: &[&str], expected: Result<&[&str], Fault>) {
    let (mut fragments, mut messages) = (Fragments::default(), Vec::new());
    for step in steps {
        let opcode = if step.starts_with('T') { OpCode::Text } else { OpCode::Continuation };
        let frame = Found { opcode, is_last: &step[1..2] == ".", mask: None, head: 2, end: step.len() };
        match fragments.take(&frame, &step.as_bytes()[2..], 6) {
            Ok(Joined::Whole) => messages.push(step[2..].to_owned()),
            Ok(Joined::Message(message)) => messages.push(String::from_utf8(message).unwrap()),
            Ok(Joined::More) => assert!(fragments.bytes() <= 6),
            Err(fault) => return assert_eq!(Err(fault), expected, "{steps:?}"),
        }
    }
    assert_eq!(Ok(messages.iter().map(String::as_str).collect::<Vec<_>>().as_slice()), expected, "{steps:?}");
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
