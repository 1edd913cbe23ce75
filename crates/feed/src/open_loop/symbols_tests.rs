//! Symbols, and what is said of them.

use super::*;
use crate::open_loop::quote;

#[test]
fn popularity_follows_the_law() {
    let popularity = Popularity::new(100, 1.0);
    let total: f64 = (0..100).map(|symbol| popularity.share(symbol)).sum();
    assert!((total - 1.0).abs() < 1e-9);
    assert!((popularity.share(0) / popularity.share(9) - 10.0).abs() < 1e-6);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let first = (0..10_000).filter(|_| popularity.choose(&mut rng) == 0).count();
    assert!((first as f64 / 10_000.0 - popularity.share(0)).abs() < 0.02, "{first}");
}

#[test]
fn some_are_different_and_as_many_as_asked() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (all, count, skew) in [(100, 10, 0.0), (100, 99, 3.0), (5, 5, 0.0), (5, 0, 1.0), (1, 1, 1.0)] {
        let mut chosen = Popularity::new(all, skew).choose_some(count, &mut rng);
        chosen.dedup();
        assert_eq!(chosen.len(), if count == 0 { all } else { count });
    }
}

#[test]
fn without_skew_every_symbol_has_its_turn() {
    let mut turns = Turns::new(10, 0.0, 3);
    let mut seen: Vec<u32> = (0..10).map(|_| turns.next()).collect();
    assert_eq!(seen[0], turns.next());
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}

#[test]
fn what_a_quote_says_depends_on_symbol_and_time() {
    let said = quote(3, 1_767_623_400_123_456_789);
    assert_eq!(said, quote(3, 1_767_623_400_123_456_789));
    assert_ne!(said, quote(4, 1_767_623_400_123_456_789));
    assert_ne!(said, quote(3, 1_767_623_400_123_456_790));
}
