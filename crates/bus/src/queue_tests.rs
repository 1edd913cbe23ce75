use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

fn queue(messages_max: usize, bytes_max: usize) -> Queue {
    Queue::new(InboxLimits { messages_max, bytes_max, subjects_max: 8 })
}

fn arrival(token: u64, bytes: usize) -> Arrival {
    Arrival { token, subject: None, payload: Bytes::from(vec![0; bytes]) }
}

fn lost(tokens: &[u64], messages: u64) -> BusEvent {
    let tokens = Some(tokens.iter().copied().collect());
    BusEvent::Lost { tokens, messages: Some(messages), cause: LostCause::InboxFull }
}

#[track_caller]
fn take(queue: &Queue, max: usize) -> Vec<BusEvent> {
    let mut out = Vec::new();
    assert_eq!(queue.take(&mut out, max, |(_, event)| event).now_or_never(), Some(true));
    out
}

fn tokens(events: &[BusEvent]) -> Vec<u64> {
    let token = |event: &BusEvent| match event {
        BusEvent::Message { token, .. } => Some(*token),
        _ => None,
    };
    events.iter().filter_map(token).collect()
}

#[test]
fn the_oldest_half_is_dropped_at_once_and_counted_in_its_place() {
    let queue = queue(4, 100);
    queue.push_all((1..=4).map(|token| arrival(token, 1)));
    queue.push_all((5..=6).map(|token| arrival(token, 1)));
    let events = take(&queue, 1);
    assert_eq!(events, [lost(&[1, 2], 2)], "in front of what came after them");
    assert_eq!(tokens(&take(&queue, 100)), [3, 4, 5, 6]);
    assert_eq!(queue.waiting(), 0);
    assert_eq!(queue.lock().bytes, 0);
}

#[test]
fn what_is_no_message_outlives_those_around_it() {
    let queue = queue(2, 100);
    queue.push_all([arrival(1, 1)]);
    queue.note(BusEvent::Disconnected);
    queue.note(BusEvent::Reconnected { generation: 2 });
    queue.push_all([arrival(2, 1), arrival(3, 1)]);
    let events = take(&queue, 100);
    let expected = [lost(&[1], 1), BusEvent::Disconnected, BusEvent::Reconnected { generation: 2 }];
    assert_eq!((&events[..3], tokens(&events)), (&expected[..], vec![2, 3]));
    queue.push_all((4..=8).map(|token| arrival(token, 1)));
    assert_eq!(take(&queue, 100)[0], lost(&[4, 5, 6], 3), "once, however often it was full");
}

#[test]
fn losses_say_which_subjects_had_them_and_no_other() {
    let queue = queue(1, 100);
    queue.push_all([arrival(2, 1), arrival(7, 1), arrival(2, 1), arrival(1, 1)]);
    assert_eq!(take(&queue, 100)[0], lost(&[2, 7], 3));
}

#[test]
fn more_subjects_than_may_be_named_are_told_as_unknown() {
    let limits = InboxLimits { messages_max: 1, bytes_max: 100, subjects_max: 2 };
    let (four, five) = (Queue::new(limits), Queue::new(limits));
    four.push_all((1..=5).map(|token| arrival(token, 1)));
    five.push_all((1..=6).map(|token| arrival(token, 1)));
    assert_eq!(take(&four, 1), [lost(&[1, 2, 3, 4], 4)]);
    let unknown = BusEvent::Lost { tokens: None, messages: Some(5), cause: LostCause::InboxFull };
    assert_eq!(take(&five, 1), [unknown]);
    assert_eq!((four.lock().tokens, five.lock().tokens), (0, 0));
}

#[test]
fn bytes_are_bounded_too() {
    let queue = queue(100, 10);
    queue.push_all([arrival(1, 3), arrival(2, 5), arrival(3, 2), arrival(4, 9), arrival(5, 11)]);
    let events = take(&queue, 100);
    assert_eq!(events[0], lost(&[1, 2, 3], 3));
    assert_eq!(tokens(&events), [4]);
    assert_eq!(events[2], lost(&[5], 1), "it never fits");
    assert_eq!(queue.lock().bytes, 0);
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn notes_stay_few_however_often_the_bus_flaps() {
    let queue = queue(1, 100);
    for generation in 1..1_000 {
        queue.push_all([arrival(1, 1)]);
        queue.note(BusEvent::Disconnected);
        queue.note(BusEvent::Lost { tokens: None, messages: None, cause: LostCause::Upstream });
        let tokens = Some(BTreeSet::from([generation % 3]));
        queue.note(BusEvent::Lost { tokens, messages: Some(1), cause: LostCause::Late });
        queue.note(BusEvent::Reconnected { generation });
    }
    let events = take(&queue, 1_000);
    assert!(events.len() <= NOTES_MAX + 1 + NOTES_MAX, "in front of what is left, and behind it: {events:?}");
    assert!(events.contains(&lost(&[1], 998)));
    assert!(events.contains(&BusEvent::Disconnected));
    assert_eq!(events.last(), Some(&BusEvent::Reconnected { generation: 999 }));
}

#[test]
fn a_lost_connection_is_not_hidden_by_an_earlier_return() {
    let queue = queue(1, 100);
    queue.note(BusEvent::Disconnected);
    queue.note(BusEvent::Reconnected { generation: 2 });
    queue.note(BusEvent::Disconnected);
    assert_eq!(take(&queue, 10), [BusEvent::Disconnected]);
}

#[test]
fn a_cancelled_take_loses_nothing() {
    let queue = queue(10, 100);
    let mut out = Vec::new();
    assert_eq!(queue.take(&mut out, 10, |timed| timed).now_or_never(), None);
    queue.push_all([arrival(1, 1)]);
    assert_eq!(tokens(&take(&queue, 10)), [1]);
}

#[test]
fn what_was_in_it_comes_out_after_closing() {
    let queue = queue(10, 100);
    queue.push_all([arrival(1, 1)]);
    queue.close();
    queue.push_all([arrival(2, 1)]);
    assert_eq!(tokens(&take(&queue, 10)), [1]);
    assert_eq!(queue.take(&mut Vec::new(), 10, |timed| timed).now_or_never(), Some(false));
}

/// One thing that a test does with a queue.
#[derive(Clone, Debug)]
enum Step {
    Push { token: u64, bytes: usize },
    Late { token: u64 },
    Upstream,
    Take { max: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..12_u64, 0..12_usize).prop_map(|(token, bytes)| Step::Push { token, bytes }),
        2 => (0..12_u64).prop_map(|token| Step::Late { token }),
        1 => Just(Step::Upstream),
        2 => (1..9_usize).prop_map(|max| Step::Take { max }),
    ]
}

/// A queue that keeps a line for each message, there or lost, in the order of arrival.
#[derive(Default)]
struct Naive(Vec<Line>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    There { token: u64, bytes: usize },
    Lost { token: Option<u64>, cause: LostCause },
}

/// The losses between two messages: by cause, how many each token lost; `None` where nobody knows.
type Losses = Vec<(LostCause, Vec<Option<u64>>)>;

impl Naive {
    fn push(&mut self, token: u64, bytes: usize, limits: &InboxLimits) {
        let full = Line::Lost { token: Some(token), cause: LostCause::InboxFull };
        if bytes > limits.bytes_max {
            return self.0.push(full);
        }
        let (messages, held) = self.held();
        if messages >= limits.messages_max || held + bytes > limits.bytes_max {
            let bytes_left = (limits.bytes_max / 2).min(limits.bytes_max - bytes);
            while self.held().0 > limits.messages_max / 2 || self.held().1 > bytes_left {
                let oldest = self.0.iter_mut().find(|line| matches!(line, Line::There { .. })).unwrap();
                let Line::There { token, .. } = *oldest else { unreachable!() };
                *oldest = Line::Lost { token: Some(token), cause: LostCause::InboxFull };
            }
        }
        self.0.push(Line::There { token, bytes });
    }

    fn held(&self) -> (usize, usize) {
        let bytes = self.0.iter().filter_map(|line| match line {
            Line::There { bytes, .. } => Some(*bytes),
            Line::Lost { .. } => None,
        });
        (bytes.clone().count(), bytes.sum())
    }

    /// Returns how many tokens the losses name at present.
    fn named(&self) -> usize {
        let places = self.0.split(|line| matches!(line, Line::There { .. }));
        places.map(|place| losses(place).iter().map(|(_, tokens)| set(tokens).len()).sum::<usize>()).sum()
    }
}

fn losses(lines: &[Line]) -> Losses {
    let mut losses = Losses::new();
    for line in lines {
        let Line::Lost { token, cause } = line else { continue };
        match losses.iter_mut().find(|(known, _)| known == cause) {
            Some((_, tokens)) => tokens.push(*token),
            None => losses.push((*cause, vec![*token])),
        }
    }
    losses
}

fn set(tokens: &[Option<u64>]) -> BTreeSet<u64> {
    tokens.iter().copied().flatten().collect()
}

proptest! {
    /// With room for the tokens, each place of the order says which subjects lost there, and how many messages.
    #[test]
    fn every_loss_is_told_in_its_place_with_its_subjects(
        steps in prop::collection::vec(step(), 1..120),
        messages_max in 1..7_usize,
        subjects_max in prop_oneof![Just(2_usize), Just(1_000)],
    ) {
        let limits = InboxLimits { messages_max, bytes_max: 10, subjects_max };
        let queue = Queue::new(limits);
        let mut naive = Naive::default();
        let mut out = Vec::new();
        for step in steps {
            match step {
                Step::Push { token, bytes } => {
                    queue.push_all([arrival(token, bytes)]);
                    naive.push(token, bytes, &limits);
                }
                Step::Late { token } => {
                    let tokens = Some(BTreeSet::from([token]));
                    queue.note(BusEvent::Lost { tokens, messages: Some(1), cause: LostCause::Late });
                    naive.0.push(Line::Lost { token: Some(token), cause: LostCause::Late });
                }
                Step::Upstream => {
                    let cause = LostCause::Upstream;
                    queue.note(BusEvent::Lost { tokens: None, messages: None, cause });
                    naive.0.push(Line::Lost { token: None, cause });
                }
                Step::Take { max } if !queue.lock().events.is_empty() => {
                    out = take(&queue, max);
                    check(&out, &mut naive, subjects_max)?;
                }
                Step::Take { .. } => {}
            }
            let named = queue.lock().events.iter().map(|(_, event)| named(event)).sum::<usize>();
            prop_assert_eq!(queue.lock().tokens, named);
            prop_assert!(named <= limits.tokens_max() && named <= naive.named());
            prop_assert_eq!((queue.waiting(), queue.lock().bytes), naive.held());
        }
        drop(out);
        if !queue.lock().events.is_empty() {
            check(&take(&queue, usize::MAX), &mut naive, subjects_max)?;
        }
        prop_assert!(naive.0.is_empty());
    }
}

/// Compares what came out with the lines, which are used up.
fn check(out: &[BusEvent], naive: &mut Naive, subjects_max: usize) -> Result<(), TestCaseError> {
    for event in out {
        match event {
            BusEvent::Message { token, payload, .. } => {
                let line = naive.0.remove(0);
                prop_assert_eq!(line, Line::There { token: *token, bytes: payload.len() });
            }
            BusEvent::Lost { tokens, messages, cause } => {
                let until = naive.0.iter().position(|line| matches!(line, Line::There { .. }));
                let place = losses(&naive.0[..until.unwrap_or(naive.0.len())]);
                let Some((_, lost)) = place.iter().find(|(known, _)| known == cause) else {
                    return Err(TestCaseError::fail(format!("{event:?} was not lost here: {place:?}")));
                };
                let is_known = *cause != LostCause::Upstream;
                prop_assert_eq!(*messages, is_known.then_some(lost.len() as u64));
                match tokens {
                    Some(tokens) => prop_assert_eq!(tokens, &set(lost)),
                    None => prop_assert!(!is_known || subjects_max < 12, "nobody needs to forget these"),
                }
                let mut at = 0;
                naive.0.retain(|line| {
                    let is_here = until.is_none_or(|until| at < until);
                    at += 1;
                    !(is_here && matches!(line, Line::Lost { cause: its, .. } if its == cause))
                });
            }
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }
    Ok(())
}

#[test]
fn a_look_takes_what_is_there_and_tells_nothing_from_the_end() {
    let (queue, mut out) = (queue(4, 100), Vec::new());
    let look = |out: &mut Vec<BusEvent>| queue.take_now(out, 2, |(_, event)| event);
    assert_eq!(look(&mut out), Taken::Nothing);
    queue.push_all((1..=3).map(|token| arrival(token, 1)));
    queue.set_stalled(true);
    assert_eq!(look(&mut out), Taken::Nothing);
    queue.set_stalled(false);
    queue.close();
    assert_eq!([look(&mut out), look(&mut out)], [Taken::Some, Taken::Some]);
    assert_eq!((look(&mut out), tokens(&out)), (Taken::Closed, vec![1, 2, 3]));
}
