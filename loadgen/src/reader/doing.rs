//! A session does more than reading: it works off slowly, sends receipts, drops a symbol and takes it again.

use rand::RngExt as _;
use tickwire_machine::now;
use tickwire_wire::{Command, Subscribe, Unsubscribe};

use super::session::{Extra, Session, State, WORK_PERIOD};
use super::shared::Core;
use super::slow::Waiting;
use super::timers::Due;
use crate::scenario::ReaderKind;

/// Ids of commands beyond those of the opening.
const FLAP_ID: u64 = 1 << 20;

impl Session {
    /// The program works until now, and goes on later.
    pub(super) fn work(&mut self, core: &mut Core) {
        if self.kind(core) != ReaderKind::SlowProgram {
            return;
        }
        let rate = if self.is_settled { 1e12 } else { self.settings(core).records_per_second };
        let reader = usize::from(self.reader);
        let Some(Extra { program: Some(program), receipts, .. }) = self.extra.as_deref_mut() else { return };
        let time = now();
        program.work(time, rate, |what| match (what, receipts.as_mut()) {
            (Waiting::Record { channel, event_time, counts: true }, _) => {
                core.age(reader, channel, event_time, time);
            }
            (what, Some(receipts)) => receipts.passed(what, time),
            _ => {}
        });
        program.due = time + WORK_PERIOD;
        core.timers.add(program.due, self.slot, Due::Work);
        self.send_receipt(core);
    }

    /// A message with records was read, or a ping: its receipt is due when the program comes to it.
    pub(super) fn passes(&mut self, core: &mut Core, what: Waiting) {
        match self.extra.as_deref_mut() {
            Some(Extra { program: Some(program), .. }) => program.read(what),
            Some(Extra { receipts: Some(receipts), .. }) => {
                receipts.passed(what, now());
                self.send_receipt(core);
            }
            _ => {}
        }
    }

    /// Sends the receipt that waits, or sees to it that it is sent later.
    pub(super) fn send_receipt(&mut self, core: &mut Core) {
        let Some(Extra { receipts: Some(receipts), .. }) = self.extra.as_deref_mut() else { return };
        if let Some(receipt) = receipts.due(now()) {
            self.command(core, &Command::Receipt(receipt));
            self.flush(core);
        } else if let Some(next) = receipts.next()
            && !std::mem::replace(&mut receipts.is_timed, true)
        {
            core.timers.add(next, self.slot, Due::Receipt);
        }
    }

    /// Drops one symbol and takes it again.
    pub(super) fn flap(&mut self, core: &mut Core) {
        if self.state != State::Open
            || core.plan.scenario.peer.is_some()
            || core.plan.scenario.source.is_running()
        {
            return;
        }
        let symbols = core.plan.symbols(self.number());
        let symbols = vec![crate::plan::name(symbols[core.rng.random_range(0..symbols.len())])];
        let sessions = &core.plan.scenario.sessions;
        let (channel, max_rate) = (sessions.channels[0].name().to_owned(), sessions.max_rate);
        let extra = self.extra();
        extra.flaps += 1;
        let id = FLAP_ID + 2 * extra.flaps;
        let (again, same) = (channel.clone(), symbols.clone());
        self.command(core, &Command::Unsubscribe(Unsubscribe { id, channel, symbols }));
        self.command(
            core,
            &Command::Subscribe(Subscribe { id: id + 1, channel: again, symbols: same, max_rate }),
        );
        self.flush(core);
    }
}
