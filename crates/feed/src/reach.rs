//! The reach of a book: how far from the best price all of its levels are known.

use tickwire_wire::Level;

/// The worst price of each side up to which all levels are known. A side without one is known as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) bids: Option<i64>,
    pub(crate) asks: Option<i64>,
}

impl Reach {
    /// Takes out the levels beyond: what stands between them and the reach is not known, so that they would look like
    /// neighbours and be none.
    pub(crate) fn cut(self, bids: &mut Vec<Level>, asks: &mut Vec<Level>) {
        if let Some(worst) = self.bids {
            bids.retain(|level| level.price >= worst);
        }
        if let Some(worst) = self.asks {
            asks.retain(|level| level.price <= worst);
        }
    }
}
