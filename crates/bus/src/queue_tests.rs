use futures_util::FutureExt;

use super::*;

fn queue(messages_max: usize, bytes_max: usize) -> Queue {
    Queue::new(InboxLimits { messages_max, bytes_max, subjects_max: 1 })
}

fn arrival(token: u64, bytes: usize) -> Arrival {
    Arrival { token, subject: None, payload: Bytes::from(vec![0; bytes]) }
}

fn lost(token: Option<u64>, messages: u64) -> BusEvent {
    BusEvent::Lost { token, messages: Some(messages), cause: LostCause::InboxFull }
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
    assert_eq!(events, [lost(None, 2)], "in front of what came after them");
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
    let expected = [lost(Some(1), 1), BusEvent::Disconnected, BusEvent::Reconnected { generation: 2 }];
    assert_eq!((&events[..3], tokens(&events)), (&expected[..], vec![2, 3]));
    queue.push_all((4..=8).map(|token| arrival(token, 1)));
    assert_eq!(take(&queue, 100)[0], lost(None, 3), "once, however often it was full");
}

#[test]
fn losses_of_one_subject_say_which() {
    let queue = queue(1, 100);
    queue.push_all([arrival(2, 1), arrival(2, 1), arrival(1, 1)]);
    assert_eq!(take(&queue, 100)[0], lost(Some(2), 2));
}

#[test]
fn bytes_are_bounded_too() {
    let queue = queue(100, 10);
    queue.push_all([arrival(1, 3), arrival(2, 5), arrival(3, 2), arrival(4, 9), arrival(5, 11)]);
    let events = take(&queue, 100);
    assert_eq!(events[0], lost(None, 3));
    assert_eq!(tokens(&events), [4]);
    assert_eq!(events[2], lost(Some(5), 1), "it never fits");
    assert_eq!(queue.lock().bytes, 0);
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn notes_stay_few_however_often_the_bus_flaps() {
    let queue = queue(1, 100);
    for generation in 1..1_000 {
        queue.push_all([arrival(1, 1)]);
        queue.note(BusEvent::Disconnected);
        queue.note(BusEvent::Lost { token: None, messages: None, cause: LostCause::Upstream });
        queue.note(BusEvent::Lost { token: None, messages: Some(1), cause: LostCause::Late });
        queue.note(BusEvent::Reconnected { generation });
    }
    let events = take(&queue, 1_000);
    assert!(events.len() <= NOTES_MAX + 1 + NOTES_MAX, "in front of what is left, and behind it: {events:?}");
    assert!(events.contains(&lost(Some(1), 998)));
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
