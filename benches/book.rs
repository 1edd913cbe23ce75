//! `BookState::apply` on 1000 levels a side. One iteration is one record with one level on each side; of a snapshot,
//! the elements are its levels.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tickwire_benches::{LEVELS, change, criterion, snapshot};
use tickwire_wire::{Book, BookState};

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("book");
    group.throughput(Throughput::Elements(1));
    // Levels stand at even distances from the touch: an odd one is a new level.
    let deep = LEVELS as i64 * 2 - 200;
    for (name, distance) in [("near", 4), ("deep", deep)] {
        let resize = [change(distance, 10), change(distance, 20)];
        group.bench_function(format!("resize/{name}"), |b| apply_in_turn(b, &resize));
        let come_and_go = [change(distance + 1, 10), change(distance + 1, 0)];
        group.bench_function(format!("insert_remove/{name}"), |b| apply_in_turn(b, &come_and_go));
    }
    let checked = [10, 20].map(|size| {
        let mut state = BookState::new();
        let mut change = change(4, size);
        let applied = state.apply(1, &snapshot()).and_then(|_| state.apply(2, &change));
        assert!(applied.is_ok());
        change.checksum = Some(state.checksum());
        change
    });
    group.bench_function("resize_with_checksum/near", |b| apply_in_turn(b, &checked));
    group.throughput(Throughput::Elements(2 * LEVELS as u64));
    let all = snapshot();
    let mut state = BookState::new();
    group.bench_function("snapshot", |b| b.iter(|| state.apply(1, black_box(&all))));
    group.finish();
}

/// Applies the records in turn: each continues the book; none may be refused.
fn apply_in_turn(b: &mut criterion::Bencher<'_>, records: &[Book; 2]) {
    let mut state = BookState::new();
    assert!(state.apply(1, &snapshot()).is_ok());
    let mut sequence = 1;
    b.iter(|| {
        sequence += 1;
        state.apply(sequence, black_box(&records[sequence as usize % 2]))
    });
    assert!(state.is_synced() && state.sequence() == sequence);
}

fn main() {
    let mut criterion = criterion();
    benches(&mut criterion);
    criterion.final_summary();
}
