//! Parts are merged into one account.

use super::*;

fn part(event_time: u64) -> Part {
    let mut part = Part::new(2);
    (part.flow.messages, part.flow.bytes) = (1, 3);
    part.timed.ages[1].entry(Channel::Quote as u8).or_default().record(event_time, 10_000_000);
    part.checks.gaps.insert("bus".to_owned(), Gaps { announced: 1, numbers: 4 });
    part.readers[1].accounts = Accounts { checked: 1, published: 9, ..Accounts::default() };
    for _ in 0..8 {
        part.breaks(Rule::Lost, || "wrong".to_owned());
    }
    part.generator.cpu_share.push(0.5);
    part
}

#[test]
fn parts_are_merged_into_one_account() {
    let mut whole = part(5_000_000);
    let sent = serde_json::to_string(&part(2_000_000)).unwrap();
    whole.merge(serde_json::from_str(&sent).unwrap());
    assert_eq!((whole.flow.messages, whole.flow.bytes), (2, 6));
    assert_eq!(whole.timed.ages[1][&(Channel::Quote as u8)].summary().count, 2);
    assert_eq!(whole.readers[1].accounts.published, 18);
    assert_eq!(whole.checks.gaps["bus"], Gaps { announced: 2, numbers: 8 });
    assert_eq!((whole.checks.broken["lost"].count, whole.checks.broken["lost"].first.len()), (16, TEXTS_MAX));
    assert_eq!(whole.generator.cpu_share, [0.5, 0.5]);
}

#[test]
fn last_values_of_different_sessions_have_to_agree() {
    let last = |sequence, value| Last { epoch: 1, sequence, value };
    let mut part = Part::new(1);
    assert_eq!(part.last(7, last(5, 1)), None);
    assert_eq!(part.last(7, last(5, 1)), None);
    assert_eq!(part.last(7, last(4, 9)), None);
    assert_eq!(part.last(7, last(6, 2)), None);
    assert_eq!(part.last(7, last(6, 3)), Some(last(6, 2)));
    let mut other = Part::new(1);
    other.last(7, last(6, 4));
    part.merge(other);
    assert_eq!(part.checks.final_values_wrong.count, 1);
}
