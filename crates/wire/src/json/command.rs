//! Commands in the JSON encoding: people type them, so everything that is misspelt is named, with what exists instead.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::record::parse;
use crate::message::Command;

const TAG: &str = "op";

pub(super) fn read(bytes: &[u8]) -> Result<Command, String> {
    #[derive(Deserialize)]
    struct Op<'a> {
        #[serde(borrow)]
        op: Cow<'a, str>,
    }
    let Op { op } = parse(bytes)?;
    Ok(match &*op {
        "subscribe" => Command::Subscribe(body(bytes)?),
        "unsubscribe" => Command::Unsubscribe(body(bytes)?),
        "set_rate" => Command::SetRate(body(bytes)?),
        "resume" => Command::Resume(body(bytes)?),
        "receipt" => Command::Receipt(body(bytes)?),
        "ledger" => Command::Ledger(body(bytes)?),
        "token" => Command::Token(body(bytes)?),
        unknown => {
            return Err(format!(
                "unknown op `{unknown}`, expected one of `subscribe`, `unsubscribe`, `set_rate`, `resume`, `receipt`, \
                 `ledger`, `token`"
            ));
        }
    })
}

/// Returns the first `id` of an object, whatever stands around it.
pub(super) fn id(bytes: &[u8]) -> Option<u64> {
    struct Seek<'a>(&'a Cell<Option<u64>>);

    impl<'de> Visitor<'de> for Seek<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a command as an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                if key == "id" {
                    self.0.set(Some(map.next_value()?));
                    break;
                }
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }

    let found = Cell::new(None);
    // The caller told already what is wrong behind the id.
    let _ = serde_json::Deserializer::from_slice(bytes).deserialize_map(Seek(&found));
    found.get()
}

fn body<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, String> {
    parse(bytes).map(|Untagged(body)| body)
}

/// The command's own fields: the object without its `op`, which is no field of the Protobuf message.
struct Untagged<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Untagged<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command as an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(WithoutTag(map)))
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Untagged)
    }
}

struct WithoutTag<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutTag<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.0.next_key::<String>()? {
            if key != TAG {
                return seed.deserialize(StrDeserializer::new(&key)).map(Some);
            }
            self.0.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}
