//! A shard and its hub on one core that is offered more than it can deliver: it delivers as much as it can.

use tickwire_core::engine::{EngineLimits, SessionKey};
use tickwire_wire::{Channel, Encoding};

use super::one_core::{Core, Outside};
use super::rig::{Rig, limits, trade};

const SESSIONS: usize = 200;

/// Trades of one instrument, and clients that read everything at once.
struct Trades {
    sequence: u64,
}

impl Outside for Trades {
    fn publish(&mut self, rig: &mut Rig) -> usize {
        self.sequence += 1;
        rig.publish(0, self.sequence, trade(self.sequence as i64));
        SESSIONS
    }

    fn written(&mut self, _rig: &mut Rig, _key: SessionKey, _bytes: &[u8]) {}

    fn passes(&mut self, _rig: &mut Rig) {}
}

/// Returns the deliveries a second of three virtual seconds.
fn delivered(per_second: u64) -> f64 {
    // All records are of one topic here, so its log has to hold what comes in a pass.
    let limits = EngineLimits {
        log_records_per_topic: 1 << 20,
        log_bytes_per_topic: 1 << 30,
        log_bytes: 1 << 30,
        ..limits()
    };
    let mut rig = Rig::new(limits);
    for _ in 0..SESSIONS {
        let client = rig.open(Encoding::Proto);
        rig.subscribe(client, Channel::Trade, &["sim:A"]);
    }
    let mut core = Core::new(rig, Trades { sequence: 0 }, per_second);
    core.run(3_000_000_000);
    core.delivered as f64 / 3.0
}

#[test]
fn more_than_a_core_can_deliver_makes_it_deliver_no_less() {
    let rates = [10_000_u64, 20_000, 30_000, 60_000, 120_000, 240_000];
    let delivered: Vec<_> = rates.iter().map(|rate| delivered(*rate)).collect();
    let most = delivered.iter().copied().fold(0.0, f64::max);
    let offered = (rates[0] * SESSIONS as u64) as f64;
    assert!(delivered[0] > 0.97 * offered, "what it can deliver, it delivers: {delivered:?}");
    assert!(*delivered.last().unwrap() < 0.5 * (240_000 * SESSIONS) as f64, "the last rates are overload");
    let all = &delivered;
    for (rate, delivered) in rates.iter().zip(all).skip(3) {
        assert!(*delivered > 0.9 * most, "at {rate}/s {delivered:.0} of {most:.0}: {rates:?} {all:.0?}");
    }
}
