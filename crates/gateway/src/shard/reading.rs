//! The way in: what sockets hold is read into one buffer, and the whole frames in it are taken.
//!
//! It never awaits between reading bytes and keeping what is left of them, so no read can be lost by a cancellation.

use std::borrow::Cow;

use tickwire_core::engine::SessionKey;
use tickwire_net::fragments::Joined;
use tickwire_net::frame::{self, Close, OpCode, Sender};
use tickwire_wire::CloseCode;

use super::closing::code_of;
use super::command_rate::Verdict;
use super::state::Shard;
use crate::audit::End;
use crate::transport::Came;

/// The most reads of one session before the others get their turn.
const READS_MAX: usize = 16;

impl Shard {
    /// Reads a socket and takes the whole frames out of it. `ended` says that the end of the stream is known to be there.
    pub(super) fn read(&mut self, key: SessionKey, ended: bool) {
        for _ in 0..READS_MAX {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let begun = connection.unread().len();
            self.scratch[..begun].copy_from_slice(connection.unread());
            let (count, is_all) = match connection.read(&mut self.scratch[begun..]) {
                Ok(Came::Nothing) if begun > 0 => return self.take_frames(key, begun),
                Ok(Came::Nothing) => return,
                Ok(Came::End) | Err(_) => return self.end(key, End::Lost),
                Ok(Came::Bytes { count, is_all }) => (count, is_all),
            };
            if !connection.is_deaf() {
                self.take_frames(key, begun + count);
            }
            if is_all && !ended {
                return;
            }
        }
        self.unread.push((key, ended));
    }

    /// Takes the frames in the first `length` bytes of the scratch buffer, and keeps what is left of them.
    fn take_frames(&mut self, key: SessionKey, length: usize) {
        let (now, is_ready) = (self.clock.now(), self.engine.is_ready(key));
        let (mut at, mut has_ended) = (0, false);
        let ends = loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            has_ended |= at > 0 && !connection.has_fragments();
            // All frames of one message together may have as many bytes as a command.
            let room = self.limits.command_bytes - connection.fragment_bytes();
            match frame::find(&self.scratch[at..length], Sender::Client, room) {
                Ok(None) => {
                    let begun = frame::begun(&self.scratch[at..length], Sender::Client);
                    let checked = begun.map_or(Ok(()), |begun| connection.check_begun(&begun));
                    break checked.err().map(|fault| code_of(key, fault));
                }
                Err(fault) => break Some(code_of(key, fault)),
                Ok(Some(found)) => {
                    let payload = found.payload(&mut self.scratch[at..length]);
                    at += found.end;
                    if found.opcode == OpCode::Close {
                        let asked = Close::check(payload);
                        if at > found.end {
                            // What was asked for before is answered before.
                            self.write(key);
                        }
                        return self.meet_close(key, asked);
                    }
                    if found.opcode == OpCode::Pong && self.engine.on_pong(key, payload, now) {
                        continue;
                    }
                    let joined = if found.is_control() {
                        Ok((Joined::Whole, false))
                    } else {
                        connection.take_data(&found, payload, self.limits.command_bytes)
                    };
                    let (message, is_text) = match joined {
                        Ok((Joined::Whole, is_text)) => (Cow::Borrowed(payload), is_text),
                        Ok((Joined::Message(message), is_text)) => (Cow::Owned(message), is_text),
                        // A fragment counts towards the rate with its message. An empty one counts by itself, or it would be free.
                        Ok((Joined::More, _))
                            if payload.is_empty()
                                && connection.rate.next(now, &self.limits) == Verdict::End =>
                        {
                            break Some(CloseCode::Flood);
                        }
                        Ok((Joined::More, _)) => continue,
                        Err(fault) => break Some(code_of(key, fault)),
                    };
                    match connection.rate.next(now, &self.limits) {
                        Verdict::End => break Some(CloseCode::Flood),
                        Verdict::Refuse => self.engine.on_flood(key, &message),
                        Verdict::Take => match found.opcode {
                            OpCode::Ping => self.engine.on_ping(key, &message, now),
                            OpCode::Pong => {}
                            _ if self.engine.on_framed(key, &message, is_text, now) => {
                                connection.rate.refund(&self.limits);
                            }
                            _ => connection.rate.charge(self.engine.price(), now, &self.limits),
                        },
                    }
                }
            }
        };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(code) = ends {
            connection.deafen();
            self.engine.close(key, code);
        } else {
            connection.keep_unread(&self.scratch[at..length]);
            connection.note_begun(has_ended, now);
        }
        // What waited before, and for its time, waits on: a receipt is no reason for a write.
        let is_owed = at > 0 && (!is_ready || self.engine.owes_response(key));
        if is_owed || ends.is_some() {
            self.write(key);
        }
    }

    /// Closes the sessions whose clients began a message and did not end it in time.
    pub(super) fn close_unfinished(&mut self) {
        let since = self.clock.now().saturating_sub(self.message_ns);
        let late = self.connections.iter().filter(|(_, connection)| connection.waits_since(since));
        let late: Vec<_> = late.map(|(key, _)| key).collect();
        for key in late {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.deafen();
                self.engine.close(key, CloseCode::Unfinished);
                self.write(key);
            }
        }
    }
}
