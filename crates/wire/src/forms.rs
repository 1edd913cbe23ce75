//! The ways in which single fields read and write in the serde encodings: names and text in JSON, numbers in
//! MessagePack; and lists and nested messages that grow no faster than the bytes that are really there.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{
    self, Deserialize, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::{Serialize, Serializer};

/// Declares the form of an enum field: its number in MessagePack, its name in JSON.
macro_rules! named {
    ($module:ident, $enum:ty, $prefix:literal) => {
        pub(crate) mod $module {
            use super::{Deserialize, Deserializer, Serializer};

            pub(crate) fn serialize<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    let known = <$enum>::try_from(*value).unwrap_or_default();
                    let name = known.as_str_name().trim_start_matches($prefix).to_ascii_lowercase();
                    serializer.serialize_str(&name)
                } else {
                    serializer.serialize_i32(*value)
                }
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
                if !deserializer.is_human_readable() {
                    return i32::deserialize(deserializer);
                }
                let name = String::deserialize(deserializer)?;
                let known = <$enum>::from_str_name(&format!("{}{}", $prefix, name.to_ascii_uppercase()));
                Ok(known.unwrap_or_default() as i32)
            }
        }
    };
}

named!(channel, crate::pb::Channel, "CHANNEL_");
named!(gap_cause, crate::pb::GapCause, "GAP_CAUSE_");
named!(feed_state, crate::pb::FeedState, "FEED_STATE_");
named!(book_proof, crate::pb::BookProof, "BOOK_PROOF_");
named!(side, crate::pb::Side, "SIDE_");
named!(trading_state, crate::pb::TradingState, "TRADING_STATE_");

/// Times and epochs, which use more than 53 bits: they are text in JSON, because JavaScript's numbers end there.
pub(crate) mod wide {
    use super::{Deserialize, Deserializer, Serializer, Visitor, de, fmt};

    pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(value)
        } else {
            serializer.serialize_u64(*value)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(WideVisitor)
        } else {
            u64::deserialize(deserializer)
        }
    }

    struct WideVisitor;

    impl Visitor<'_> for WideVisitor {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an unsigned 64-bit number, as a decimal string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }
    }
}

/// Declares the form of a decimal number: text with all its decimals.
macro_rules! decimal {
    ($name:ident, $value:ty, $write:path, $digits:path) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct $name {
            pub(crate) value: $value,
            pub(crate) decimals: u32,
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = String::with_capacity(24);
                $write(&mut text, self.value, self.decimals);
                serializer.serialize_str(&text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;

                impl Visitor<'_> for TextVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a decimal number as a string")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        let value = $digits(text).map_err(de::Error::custom)?;
                        let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as u32);
                        Ok($name { value, decimals })
                    }
                }

                deserializer.deserialize_str(TextVisitor)
            }
        }
    };
}

decimal!(Price, i64, crate::decimal::write, crate::decimal::digits);
decimal!(Size, u64, crate::decimal::write_unsigned, crate::decimal::digits_unsigned);

/// Reads a list. Room is set aside for what a MessagePack header claims, which is safe because every claimed element
/// was counted as at least one byte before (`msgpack::record_length`).
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct ListVisitor<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::with_capacity(seq.size_hint().unwrap_or(0));
            while let Some(Tolerant(element)) = seq.next_element()? {
                list.push(element);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(ListVisitor(PhantomData))
}

/// Reads a nested message that may be absent.
pub(crate) fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Tolerant<T>>::deserialize(deserializer)?.map(|Tolerant(value)| value))
}

/// A positional message that is read although a newer sender may have sent more elements than this build knows.
pub(crate) struct Tolerant<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tolerant<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return T::deserialize(deserializer).map(Tolerant);
        }
        deserializer.deserialize_any(TolerantVisitor(PhantomData))
    }
}

struct TolerantVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TolerantVisitor<T> {
    type Value = Tolerant<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a positional message")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // One byte of wire must not become a whole struct.
        if seq.size_hint() == Some(0) {
            return Err(de::Error::custom("an empty array is no message"));
        }
        let value = T::deserialize(SeqAccessDeserializer::new(&mut seq))?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Tolerant(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(de::Error::custom("messages are arrays, never maps"))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        T::deserialize(value.into_deserializer()).map(Tolerant)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        T::deserialize(value.into_deserializer()).map(Tolerant)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        T::deserialize(value.into_deserializer()).map(Tolerant)
    }
}
