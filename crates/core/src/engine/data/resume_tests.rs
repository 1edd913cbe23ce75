use super::*;

fn told(channel: &str, symbols: &[&str], sequence: u64) -> Vec<ResumePosition> {
    let position = |symbol: &&str| ResumePosition {
        channel: channel.to_owned(),
        symbol: (*symbol).to_owned(),
        epoch: 7,
        sequence,
    };
    symbols.iter().map(position).collect()
}

#[test]
fn bytes_are_of_what_is_kept() {
    let mut positions = Positions::default();
    positions.merge(told("trade", &["a", "bb", "a"], 1), 2).unwrap();
    assert_eq!(positions.bytes(), 2 * POSITION_BYTES + 3);
    assert_eq!(positions.merge(told("trade", &["a", "c"], 2), 2), Err(3), "and none of them is taken");
    positions.merge(told("trade", &["a"], 3), 2).unwrap();
    positions.merge(told("quote", &["x", "y"], 3), 2).unwrap();
    positions.merge(told("nonsense", &["x", "y"], 3), 2).unwrap();
    assert_eq!(positions.take(Channel::Status, "a"), None);
    assert_eq!(positions.take(Channel::Trade, "a"), Some((7, 3)));
    assert_eq!(positions.take(Channel::Trade, "bb"), Some((7, 1)));
    assert!(positions.is_empty() && positions.bytes() == 0);
}
