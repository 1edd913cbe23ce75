//! Random messages and commands of all kinds, with every value that the contract allows.
//!
//! Strategies are boxed: side by side they overflow the stack of a test in a debug build.
//!
//! Texts may hold any character; venues hold what venues may, because the JSON encoding splits `venue:SYMBOL` at the first
//! colon; enums hold known values, because the JSON encoding has a name only for those.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tickwire_wire::{
    Bar, Body, Book, Channel, Command, Derivative, Error, Feed, FeedState, Gap, GapCause, Granted, Heartbeat,
    Hello, Identity, Instrument, Ledger, LedgerEntry, LedgerRequest, Level, Limits, Message, Notice,
    Position, Quote, Receipt, Record, Refused, Resume, ResumePosition, Scale, SetRate, Side, Stat, Status,
    Subscribe, Subscribed, Token, Trade, TradingState, Unsubscribe,
};

/// Returns how many cases a property runs: `TICKWIRE_PROPTEST_CASES`, or this many.
pub(crate) fn cases(default: u32) -> ProptestConfig {
    let asked = std::env::var("TICKWIRE_PROPTEST_CASES").ok();
    let cases = asked.map_or(default, |text| text.parse().expect("TICKWIRE_PROPTEST_CASES is a number"));
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Makes small numbers and the ends of the range as often as any others.
fn int() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -300i64..300, Just(i64::MIN), Just(i64::MAX)]
}

fn uint() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0u64..300, Just(u64::MAX)]
}

fn text() -> BoxedStrategy<String> {
    prop_oneof!["[ -~]{0,12}", any::<String>()].boxed()
}

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        0.0..1000.0,
        any::<f64>().prop_filter("a rate", |rate| rate.is_finite() && *rate >= 0.0)
    ]
}

fn level() -> impl Strategy<Value = Level> {
    (int(), uint()).prop_map(|(price, size)| Level { price, size })
}

fn channel() -> impl Strategy<Value = i32> {
    (0i32..8).prop_map(|number| Channel::try_from(number).unwrap().into())
}

fn body() -> BoxedStrategy<Body> {
    prop_oneof![
        (option::of(level()), option::of(level())).prop_map(|(bid, ask)| Body::Quote(Quote { bid, ask })),
        (int(), uint(), 0i32..3, uint(), text()).prop_map(|(price, size, aggressor, id, id_text)| {
            let aggressor = Side::try_from(aggressor).unwrap().into();
            Body::Trade(Trade { price, size, aggressor, id, id_text })
        }),
        (any::<bool>(), uint(), vec(level(), 0..30), vec(level(), 0..30), option::of(any::<u32>())).prop_map(
            |(snapshot, first_sequence, bids, asks, checksum)| {
                Body::Book(Book { snapshot, first_sequence, bids, asks, checksum })
            }
        ),
        (uint(), uint(), [int(), int(), int(), int()], uint(), any::<u32>(), any::<[bool; 3]>()).prop_map(
            |(
                interval,
                open_time,
                [open, high, low, close],
                volume,
                trades,
                [closed, correction, incomplete],
            )| {
                Body::Bar(Bar {
                    interval,
                    open_time,
                    open,
                    high,
                    low,
                    close,
                    volume,
                    trades,
                    closed,
                    correction,
                    incomplete,
                })
            }
        ),
        (
            uint(),
            [option::of(int()), option::of(int()), option::of(int()), option::of(int())],
            uint(),
            uint(),
            any::<bool>()
        )
            .prop_map(|(since, [open, high, low, last], volume, trades, incomplete)| {
                Body::Stat(Stat { since, open, high, low, last, volume, trades, incomplete })
            }),
        (
            [option::of(int()), option::of(int()), option::of(int())],
            [0u32..19, 0u32..19],
            uint(),
            option::of(uint())
        )
            .prop_map(
                |([mark_price, index_price, funding_rate], decimals, next_funding_time, open_interest)| {
                    let is_known = [mark_price.or(index_price).is_some(), funding_rate.is_some()];
                    let [price_decimals, rate_decimals] =
                        [0, 1].map(|at| if is_known[at] { decimals[at] } else { 0 });
                    Body::Derivative(Derivative {
                        mark_price,
                        index_price,
                        price_decimals,
                        funding_rate,
                        rate_decimals,
                        next_funding_time,
                        open_interest,
                    })
                }
            ),
        (0i32..6, text()).prop_map(|(state, reason)| {
            Body::Status(Status { state: TradingState::try_from(state).unwrap().into(), reason })
        }),
        (
            "[a-z0-9_-]{1,32}",
            text(),
            0u32..19,
            0u32..19,
            uint(),
            uint(),
            [text(), text()],
            (any::<bool>(), uint(), vec(uint(), 0..10))
        )
            .prop_map(
                |(
                    venue,
                    symbol,
                    price_decimals,
                    size_decimals,
                    tick_size,
                    lot_size,
                    [base, quote],
                    (ended, revision, last_sequences),
                )| {
                    let instrument = Instrument {
                        venue,
                        symbol,
                        price_decimals,
                        size_decimals,
                        tick_size,
                        lot_size,
                        base,
                        quote,
                        ended,
                        revision,
                        last_sequences,
                    };
                    Body::Instrument(instrument)
                }
            ),
        (channel(), 0i32..6, uint(), uint(), uint()).prop_map(
            |(channel, cause, first_sequence, last_sequence, epoch)| {
                let cause = GapCause::try_from(cause).unwrap().into();
                Body::Gap(Gap { channel, cause, first_sequence, last_sequence, epoch })
            }
        ),
    ]
    .boxed()
}

fn record() -> BoxedStrategy<Message> {
    (any::<u32>(), uint(), uint(), uint(), body())
        .prop_map(|(instrument, sequence, event_time, receive_time, body)| {
            Message::Record(Record { instrument, sequence, event_time, receive_time, body })
        })
        .boxed()
}

fn limits() -> impl Strategy<Value = Limits> {
    (any::<u32>(), any::<u32>(), any::<u32>(), uint(), uint(), rate()).prop_map(
        |(subscriptions, command_bytes, commands_per_second, shed_bytes, close_bytes, max_rate)| Limits {
            subscriptions,
            command_bytes,
            commands_per_second,
            shed_bytes,
            close_bytes,
            max_rate,
        },
    )
}

fn hello() -> BoxedStrategy<Message> {
    let head = (text(), any::<u32>(), text(), any::<u32>(), option::of(limits()), text(), any::<u32>());
    (head, uint(), any::<u32>())
        .prop_map(|(head, token_expires, token_within_ms)| {
            let (session, protocol_version, schema, heartbeat_ms, limits, server, window_ms) = head;
            Message::Hello(Hello {
                session,
                protocol_version,
                schema,
                heartbeat_ms,
                limits,
                server,
                window_ms,
                token_expires,
                token_within_ms,
            })
        })
        .boxed()
}

fn subscribed() -> BoxedStrategy<Message> {
    let decimals = (0u32..19, 0u32..19);
    let granted = (channel(), text(), any::<u32>(), decimals, rate(), uint(), uint(), (uint(), any::<u32>()))
        .prop_map(
            |(
                channel,
                symbol,
                instrument,
                (price_decimals, size_decimals),
                max_rate,
                epoch,
                sequence,
                (delay_ms, depth),
            )| {
                Granted {
                    channel,
                    symbol,
                    instrument,
                    price_decimals,
                    size_decimals,
                    max_rate,
                    epoch,
                    sequence,
                    delay_ms,
                    depth,
                }
            },
        );
    let refused = (channel(), text(), text(), text(), any::<bool>()).prop_map(
        |(channel, symbol, code, message, may_retry)| Refused { channel, symbol, code, message, may_retry },
    );
    (uint(), vec(granted, 0..5), vec(refused, 0..5))
        .prop_map(|(id, granted, refused)| Message::Subscribed(Subscribed { id, granted, refused }))
        .boxed()
}

fn heartbeat() -> BoxedStrategy<Message> {
    let feed =
        (text(), 0i32..4, uint(), text(), 0i32..6).prop_map(|(venue, state, since, reason, book_proof)| {
            Feed { book_proof, venue, state: FeedState::try_from(state).unwrap().into(), since, reason }
        });
    let position = (any::<u32>(), channel(), uint(), uint())
        .prop_map(|(instrument, channel, epoch, sequence)| Position { instrument, channel, epoch, sequence });
    (uint(), vec(feed, 0..4), vec(position, 0..20))
        .prop_map(|(time, feeds, positions)| Message::Heartbeat(Heartbeat { time, feeds, positions }))
        .boxed()
}

fn ledger() -> BoxedStrategy<Message> {
    let entry = (any::<u32>(), channel(), text(), [uint(), uint(), uint(), uint(), uint()]).prop_map(
        |(instrument, channel, symbol, [published, delivered, conflated, dropped, filtered])| LedgerEntry {
            instrument,
            channel,
            symbol,
            published,
            delivered,
            conflated,
            dropped,
            filtered,
        },
    );
    (uint(), vec(entry, 0..5)).prop_map(|(id, entries)| Message::Ledger(Ledger { id, entries })).boxed()
}

/// Makes any message of a gateway.
pub(crate) fn message() -> BoxedStrategy<Message> {
    let notice = (text(), text(), uint(), uint(), any::<u32>()).prop_map(
        |(code, message, conflated, dropped, retry_after_ms)| {
            Message::Notice(Notice { code, message, conflated, dropped, retry_after_ms })
        },
    );
    let error =
        (uint(), text(), text()).prop_map(|(id, code, message)| Message::Error(Error { id, code, message }));
    let identity =
        (uint(), text(), uint(), option::of(limits())).prop_map(|(id, name, token_expires, limits)| {
            Message::Identity(Identity { id, name, token_expires, limits })
        });
    prop_oneof![
        8 => record(),
        1 => hello(),
        1 => subscribed(),
        1 => notice,
        1 => heartbeat(),
        1 => ledger(),
        1 => error,
        1 => identity,
        1 => uint().prop_map(Message::Sent),
    ]
    .boxed()
}

/// Makes any scale that the JSON encoding may write with.
pub(crate) fn scale() -> impl Strategy<Value = Scale> {
    (text(), 0u32..19, 0u32..19).prop_map(|(symbol, price_decimals, size_decimals)| Scale {
        symbol,
        price_decimals,
        size_decimals,
    })
}

/// Makes any command of a client.
pub(crate) fn command() -> BoxedStrategy<Command> {
    let target = || (uint(), text(), vec(text(), 0..6));
    let position = (text(), text(), uint(), uint())
        .prop_map(|(channel, symbol, epoch, sequence)| ResumePosition { channel, symbol, epoch, sequence });
    prop_oneof![
        (target(), rate()).prop_map(|((id, channel, symbols), max_rate)| {
            Command::Subscribe(Subscribe { id, channel, symbols, max_rate })
        }),
        target().prop_map(|(id, channel, symbols)| Command::Unsubscribe(Unsubscribe {
            id,
            channel,
            symbols
        })),
        (target(), rate()).prop_map(|((id, channel, symbols), max_rate)| {
            Command::SetRate(SetRate { id, channel, symbols, max_rate })
        }),
        (uint(), vec(position, 0..6)).prop_map(|(id, positions)| Command::Resume(Resume { id, positions })),
        (uint(), uint())
            .prop_map(|(sent_time, reader_lag_ns)| Command::Receipt(Receipt { sent_time, reader_lag_ns })),
        uint().prop_map(|id| Command::Ledger(LedgerRequest { id })),
        (uint(), text()).prop_map(|(id, token)| Command::Token(Token { id, token })),
    ]
    .boxed()
}
