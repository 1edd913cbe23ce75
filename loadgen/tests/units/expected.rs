use super::*;
use crate::scenario::Url;
use crate::scenario::tests::scenario;
use crate::source::Turns;

fn expected(text: &str) -> (Plan, Expected) {
    let scenario = scenario(text);
    let url = Url { address: "127.0.0.1:7400".to_owned(), path: String::new(), is_tls: false };
    let plan = Plan::new(scenario, &url).unwrap();
    let expected = Expected::new(&plan);
    (plan, expected)
}

/// Compares with what a source publishes and sessions without loss get of it, counted one by one.
#[track_caller]
fn check(text: &str) {
    let (plan, expected) = expected(text);
    let (source, sessions) = (&plan.scenario.source, &plan.scenario.sessions);
    let mut published = Published::new(source.symbols);
    let mut turns = Turns::new(source.symbols, source.skew, plan.scenario.seed);
    let subscribed: Vec<_> = (0..sessions.count).map(|session| plan.symbols(session)).collect();
    let mut delivered = 0;
    for due in 0..3000 {
        let symbol = turns.next();
        let is_trade = turns.is_trade(source.trades);
        published.add(symbol, is_trade, due, due, (1000, 3000));
        let channel = if is_trade { Channel::Trade } else { Channel::Quote };
        if due >= 1000 && sessions.channels.contains(&channel) {
            delivered += subscribed.iter().filter(|symbols| symbols.contains(&symbol)).count() as u64;
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
