//! The delivery window of a session: nothing but control leaves before it opens.

/// Longest delivery window that a session may ask for, in milliseconds.
pub const WINDOW_MS_MAX: u16 = 1000;

/// The delivery window of one session.
#[derive(Debug, Default)]
pub(crate) struct DeliveryWindow {
    pub(crate) ms: u16,
    /// Whether nothing but control leaves.
    pub(crate) shut: bool,
    /// When it opens next; 0 where nothing was written since it opened last.
    pub(crate) due: u64,
}

impl DeliveryWindow {
    /// Makes a window of so many milliseconds; 0 for none.
    pub(crate) fn new(ms: u16) -> Self {
        Self { ms: ms.min(WINDOW_MS_MAX), ..Self::default() }
    }

    pub(crate) fn ms(&self) -> u16 {
        self.ms
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut
    }

    /// Opens before its time: so much waits that it is worth a write, and waiting would only look like slowness.
    pub(crate) fn open_early(&mut self) {
        self.shut = false;
    }
}
