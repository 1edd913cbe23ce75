//! What a session does beside reading: works off slowly, sends receipts, drops a symbol and takes it again.

use rand::RngExt as _;
use tickwire_wire::{Command, Receipt, Subscribe, Unsubscribe};

use super::Core;
use super::session::{Session, State};
use crate::clock::now;
use crate::scenario::ReaderKind;

/// Commands beyond those of the opening.
const FLAP_ID: u64 = 1 << 20;

impl Session {
    pub(super) fn work(&mut self, core: &mut Core) {
        let ReaderKind::SlowProgram { records_per_second } = self.kind(core) else { return };
        let rate = if self.is_settled { f64::INFINITY } else { records_per_second };
        let reader = usize::from(self.reader);
        let Some(program) = self.extra.as_mut().and_then(|extra| extra.program.as_mut()) else { return };
        let time = now();
        program.work(time, rate.min(1e12), |record| {
            if core.is_measured(record.event_time) {
                core.part.age(reader, record.channel, record.event_time, time);
                core.seconds.age(reader, record.event_time, time);
            }
        });
    }

    pub(super) fn receipt(&mut self, core: &mut Core, slot: usize) {
        let time = now();
        let extra = self.extra();
        let (sent_time, reader_lag_ns) = match &extra.program {
            Some(program) => (program.done, program.lag(time)),
            None => (extra.last_sent, 0),
        };
        if sent_time > 0 {
            self.command(core, &Command::Receipt(Receipt { sent_time, reader_lag_ns }));
            self.flush(core, slot);
        }
    }

    /// Drops one symbol and takes it again.
    pub(super) fn flap(&mut self, core: &mut Core, slot: usize) {
        if self.state != State::Open
            || core.plan.scenario.peer.is_some()
            || core.plan.scenario.source.is_running
        {
            return;
        }
        let symbols = core.plan.symbols(self.number());
        let symbol = crate::plan::name(symbols[core.rng.random_range(0..symbols.len())]);
        let channel = core.plan.scenario.sessions.channels[0].name().to_owned();
        let extra = self.extra();
        extra.flaps += 1;
        let id = FLAP_ID + 2 * extra.flaps;
        let symbols = vec![symbol];
        let max_rate = core.plan.scenario.sessions.max_rate;
        let (again, again_symbols) = (channel.clone(), symbols.clone());
        self.command(core, &Command::Unsubscribe(Unsubscribe { id, channel, symbols }));
        let subscribe = Subscribe { id: id + 1, channel: again, symbols: again_symbols, max_rate };
        self.command(core, &Command::Subscribe(subscribe));
        self.flush(core, slot);
    }
}
