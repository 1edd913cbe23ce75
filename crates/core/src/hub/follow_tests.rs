use tickwire_wire::{Bar, Encoding, Level, Message, Quote, Record, Scale, SymbolName, Trade, encode_message};

use super::*;
use crate::vocabulary::VenueIndex;

const EPOCH: u64 = 7;

fn info() -> Arc<InstrumentInfo> {
    let name = SymbolName { venue: "sim".to_owned(), symbol: "A".to_owned() };
    let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 3 };
    Arc::new(InstrumentInfo { index: 0, id: 100, listed: 0, venue: VenueIndex(0), name, scale })
}

/// Follows a topic from its beginning, passes one record on, and returns it.
fn passed_on(channel: Channel, body: Body) -> Arc<Update> {
    let info = info();
    let (mut topic, mut out) = (Followed::new(Arc::clone(&info), channel, &Room::new(1 << 20)), Out::new());
    topic.want(1, &mut out);
    topic.on_response(
        Response { epoch: EPOCH, sequence: 0, records: Vec::new(), book: BookState::new() },
        0,
        &mut out,
    );
    let record = Record { instrument: 100, sequence: 1, event_time: 5, receive_time: 9, body };
    let mut bytes = Vec::new();
    encode_message(Encoding::Proto, &Message::Record(record), &Scale::default(), &mut bytes);
    let update = Update::from_bus(info, channel, EPOCH, (1, 1), Encoding::Proto, &bytes);
    topic.on_update(Arc::new(update), &mut out);
    match out.pop() {
        Some((1, Event::Update(update))) => update,
        other => panic!("{other:?} instead of the record"),
    }
}

#[test]
fn a_record_that_nobody_looks_into_is_not_kept_decoded() {
    let level = |price| Some(Level { price, size: 10 });
    let quote = Body::Quote(Quote { bid: level(100), ask: level(101) });
    assert!(!passed_on(Channel::Quote, quote).is_decoded());
    assert!(
        !passed_on(Channel::Trade, Body::Trade(Trade { price: 100, size: 1, ..Trade::default() }))
            .is_decoded()
    );
    // A bar has a key, which says what it takes the place of.
    assert!(passed_on(Channel::Bar, Body::Bar(Bar::default())).is_decoded());
}
