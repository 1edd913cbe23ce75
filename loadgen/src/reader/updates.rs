//! What a session makes of a peer's message.

use tickwire_wire::Channel;

use super::Core;
use super::records::Times;
use super::session::{End, Session, State, key};
use crate::clock::now;
use crate::numbering::{Numbered, Numbering, Verdict};
use crate::peer::{Progress, Update};
use crate::ws::Opcode;

impl Session {
    pub(super) fn peer_message(
        &mut self,
        core: &mut Core,
        slot: usize,
        opcode: Opcode,
        payload: &[u8],
        read: u64,
    ) -> Result<(), End> {
        let Some(mut peer) = self.extra.as_mut().and_then(|extra| extra.peer.take()) else { return Ok(()) };
        let mut out = Vec::new();
        let measured = core.measured_records(self.reader);
        let outcome = peer.message(opcode, payload, &mut out, &mut |update| self.update(core, update, read));
        self.extra().peer = Some(peer);
        if !out.is_empty() {
            self.answer(core, slot, &out);
        }
        match outcome {
            Ok(Progress::Ready) if self.state == State::Subscribing => self.opened(core, slot, read),
            Ok(_) => {}
            Err(reason) => return Err(End::Broken(reason)),
        }
        let measured = core.measured_records(self.reader) - measured;
        if measured > 0 && self.is_prompt(core) {
            core.part.hops[3].record_n(read, now(), measured);
        }
        Ok(())
    }

    fn update(&mut self, core: &mut Core, update: Update, read: u64) {
        let Update { symbol, sequence, intended_time } = update;
        let at = key(symbol, Channel::Quote as u8);
        let numbering = self
            .numberings
            .entry(at)
            .or_insert_with(|| Numbering::new(Channel::Quote, 0, sequence - 1).of_own(Some(symbol)));
        let before = numbering.position().1;
        let numbered = Numbered { sequence, first_sequence: 0, is_snapshot: false };
        let verdict = numbering.record(numbered);
        numbering.says(intended_time, sequence);
        if verdict == Verdict::Live {
            core.part.lost += sequence - before - 1;
            self.live(core, Channel::Quote, intended_time, None, Times { read, sent: None });
        } else if sequence == before {
            core.part.duplicates += 1;
        } else {
            core.part.out_of_order += 1;
        }
    }
}
