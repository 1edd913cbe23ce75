//! The engine's decisions that are kept, and what somebody who looks at them is told.

use tickwire_core::engine::{
    BlockedBy, Decision, DetailQuery, EngineLimits, Fate, Opening, Run, SessionDetail, SessionQuery,
    SessionState,
};
use tickwire_wire::{
    Channel, CloseCode, Command, Encoding, GapCause, Resume, ResumePosition, Subscribe, TradingState,
};

use super::rig::{Client, EPOCH, Rig, SECOND, level, limits, quote, snapshot, status, trade};

const MS: u64 = SECOND / 1000;

fn reader(limits: EngineLimits, channels: &[Channel]) -> (Rig, Client) {
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::Proto);
    for channel in channels {
        rig.subscribe(client, *channel, &["sim:A", "sim:B"]);
    }
    (rig, client)
}

#[track_caller]
fn detail(rig: &Rig) -> SessionDetail {
    rig.engine.session_detail("s1", DetailQuery::default()).expect("it is open")
}

fn block(rig: &mut Rig, client: Client) {
    rig.engine.unsent(client.key, 1, rig.now);
}

fn unblock(rig: &mut Rig, client: Client) {
    rig.engine.unsent(client.key, 0, rig.now);
    rig.read(client);
}

/// Returns fate, first, last, count, and milliseconds since the beginning.
fn runs(rig: &Rig, start: u64) -> Vec<(Fate, u64, u64, u64, u64, u64)> {
    let line = |run: &Run| {
        let (since, until) = ((run.since - start) / MS, (run.until - start) / MS);
        (run.fate, run.first, run.last, run.count, since, until)
    };
    detail(rig).runs.iter().map(|(_, _, run)| line(run)).collect()
}

#[test]
fn a_prompt_session_keeps_nothing() {
    let (mut rig, client) = reader(limits(), &[Channel::Quote, Channel::Trade]);
    for number in 1..=100 {
        rig.publish(0, number, quote(1));
        rig.publish(1, number, trade(1));
        // Every third quote is superseded by one that came before the same write.
        if number % 3 == 0 {
            rig.read(client);
        }
    }
    let detail = detail(&rig);
    assert!(detail.decisions.is_empty() && detail.runs.is_empty(), "{detail:?}");
    assert!(detail.row.account.conflated > 0);
    assert_eq!(rig.engine.survey().decisions.iter().sum::<u64>(), 0);
}

#[test]
fn a_price_that_did_not_go_out_is_found_with_time_and_cause() {
    let (mut rig, client) = reader(limits(), &[Channel::Quote]);
    let start = rig.now;
    block(&mut rig, client);
    for number in 1..=5 {
        rig.now += 10 * MS;
        rig.publish(0, number, quote(1));
    }
    unblock(&mut rig, client);
    rig.publish(0, 6, quote(1));
    rig.read(client);
    let blocked = Fate::Superseded(BlockedBy::SOCKET);
    assert_eq!(runs(&rig, start), [(blocked, 1, 5, 4, 50, 50)], "1 to 4 were superseded by 5");
    let found = detail(&rig);
    assert_eq!((found.runs[0].0.channel(), found.runs[0].1.as_str()), (Channel::Quote, "sim:A"));
    assert_eq!(found.runs[0].2.fate.name(), "superseded");
}

#[test]
fn runs_of_one_second_are_one_and_old_ones_lose_detail_before_they_are_lost() {
    let (mut rig, client) = reader(limits(), &[Channel::Quote]);
    let start = rig.now;
    let mut number = 0;
    let mut jump = |rig: &mut Rig, times: u64| {
        for _ in 0..times {
            block(rig, client);
            for _ in 0..3 {
                number += 1;
                rig.publish(0, number, quote(1));
            }
            unblock(rig, client);
            rig.now += 100 * MS;
        }
    };
    jump(&mut rig, 10);
    let blocked = Fate::Superseded(BlockedBy::SOCKET);
    assert_eq!(runs(&rig, start), [(blocked, 1, 30, 20, 0, 900)]);
    jump(&mut rig, 990);
    let kept = runs(&rig, start);
    assert_eq!(kept.len(), 6, "bounded");
    assert_eq!(
        kept.iter().map(|run| run.3).sum::<u64>(),
        2000,
        "every superseded sequence number is in one of them"
    );
    assert_eq!((kept[0].1, kept[0].4), (1, 0), "from the first on");
    assert_eq!(kept[5].5, 99_900, "to the last");
    assert!(kept[5].5 - kept[5].4 < 1000, "the newest is exact");
    assert!(kept.windows(2).all(|pair| pair[0].2 < pair[1].1), "{kept:?}");
}

#[test]
fn shedding_gaps_and_the_ladder_are_kept_in_order() {
    let mut narrow = limits();
    (narrow.shed_bytes, narrow.close_bytes) = (1_000, 4_000);
    let (mut rig, client) = reader(narrow, &[Channel::Trade, Channel::Status]);
    let start = rig.now;
    rig.publish(0, 1, trade(1));
    rig.gap(0, Channel::Trade, GapCause::Bus, 2, 4, EPOCH);
    rig.read(client);
    assert_eq!(runs(&rig, start), [(Fate::Gap(GapCause::Bus), 2, 4, 3, 0, 0)], "a prompt session's too");
    rig.engine.unsent(client.key, 990, rig.now);
    rig.publish(0, 5, trade(1));
    rig.publish(0, 6, trade(1));
    assert_eq!(detail(&rig).row.state, SessionState::Shedding);
    rig.now += 300 * MS;
    rig.engine.tick(rig.now);
    rig.publish(0, 1, status(TradingState::Halted));
    unblock(&mut rig, client);
    rig.now += 2 * SECOND;
    rig.engine.tick(rig.now);
    rig.engine.close(client.key, CloseCode::Draining);
    let found = detail(&rig);
    let names: Vec<_> = found.decisions.iter().map(|entry| entry.decision.name()).collect();
    assert_eq!(names, ["shedding", "conflating", "shedding_ended", "prompt", "closing"]);
    assert_eq!(found.decisions[1].decision, Decision::Conflating { because: BlockedBy::SOCKET });
    assert_eq!(found.decisions[4].decision, Decision::Closing { code: CloseCode::Draining });
    assert_eq!(runs(&rig, start)[1..], [(Fate::Gap(GapCause::Shed), 5, 6, 2, 300, 300)]);
    assert_eq!((found.row.state, found.row.closing), (SessionState::Closing, Some(CloseCode::Draining)));
    let survey = rig.engine.survey();
    rig.engine.ended(client.key, rig.now);
    assert_eq!(
        survey.decisions,
        rig.engine.survey().decisions,
        "they are counted on when the session is gone"
    );
    assert_eq!(survey.states, [0, 0, 0, 1]);
}

#[test]
fn a_ring_keeps_the_last_decisions() {
    let (mut rig, client) = reader(limits(), &[Channel::Quote]);
    for _ in 0..500 {
        block(&mut rig, client);
        rig.now += SECOND / 4;
        rig.engine.on_ping(client.key, b"", rig.now);
        rig.engine.tick(rig.now);
        unblock(&mut rig, client);
        rig.now += 2 * SECOND;
        rig.engine.tick(rig.now);
    }
    let found = detail(&rig);
    assert_eq!(found.decisions.len(), 128);
    assert_eq!(found.decisions[127].since, rig.now);
    assert_eq!(found.decisions[127].decision, Decision::Prompt);
}

#[test]
fn a_snapshot_instead_of_changes_is_told() {
    let mut short = limits();
    short.log_records_per_topic = 2;
    let (mut rig, client) = reader(short, &[Channel::Book]);
    let start = rig.now;
    rig.publish(0, 1, snapshot(&[level(1, 1)], &[level(2, 1)]));
    rig.read(client);
    block(&mut rig, client);
    for number in 2..=6 {
        rig.publish(0, number, super::rig::change(&[level(1, number)], &[]));
    }
    unblock(&mut rig, client);
    assert_eq!(runs(&rig, start), [(Fate::Snapshot(BlockedBy::SOCKET), 2, 6, 4, 0, 0)]);
}

#[test]
fn resuming_is_told_and_unsubscribing_forgets() {
    let (mut rig, _) = reader(limits(), &[Channel::Trade]);
    for number in 1..=9 {
        rig.publish(0, number, trade(1));
    }
    let key = rig.engine.open(Opening::anonymous("s2", Encoding::Proto), rig.now);
    let client = Client { key, encoding: Encoding::Proto };
    let position =
        ResumePosition { channel: "trade".to_owned(), symbol: "sim:A".to_owned(), epoch: EPOCH, sequence: 4 };
    rig.send(client, &Command::Resume(Resume { id: 1, positions: vec![position] }));
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    let found = rig.engine.session_detail("s2", DetailQuery::default()).unwrap();
    let Decision::Resumed { topic, after: 4, from: 5 } = found.decisions[0].decision else {
        panic!("{found:?}")
    };
    assert_eq!(found.names, [(topic, "sim:A".to_owned())]);
    rig.gap(0, Channel::Trade, GapCause::Bus, 10, 12, EPOCH);
    rig.read(client);
    assert_eq!(rig.engine.session_detail("s2", DetailQuery::default()).unwrap().runs.len(), 1);
    let symbols = vec!["sim:A".to_owned()];
    let unsubscribe = tickwire_wire::Unsubscribe { id: 2, channel: "trade".to_owned(), symbols };
    rig.send(client, &Command::Unsubscribe(unsubscribe));
    assert!(rig.engine.session_detail("s2", DetailQuery::default()).unwrap().runs.is_empty());
}

#[test]
fn sessions_are_listed_in_pages_and_by_state() {
    let mut rig = Rig::new(limits());
    let mut keys = Vec::new();
    for number in 1..=25 {
        keys.push(rig.engine.open(Opening::anonymous(format!("00ab-{number}"), Encoding::Json), rig.now));
    }
    rig.engine.ended(keys[3], rig.now);
    let mut seen = Vec::new();
    let mut query = SessionQuery { limit: 10, ..SessionQuery::default() };
    loop {
        let page = rig.engine.session_page(&query);
        assert!(page.rows.len() <= 10);
        seen.extend(page.rows.iter().map(|row| row.id.clone()));
        query.after = page.upto;
        if query.after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (1..=25).filter(|number| *number != 4).map(|n| format!("00ab-{n}")).collect();
    assert_eq!(seen, expected, "each once, in the order in which they were opened");
    rig.engine.unsent(keys[7], 1, rig.now);
    rig.now += SECOND;
    rig.engine.tick(rig.now);
    let query = SessionQuery { limit: 10, state: Some(SessionState::Conflating), ..SessionQuery::default() };
    let page = rig.engine.session_page(&query);
    assert_eq!(page.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["00ab-8"]);
    assert_eq!((page.upto, page.rows[0].pressure.unsent), (None, 1));
    assert!(rig.engine.session_detail("00ab-4", DetailQuery::default()).is_none());
}

#[test]
fn a_page_is_cut_where_its_sessions_have_very_many_subscriptions() {
    let mut wide = limits();
    wide.subscriptions_per_session = 60_000;
    wide.command_bytes = 1 << 20;
    let mut rig = Rig::new(wide);
    for index in 0..1000 {
        rig.instrument(&format!("N{index}"));
    }
    for number in 1..=12 {
        let key = rig.engine.open(Opening::anonymous(format!("x-{number}"), Encoding::Proto), rig.now);
        let client = Client { key, encoding: Encoding::Proto };
        for channel in Channel::ALL {
            let subscribe = Subscribe {
                id: 1,
                channel: channel.name().to_owned(),
                symbols: vec!["sim:*".to_owned()],
                max_rate: 0.0,
            };
            rig.send(client, &Command::Subscribe(subscribe));
            rig.grant_interests();
        }
    }
    let page = rig.engine.session_page(&SessionQuery { limit: 100, ..SessionQuery::default() });
    assert!(
        page.upto.is_some()
            && page.rows.len() < 12
            && page.rows.len() >= 50_000 / (Channel::COUNT * 1_000 + 100),
        "{}",
        page.rows.len()
    );
    let rest = rig.engine.session_page(&SessionQuery { after: page.upto, limit: 100, state: None });
    assert_eq!(page.rows.len() + rest.rows.len(), 12);
}

#[test]
fn a_page_for_a_state_looks_at_so_many_sessions_only() {
    let mut rig = Rig::new(limits());
    for number in 1..=9_000 {
        rig.engine.open(Opening::anonymous(format!("y-{number}"), Encoding::Proto), rig.now);
    }
    let last = rig.engine.open(Opening::anonymous("y-9001", Encoding::Proto), rig.now);
    rig.engine.close(last, CloseCode::Internal);
    let mut query = SessionQuery { limit: 10, state: Some(SessionState::Closing), ..SessionQuery::default() };
    let mut pages = 0;
    loop {
        let page = rig.engine.session_page(&query);
        pages += 1;
        if page.upto.is_none() {
            assert_eq!(page.rows.len(), 1);
            break;
        }
        assert!(page.rows.is_empty(), "it is the last one");
        query.after = page.upto;
    }
    assert_eq!(pages, 3, "9,001 sessions, 4,096 at a time");
}

#[test]
fn subscriptions_of_a_session_come_in_pages() {
    let mut rig = Rig::new(limits());
    for index in 0..60 {
        rig.instrument(&format!("N{index}"));
    }
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Quote, &["sim:*"]);
    // A place in the middle is free.
    let symbols = vec!["sim:N7".to_owned()];
    let end = tickwire_wire::Unsubscribe { id: 2, channel: "quote".to_owned(), symbols };
    rig.send(client, &Command::Unsubscribe(end));
    block(&mut rig, client);
    for index in 0..63 {
        if index != 10 {
            rig.publish(index, 1, quote(1));
            rig.publish(index, 2, quote(1));
        }
    }
    unblock(&mut rig, client);
    let mut query = DetailQuery { after: None, limit: 20 };
    let (mut symbols, mut pages, mut runs) = (Vec::new(), Vec::new(), 0);
    loop {
        let detail = rig.engine.session_detail("s1", query).unwrap();
        assert_eq!(detail.row.subscriptions, 62);
        pages.push(detail.subscriptions.len());
        symbols.extend(detail.subscriptions.iter().map(|row| row.symbol.clone()));
        assert!(detail.runs.iter().all(|(topic, ..)| detail.subscriptions.iter().any(|s| s.topic == *topic)));
        runs += detail.runs.len();
        query.after = detail.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!((pages, runs), (vec![20, 20, 20, 2], 62), "a page tells of its own subscriptions");
    symbols.sort_unstable();
    symbols.dedup();
    assert_eq!(symbols.len(), 62, "each once");
}
