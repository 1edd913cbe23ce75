//! Centrifugo's bidirectional protocol in Protobuf: commands and replies, each after its length, several in a message
//! (<https://github.com/centrifugal/protocol>, `definitions/client.proto`). Written from that and not run against a
//! server yet: none is in the registries that the tests use.

use super::{Progress, UPDATE_BYTES, Update};
use crate::scan::{Malformed, bytes, skip, varint};
use crate::ws::{self, Opcode};

// Fields of `Command` and `Reply`, as tags: number times 8, plus 0 for a varint and 2 for bytes.
const ID: u64 = 1 << 3;
const ERROR: u64 = 2 << 3 | 2;
const PUSH: u64 = 4 << 3 | 2;
/// `Command.connect`.
const CONNECT: u8 = 4 << 3 | 2;
/// `Command.subscribe`.
const SUBSCRIBE: u8 = 5 << 3 | 2;
/// `Push.pub`, and `Publication.data` in it.
const PUBLICATION: u64 = 4 << 3 | 2;
const DATA: u64 = 4 << 3 | 2;
const PUSHED_UNSUBSCRIBE: u64 = 7 << 3 | 2;
const PUSHED_DISCONNECT: u64 = 11 << 3 | 2;
const ERROR_MESSAGE: u64 = 2 << 3 | 2;

/// Of the connect command; those of subscribes follow.
const CONNECT_ID: u64 = 1;

#[derive(Debug, Default)]
pub(crate) struct Centrifugo {
    symbols: Vec<u32>,
    /// Subscribes without a reply.
    open: usize,
}

impl Centrifugo {
    pub(crate) fn open(&mut self, symbols: &[u32], out: &mut Vec<u8>) {
        self.symbols = symbols.to_vec();
        self.open = symbols.len();
        let mut command = Vec::new();
        put_command(&mut command, CONNECT_ID, CONNECT, &[]);
        ws::put(out, Opcode::Binary, &command);
    }

    pub(crate) fn message(
        &mut self,
        _opcode: Opcode,
        payload: &[u8],
        out: &mut Vec<u8>,
        found: &mut impl FnMut(Update),
    ) -> Result<Progress, String> {
        let mut rest = payload;
        let mut progress = Progress::More;
        while !rest.is_empty() {
            let reply = bytes(&mut rest).map_err(malformed)?;
            if reply.is_empty() {
                // The server's ping; an empty command is the pong.
                ws::put(out, Opcode::Binary, &[0]);
                continue;
            }
            match read_reply(reply, found)? {
                Some(CONNECT_ID) => {
                    let mut commands = Vec::new();
                    for (id, symbol) in (CONNECT_ID + 1..).zip(std::mem::take(&mut self.symbols)) {
                        let channel = format!("u.{symbol}");
                        let request = [&[1 << 3 | 2, channel.len() as u8], channel.as_bytes()].concat();
                        put_command(&mut commands, id, SUBSCRIBE, &request);
                    }
                    ws::put(out, Opcode::Binary, &commands);
                }
                Some(_) => {
                    self.open = self.open.saturating_sub(1);
                    if self.open == 0 {
                        progress = Progress::Ready;
                    }
                }
                None => {}
            }
        }
        Ok(progress)
    }
}

/// Appends `Command { id, <field>: request }` after its length. Both are short: a name and some bytes.
fn put_command(out: &mut Vec<u8>, id: u64, field: u8, request: &[u8]) {
    let mut command = vec![ID as u8];
    let mut id = id;
    while id >= 0x80 {
        command.push(id as u8 | 0x80);
        id >>= 7;
    }
    command.extend_from_slice(&[id as u8, field, request.len() as u8]);
    command.extend_from_slice(request);
    out.push(command.len() as u8);
    out.extend_from_slice(&command);
}

/// The id of the command that this answers; none of a push.
fn read_reply(reply: &[u8], found: &mut impl FnMut(Update)) -> Result<Option<u64>, String> {
    let mut rest = reply;
    let mut id = None;
    while !rest.is_empty() {
        match varint(&mut rest).map_err(malformed)? {
            ID => id = Some(varint(&mut rest).map_err(malformed)?),
            ERROR => return Err(read_error(bytes(&mut rest).map_err(malformed)?)),
            PUSH => read_push(bytes(&mut rest).map_err(malformed)?, found)?,
            tag => skip(tag, &mut rest).map_err(malformed)?,
        }
    }
    Ok(id)
}

fn read_push(push: &[u8], found: &mut impl FnMut(Update)) -> Result<(), String> {
    let mut rest = push;
    while !rest.is_empty() {
        match varint(&mut rest).map_err(malformed)? {
            PUBLICATION => {
                let mut publication = bytes(&mut rest).map_err(malformed)?;
                while !publication.is_empty() {
                    match varint(&mut publication).map_err(malformed)? {
                        DATA => {
                            let data = bytes(&mut publication).map_err(malformed)?;
                            let update: &[u8; UPDATE_BYTES] =
                                data.try_into().map_err(|_| format!("an update of {} bytes", data.len()))?;
                            found(Update::read(update));
                        }
                        tag => skip(tag, &mut publication).map_err(malformed)?,
                    }
                }
            }
            PUSHED_UNSUBSCRIBE => return Err("it ended a subscription".to_owned()),
            PUSHED_DISCONNECT => return Err("it is going to disconnect".to_owned()),
            tag => skip(tag, &mut rest).map_err(malformed)?,
        }
    }
    Ok(())
}

fn read_error(error: &[u8]) -> String {
    let mut rest = error;
    while let Ok(tag) = varint(&mut rest) {
        if tag == ERROR_MESSAGE
            && let Ok(message) = bytes(&mut rest)
        {
            return format!("it says: {}", String::from_utf8_lossy(message));
        }
        if skip(tag, &mut rest).is_err() {
            break;
        }
    }
    "it answers with an error without a text".to_owned()
}

fn malformed(_: Malformed) -> String {
    "a message that is no Protobuf of Centrifugo".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimited(bytes: &[u8]) -> Vec<u8> {
        [&[bytes.len() as u8], bytes].concat()
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2], &delimited(bytes)[..]].concat()
    }

    fn publication(update: Update) -> Vec<u8> {
        let mut data = Vec::new();
        update.write(&mut data);
        let push = [field(2, b"u.7"), field(4, &[field(4, &data), vec![6 << 3, 9]].concat())].concat();
        delimited(&field(4, &push))
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        ws::put(&mut frame, Opcode::Binary, payload);
        frame
    }

    #[track_caller]
    fn check(session: &mut Centrifugo, message: &[u8], answer: &[u8], progress: Progress) {
        let mut out = Vec::new();
        assert_eq!(session.message(Opcode::Binary, message, &mut out, &mut |_| {}), Ok(progress));
        assert_eq!(out, if answer.is_empty() { Vec::new() } else { frame(answer) });
    }

    #[test]
    fn from_the_connect_to_an_update() {
        let mut session = Centrifugo::default();
        let mut out = Vec::new();
        session.open(&[7, 12], &mut out);
        assert_eq!(out, frame(&[4, 0x08, 1, 0x22, 0]));
        let subscribes = b"\x09\x08\x02\x2a\x05\x0a\x03u.7\x0a\x08\x03\x2a\x06\x0a\x04u.12";
        check(
            &mut session,
            &delimited(&[&[0x08, 1], &field(5, b"\x0a\x01x")[..]].concat()),
            subscribes,
            Progress::More,
        );
        check(&mut session, &[4, 0x08, 2, 0x32, 0], &[], Progress::More);
        check(&mut session, &[4, 0x08, 3, 0x32, 0], &[], Progress::Ready);
        check(&mut session, &[0], &[0], Progress::More);

        let updates = [1, 2].map(|sequence| Update { symbol: 7, sequence, intended_time: 5 });
        let message: Vec<u8> = updates.into_iter().flat_map(publication).collect();
        let mut found = Vec::new();
        let taken = session.message(Opcode::Binary, &message, &mut out, &mut |update| found.push(update));
        assert_eq!((taken, found), (Ok(Progress::More), updates.to_vec()));
        for cut in 1..message.len() {
            if cut != message.len() / 2 {
                let taken = session.message(Opcode::Binary, &message[..cut], &mut Vec::new(), &mut |_| {});
                assert!(taken.is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |reply: &[u8]| {
            let mut session = Centrifugo::default();
            session.message(Opcode::Binary, &delimited(reply), &mut Vec::new(), &mut |_| {}).unwrap_err()
        };
        let error = [&[0x08, 103][..], &field(2, b"permission denied")].concat();
        assert!(told(&[&[0x08, 2], &field(2, &error)[..]].concat()).contains("permission denied"));
        assert!(told(&field(4, &field(11, &[]))).contains("disconnect"));
        assert!(told(&field(4, &field(4, &field(4, b"short")))).contains("5 bytes"));
    }
}
