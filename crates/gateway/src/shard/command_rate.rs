//! How fast one client may send.

/// Commands over the rate that are answered one after another; a client that goes on is closed.
const FLOOD_MAX: u8 = 100;
const SECOND_NS: u64 = 1_000_000_000;

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    /// Too many: tell the client.
    Refuse,
    /// Still too many: end the session.
    End,
}

/// The rate of one client, by the generic cell rate algorithm (ITU-T I.371): a second's worth may come at once. Sixteen
/// bytes, because every session has one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommandRate {
    /// When the client will have paid for everything that was taken.
    paid_at_ns: u64,
    refused: u8,
}

impl CommandRate {
    /// One more frame came at `now`.
    pub(crate) fn next(&mut self, now: u64, per_second: u32) -> Verdict {
        let price_ns = SECOND_NS / u64::from(per_second.max(1));
        let paid_at_ns = self.paid_at_ns.max(now) + price_ns;
        if paid_at_ns <= now + SECOND_NS {
            (self.paid_at_ns, self.refused) = (paid_at_ns, 0);
            return Verdict::Take;
        }
        self.refused = self.refused.saturating_add(1);
        if self.refused > FLOOD_MAX { Verdict::End } else { Verdict::Refuse }
    }

    /// The frame that was taken last had been asked for: it is free.
    pub(crate) fn refund(&mut self, per_second: u32) {
        self.paid_at_ns = self.paid_at_ns.saturating_sub(SECOND_NS / u64::from(per_second.max(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_at_once_then_the_rate() {
        let mut rate = CommandRate::default();
        let start = 1_000 * SECOND_NS;
        let taken =
            |rate: &mut CommandRate, now| (0..60).filter(|_| rate.next(now, 50) == Verdict::Take).count();
        assert_eq!(taken(&mut rate, start), 50);
        assert_eq!(taken(&mut rate, start), 0);
        assert_eq!(taken(&mut rate, start + SECOND_NS / 10), 5);
        assert_eq!(taken(&mut rate, start + 10 * SECOND_NS), 50);
    }

    #[test]
    fn what_was_asked_for_is_free() {
        let mut rate = CommandRate::default();
        for _ in 0..1_000 {
            assert_eq!(rate.next(7 * SECOND_NS, 2), Verdict::Take);
            rate.refund(2);
        }
    }

    #[test]
    fn a_client_that_goes_on_is_ended_and_one_that_pauses_is_forgiven() {
        let mut rate = CommandRate::default();
        assert_eq!(rate.next(0, 1), Verdict::Take);
        for _ in 0..FLOOD_MAX {
            assert_eq!(rate.next(0, 1), Verdict::Refuse);
        }
        assert_eq!(rate.next(0, 1), Verdict::End);
        assert_eq!(rate.next(SECOND_NS, 1), Verdict::Take);
        assert_eq!(rate.next(SECOND_NS, 1), Verdict::Refuse);
    }
}
