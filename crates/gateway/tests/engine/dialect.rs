//! A protocol that knows nothing of Tickwire is a dialect, a form and nothing else: the engine is not touched.
//!
//! The one below is made of lines, one in each WebSocket message, as many vendors have it. It has the peculiarities of real
//! ones: several commands in a message and one answer to all of them, symbols in the path of the request, pings and
//! heartbeats of its own, no word for a gap, and codes of its own at the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use tickwire_core::engine::{Dialect, Framing, Loss, Request, SessionKey};
use tickwire_core::vocabulary::{Form, Origin};
use tickwire_wire::{
    Body, Channel, CloseCode, Command, Error, GapCause, Message, Record, Subscribe, Unsubscribe,
};

use super::rig::{CLOSE, PING, Rig, SECOND, TEXT, brief, limits, parse_frames, quote, subscribed, trade};

/// Lines, one in each message.
#[derive(Debug)]
struct Lines {
    form: Form,
    /// The path of the HTTP request.
    path: &'static str,
    /// Ids of the protocol are words. By our id: the word, and how many commands of it are to be answered.
    asked: HashMap<u64, (String, usize)>,
    next_id: u64,
}

impl Lines {
    fn new(path: &'static str) -> Self {
        Self::with_form(path, Form::foreign(0, write_line))
    }

    fn with_form(path: &'static str, form: Form) -> Self {
        Self { form, path, asked: HashMap::new(), next_id: 1 }
    }

    /// Reads `sub a1 quote,trade A B`, which is a command for each channel.
    fn ask(&mut self, words: &[&str], requests: &mut Vec<Request>) {
        let [verb @ ("sub" | "unsub"), word, channels, names @ ..] = words else {
            let message = words.join(" ");
            requests.push(Request::Wrong(Error { id: 0, code: "syntax".to_owned(), message }));
            return;
        };
        let id = self.next_id;
        self.next_id += 1;
        let channels: Vec<_> = channels.split(',').collect();
        self.asked.insert(id, ((*word).to_owned(), channels.len()));
        for channel in channels {
            let symbols = names.iter().map(|name| format!("sim:{name}")).collect();
            let channel = channel.to_owned();
            requests.push(Request::Command(if *verb == "sub" {
                Command::Subscribe(Subscribe { id, channel, symbols, max_rate: 0.0 })
            } else {
                Command::Unsubscribe(Unsubscribe { id, channel, symbols })
            }));
        }
    }

    /// One command of an id was answered; the last one is said.
    fn answered(&mut self, id: u64, out: &mut Vec<u8>) {
        if let Some((word, left)) = self.asked.get_mut(&id) {
            *left -= 1;
            if *left == 0 {
                line(&format!("done {word}"), out);
                self.asked.remove(&id);
            }
        }
    }
}

fn line(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

fn write_line(origin: &Origin<'_>, record: Record, out: &mut Vec<u8>) {
    let (symbol, sequence) = (&origin.info.name.symbol, record.sequence);
    match record.body {
        Body::Quote(quote) => {
            let price = |level: Option<tickwire_wire::Level>| level.map_or(0, |level| level.price);
            line(&format!("quote {symbol} {sequence} {} {}", price(quote.bid), price(quote.ask)), out);
        }
        Body::Trade(trade) => line(&format!("trade {symbol} {sequence} {}", trade.price), out),
        // It has no word for anything else.
        _ => {}
    }
}

impl Dialect for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn form(&self) -> Form {
        self.form
    }

    fn begin(&mut self, requests: &mut Vec<Request>) {
        if let Some(names) = self.path.strip_prefix("/quotes/") {
            let words: Vec<_> = ["sub", "path", "quote"].into_iter().chain(names.split('/')).collect();
            self.ask(&words, requests);
        }
    }

    fn read(&mut self, bytes: &[u8], requests: &mut Vec<Request>) {
        for asked in String::from_utf8_lossy(bytes).lines() {
            let words: Vec<_> = asked.split(' ').collect();
            match words[..] {
                ["ping", word] => requests.push(Request::Reply(format!("pong {word}\n").into_bytes())),
                ["quit"] => requests.push(Request::Close(CloseCode::Draining)),
                _ => self.ask(&words, requests),
            }
        }
    }

    fn say(&mut self, message: &Message, out: &mut Vec<u8>) {
        match message {
            Message::Hello(_) => line("connected", out),
            Message::Subscribed(response) => {
                for refused in &response.refused {
                    line(&format!("no {} {}", refused.symbol, refused.code), out);
                }
                self.answered(response.id, out);
            }
            Message::Ledger(ledger) => self.answered(ledger.id, out),
            Message::Heartbeat(_) => line("alive", out),
            Message::Error(error) => line(&format!("error {} {}", error.code, error.message), out),
            _ => {}
        }
    }

    fn end(&self, framing: &dyn Framing, head: usize, start: usize, _: u64, out: &mut Vec<u8>) {
        let all = out.split_off(start);
        out.truncate(head);
        for line in all.split_inclusive(|byte| *byte == b'\n') {
            let head = out.len();
            framing.begin(out);
            let start = out.len();
            out.extend_from_slice(line.trim_ascii_end());
            framing.end(head, start, true, out);
        }
    }

    fn on_loss(&self, loss: Loss) -> Option<CloseCode> {
        // Its clients cannot be told that numbers begin again; what else they miss they count themselves.
        loss.is_restart.then_some(CloseCode::Internal)
    }

    fn close(&self, code: CloseCode) -> (u16, &'static str) {
        if code == CloseCode::Draining { (1001, "going away") } else { (1011, "connect again") }
    }
}

fn send(rig: &mut Rig, key: SessionKey, text: &str) {
    rig.engine.on_message(key, text.as_bytes(), rig.now);
    rig.grant_interests();
}

/// Returns the lines that a session gets, over a socket that takes everything, and the code that it ends with.
fn read_to_end(rig: &mut Rig, key: SessionKey) -> (Vec<String>, Option<u16>) {
    let (mut lines, mut end) = (Vec::new(), None);
    loop {
        let mut bytes = Vec::new();
        let filled = rig.engine.fill(key, rig.now, &tickwire_gateway::WebSocket, &mut bytes);
        for frame in parse_frames(&bytes) {
            assert_eq!(end, None, "nothing comes behind the end");
            match frame.opcode {
                TEXT => lines.push(String::from_utf8(frame.payload).unwrap()),
                CLOSE => end = frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
                other => assert_eq!(other, PING),
            }
        }
        assert_eq!(filled.closed, end.is_some());
        rig.engine.unsent(key, 0, rig.now);
        if !filled.more {
            return (lines, end);
        }
    }
}

#[track_caller]
fn read(rig: &mut Rig, key: SessionKey) -> Vec<String> {
    let (lines, end) = read_to_end(rig, key);
    assert_eq!(end, None);
    lines
}

#[test]
fn a_foreign_session_asks_and_is_told_in_its_own_words() {
    let mut rig = Rig::new(limits());
    let key = rig.open_foreign(Lines::new("/"));
    assert_eq!(read(&mut rig, key), ["connected"]);
    send(&mut rig, key, "sub a1 quote,trade A Z\nping 7\nsub a2 quote B");
    assert_eq!(
        read(&mut rig, key),
        ["pong 7", "no sim:Z unknown_symbol", "alive", "no sim:Z unknown_symbol", "done a1", "done a2"],
        "`a1` is answered when both of its channels are; the state of the venue's feed is told with the first"
    );
    rig.publish(0, 1, quote(5));
    rig.publish(0, 1, trade(6));
    rig.publish(1, 1, quote(7));
    assert_eq!(read(&mut rig, key), ["quote A 1 5 6", "trade A 1 6", "quote B 1 7 8"]);
    send(&mut rig, key, "nonsense");
    send(&mut rig, key, "unsub a3 quote,trade A");
    rig.publish(0, 2, quote(8));
    rig.publish(1, 2, quote(9));
    assert_eq!(read(&mut rig, key), ["error syntax nonsense", "done a3", "quote B 2 9 10"]);
    rig.now += 2 * SECOND;
    rig.engine.tick(rig.now);
    assert_eq!(read(&mut rig, key), ["alive"]);
    let page =
        rig.engine.session_page(&tickwire_core::engine::SessionQuery { limit: 9, ..Default::default() });
    assert_eq!(page.rows[0].dialect, "lines");
}

#[test]
fn what_stands_in_the_path_is_asked_for_behind_the_greeting() {
    let mut rig = Rig::new(limits());
    let key = rig.open_foreign(Lines::new("/quotes/A/C"));
    rig.grant_interests();
    rig.publish(2, 1, quote(1));
    assert_eq!(read(&mut rig, key), ["connected", "done path", "alive", "quote C 1 1 2"]);
}

#[test]
fn records_are_written_once_for_all_sessions_of_a_form() {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    fn write_counted(origin: &Origin<'_>, record: Record, out: &mut Vec<u8>) {
        WRITTEN.fetch_add(1, Ordering::Relaxed);
        write_line(origin, record, out);
    }
    let (mut rig, own) = subscribed(&[Channel::Quote, Channel::Trade]);
    let form = Form::foreign(1, write_counted);
    let keys = [(); 3].map(|()| rig.open_foreign(Lines::with_form("/", form)));
    let other = rig.open_foreign(Lines::new("/"));
    for key in keys.into_iter().chain([other]) {
        send(&mut rig, key, "sub a quote,trade A");
        read(&mut rig, key);
    }
    // As many as leave by one copy, and as one by one.
    let mut number = 0;
    for count in [1, 2, 40, 3] {
        let before = WRITTEN.load(Ordering::Relaxed);
        for _ in 0..count {
            number += 1;
            rig.publish(0, number, trade(number as i64));
        }
        rig.publish(0, number, quote(1));
        let expected = read(&mut rig, other);
        assert_eq!(expected.len(), count + 1);
        for key in keys {
            assert_eq!(read(&mut rig, key), expected);
        }
        assert_eq!(WRITTEN.load(Ordering::Relaxed) - before, count + 1);
        assert_eq!(rig.records(own).len(), count + 1);
    }
}

#[test]
fn a_loss_without_a_word_ends_the_session_and_no_other() {
    let (mut rig, own) = subscribed(&[Channel::Trade]);
    let key = rig.open_foreign(Lines::new("/"));
    send(&mut rig, key, "sub a trade A");
    rig.publish(0, 1, trade(1));
    rig.gap(0, Channel::Trade, GapCause::Upstream, 2, 3, 7);
    rig.publish(0, 4, trade(4));
    assert_eq!(
        read(&mut rig, key),
        ["connected", "done a", "alive", "trade A 1 1", "trade A 4 4"],
        "it can count"
    );
    rig.gap(0, Channel::Trade, GapCause::Ingest, 5, 0, 8);
    let update = rig.bus_update(0, 8, 1, trade(5));
    rig.event(tickwire_core::vocabulary::Event::Update(update));
    let (lines, end) = read_to_end(&mut rig, key);
    assert_eq!(end, Some(1011));
    assert_eq!(lines, Vec::<String>::new(), "nothing of the new sequence");
    let told = brief(&rig.records(own));
    assert_eq!(told, ["trade 1", "trade gap upstream 2-3", "trade 4", "trade gap ingest 5-0", "trade 1"]);
    let account = rig.engine.ended(key, rig.now).unwrap();
    assert_eq!(account.published, account.delivered + account.conflated + account.dropped + account.filtered);
    assert_eq!((account.delivered, account.dropped), (2, 2));
}

#[test]
fn the_end_has_its_own_code() {
    let mut rig = Rig::new(limits());
    let [quits, floods] = ["/", "/"].map(|path| rig.open_foreign(Lines::new(path)));
    send(&mut rig, quits, "quit\nsub a quote A");
    assert_eq!(read_to_end(&mut rig, quits), (vec!["connected".to_owned()], Some(1001)));
    rig.engine.on_flood(floods, b"sub a quote A");
    rig.engine.close(floods, CloseCode::Flood);
    let (lines, end) = read_to_end(&mut rig, floods);
    assert!(lines[1].starts_with("error rate_limit "), "{lines:?}");
    assert_eq!(end, Some(1011));
}
