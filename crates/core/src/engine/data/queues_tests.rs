use super::*;

#[test]
fn queues_hand_out_what_is_due_and_nothing_else() {
    let mut queues = Queues::new();
    assert_eq!((queues.next_due(), queues.pop(u64::MAX)), (None, None));
    for (interval, now, name) in [(100, 0, 'a'), (10, 5, 'b'), (100, 7, 'c'), (10, 12, 'd')] {
        assert_eq!(queues.push(interval, now, name), now + interval);
    }
    assert_eq!(queues.next_due(), Some(15));
    assert_eq!(queues.pop(14), None);
    assert_eq!(queues.pop(15), Some((15, 'b')));
    assert_eq!(queues.next_due(), Some(22));
    let rest: Vec<_> = std::iter::from_fn(|| queues.pop(107)).map(|(_, name)| name).collect();
    assert_eq!(rest, ['d', 'a', 'c']);
    assert_eq!((queues.next_due(), queues.len), (None, 0));
}

#[test]
fn clients_that_change_their_minds_do_not_fill_the_queues() {
    let mut queues = Queues::new();
    for now in 0..100_000 {
        queues.push(1_000_000, now, now);
        queues.leave();
        queues.sweep(|_, entry| *entry == 3);
        assert!(queues.len <= 2 * STALE_MIN + 1, "{} entries", queues.len);
    }
    assert_eq!(queues.pop(u64::MAX), Some((1_000_003, 3)));
}
