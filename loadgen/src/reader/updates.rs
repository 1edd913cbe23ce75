//! A session takes a peer's message.

use tickwire_wire::{Channel, Numbered, Sequence, Verdict};

use super::Core;
use super::records::Times;
use super::session::{End, Session, State, Subscription};
use crate::clock::now;
use crate::peer::{Progress, Update};
use crate::ws::Opcode;

impl Session {
    pub(super) fn peer_message(
        &mut self,
        core: &mut Core,
        opcode: Opcode,
        payload: &[u8],
        read: u64,
    ) -> Result<(), End> {
        let Some(mut peer) = self.extra().peer.take() else { return Ok(()) };
        let mut out = Vec::new();
        let measured = core.measured_records(self.reader);
        let outcome = peer.message(opcode, payload, &mut out, &mut |update| self.update(core, update, read));
        self.extra().peer = Some(peer);
        self.out.append(&mut out);
        self.flush(core);
        if outcome.map_err(End::Broken)? == Progress::Ready && self.state == State::Subscribing {
            self.opened(core, read);
        }
        let measured = core.measured_records(self.reader) - measured;
        if self.is_prompt(core) {
            core.timed.hops[3].record_n(read, now(), measured);
        }
        Ok(())
    }

    fn update(&mut self, core: &mut Core, update: Update, read: u64) {
        let Update { symbol, sequence, intended_time } = update;
        let subscription =
            self.subscriptions.entry((symbol, Channel::Quote)).or_insert_with(|| Subscription {
                sequence: Sequence::new(Channel::Quote, 0, sequence - 1),
                event_time: 0,
                value: 0,
                symbol: Some(symbol),
            });
        let before = subscription.sequence.position().1;
        let verdict = subscription.sequence.record(Numbered { sequence, ..Numbered::default() });
        subscription.says(intended_time, sequence);
        if verdict == Verdict::News {
            // A peer does not say what it drops, so every jump is a loss.
            core.part.checks.lost += sequence - before - 1;
            self.live(core, Channel::Quote, intended_time, None, Times { read, sent: None });
        } else {
            core.repeated(sequence == before);
        }
    }
}
