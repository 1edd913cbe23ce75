use super::*;

#[test]
fn seconds_are_cut_at_their_ends() {
    let mut seconds = Seconds::new(2);
    seconds.start(5 * SECOND);
    // Sessions are told of the window before it begins.
    seconds.now.records = 3;
    let before = seconds.turn(5 * SECOND, 1).unwrap();
    assert_eq!((before.at, before.second.records), (None, 3));
    seconds.now.records = 7;
    seconds.ages[1].record(SECOND, SECOND + 3_000_000);
    assert!(seconds.turn(6 * SECOND - 1, 1).is_none());
    let part = seconds.turn(6 * SECOND, 1).unwrap();
    assert_eq!((part.at, part.second.records, part.second.sessions), (Some((5 * SECOND, 0)), 7, 1));
    let sent = serde_json::to_string(&part).unwrap();
    let part: SecondPart = serde_json::from_str(&sent).unwrap();
    assert_eq!(part.ages[0].summary().max_ns, 0);
    assert!(part.ages[1].summary().max_ns.abs_diff(3_000_000) <= 30_000);
    let next = seconds.turn(7 * SECOND, 1).unwrap();
    assert_eq!((next.at, next.second.records), (Some((5 * SECOND, 1)), 0));
}
