//! Random schedules: whatever happens on the bus, the shards are told no lie, and in the end all there is.

use proptest::prelude::*;
use tickwire_wire::Channel;

use super::model::World;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Some records of a topic are published; `fate` says what becomes of their message.
    Publish {
        run: u8,
        topic: u8,
        count: u8,
        shape: u8,
        fate: u8,
    },
    UpstreamGap {
        run: u8,
        topic: u8,
        count: u8,
        fate: u8,
    },
    /// All ingesters are killed, and another one begins.
    Restart {
        shape: u8,
    },
    /// A second ingester begins beside the first.
    Overlap {
        shape: u8,
    },
    /// An ingester ends, with or without its last word.
    Stop {
        run: u8,
        fate: u8,
    },
    /// An instrument ends at an ingester.
    End {
        run: u8,
        symbol: u8,
        fate: u8,
    },
    /// An instrument is listed, or listed anew.
    List {
        run: u8,
        symbol: u8,
        decimals: u8,
        fate: u8,
    },
    BreakBus,
    MendBus,
    /// The hub's driver looks at the state of the bus.
    NoticeBus,
    /// Some events come out of the inbox.
    Deliver {
        count: u8,
    },
    /// The ingester takes a request.
    Response {
        request: u8,
    },
    /// A response arrives, or a request runs into its time-out.
    Arrive {
        request: u8,
        fails: bool,
    },
    Pass {
        steps: u8,
        fate: u8,
    },
    Want {
        shard: u8,
        topic: u8,
    },
    Drop {
        shard: u8,
        topic: u8,
    },
}

/// Makes operations on few topics, so that much happens to each.
fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(0..2 * Channel::COUNT as u8, 1..4)
        .prop_flat_map(|topics| prop::collection::vec(op(topics), 1..150))
}

fn op(topics: Vec<u8>) -> impl Strategy<Value = Op> {
    let topic = prop::sample::select(topics);
    prop_oneof![
        14 => (0..2_u8, topic.clone(), 1..4_u8, any::<u8>(), any::<u8>())
            .prop_map(|(run, topic, count, shape, fate)| Op::Publish { run, topic, count, shape, fate }),
        2 => (0..2_u8, topic.clone(), 1..4_u8, any::<u8>())
            .prop_map(|(run, topic, count, fate)| Op::UpstreamGap { run, topic, count, fate }),
        1 => any::<u8>().prop_map(|shape| Op::Restart { shape }),
        1 => any::<u8>().prop_map(|shape| Op::Overlap { shape }),
        1 => (0..2_u8, any::<u8>()).prop_map(|(run, fate)| Op::Stop { run, fate }),
        1 => (0..2_u8, 0..2_u8, any::<u8>()).prop_map(|(run, symbol, fate)| Op::End { run, symbol, fate }),
        2 => (0..2_u8, 0..2_u8, any::<u8>(), any::<u8>())
            .prop_map(|(run, symbol, decimals, fate)| Op::List { run, symbol, decimals, fate }),
        1 => Just(Op::BreakBus),
        2 => Just(Op::MendBus),
        3 => Just(Op::NoticeBus),
        8 => (1..12_u8).prop_map(|count| Op::Deliver { count }),
        8 => any::<u8>().prop_map(|request| Op::Response { request }),
        8 => (any::<u8>(), prop::bool::weighted(0.15))
            .prop_map(|(request, fails)| Op::Arrive { request, fails }),
        6 => (1..12_u8, any::<u8>()).prop_map(|(steps, fate)| Op::Pass { steps, fate }),
        5 => (0..2_u8, topic.clone()).prop_map(|(shard, topic)| Op::Want { shard, topic }),
        1 => (0..2_u8, topic).prop_map(|(shard, topic)| Op::Drop { shard, topic }),
    ]
}

/// The time that a working bus takes to bring everything up to date: the longest pause between two requests, the time
/// in which an ingester that was lost is heard again, and a pending gap.
const CONVERGENCE_MS: u64 = 5_000 + 1_500 + 1_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shards_are_told_no_lie_and_in_the_end_all_there_is(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
        world.calm_down(CONVERGENCE_MS);
        world.check_convergence();
    }
}
