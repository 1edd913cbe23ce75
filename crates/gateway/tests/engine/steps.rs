//! Four bytes as one operation of a random schedule.

use std::fmt;

use tickwire_wire::Channel;

/// An operation in four bytes: what it is, and three arguments.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Step(pub(crate) [u8; 4]);

#[derive(Debug)]
pub(crate) enum Op {
    Publish {
        count: u8,
    },
    Fill,
    FillAndBlock,
    Unblock,
    ReadAll,
    Subscribe,
    SubscribeAll,
    Unsubscribe,
    SetRate,
    Response,
    Unavailable,
    Lose,
    UpstreamGap,
    Restart,
    Repair,
    Ledger,
    Tick {
        millis: u64,
    },
    Timer {
        millis: u64,
    },
    /// Time passes, and the timer does not run yet.
    LateTimer {
        millis: u64,
    },
    Feed,
    Ping,
    Pong,
    Close,
    End,
    Open,
    OpenAndResume,
    NewInstrument,
    EndInstrument,
}

impl Step {
    pub(crate) fn op(self) -> Op {
        let [what, a, ..] = self.0;
        match what % 64 {
            0..=16 => Op::Publish { count: 1 },
            18 => Op::Timer { millis: u64::from(a) % 32 },
            19 => Op::LateTimer { millis: u64::from(a) * 2 },
            20..=21 => Op::Pong,
            22..=24 => Op::Publish { count: a % 16 },
            25..=29 => Op::Fill,
            30..=33 => Op::FillAndBlock,
            34..=37 => Op::Unblock,
            38 => Op::ReadAll,
            39..=42 => Op::Subscribe,
            43 => Op::SubscribeAll,
            44 => Op::Unsubscribe,
            17 | 45 => Op::SetRate,
            46..=49 => Op::Response,
            50 => Op::Unavailable,
            51 => Op::Lose,
            52 => Op::UpstreamGap,
            53 => Op::Restart,
            54 => Op::Repair,
            55 => Op::Ledger,
            56 => Op::Tick { millis: u64::from(a) * 10 },
            57 => Op::Feed,
            58 => Op::Ping,
            59 => Op::Close,
            60 => Op::End,
            61 => Op::Open,
            62 => Op::OpenAndResume,
            _ if a.is_multiple_of(2) => Op::NewInstrument,
            _ => Op::EndInstrument,
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, a, b, c] = self.0;
        let topic = CHANNELS[usize::from(b) % CHANNELS.len()];
        write!(
            f,
            "{:?} a={a} channel={} instrument/session={c} // Step({:?})",
            self.op(),
            topic.name(),
            self.0
        )
    }
}

/// The channels of a schedule; busy ones come more often.
pub(crate) const CHANNELS: [Channel; 12] = [
    Channel::Quote,
    Channel::Trade,
    Channel::Book,
    Channel::Bar,
    Channel::Stat,
    Channel::Status,
    Channel::Instrument,
    Channel::Quote,
    Channel::Trade,
    Channel::Book,
    Channel::Trade,
    Channel::Book,
];

/// The rates that are asked for: none, and some that steps of time come to the middle of.
pub(crate) const RATES: [f64; 8] = [0.0, 0.0, 0.5, 4.0, 4.0, 33.3, 250.0, 1e9];

/// The delivery windows, in milliseconds.
pub(crate) const WINDOWS: [u16; 4] = [0, 0, 16, 250];
