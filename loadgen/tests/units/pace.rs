use super::*;
use crate::scenario::tests::scenario;

fn pace(orders: watch::Receiver<Orders>) -> (Pace, Arc<Mutex<Published>>) {
    let scenario = scenario("[source]\nsymbols = 4\nrate = 1000000\n");
    let published = Arc::new(Mutex::new(Published::default()));
    (Pace::new(&scenario, orders, Arc::clone(&published)).unwrap(), published)
}

#[tokio::test]
async fn updates_that_are_due_are_taken_in_their_order_and_counted_by_their_window() {
    let (orders, ordered) = watch::channel(Orders::default());
    let (mut pace, published) = pace(ordered);
    assert!(pace.wait().await.unwrap());
    let began = pace.began.unwrap();
    orders.send_modify(|orders| orders.window = (began + 100_000, began + 200_000));
    assert!(pace.wait().await.unwrap());
    let mut times = Vec::new();
    // A million a second: one each microsecond, at most 512 of them at once.
    for _ in 0..2 {
        pace.take(began + 300_000, |due| times.push(due.intended_time - began));
    }
    assert_eq!(times, (0..=300).map(|at| at * 1000).collect::<Vec<_>>());
    let published = lock(&published);
    assert_eq!((published.total, published.in_window), (301, 100));
}

#[tokio::test]
async fn it_stops_when_it_is_told_and_ends_when_nobody_gives_orders() {
    let (orders, ordered) = watch::channel(Orders::default());
    let (mut pace, _) = pace(ordered);
    orders.send_modify(|orders| orders.is_stopped = true);
    {
        let mut wait = std::pin::pin!(pace.wait());
        tokio::select! {
            biased;
            is_due = &mut wait => panic!("{is_due:?} though it was stopped"),
            () = tokio::task::yield_now() => {}
        }
        orders.send_modify(|orders| (orders.is_stopped, orders.rate) = (false, Some(2_000_000.0)));
        assert!(wait.await.unwrap());
    }
    drop(orders);
    assert!(!pace.wait().await.unwrap());
}
