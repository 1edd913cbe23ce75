//! Receipts: a client tells the gateway what its program has worked through, so that the gateway knows the program's true pace.
//!
//! A plain state machine. Its times are nanoseconds of any one clock that does not go back.

use tickwire_wire::Receipt;

/// A ping with a time that is further from the gateway's is not from the gateway: an hour.
const PING_TIME_OFF_MAX_NS: u64 = 3_600_000_000_000;

/// Says which receipts are due on one connection.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    interval_ns: u64,
    /// When the last one was made.
    made_at: Option<u64>,
    /// The last message lay so far behind when the program took it.
    lag_ns: u64,
    /// Up to when the gateway was told that the program took everything.
    confirmed: u64,
    /// Send time of the newest message with records that the program took.
    taken: u64,
    /// The gateway's time, as it last said it.
    newest_sent: u64,
}

impl Receipts {
    /// Makes the receipts of a connection; those that name messages are at least `interval_ns` nanoseconds apart.
    pub fn new(interval_ns: u64) -> Self {
        Self { interval_ns, ..Self::default() }
    }

    /// The gateway said its time: a message was read that was sent then.
    pub fn sent(&mut self, sent_time: u64) {
        self.newest_sent = sent_time;
    }

    /// The program took all records of a message, `lag_ns` nanoseconds after it was read. Returns the receipt that is due.
    pub fn taken(&mut self, sent_time: u64, lag_ns: u64, now: u64) -> Option<Receipt> {
        self.lag_ns = lag_ns;
        self.taken = self.taken.max(sent_time);
        if self.made_at.is_some_and(|at| now.saturating_sub(at) < self.interval_ns) {
            return None;
        }
        self.made_at = Some(now);
        self.confirmed = self.confirmed.max(sent_time);
        Some(Receipt { sent_time, reader_lag_ns: lag_ns })
    }

    /// The program took everything that was read before a ping. It gets a receipt at once, so that the gateway can look at the
    /// program's progress as often as it wants: for the time that the ping names where that is the gateway's, else for the newest
    /// message.
    pub fn passed(&mut self, named: Option<u64>, now: u64) -> Option<Receipt> {
        // Others may ping too, with what they like.
        let named = named.filter(|time| time.abs_diff(self.newest_sent) < PING_TIME_OFF_MAX_NS);
        let sent_time = named.unwrap_or(self.taken);
        if sent_time <= self.confirmed {
            return None;
        }
        (self.confirmed, self.made_at) = (sent_time, Some(now));
        Some(Receipt { sent_time, reader_lag_ns: std::mem::take(&mut self.lag_ns) })
    }

    /// The connection is gone. Times of the next gateway are its own.
    pub fn disconnected(&mut self) {
        (self.confirmed, self.taken, self.newest_sent) = (0, 0, 0);
    }
}

/// Returns the time that a gateway's ping names: 8 bytes, little endian, in nanoseconds since the Unix epoch.
pub fn ping_time(payload: &[u8]) -> Option<u64> {
    payload.try_into().map(u64::from_le_bytes).ok()
}

#[cfg(test)]
#[path = "receipts_tests.rs"]
mod tests;
