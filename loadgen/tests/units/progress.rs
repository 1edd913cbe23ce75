//! A run says how it goes.

use super::*;
use crate::reader::SecondPart;

#[tokio::test]
async fn what_is_of_the_last_second_and_what_of_all_is_named() {
    let mut watch = Watch::new(None, None);
    let from = tickwire_machine::now();
    let part = |at, records| {
        let second = Second { records, ..Second::default() };
        SecondPart { at: Some((from, at)), second, ..SecondPart::default() }
    };
    watch.look(&[part(0, 100), part(1, 200)], (from, from + 10_000_000_000), 0.0).await;
    watch.pressure = Some(2048);
    let lines = measuring(Counts { live: 3, ..Counts::default() }, Duration::from_secs(8), &watch);
    let starts = [
        "measuring, 8 s left: 3 sessions, pressure now 2.00 KiB",
        "last second: 200 records/s",
        "all 2 s so far: 150 records/s",
    ];
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");
}

#[test]
fn elsewhere_than_on_a_terminal_there_is_a_line_for_each_phase_and_one_now_and_then() {
    let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let mut progress = Progress { line, ..Progress::new() };
    let began = Instant::now();
    let mut due = |phase, seconds| progress.is_due(phase, began + Duration::from_secs(seconds));
    assert!(due("opening", 0) && !due("opening", 9) && due("opening", 10) && !due("opening", 11));
    assert!(due("measuring", 12) && !due("measuring", 21) && due("measuring", 22));
}
