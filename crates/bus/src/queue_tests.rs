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
fn the_newest_are_dropped_and_counted_in_their_place() {
    let queue = queue(2, 100);
    queue.push_all((1..=5).map(|token| arrival(token, 1)));
    let events = take(&queue, 1);
    assert_eq!(tokens(&events), [1]);
    queue.push_all([arrival(6, 1)]);
    let events = take(&queue, 100);
    assert_eq!(tokens(&events), [2, 6]);
    assert_eq!(events[1], lost(None, 3), "between 2 and 6");
}

#[test]
fn losses_of_one_subject_say_which() {
    let queue = queue(1, 100);
    queue.push_all([arrival(1, 1), arrival(2, 1), arrival(2, 1)]);
    assert_eq!(take(&queue, 100)[1], lost(Some(2), 2));
}

#[test]
fn bytes_are_bounded_too() {
    let queue = queue(100, 10);
    queue.push_all([arrival(1, 8), arrival(2, 8), arrival(3, 2)]);
    let events = take(&queue, 100);
    assert_eq!(tokens(&events), [1, 3]);
    assert_eq!(events[1], lost(Some(2), 1));
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
    assert!(events.len() <= 1 + NOTES_MAX, "{events:?}");
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
