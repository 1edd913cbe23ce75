//! Round trips: what is written reads back exactly, whatever it is.

use proptest::collection::vec;
use proptest::prelude::*;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Channel, Encoding, Scale, decode_command, encode_command, encode_message};

use crate::random;
use crate::vectors::decode_all;

proptest! {
    #![proptest_config(random::cases(5000))]

    #[test]
    fn messages(messages in vec(random::message(), 1..4), scale in random::scale()) {
        for encoding in Encoding::ALL {
            let mut bytes = Vec::new();
            for message in &messages {
                encode_message(encoding, message, &scale, &mut bytes);
            }
            prop_assert_eq!(&decode_all(encoding, &bytes), &messages, "{}", encoding);
        }
    }

    #[test]
    fn commands(command in random::command()) {
        for encoding in Encoding::ALL {
            let mut bytes = Vec::new();
            encode_command(encoding, &command, &mut bytes);
            let read = decode_command(encoding, &bytes);
            prop_assert_eq!(read.as_ref(), Ok(&command), "{}", encoding);
        }
    }

    #[test]
    fn bus_frames(
        messages in vec(random::message(), 1..6),
        first_sequence in prop_oneof![1u64..1000, Just(u64::MAX - 5)],
        others in any::<(u32, u64, u64)>(),
        is_msgpack in any::<bool>(),
    ) {
        let encoding = if is_msgpack { Encoding::MsgPack } else { Encoding::Proto };
        let messages: Vec<_> =
            messages.into_iter().filter(|message| !matches!(message, tickwire_wire::Message::Sent(_))).collect();
        prop_assume!(!messages.is_empty());
        let (instrument, epoch, publish_time) = others;
        let header = BusHeader {
            encoding,
            channel: Channel::Trade,
            instrument,
            epoch,
            first_sequence,
            last_sequence: first_sequence + messages.len() as u64 - 1,
            publish_time,
        };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        for message in &messages {
            encode_message(encoding, message, &Scale::default(), &mut bytes);
        }
        let (read, records) = BusHeader::parse(&bytes).unwrap();
        prop_assert_eq!(read, header);
        let parts: Vec<_> = header.split(records).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(parts.len(), messages.len());
        for (i, (first, last, bytes)) in parts.into_iter().enumerate() {
            prop_assert_eq!((first, last), (first_sequence + i as u64, first_sequence + i as u64));
            prop_assert_eq!(&decode_all(encoding, bytes), &messages[i..=i]);
        }
    }
}
