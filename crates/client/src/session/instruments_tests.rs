use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tickwire_wire::{
    Body, Channel, Encoding, Granted, Hello, Message, Quote, Record, Refused, Subscribed, Trade,
};
use tokio::time::Instant;

use crate::event::{Event, State};
use crate::session::{Session, SessionSettings};

const CHANNELS: [Channel; 2] = [Channel::Quote, Channel::Trade];

#[derive(Clone, Copy, Debug)]
enum Step {
    Grant { symbol: usize, channel: usize, id: u32 },
    End { symbol: usize, channel: usize, may_retry: bool },
    Forget { symbol: usize, channel: usize },
    Record { channel: usize, id: u32 },
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let (symbol, channel, id) = (0..4_usize, 0..2_usize, 1..5_u32);
    prop_oneof![
        6 => (symbol.clone(), channel.clone(), id.clone())
            .prop_map(|(symbol, channel, id)| Step::Grant { symbol, channel, id }),
        4 => (symbol.clone(), channel.clone(), any::<bool>())
            .prop_map(|(symbol, channel, may_retry)| Step::End { symbol, channel, may_retry }),
        1 => (symbol, channel.clone()).prop_map(|(symbol, channel)| Step::Forget { symbol, channel }),
        12 => (channel, id).prop_map(|(channel, id)| Step::Record { channel, id }),
        1 => Just(Step::Reconnect),
    ]
}

fn name(symbol: usize) -> String {
    format!("sim:{symbol}")
}

fn open(session: &mut Session) {
    session.connected("fake".to_owned(), Hello::default(), Instant::now());
}

fn events(session: &mut Session) -> Vec<Event> {
    session.events().drain(..).collect()
}

proptest! {
    /// Whatever numbers are granted, ended, granted again to others: a record is of the symbol that its number's latest
    /// valid grant names on this connection, or of none. A grant of a number that is in use ends the connection.
    #[test]
    fn no_record_is_attributed_to_another_symbol(steps in prop::collection::vec(step(), 1..120)) {
        let mut session = Session::new(SessionSettings {
            encoding: Encoding::Proto,
            subscriptions_max: 100,
            command_timeout: Duration::from_secs(10),
        });
        open(&mut session);
        // What is granted: the number, by symbol and channel.
        let mut granted = HashMap::<(usize, usize), u32>::new();
        let now = Instant::now();
        for (at, step) in steps.into_iter().enumerate() {
            let sequence = 1 + at as u64;
            session.events().clear();
            match step {
                Step::Grant { symbol, channel, id } => {
                    let is_taken = granted.iter().any(|((other, _), its)| *other != symbol && *its == id);
                    let grant = Granted {
                        symbol: name(symbol),
                        channel: CHANNELS[channel].into(),
                        instrument: id,
                        epoch: 1,
                        sequence: sequence - 1,
                        ..Granted::default()
                    };
                    let subscribed = Subscribed { id: 0, granted: vec![grant], refused: Vec::new() };
                    session.message(Message::Subscribed(subscribed), now);
                    let fault = session.take_fault();
                    prop_assert_eq!(fault.is_some(), is_taken, "{:?}", fault);
                    if is_taken {
                        granted.clear();
                        session.disconnected();
                        open(&mut session);
                    } else {
                        granted.insert((symbol, channel), id);
                    }
                }
                Step::End { symbol, channel, may_retry } => {
                    let refused = Refused {
                        symbol: name(symbol),
                        channel: CHANNELS[channel].into(),
                        code: "ended".to_owned(),
                        may_retry,
                        ..Refused::default()
                    };
                    let subscribed = Subscribed { id: 0, granted: Vec::new(), refused: vec![refused] };
                    session.message(Message::Subscribed(subscribed), now);
                    if granted.remove(&(symbol, channel)).is_some() {
                        let is_told = events(&mut session).iter().any(|event| matches!(
                            event,
                            Event::State(State::Ended { scale, returns, .. })
                                if scale.symbol == name(symbol) && *returns == may_retry
                        ));
                        prop_assert!(is_told);
                    }
                }
                Step::Forget { symbol, channel } => {
                    session.forget(CHANNELS[channel], &[name(symbol)]);
                    granted.remove(&(symbol, channel));
                }
                Step::Record { channel, id } => {
                    let of = granted.iter().find(|((_, its), number)| *its == channel && **number == id);
                    let expected: Vec<_> = of.map(|((symbol, _), _)| name(*symbol)).into_iter().collect();
                    let body = match CHANNELS[channel] {
                        Channel::Quote => Body::Quote(Quote::default()),
                        _ => Body::Trade(Trade::default()),
                    };
                    let ignored = session.counters().ignored;
                    let record = Record { instrument: id, sequence, event_time: 1, receive_time: 1, body };
                    session.message(Message::Record(record), now);
                    let mut symbols: Vec<_> = events(&mut session).iter().filter_map(|event| match event {
                        Event::Record(update) => Some(update.symbol().to_owned()),
                        Event::Gap(gap) => Some(gap.scale.symbol.clone()),
                        _ => None,
                    }).collect();
                    symbols.dedup();
                    prop_assert_eq!(&symbols, &expected);
                    let counted = session.counters().ignored - ignored;
                    prop_assert_eq!(counted, u64::from(expected.is_empty()));
                }
                Step::Reconnect => {
                    granted.clear();
                    session.disconnected();
                    open(&mut session);
                }
            }
        }
    }
}
