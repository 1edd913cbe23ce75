use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

const WANTED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Messages as (stream sequence, epoch, sequence number), and the requests that were made.
struct Store {
    messages: Vec<(u64, u64, u64)>,
    wanted: (u64, u64),
    requests: usize,
    looked_at: usize,
}

impl Store {
    /// Makes stretches of sequences, one after another; every sequence counts from 1.
    fn new(stretches: &[(u64, u64)], every: u64, wanted: (u64, u64)) -> Self {
        let mut numbers = std::collections::HashMap::<u64, u64>::new();
        let epochs =
            stretches.iter().flat_map(|(epoch, length)| std::iter::repeat_n(*epoch, *length as usize));
        let messages = epochs.enumerate().map(|(at, epoch)| {
            let number = numbers.entry(epoch).or_default();
            *number += 1;
            (1 + at as u64 * every, epoch, *number)
        });
        Self { messages: messages.collect(), wanted, requests: 0, looked_at: 0 }
    }

    fn found(&self, (sequence, epoch, number): (u64, u64, u64)) -> Found {
        let place = (epoch == WANTED).then_some(match number {
            number if number < self.wanted.0 => Ordering::Less,
            number if number > self.wanted.1 => Ordering::Greater,
            _ => Ordering::Equal,
        });
        Found { sequence, place, payload: Bytes::copy_from_slice(&number.to_be_bytes()) }
    }

    fn part(&mut self, from: u64, count: usize) -> Part {
        self.requests += 1;
        let start = self.messages.partition_point(|message| message.0 < from);
        let end = (start + count).min(self.messages.len());
        self.looked_at += end - start;
        let found = self.messages[start..end].iter().map(|message| self.found(*message)).collect();
        Part { found, is_end: end == self.messages.len() }
    }

    /// Returns what there is of the wanted sequence numbers.
    fn all(&self) -> Vec<u64> {
        let is_wanted = |(_, epoch, number): &(u64, u64, u64)| {
            *epoch == WANTED && (self.wanted.0..=self.wanted.1).contains(number)
        };
        self.messages.iter().filter(|message| is_wanted(message)).map(|message| message.2).collect()
    }

    fn recall(&mut self, messages_max: usize) -> Vec<u64> {
        let mut limits = Limits { cursor: 0, messages_max, bytes_max: 1 << 20 };
        let mut numbers = Vec::new();
        loop {
            let part = recall(self, limits).now_or_never().unwrap().unwrap();
            numbers.extend(
                part.messages.iter().map(|message| u64::from_be_bytes(message[..].try_into().unwrap())),
            );
            if !part.more {
                return numbers;
            }
            assert!(!part.messages.is_empty() && part.cursor > limits.cursor);
            limits.cursor = part.cursor;
        }
    }
}

impl StoredMessages for Store {
    async fn next(&mut self, from: u64) -> Result<Option<Found>, HistoryError> {
        Ok(self.part(from, 1).found.pop())
    }

    async fn last(&mut self) -> Result<Option<Found>, HistoryError> {
        self.requests += 1;
        Ok(self.messages.last().map(|message| self.found(*message)))
    }

    async fn near(&mut self, from: u64) -> Result<Part, HistoryError> {
        Ok(self.part(from, NEAR as usize))
    }

    async fn read(&mut self, from: u64) -> Result<Part, HistoryError> {
        Ok(self.part(from, 256))
    }
}

#[test]
fn one_sequence_costs_as_few_requests_as_halving_takes() {
    let mut store = Store::new(&[(WANTED, 1_000_000)], 3, (700_001, 700_100));
    assert_eq!(store.recall(1_000), store.all());
    assert!(store.requests <= 20, "{}", store.requests);
    assert!(store.looked_at <= 400, "{}", store.looked_at);
}

/// Each of these hid what is there as long as sequences were taken to follow each other by size.
#[test]
fn a_sequence_between_before_and_behind_others_is_found() {
    let others: Vec<_> = (1..6).map(|epoch| (epoch * 0x5555_5555_5555, 10_000)).collect();
    for at in 0..=others.len() {
        let mut stretches = others.clone();
        stretches.insert(at, (WANTED, 5_000));
        for wanted in [(1, 5_000), (1, 1), (2_000, 2_999), (5_000, 5_000), (4_990, u64::MAX), (5_001, 5_002)]
        {
            let mut store = Store::new(&stretches, 2, wanted);
            assert_eq!(store.recall(700), store.all(), "{wanted:?} at {at}");
            store.requests = 0;
            find(&mut store, 1).now_or_never().unwrap().unwrap();
            assert!(store.requests <= 130, "{} for {wanted:?} at {at}", store.requests);
        }
    }
}

#[test]
fn a_silent_stretch_amid_the_wanted_ones_hides_neither_side() {
    for hole in [1, 63, 64, 65, 300, 3_000] {
        let stretches = [(WANTED, 2_000), (7, hole), (WANTED, 2_000), (8, 1), (9, 1)];
        for wanted in [(1, 4_000), (1_990, 2_010), (1_500, 2_500), (2_001, 2_001), (3_999, 4_000)] {
            let mut store = Store::new(&stretches, 1, wanted);
            assert_eq!(store.recall(10_000), store.all(), "{wanted:?} around {hole}");
        }
    }
}

#[test]
fn what_is_not_there_ends_soon() {
    for stretches in
        [vec![], vec![(7, 1)], vec![(7, 1_000_000)], vec![(7, 500_000), (WANTED, 3), (8, 500_000)]]
    {
        let mut store = Store::new(&stretches, 1, (10, 20));
        assert_eq!(store.recall(100), [0; 0]);
        assert!(store.requests <= 130, "{}", store.requests);
    }
}

/// Makes ingesters that follow and overlap each other: stretches of one sequence, and of several that take turns.
fn stretches() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let epoch = || prop_oneof![Just(WANTED), any::<u64>(), 1..4_u64];
    let alone = (epoch(), 1..3_000_u64).prop_map(|stretch| vec![stretch]);
    let turns = (prop::collection::vec((epoch(), 1..40_u64), 2..4), 1..60_usize)
        .prop_map(|(turns, count)| turns.repeat(count));
    prop::collection::vec(prop_oneof![alone, turns], 1..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Nothing that is not wanted is brought, in order, and all of it where the sequence is not a rare one.
    #[test]
    fn what_is_wanted_is_found_in_order(
        stretches in stretches(),
        every in 1..5_u64,
        first in 0.0..1.0_f64,
        length in 1..2_000_u64,
        messages_max in prop_oneof![Just(50_usize), Just(100_000)],
    ) {
        let of_wanted: u64 = stretches.iter().filter(|(epoch, _)| *epoch == WANTED).map(|(_, length)| length).sum();
        let first = 1 + (of_wanted as f64 * first) as u64;
        let mut store = Store::new(&stretches, every, (first, first + length));
        let (found, all) = (store.recall(messages_max), store.all());
        prop_assert!(found.iter().all(|number| all.contains(number)));
        prop_assert!(found.is_sorted_by(|a, b| a < b));
        let others = stretches.split(|(epoch, _)| *epoch == WANTED);
        let longest = others.map(|others| others.iter().map(|(_, length)| length).sum::<u64>()).max();
        if longest.unwrap_or(0) <= of_wanted {
            prop_assert_eq!(found, all);
        }
    }
}
