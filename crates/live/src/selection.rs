//! The choice among a venue's symbols.

/// Names of symbols and patterns, in which `*` stands for any part of a name.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    names: Vec<String>,
    patterns: Vec<String>,
}

impl Selection {
    pub(crate) fn new(texts: &[String]) -> Self {
        let upper = texts.iter().map(|text| text.trim().to_uppercase());
        let (patterns, names) = upper.filter(|text| !text.is_empty()).partition(|text| text.contains('*'));
        Self { names, patterns }
    }

    /// Returns the names that stand there in full.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Returns names and patterns, for people.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.names.iter().chain(&self.patterns).map(String::as_str)
    }

    /// Returns whether a symbol stands there in full.
    pub(crate) fn is_named(&self, symbol: &str) -> bool {
        self.names().any(|name| name == symbol)
    }

    /// Returns whether a pattern fits to a symbol.
    pub(crate) fn is_meant(&self, symbol: &str) -> bool {
        self.patterns.iter().any(|pattern| fits(pattern, symbol))
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(before) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let Some(last) = parts.pop() else { return true };
    for part in parts {
        let Some((_, behind)) = left.split_once(part) else { return false };
        left = behind;
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        #[track_caller]
        fn check(texts: &[&str], symbol: &str, is_named: bool, is_meant: bool) {
            let selection = Selection::new(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
            assert_eq!((selection.is_named(symbol), selection.is_meant(symbol)), (is_named, is_meant));
        }
        check(&["btcusdt", " ETHUSDT "], "BTCUSDT", true, false);
        check(&["btcusdt", " ETHUSDT "], "ETHUSDT", true, false);
        check(&["BTC"], "BTCUSDT", false, false);
        check(&["*usdt"], "BTCUSDT", false, true);
        check(&["*usdt"], "BTCUSDC", false, false);
        check(&["BTC*"], "BTCUSDC", false, true);
        check(&["B*S*T"], "BTCUSDT", false, true);
        check(&["B*X*T"], "BTCUSDT", false, false);
        check(&["BT*TCUSDT"], "BTCUSDT", false, false);
        check(&["*"], "BTCUSDT", false, true);
        check(&[], "BTCUSDT", false, false);
    }
}
