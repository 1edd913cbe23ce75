//! The promises about bytes.

use tickwire_wire::Encoding;

use crate::table::{bytes, markdown, quote, quote_at_the_bounds};
use crate::vectors::root;

#[test]
fn the_table_is_not_stale() {
    let there = std::fs::read_to_string(root().join("docs/wire-sizes.md")).unwrap_or_default();
    assert!(
        there == markdown(),
        "run `cargo run -p tickwire-wire --example sizes > docs/wire-sizes.md` and look at what changed"
    );
}

#[test]
fn a_quote_takes_at_most_40_bytes_within_the_bounds() {
    assert_eq!(bytes(Encoding::Proto, &quote_at_the_bounds()), 40);
    // The bounds are the true ones: one more of anything costs a byte.
    let (id, sequence, delay, bid, size, spread) =
        (16_383, (1 << 35) - 1, (1 << 27) - 1, (1 << 27) - 1, (1 << 21) - 1, 63);
    for (one_more, cost) in [
        (quote(id + 1, sequence, delay, bid, size, spread), 1),
        (quote(id, sequence + 1, delay, bid, size, spread), 1),
        (quote(id, sequence, delay + 1, bid, size, spread), 1),
        (quote(id, sequence, delay, bid + 1, size, spread), 1),
        (quote(id, sequence, delay, bid, size + 1, spread), 2),
        (quote(id, sequence, delay, bid, size, spread + 1), 1),
        (quote(id, sequence, -delay - 1, -bid - 1, size, -spread - 1), 0),
    ] {
        assert_eq!(bytes(Encoding::Proto, &one_more), 40 + cost);
    }
}

#[test]
fn a_quote_is_at_least_70_percent_smaller_than_its_json_encoding() {
    for quote in
        [quote_at_the_bounds(), quote(1, 1, 0, 1, 1, 1), quote(1042, 7, 38_250_000, 6_183_763, 150_000, 1)]
    {
        let [proto, msgpack, json] = Encoding::ALL.map(|encoding| bytes(encoding, &quote));
        assert!(proto * 10 <= json * 3, "{proto} of {json}");
        assert!(msgpack * 10 <= json * 3, "{msgpack} of {json}");
    }
}
