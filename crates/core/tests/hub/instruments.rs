//! Definitions: new ones, changed ones, ends, instrument numbers that others have, and what takeovers make of them.

use tickwire_wire::{Body, Channel, Instrument, Record};

use super::rig::{EPOCH, HubRequest, ID, Rig, body, both, definition, frame_of, limits, record};
use tickwire_core::hub::{DEFINITIONS, Hub, HubLimits};
use tickwire_core::vocabulary::{Form, TopicId, TopicInterest, VenueIndex};

/// Gives a definition a sequence number.
fn numbered(sequence: u64, definition: Record) -> Record {
    Record { sequence, ..definition }
}

fn ended(sequence: u64, definition: Record) -> Record {
    let Body::Instrument(of) = definition.body else { panic!("a definition") };
    let body = Body::Instrument(Instrument { ended: true, ..of });
    Record { sequence, body, ..definition }
}

#[test]
fn a_definition_is_told_once() {
    let mut rig = Rig::new(Channel::Quote);
    for _ in 0..2 {
        rig.define(&definition(ID + 2, "sim", "C", 2));
    }
    assert_eq!(rig.told(), ["sim:C is 103 with 2"]);
}

#[test]
fn an_end_is_told_behind_everything_before_it() {
    let mut rig = Rig::live(Channel::Instrument, 1);
    let last = ended(2, definition(ID, "sim", "A", 2));
    // It comes to who follows the topic and to who follows all definitions, in either order.
    rig.define(&last);
    rig.frame(EPOCH, 2, 2, &[super::rig::revised(&last, 3).body]);
    assert_eq!(rig.told(), ["2", "0 ended: the venue does not list it any more"]);
    assert_eq!((rig.hub.topics(), rig.hub.instruments()), (0, 1));
    // A shard that wants it all the same is told.
    rig.want(1);
    assert_eq!(rig.told_to(1)[1..], ["unavailable the instrument ended"]);
}

/// Returns the last definition of A, which says where each of these channels ended.
fn ended_at(last: &[(Channel, u64)]) -> Record {
    let mut record = ended(2, definition(ID, "sim", "A", 2));
    let Body::Instrument(definition) = &mut record.body else { panic!("a definition") };
    definition.last_sequences = vec![0; Channel::COUNT];
    for (channel, last) in last {
        definition.last_sequences[*channel as usize - 1] = *last;
    }
    record
}

#[test]
fn what_was_lost_just_before_an_end_is_announced() {
    const END: &str = "0 ended: the venue does not list it any more";
    for channel in [Channel::Trade, Channel::Quote, Channel::Book, Channel::Bar, Channel::Status] {
        // Records 6 and 7 were lost, and nothing comes behind them that would show it.
        let end = ended_at(&[(channel, 7)]);
        let mut rig = Rig::live(channel, 5);
        rig.define(&end);
        assert_eq!(rig.told(), ["gap bus 6-7", END], "{channel:?}");
        assert_eq!(rig.hub.counts.lost, 2, "{channel:?}");
        // The end itself was lost, too, and the catalogue tells it.
        let mut rig = Rig::live(channel, 5);
        rig.lost(Some(DEFINITIONS));
        rig.tick();
        rig.take_requests();
        rig.catalogue(EPOCH, &[super::rig::revised(&end, 3), both()[1].clone()]);
        assert_eq!(rig.told(), ["gap bus 6-7", END], "{channel:?}");
        // Nothing was lost.
        let mut rig = Rig::live(channel, 5);
        rig.records(EPOCH, 6, 7);
        rig.define(&end);
        assert_eq!(rig.told(), ["6", "7", END], "{channel:?}");
    }
}

#[test]
fn records_that_wait_for_a_state_are_not_lost_by_an_end() {
    // The state is asked for, because 6 did not come; 7 waits for it.
    let mut rig = Rig::live(Channel::Status, 5);
    rig.position(EPOCH, 6);
    rig.wait(300);
    rig.records(EPOCH, 7, 7);
    assert!(rig.told().is_empty());
    rig.define(&ended_at(&[(Channel::Status, 8)]));
    let expected = ["gap bus 6-6", "7", "gap bus 8-8", "0 ended: the venue does not list it any more"];
    assert_eq!(rig.told(), expected);
}

#[test]
fn an_end_that_was_never_live_here_tells_nothing_but_the_end() {
    let mut rig = Rig::new(Channel::Trade);
    rig.want(0);
    rig.define(&ended_at(&[(Channel::Trade, 7)]));
    assert_eq!(rig.told(), ["0 ended: the venue does not list it any more"]);
}

#[test]
fn an_index_is_used_again_when_every_shard_let_go_of_it() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.define(&ended(2, definition(ID, "sim", "A", 2)));
    rig.define(&definition(ID + 7, "sim", "C", 2));
    rig.hub.on_interest(0, TopicInterest::LetGo(0));
    rig.define(&definition(ID + 8, "sim", "D", 2));
    rig.hub.on_interest(1, TopicInterest::LetGo(0));
    // The number of A was given back with the index; a number that is in use is not given out.
    rig.define(&numbered(1, definition(ID, "sim", "E", 2)));
    let infos: Vec<_> = ["C", "D", "E"].map(|symbol| info(&rig, symbol)).to_vec();
    assert_eq!(infos, [(2, ID + 7), (3, ID + 8), (0, ID)]);
    // The messages of the old one that were still on their way are not taken for the new one.
    rig.hub.on_interest(0, TopicInterest::Want(TopicId::new(0, Channel::Quote)));
    rig.respond_empty();
    rig.told();
    rig.message(
        u64::from(rig.topic().0),
        frame_of(ID + 1, Channel::Quote, EPOCH, (6, 6), &[body(Channel::Quote, 6, false)]),
    );
    assert!(rig.told().is_empty());
}

fn info(rig: &Rig, symbol: &str) -> (u32, u32) {
    let name = tickwire_wire::SymbolName { venue: "sim".to_owned(), symbol: symbol.to_owned() };
    let info = rig.hub.instrument(&name).unwrap();
    (info.index, info.id)
}

#[test]
fn another_scale_is_another_instrument() {
    let mut rig = Rig::live(Channel::Quote, 5);
    // It happens as an ingester says it, and with the end lost.
    rig.define(&ended(2, definition(ID, "sim", "A", 2)));
    rig.define(&definition(ID + 9, "sim", "A", 3));
    assert_eq!(rig.told(), ["0 ended: the venue does not list it any more", "sim:A is 110 with 3"]);
    rig.define(&definition(ID + 10, "sim", "A", 4));
    assert_eq!(rig.told(), ["2 ended: it has other decimals now, and is there anew", "sim:A is 111 with 4"]);
    rig.define(&definition(ID + 11, "sim", "A", 4));
    assert_eq!(rig.told(), ["3 ended: it was listed anew, and is there anew", "sim:A is 112 with 4"]);
}

#[test]
fn a_number_that_passes_to_another_symbol_carries_no_price_there() {
    // A is followed. Then an ingester with other symbols comes, which gives the number of A to another one.
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.last_heartbeat(EPOCH);
    rig.heartbeat("sim", 3, &[]);
    rig.records(3, 6, 6);
    rig.hub.ask_due(rig.now);
    rig.catalogue(3, &[definition(ID, "sim", "X", 2)]);
    let expected = [
        "0 ended: its ingester does not list it any more; the last that was published of it may be missing"
            .to_owned(),
        "1 ended: its ingester does not list it any more; the last that was published of it may be missing"
            .to_owned(),
        format!("sim:X is {} with 2", info(&rig, "X").1),
    ];
    assert_eq!(rig.told(), expected);
    assert_ne!(info(&rig, "X").1, ID, "sessions know that number as A");
    // The records that X brings have the number that sessions know it by.
    let x = TopicId::new(info(&rig, "X").0, Channel::Trade);
    rig.hub.on_interest(0, TopicInterest::Want(x));
    rig.respond_empty();
    rig.message(
        u64::from(x.0),
        frame_of(
            ID,
            Channel::Trade,
            3,
            (1, 2),
            &[body(Channel::Trade, 1, false), body(Channel::Trade, 2, false)],
        ),
    );
    let (_, tickwire_core::vocabulary::Event::Update(update)) = rig.hub.events.pop().unwrap() else {
        panic!("a record")
    };
    assert_eq!((update.record().instrument, update.last), (info(&rig, "X").1, 2));
    for encoding in tickwire_wire::Encoding::ALL {
        let message = tickwire_wire::Batch::new(encoding, update.bytes(&Form::own(encoding))).next();
        let Some(Ok(tickwire_wire::Message::Record(read))) = message else { panic!("{message:?}") };
        assert_eq!((read.instrument, read.sequence), (info(&rig, "X").1, 2), "{encoding:?}");
    }
}

#[test]
fn the_same_symbols_under_other_numbers_go_on() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.last_heartbeat(EPOCH);
    rig.heartbeat("sim", 3, &[]);
    rig.hub.ask_due(rig.now);
    // The numbers of A and B are swapped.
    rig.catalogue(3, &[definition(ID + 1, "sim", "A", 2), definition(ID, "sim", "B", 2)]);
    assert!(rig.told().is_empty(), "nothing new for sessions");
    let target = rig.request();
    let records = [record(ID + 1, 2, body(Channel::Quote, 2, true))];
    rig.hub.on_response(target, Ok(super::rig::response(3, 2, &records)), rig.now);
    let token = u64::from(rig.topic().0);
    rig.message(token, frame_of(ID + 1, Channel::Quote, 3, (3, 3), &[body(Channel::Quote, 3, false)]));
    // A message that says B's number on A's subject is nobody's.
    rig.message(token, frame_of(ID, Channel::Quote, 3, (4, 4), &[body(Channel::Quote, 4, false)]));
    let numbers = rig.hub.events.iter().filter_map(|(_, event)| match event {
        tickwire_core::vocabulary::Event::Update(update) => Some(update.record().instrument),
        _ => None,
    });
    let numbers: Vec<_> = numbers.collect();
    assert_eq!(numbers, [ID, ID], "the gap and the record");
    assert_eq!(rig.told(), ["gap ingest 6-0 @3", "state 2@3 [2]", "3"]);
}

#[test]
fn nothing_of_an_instrument_is_used_before_its_definition() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.last_heartbeat(EPOCH);
    rig.heartbeat("sim", 3, &[]);
    rig.records(3, 1, 4);
    rig.tick();
    assert!(rig.told().is_empty());
    assert!(rig.topic_requests().is_empty(), "it is asked behind its definition");
    rig.catalogue(3, &both());
    rig.respond(3, 4);
    assert_eq!(rig.told(), ["gap ingest 6-0 @3", "state 4@3 [4]"], "not a loss of the bus");
}

#[test]
fn an_ingester_that_is_starting_ends_nothing() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.last_heartbeat(EPOCH);
    rig.heartbeat_in(tickwire_wire::FeedState::Stale, "sim", 3, &[]);
    rig.hub.ask_due(rig.now);
    let mut empty = super::rig::catalogue(3, 0, &[]);
    empty.state = tickwire_wire::FeedState::Stale as i32;
    rig.hub.on_response(super::rig::catalogue_of(3), Ok(empty), rig.now);
    assert!(rig.told().is_empty());
    rig.take_requests();
    // Live, it is asked again, and what it does not list then ended.
    rig.heartbeat("sim", 3, &[]);
    rig.tick();
    assert_eq!(rig.take_requests(), [HubRequest::Catalogue(VenueIndex(0))]);
    rig.catalogue(3, &both()[..1]);
    assert_eq!(
        rig.told(),
        ["1 ended: its ingester does not list it any more; the last that was published of it may be missing"]
    );
}

#[test]
fn a_catalogue_that_a_definition_overtook_is_not_believed_about_it() {
    let mut rig = Rig::new(Channel::Quote);
    rig.lost(Some(DEFINITIONS));
    rig.tick();
    assert_eq!(rig.take_requests(), [HubRequest::Catalogue(VenueIndex(0))]);
    rig.define(&definition(ID + 2, "sim", "C", 2));
    rig.define(&ended(2, definition(ID, "sim", "A", 2)));
    rig.told();
    // This response was taken before both.
    let response = super::rig::catalogue(EPOCH, 2, &both());
    rig.hub.on_response(super::rig::catalogue_of(EPOCH), Ok(response), rig.now);
    assert!(rig.told().is_empty(), "C stays, A does not come back");
    rig.heartbeat("sim", EPOCH, &[]);
    rig.tick();
    assert_eq!(rig.take_requests(), [HubRequest::Catalogue(VenueIndex(0))], "it is compared once more");
}

#[test]
fn two_venues_with_the_same_numbers_do_not_meet() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.heartbeat("other", EPOCH, &[]);
    rig.tick();
    rig.take_requests();
    let stranger = definition(ID, "other", "X", 2);
    let response = super::rig::catalogue(EPOCH, 1, &[stranger]);
    rig.hub.on_response(tickwire_core::hub::Target::Catalogue(VenueIndex(1), EPOCH), Ok(response), rig.now);
    let told = rig.told();
    assert!(told.len() == 1 && told[0].starts_with("other:X is ") && !told[0].contains(" 101 "), "{told:?}");
    rig.records(EPOCH, 6, 6);
    assert_eq!(rig.told(), ["6"]);
}

#[test]
fn there_is_a_limit_to_instruments_and_ended_ones_make_room() {
    let mut rig = Rig::new(Channel::Quote);
    rig.hub.set_limits(HubLimits { instruments: 2, ..limits() });
    rig.define(&definition(ID + 2, "sim", "C", 2));
    assert_eq!((rig.hub.instruments(), rig.hub.counts.over_limit), (2, 1));
    rig.message(DEFINITIONS, b"short".to_vec());
    assert_eq!(rig.hub.counts.malformed, 1);
    for day in 0..1_000 {
        rig.define(&ended(2, definition(ID + 1 + day, "sim", &name(day), 2)));
        rig.define(&definition(ID + 2 + day, "sim", &name(day + 1), 2));
        for shard in 0..2 {
            for index in 0..3 {
                rig.hub.on_interest(shard, TopicInterest::LetGo(index));
            }
        }
    }
    assert_eq!(rig.hub.instruments(), 2);
    assert!(info(&rig, &name(1_000)).0 < 3, "indexes are used again");
}

fn name(day: u32) -> String {
    if day == 0 { "B".to_owned() } else { format!("B-{day}") }
}

#[test]
fn a_definition_that_was_lost_is_asked_for() {
    let mut rig = Rig::new(Channel::Quote);
    rig.catalogue += 1;
    rig.heartbeat("sim", EPOCH, &[]);
    rig.tick();
    assert_eq!(rig.take_requests(), [HubRequest::Catalogue(VenueIndex(0))]);
    rig.catalogue(EPOCH, &both());
    rig.heartbeat("sim", EPOCH, &[]);
    rig.tick();
    assert!(rig.take_requests().is_empty(), "once");
}

#[test]
fn a_feed_is_not_live_before_its_instruments_are_known() {
    let mut rig = Rig::of(Hub::new(limits()), Channel::Quote);
    rig.hub.on_bus_state(Ok(1), rig.now);
    rig.heartbeat("sim", EPOCH, &[]);
    rig.tick();
    let before = rig.feeds();
    assert!(before.last().is_some_and(|last| last.contains("not known yet")), "{before:?}");
    rig.take_requests();
    rig.catalogue(EPOCH, &both()[..1]);
    assert_eq!(rig.feeds().len(), 1, "live");
}
