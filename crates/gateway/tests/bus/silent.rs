//! Messages that the bus loses without a word.

use tickwire_client::{BookView, Event};
use tickwire_feed::adapter::{FeedEvent, MarketBody};
use tickwire_gateway::GatewayConfig;
use tickwire_wire::{Body, Channel};

use super::rig::{Rig, SYMBOL, Watcher, definition, levels, quote, status, subject, trade};

/// Makes something happen on a channel for the `number`th time.
async fn happens(rig: &Rig, channel: Channel, number: u64) {
    let price = number as i64;
    let body = match channel {
        Channel::Instrument => {
            return rig.say(FeedEvent::Define { index: 0, definition: definition(number) }).await;
        }
        Channel::Quote => quote(price),
        Channel::Book => MarketBody::BookDelta(levels(price)),
        Channel::Status => status(number),
        _ => trade(price),
    };
    rig.happens(number, body).await;
}

/// Returns whether the newest is what happened for the `number`th time.
fn is_newest(watcher: &Watcher, channel: Channel, number: u64) -> bool {
    let price = number as i64;
    if channel == Channel::Book {
        let book = watcher.client.book(SYMBOL).filter(BookView::is_live);
        return book.is_some_and(|book| book.bids().len() == number as usize && book.bid_size(price) > 0);
    }
    let newest = watcher.seen.iter().rev().find_map(|event| match event {
        Event::Record(update) => Some(&update.record.body),
        _ => None,
    });
    match newest {
        Some(Body::Quote(quote)) => quote.bid.is_some_and(|bid| bid.price == price),
        Some(Body::Trade(trade)) => trade.price == price,
        Some(Body::Bar(bar)) => bar.close == price,
        Some(Body::Stat(stat)) => stat.last == Some(price),
        Some(Body::Status(status)) => status.reason == number.to_string(),
        Some(Body::Instrument(instrument)) => instrument.tick_size == number,
        _ => false,
    }
}

/// Checks that the loss of the very last message of a topic is found, though nothing more happens on it.
#[track_caller]
fn check_last(channel: Channel) {
    run(async move {
        let rig = Rig::start(GatewayConfig::default()).await;
        let mut watcher = rig.client(channel).await;
        if channel != Channel::Trade {
            watcher.until("first", |watcher| is_newest(watcher, channel, 1)).await;
        }
        happens(&rig, channel, 2).await;
        watcher.until("second", |watcher| is_newest(watcher, channel, 2)).await;
        assert!(watcher.gaps().is_empty(), "{:?}", watcher.gaps());
        rig.bus.drop_nth_on(&subject(channel), 1);
        happens(&rig, channel, 3).await;
        if channel == Channel::Trade {
            watcher.until("announced", |watcher| !watcher.gaps().is_empty()).await;
            assert_eq!(watcher.gaps(), [(3, Some(3))]);
        } else {
            watcher.until("mended", |watcher| is_newest(watcher, channel, 3)).await;
        }
        rig.end().await;
    });
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn the_last_quote_of_a_quiet_topic() {
    check_last(Channel::Quote);
}

#[test]
fn the_last_trade_of_a_quiet_topic() {
    check_last(Channel::Trade);
}

#[test]
fn the_last_change_of_a_quiet_book() {
    check_last(Channel::Book);
}

#[test]
fn the_last_bar_of_a_quiet_topic() {
    check_last(Channel::Bar);
}

#[test]
fn the_last_ticker_statistics_of_a_quiet_topic() {
    check_last(Channel::Stat);
}

#[test]
fn the_last_status_of_a_quiet_topic() {
    check_last(Channel::Status);
}

#[test]
fn the_last_definition_of_a_quiet_topic() {
    check_last(Channel::Instrument);
}

#[test]
fn one_in_the_middle() {
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let (mut trades, mut book) = (rig.client(Channel::Trade).await, rig.client(Channel::Book).await);
        rig.bus.drop_nth_on(&subject(Channel::Trade), 2);
        rig.bus.drop_nth_on(&subject(Channel::Book), 2);
        for number in 2..=5 {
            happens(&rig, Channel::Trade, number).await;
            happens(&rig, Channel::Book, number).await;
        }
        trades.until("the end", |watcher| is_newest(watcher, Channel::Trade, 5)).await;
        assert_eq!((trades.sequences(), trades.gaps()), (vec![2, 4, 5], vec![(3, Some(3))]));
        book.until("the end", |watcher| is_newest(watcher, Channel::Book, 5)).await;
        rig.end().await;
    });
}

#[test]
fn an_outage() {
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let (mut trades, mut book) = (rig.client(Channel::Trade).await, rig.client(Channel::Book).await);
        rig.bus.set_down(true);
        book.until("down", |watcher| !watcher.client.is_live(SYMBOL)).await;
        for number in 2..=5 {
            happens(&rig, Channel::Trade, number).await;
            happens(&rig, Channel::Book, number).await;
        }
        rig.published(Channel::Trade, 5).await;
        rig.published(Channel::Book, 5).await;
        rig.bus.set_down(false);
        book.until("the end", |watcher| is_newest(watcher, Channel::Book, 5)).await;
        trades.until("live", |watcher| watcher.client.is_live(SYMBOL) && !watcher.gaps().is_empty()).await;
        assert_eq!((trades.sequences(), trades.gaps()), (vec![], vec![(2, Some(5))]));
        rig.end().await;
    });
}
