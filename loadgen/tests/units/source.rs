use tickwire_feed::open_loop::{self, Orders, Pace};
use tokio::sync::watch;

use super::*;
use crate::scenario::Url;
use crate::scenario::tests::scenario;

#[test]
fn updates_are_counted_by_their_window_and_the_last_quotes_always() {
    let mut published = Published::new(2);
    let publish = |published: &mut Published, at: u64| {
        let (symbol, is_trade) = (at as u32 % 2, at.is_multiple_of(3));
        published.add(Due { symbol, is_trade, sequence: at + 1, number: at + 1, intended_time: at }, at);
    };
    for at in 0..10 {
        publish(&mut published, at);
    }
    assert_eq!((published.in_window, published.by_symbol.as_slice()), (0, &[[0; 2]; 2][..]));
    published.measure((12, 18));
    for at in 10..20 {
        publish(&mut published, at);
    }
    assert_eq!((published.in_window, published.by_symbol.as_slice()), (6, &[[2, 1], [2, 1]][..]));
    assert_eq!(published.last, [(17, 16), (20, 19)]);
    assert_eq!(published.lag.summary().count, 10);
}

fn expected(text: &str) -> (Plan, Expected) {
    let scenario = scenario(text);
    let url = Url { address: "127.0.0.1:7400".to_owned(), path: String::new(), is_tls: false };
    let plan = Plan::new(scenario, &url).unwrap();
    let expected = Expected::new(&plan);
    (plan, expected)
}

/// Returns the first 3,072 updates of a plan.
#[tokio::main(flavor = "current_thread")]
async fn dues(plan: &open_loop::Plan) -> Vec<Due> {
    let (_orders, ordered) = watch::channel(Orders::default());
    let mut pace = Pace::new(plan, ordered);
    assert!(pace.wait().await);
    let mut dues = Vec::new();
    for _ in 0..6 {
        pace.take(u64::MAX >> 1, |due| dues.push(due));
    }
    dues
}

/// Compares with what a source publishes and sessions without loss get of it, counted one by one.
#[track_caller]
fn check(text: &str) {
    let (plan, expected) = expected(text);
    let (source, sessions) = (&plan.scenario.source, &plan.scenario.sessions);
    let mut published = Published::new(source.symbols);
    let subscribed: Vec<_> = (0..sessions.count).map(|session| plan.symbols(session)).collect();
    let dues = dues(&source.plan(plan.scenario.seed));
    published.measure((dues[1000].intended_time, dues[3000].intended_time));
    let mut delivered = 0;
    for (at, due) in dues.into_iter().enumerate() {
        published.add(due, due.intended_time);
        let channel = if due.is_trade { Channel::Trade } else { Channel::Quote };
        if (1000..3000).contains(&at) && sessions.channels.contains(&channel) {
            delivered += subscribed.iter().filter(|symbols| symbols.contains(&due.symbol)).count() as u64;
        }
    }
    assert!(delivered > 0);
    assert_eq!(expected.due(&published), delivered, "{text}");
    let planned = expected.per_update(&Published::default());
    let counted = expected.per_update(&published);
    assert!((planned / counted - 1.0).abs() < 0.1, "{planned} by the plan, {counted} counted");
}

#[test]
fn what_is_due_is_what_sessions_without_loss_get() {
    check("[source]\nsymbols = 20\n[sessions]\ncount = 7\nsymbols_each = 3\n");
    // Popular symbols are published and subscribed to more often, and trades are not asked for.
    check(
        "[source]\nsymbols = 20\nskew = 1.2\ntrades = 0.3\n[sessions]\ncount = 9\nsymbols_each = 4\nskew = 1.0\n",
    );
    check(
        "[source]\nsymbols = 20\nskew = 1.2\ntrades = 0.3\n\
         [sessions]\ncount = 9\nsymbols_each = 4\nskew = 1.0\nchannels = [\"quote\", \"trade\"]\n",
    );
    check("[source]\nsymbols = 20\ntrades = 0.5\n[sessions]\ncount = 3\nchannels = [\"trade\"]\n");
}
