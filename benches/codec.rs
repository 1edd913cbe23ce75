//! Encoding and decoding. One iteration is one record; a snapshot's elements are its levels.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tickwire_benches::{change, criterion, quote, record, scale, snapshot, trade};
use tickwire_wire::{Batch, Body, Encoding, Message, encode_message};

fn benches(c: &mut Criterion) {
    let snapshot = snapshot();
    let levels = (snapshot.bids.len() + snapshot.asks.len()) as u64;
    let records = [
        ("quote", 1, quote()),
        ("trade", 1, trade()),
        ("book_delta", 1, Body::Book(change(2, 40_000))),
        ("book_snapshot", levels, Body::Book(snapshot)),
    ];
    let scale = scale();
    for (name, elements, body) in records {
        let message = Message::Record(record(123_456, body));
        let sized = Encoding::ALL.map(|encoding| {
            let mut bytes = Vec::new();
            encode_message(encoding, &message, &scale, &mut bytes);
            let read = Batch::new(encoding, &bytes).filter_map(Result::ok).count();
            assert_eq!(read, 1, "what was written can be read");
            (encoding, bytes)
        });
        let mut group = c.benchmark_group(format!("encode/{name}"));
        for (encoding, bytes) in &sized {
            group.throughput(Throughput::ElementsAndBytes { elements, bytes: bytes.len() as u64 });
            let mut out = Vec::with_capacity(bytes.len());
            group.bench_function(encoding.name(), |b| {
                b.iter(|| {
                    out.clear();
                    encode_message(*encoding, black_box(&message), &scale, &mut out);
                    black_box(out.len())
                });
            });
        }
        group.finish();
        let mut group = c.benchmark_group(format!("decode/{name}"));
        for (encoding, bytes) in &sized {
            group.throughput(Throughput::ElementsAndBytes { elements, bytes: bytes.len() as u64 });
            group.bench_function(encoding.name(), |b| {
                b.iter(|| {
                    let read = Batch::new(*encoding, black_box(bytes)).filter_map(Result::ok);
                    read.map(black_box).count()
                });
            });
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = criterion();
    benches(&mut criterion);
    criterion.final_summary();
}
