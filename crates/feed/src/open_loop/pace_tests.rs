//! Updates that are due, and orders.

use super::*;
use crate::open_loop::Step;

fn pace(orders: watch::Receiver<Orders>) -> Pace {
    let rates = vec![Step { lasting: Duration::from_secs(1), rate: 1e6 }];
    let (tick, trades, skew, seed) = (Duration::ZERO, 0.0, 0.0, 1);
    Pace::new(&Plan { venue: "sim", symbols: 4, rates, tick, trades, skew, seed }, orders)
}

#[tokio::test]
async fn updates_that_are_due_are_taken_in_their_order_and_numbered() {
    let (_orders, ordered) = watch::channel(Orders::default());
    let mut pace = pace(ordered);
    assert!(pace.wait().await);
    let began = pace.began.unwrap();
    let (mut times, mut quotes) = (Vec::new(), [0; 4]);
    // A million a second: one each microsecond, at most 512 of them at once.
    for _ in 0..2 {
        pace.take(began + 600_000, |due| {
            times.push(due.intended_time - began);
            quotes[due.symbol as usize] += 1;
            assert_eq!((due.number, due.sequence), (times.len() as u64, quotes[due.symbol as usize]));
        });
        assert!([512, 601].contains(&times.len()));
    }
    assert_eq!(times, (0..=600).map(|at| at * 1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_stops_when_it_is_told_and_ends_when_nobody_gives_orders() {
    let (orders, ordered) = watch::channel(Orders::default());
    let mut pace = pace(ordered);
    orders.send_modify(|orders| orders.is_stopped = true);
    {
        let mut wait = std::pin::pin!(pace.wait());
        tokio::select! {
            biased;
            is_due = &mut wait => panic!("{is_due:?} though it was stopped"),
            () = tokio::task::yield_now() => {}
        }
        orders.send_modify(|orders| (orders.is_stopped, orders.rate) = (false, Some(2_000_000.0)));
        assert!(wait.await);
    }
    drop(orders);
    assert!(!pace.wait().await);
}
