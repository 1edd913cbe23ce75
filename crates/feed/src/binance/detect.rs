//! The market that messages are of, told from the messages themselves.

use super::Market;
use super::message::Hint;

/// The votes of messages for the market that they are of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Votes {
    usual: [u64; 3],
    sure: [u64; 3],
}

impl Votes {
    pub(crate) fn add(&mut self, hint: Hint) {
        match hint {
            Hint::None => {}
            Hint::Usual(market) => self.usual[market as usize] += 1,
            Hint::Sure(market) => self.sure[market as usize] += 1,
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (to, from) in [(&mut self.usual, &other.usual), (&mut self.sure, &other.sure)] {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }

    /// Returns the market that most of the depth says, which cannot be mistaken, and how many messages say so.
    pub(crate) fn sure(&self) -> Option<(Market, u64)> {
        most(&self.sure)
    }

    /// Returns the market that most messages say; spot where none says anything.
    pub(crate) fn market(&self) -> Market {
        self.sure().or_else(|| most(&self.usual)).map_or(Market::Spot, |(market, _)| market)
    }
}

/// Returns the first of those with the most votes.
fn most(votes: &[u64; 3]) -> Option<(Market, u64)> {
    let counted = Market::ALL.into_iter().map(|market| (market, votes[market as usize]));
    counted.rev().max_by_key(|(_, votes)| *votes).filter(|(_, votes)| *votes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hints: &[Hint], expected: Market) {
        let mut votes = Votes::default();
        for hint in hints {
            votes.add(*hint);
        }
        assert_eq!(votes.market(), expected);
    }

    #[test]
    fn depth_tells_the_market_before_all_else() {
        check(&[], Market::Spot);
        check(&[Hint::None, Hint::Usual(Market::Cm)], Market::Cm);
        let spot = Hint::Usual(Market::Spot);
        check(&[spot, spot, Hint::Usual(Market::Usdm)], Market::Spot);
        check(&[spot, spot, Hint::Sure(Market::Usdm)], Market::Usdm);
        check(&[Hint::Sure(Market::Usdm), Hint::Sure(Market::Cm), Hint::Sure(Market::Cm)], Market::Cm);
    }
}
