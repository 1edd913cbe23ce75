use super::*;

#[test]
fn seconds_are_cut_at_their_ends() {
    let mut seconds = Seconds::new(2);
    seconds.start(5 * SECOND);
    // Sessions are told of the window before it begins.
    seconds.records = 3;
    let before = seconds.turn(5 * SECOND, 1).unwrap();
    assert_eq!((before.at, before.records), (None, 3));
    seconds.records = 7;
    seconds.age(1, SECOND, SECOND + 3_000_000);
    assert!(seconds.turn(6 * SECOND - 1, 1).is_none());
    let part = seconds.turn(6 * SECOND, 1).unwrap();
    assert_eq!((part.at, part.records, part.sessions), (Some((5 * SECOND, 0)), 7, 1));
    let mut ages = histogram();
    part.add_ages(0, &mut ages);
    assert!(ages.is_empty());
    part.add_ages(1, &mut ages);
    assert!(ages.max().abs_diff(3000) <= 30);
    let next = seconds.turn(7 * SECOND, 1).unwrap();
    assert_eq!((next.at, next.records), (Some((5 * SECOND, 1)), 0));
}
