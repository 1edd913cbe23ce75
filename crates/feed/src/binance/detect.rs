//! Telling from a recording which of Binance's markets it is of.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use super::Market;

/// Lines that are looked at: depth comes ten times a second at least.
const LINES_MAX: usize = 2_000;

impl Market {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Spot, Self::Usdm, Self::Cm];

    /// The market that a recording was made at, as its depth messages tell: those of coin-margined futures carry a pair
    /// (`ps`), those of all futures the number before (`pu`). Spot where there is no depth, or nothing can be read:
    /// opening it for the replay then says what is wrong.
    pub fn of_recording(path: &Path) -> Self {
        let Ok(mut file) = File::open(path) else { return Self::Spot };
        let mut magic = [0; 2];
        let is_gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
        let Ok(file) = File::open(path) else { return Self::Spot };
        let reader: Box<dyn Read> =
            if is_gzip { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
        let lines = BufReader::new(reader).lines().take(LINES_MAX).map_while(Result::ok);
        lines.into_iter().find_map(|line| Self::of_line(&line)).unwrap_or(Self::Spot)
    }

    fn of_line(line: &str) -> Option<Self> {
        if !line.contains("\"e\":\"depthUpdate\"") {
            return None;
        }
        let head = line.split("\"b\":").next()?;
        if head.contains("\"ps\":") {
            Some(Self::Cm)
        } else if head.contains("\"pu\":") {
            Some(Self::Usdm)
        } else {
            Some(Self::Spot)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<Market>) {
        assert_eq!(Market::of_line(line), expected);
    }

    #[test]
    fn depth_tells_the_market() {
        check(r#"1 {"data":{"e":"trade","s":"A"}}"#, None);
        check(r#"1 {"data":{"e":"depthUpdate","s":"A","U":1,"u":2,"b":[]}}"#, Some(Market::Spot));
        check(r#"1 {"data":{"e":"depthUpdate","s":"A","U":1,"u":2,"pu":1,"b":[]}}"#, Some(Market::Usdm));
        check(
            r#"1 {"data":{"e":"depthUpdate","s":"A_PERP","ps":"A","U":1,"u":2,"pu":1,"b":[]}}"#,
            Some(Market::Cm),
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_replay() {
        assert_eq!(Market::of_recording(Path::new("/nonexistent")), Market::Spot);
    }
}
