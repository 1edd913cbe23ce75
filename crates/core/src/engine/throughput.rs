//! The throughput of a client: the bytes per second that it takes, measured by what it confirmed and when.

use std::collections::VecDeque;

/// The shortest stretch of time that a rate is taken over.
pub(super) const RATE_SPAN_NS: u64 = 300_000_000;
/// The highest rate of the last one to two of these stretches counts.
const PEAK_NS: u64 = 1_000_000_000;
/// The most points from which the rate is taken.
const SAMPLES_MAX: usize = 32;

/// The highest rate of the last seconds, and the receipts that it is measured by.
#[derive(Debug)]
pub(super) struct Throughput {
    /// The time and the confirmed bytes, at receipts of the last second.
    samples: VecDeque<(u64, u64)>,
    /// The highest rate of this stretch and of the one before, in bytes per second, and when this one began.
    peaks: [f64; 2],
    peak_at: u64,
    /// Whether the rate was taken over a stretch that says little.
    is_rough: bool,
}

impl Throughput {
    /// The throughput of a client that confirmed nothing yet.
    pub(super) const NONE: Self =
        Self { samples: VecDeque::new(), peaks: [0.0; 2], peak_at: 0, is_rough: true };

    /// Returns how many bytes per second the client takes, as it has proven lately.
    pub(super) fn rate(&self) -> f64 {
        self.peaks[0].max(self.peaks[1])
    }

    /// Returns the same, once it was measured over a stretch that says something; 0 before.
    pub(super) fn sure_rate(&self) -> f64 {
        if self.is_rough { 0.0 } else { self.rate() }
    }

    /// Notes that the client had nothing under way and gets something now; it confirmed `confirmed` bytes so far.
    pub(super) fn begin(&mut self, confirmed: u64, now: u64) {
        if self.samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) > RATE_SPAN_NS) {
            // While the client was sent nothing, its silence says nothing about its rate.
            self.samples.clear();
        }
        self.note(confirmed, now);
    }

    /// Notes that the client has confirmed so many bytes.
    pub(super) fn note(&mut self, confirmed: u64, now: u64) {
        let span = self.samples.iter().rev().find(|(at, _)| now.saturating_sub(*at) >= RATE_SPAN_NS);
        if let Some((at, before)) = span.or(self.samples.front())
            && now > *at
        {
            let rate = (confirmed - before) as f64 * 1e9 / (now - at) as f64;
            if now.saturating_sub(self.peak_at) > PEAK_NS {
                self.peaks = [0.0, self.peaks[0]];
                self.peak_at = now;
            }
            // A stretch that is shorter says less: it counts only as long as nothing better is known. The greeting's few
            // bytes are read at once by a client that takes a second for the next kilobytes.
            if now - at >= RATE_SPAN_NS && self.is_rough {
                (self.peaks, self.is_rough) = ([rate, 0.0], false);
            } else if now - at >= RATE_SPAN_NS || self.rate() == 0.0 {
                self.peaks[0] = self.peaks[0].max(rate);
            }
        }
        match self.samples.back_mut() {
            Some(last) if now.saturating_sub(last.0) < RATE_SPAN_NS / 16 => last.1 = confirmed,
            _ => {
                if self.samples.len() == SAMPLES_MAX {
                    self.samples.pop_front();
                }
                if self.samples.len() == self.samples.capacity() {
                    // Sessions that are sent little have one or two.
                    self.samples.reserve_exact(self.samples.len().max(1));
                }
                self.samples.push_back((now, confirmed));
            }
        }
    }
}
