//! Symbols that were refused: said once each, and counted.

use std::collections::{HashMap, HashSet};

use tickwire_client::Outcome;
use tickwire_wire::{Channel, Refused};

/// The outcome of what was asked for.
pub(super) struct Refusals {
    /// The symbols without a response so far, and those that were refused.
    open: HashSet<(Channel, String)>,
    /// The refused ones, and whether the same request may succeed later.
    refused: HashMap<(Channel, String), bool>,
    said: HashSet<(Channel, String, String)>,
    is_any_granted: bool,
    asked: HashSet<(Channel, String)>,
    /// Ended for good.
    ended: HashSet<(Channel, String)>,
}

impl Refusals {
    pub(super) fn new(channels: &[Channel], symbols: &[String]) -> Self {
        let of = |channel: &Channel| {
            symbols.iter().map(move |symbol| (*channel, symbol.clone())).collect::<Vec<_>>()
        };
        let open: HashSet<_> = channels.iter().flat_map(of).collect();
        let asked = open.clone();
        let (refused, said, ended) = (HashMap::new(), HashSet::new(), HashSet::new());
        Self { open, refused, said, is_any_granted: false, asked, ended }
    }

    /// Returns what is news about it, as lines for the user.
    pub(super) fn outcome(&mut self, outcome: &Outcome) -> Vec<String> {
        self.is_any_granted |= !outcome.granted.is_empty();
        let mut news = Vec::new();
        for refused in &outcome.refused {
            let key = (refused.channel(), refused.symbol.clone());
            if self.said.insert((key.0, key.1.clone(), refused.code.clone())) {
                news.push(line(refused));
            }
            self.open.remove(&key);
            self.refused.insert(key, refused.may_retry);
        }
        news
    }

    /// A subscription is over. Returns whether that was the last one: nothing that was asked for can come any more.
    pub(super) fn ended(&mut self, channel: Channel, symbol: &str, returns: bool) -> bool {
        let key = (channel, symbol.to_owned());
        if returns || !self.asked.contains(&key) {
            return false;
        }
        self.ended.insert(key);
        let is_over = |key: &(Channel, String)| {
            self.ended.contains(key) || self.refused.get(key).is_some_and(|may_retry| !may_retry)
        };
        self.asked.iter().all(is_over)
    }

    /// Everything was refused, and there is nothing to wait for; `waits`: also not for what may be granted later.
    pub(super) fn is_hopeless(&self, waits: bool) -> bool {
        let may_come = waits && self.refused.values().any(|may_retry| *may_retry);
        !self.is_any_granted && self.open.is_empty() && !may_come
    }

    pub(super) fn count(&self) -> usize {
        self.refused.len()
    }
}

/// Returns a line such as `refused: quote sim:NOPE: unknown_symbol: there is no such instrument`.
pub(super) fn line(refused: &Refused) -> String {
    let Refused { symbol, code, message, .. } = refused;
    let later = if refused.may_retry { " (asked again later)" } else { "" };
    format!("refused: {} {symbol}: {code}: {message}{later}", refused.channel().name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::recorder::tests::{granted, refused};

    fn refusing(symbols: &[(&str, bool)]) -> Outcome {
        let refused = symbols.iter().map(|(symbol, may_retry)| refused(symbol, *may_retry)).collect();
        Outcome::new(Vec::new(), refused)
    }

    fn asked() -> Refusals {
        Refusals::new(&[Channel::Quote], &["sim:A".to_owned(), "sim:B".to_owned()])
    }

    #[test]
    fn each_refusal_is_said_once() {
        let mut refusals = asked();
        let news = refusals.outcome(&refusing(&[("sim:A", false), ("sim:B", true)]));
        assert_eq!(
            news,
            [
                "refused: quote sim:A: unknown_symbol: there is no `NOPE`",
                "refused: quote sim:B: unknown_symbol: there is no `NOPE` (asked again later)",
            ]
        );
        assert_eq!(refusals.outcome(&refusing(&[("sim:B", true)])), [""; 0]);
        assert_eq!(refusals.count(), 2);
    }

    #[track_caller]
    fn check(outcomes: &[Outcome], waits: bool, expected: bool) {
        let mut refusals = asked();
        for outcome in outcomes {
            refusals.outcome(outcome);
        }
        assert_eq!(refusals.is_hopeless(waits), expected);
    }

    #[test]
    fn only_when_all_ended_it_is_over() {
        let mut refusals = asked();
        refusals.outcome(&refusing(&[("sim:B", false)]));
        assert!(!refusals.ended(Channel::Quote, "sim:A", true), "it comes again");
        assert!(!refusals.ended(Channel::Quote, "sim:C", false), "of a wildcard");
        assert!(refusals.ended(Channel::Quote, "sim:A", false));
        let mut all = Refusals::new(&[Channel::Quote], &["sim:*".to_owned()]);
        assert!(!all.ended(Channel::Quote, "sim:A", false), "others may come");
    }

    #[test]
    fn only_when_all_are_refused_there_is_nothing_to_come() {
        check(&[refusing(&[("sim:A", false)])], false, false);
        check(&[refusing(&[("sim:A", false)]), refusing(&[("sim:B", false)])], false, true);
        check(&[refusing(&[("sim:A", false), ("sim:B", true)])], false, true);
        check(&[refusing(&[("sim:A", false), ("sim:B", true)])], true, false);
        check(&[refusing(&[("sim:A", false), ("sim:B", false)])], true, true);
        let grant = Outcome::new(vec![granted(Channel::Quote, 1)], Vec::new());
        check(&[grant, refusing(&[("sim:A", false), ("sim:B", false)])], false, false);
        check(&[], false, false);
    }
}
