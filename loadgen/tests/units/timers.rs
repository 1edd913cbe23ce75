use super::*;

#[test]
fn the_earliest_comes_first_and_nothing_before_its_time() {
    let mut timers = Timers::default();
    timers.add(20, 1, Due::Read);
    timers.add(10, 2, Due::Connect);
    timers.add(30, 3, Due::Work);
    assert_eq!(timers.next(), Some(10));
    assert_eq!(timers.pop(9), None);
    assert_eq!(timers.pop(25), Some((10, 2, Due::Connect)));
    assert_eq!(timers.pop(25), Some((20, 1, Due::Read)));
    assert_eq!(timers.pop(25), None);
}
