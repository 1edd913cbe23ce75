use super::*;

fn all(mut dirty: Dirty) -> Vec<u32> {
    std::iter::from_fn(|| dirty.pop()).collect()
}

#[test]
fn each_stands_once_and_in_order() {
    let mut dirty = Dirty::default();
    for index in [3, 200, 3, 64, 200, 0] {
        dirty.mark(index);
    }
    assert_eq!(dirty.pop(), Some(3));
    dirty.mark(3);
    dirty.remove(&[64, 65]);
    dirty.remove(&[1_000]);
    dirty.mark(64);
    dirty.mark(65);
    dirty.remove(&[0, 65]);
    assert_eq!(all(dirty), [200, 3, 64]);
}

#[test]
fn what_is_gone_takes_no_room() {
    let mut dirty = Dirty::default();
    let mut expected = std::collections::VecDeque::new();
    for index in 0..100 {
        dirty.mark(index);
        expected.push_back(index);
    }
    for round in 0..10_000 {
        let next = 100 + round % 100;
        dirty.mark(next);
        expected.push_back(next);
        assert_eq!(dirty.pop(), expected.pop_front());
        if round % 997 == 0 {
            let ended = expected.pop_back().unwrap_or_default();
            dirty.remove(&[ended]);
        }
        assert!(dirty.iter().eq(expected.iter().copied()));
    }
    assert!(dirty.queue.capacity() <= 512, "{} places", dirty.queue.capacity());
    assert_eq!(all(dirty), Vec::from(expected));
}

#[test]
fn what_was_cleared_can_be_marked_again() {
    let mut dirty = Dirty::default();
    dirty.mark(7);
    dirty.clear();
    assert!(dirty.is_empty());
    dirty.mark(7);
    assert_eq!(all(dirty), [7]);
}
