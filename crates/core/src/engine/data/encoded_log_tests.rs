use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Push(u8),
    Cut(u8),
    Look { from: u8, count: u8, room: u16 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (1..=90_u8).prop_map(Op::Push),
        (0..=9_u8).prop_map(Op::Cut),
        (any::<u8>(), 1..=20_u8, 0..400_u16).prop_map(|(from, count, room)| Op::Look { from, count, room }),
    ]
}

proptest! {
    #[test]
    fn it_holds_what_a_list_of_records_holds(first in 0..5_u64, ops in proptest::collection::vec(op(), 1..2_000)) {
        let mut encoded_log = EncodedLog::new(first);
        let (mut records, mut cut, mut next) = (VecDeque::<(u64, Vec<u8>)>::new(), first, first);
        for (number, op) in ops.into_iter().enumerate() {
            match op {
                Op::Push(length) => {
                    let record = vec![number as u8; length.into()];
                    encoded_log.push(&record);
                    records.push_back((next, record));
                    next += 1;
                }
                Op::Cut(by) => {
                    cut = (cut + u64::from(by)).min(next);
                    encoded_log.cut(cut);
                    records.retain(|(at, _)| *at >= cut);
                }
                Op::Look { from, count, room } => {
                    let from = (cut + u64::from(from) % 40).saturating_sub(2);
                    let to = (from + u64::from(count)).min(next);
                    if from < to && from >= cut {
                        let (mut bytes, mut taken) = (Vec::new(), 0);
                        for (_, record) in records.iter().filter(|(at, _)| (from..to).contains(at)) {
                            if taken > 0 && bytes.len() >= usize::from(room) {
                                break;
                            }
                            bytes.extend_from_slice(record);
                            taken += 1;
                        }
                        prop_assert_eq!(encoded_log.stretch(from, to, room.into()), Some((&bytes[..], taken)));
                    } else if from < cut {
                        prop_assert_eq!(encoded_log.stretch(from, from + 1, room.into()), None);
                    }
                }
            }
        }
    }
}
