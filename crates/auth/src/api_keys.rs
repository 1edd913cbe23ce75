//! API keys: a file of names, hashes and grants, for those who need no identity provider.
//!
//! A key is 256 random bits, so nobody finds it by trying, and a slow hash (argon2, bcrypt) would protect nothing: it protects
//! secrets that people choose. It would cost the gateway tens of milliseconds and megabytes for each handshake, the wrong ones of
//! an attacker first of all. Therefore the file has SHA-256, and only keys of our own form are looked up.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tickwire_wire::Secret;

use crate::rights::{Grant, Rights};

/// The beginning of every API key, so that one is told from a token, and scanners of repositories find it.
pub const API_KEY_PREFIX: &str = "twk_";
/// The characters behind it: 32 bytes in base64url.
const CHARACTERS: usize = 43;
/// The bytes of a hash that make the id of its key.
const ID_BYTES: usize = 8;
/// The most keys of a file.
const KEYS_MAX: usize = 100_000;

type Hash = [u8; 32];

/// The keys of a file, by their hashes. No key is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiKeys {
    by_hash: HashMap<Hash, Entry>,
    /// The hashes by the ids of their keys.
    by_id: HashMap<String, Hash>,
    /// When the oldest key of each name was issued, in seconds.
    oldest: HashMap<String, u64>,
}

/// The owner of a key, and what it grants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The id of the key, by which its sessions are told from those of another key of the same name.
    pub(crate) id: String,
    pub(crate) issued_s: u64,
    pub(crate) rights: Rights,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    sha256: String,
    /// When it was made, in seconds since the Unix epoch: a revocation of its name up to a later time is of this key too.
    #[serde(default)]
    issued: u64,
    #[serde(default)]
    grants: Vec<Grant>,
    encodings: Option<Vec<String>>,
    max_rate: Option<f64>,
    subscriptions: Option<u32>,
    sessions: Option<u32>,
}

impl ApiKeys {
    /// Reads a file: TOML with one table `[[key]]` for each key. Several keys may have the same name.
    ///
    /// # Errors
    /// All faults, one a line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if file.key.len() > KEYS_MAX {
            return Err(format!("there are {} keys, at most {KEYS_MAX} are read", file.key.len()));
        }
        let mut faults = Vec::new();
        let mut keys = Self::default();
        for (at, entry) in file.key.into_iter().enumerate() {
            let Written { name, sha256, issued, grants, encodings, max_rate, subscriptions, sessions } =
                entry;
            let rights = Rights { grants, encodings, max_rate, subscriptions, sessions };
            let mut wrong = |why: String| faults.push(format!("key {} (`{name}`): {why}", at + 1));
            if name.is_empty() || name.len() > 256 {
                wrong("`name` has to have 1 to 256 bytes".to_owned());
            }
            if rights.grants.is_empty() {
                wrong("`grants` is missing; [{}] grants everything".to_owned());
            }
            if let Err(why) = rights.check() {
                wrong(why);
            }
            let Some(hash) = unhex(&sha256) else {
                wrong(
                    "`sha256` has to be 64 hexadecimal digits, as `tickwire token key --api` prints them"
                        .to_owned(),
                );
                continue;
            };
            let id = id_of(&hash);
            keys.by_id.insert(id.clone(), hash);
            let oldest = keys.oldest.entry(name.clone()).or_insert(issued);
            *oldest = issued.min(*oldest);
            let entry = Entry { name: name.clone(), id, issued_s: issued, rights };
            if let Some(other) = keys.by_hash.insert(hash, entry) {
                wrong(format!("its hash is that of `{}`; one key cannot be of two", other.name));
            }
        }
        if faults.is_empty() { Ok(keys) } else { Err(faults.join("\n")) }
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.by_hash.len()
    }

    /// Returns whose key has this id.
    pub(crate) fn by_id(&self, id: &str) -> Option<&Entry> {
        self.by_hash.get(self.by_id.get(id)?)
    }

    /// Returns when the oldest key of a name was issued, in seconds; `None` where it has none.
    pub(crate) fn oldest_of(&self, name: &str) -> Option<u64> {
        self.oldest.get(name).copied()
    }

    /// Returns whose key this is.
    pub(crate) fn find(&self, shown: &str) -> Option<&Entry> {
        if !is_key(shown) {
            return None;
        }
        // Whoever could tell by the time how many bytes of a hash fit would still have to find a key with that hash.
        self.by_hash.get(&hash(shown))
    }
}

/// Returns the hash of a key, in hexadecimal digits, as the file has it; `None` where it has not the form of a key: what people
/// choose themselves is not taken.
pub fn hash_of(key: &Secret) -> Option<String> {
    is_key(key.expose()).then(|| hex(&hash(key.expose())))
}

/// Makes a key of 32 random bytes.
pub fn key_of(random: [u8; 32]) -> Secret {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut key = API_KEY_PREFIX.to_owned();
    for chunk in random.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        key.extend((0..=chunk.len()).map(|at| char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize])));
    }
    Secret::new(key)
}

/// Returns the id of a key: the beginning of its hash, of which nobody makes the key.
fn id_of(hash: &Hash) -> String {
    format!("{API_KEY_PREFIX}{}", hex(&hash[..ID_BYTES]))
}

/// Returns whether a text has the form of the id of a key.
pub(crate) fn is_key_id(text: &str) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    text.strip_prefix(API_KEY_PREFIX)
        .is_some_and(|rest| rest.len() == 2 * ID_BYTES && rest.as_bytes().iter().all(is_digit))
}

/// Returns whether a text has the form of a key.
pub(crate) fn is_key(shown: &str) -> bool {
    let is_character = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    shown
        .strip_prefix(API_KEY_PREFIX)
        .is_some_and(|rest| rest.len() == CHARACTERS && rest.as_bytes().iter().all(is_character))
}

fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Hash> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_their_hashes() {
        let key = key_of([7; 32]);
        assert_eq!(key.expose(), "twk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        let hash = hash_of(&key).unwrap();
        let file = format!("[[key]]\nname = \"desk\"\nsha256 = \"{hash}\"\ngrants = [{{}}]\nsessions = 3\n");
        let keys = ApiKeys::parse(&file).unwrap();
        let entry = keys.find(key.expose()).unwrap();
        assert_eq!((entry.name.as_str(), entry.rights.sessions), ("desk", Some(3)));
        assert!(keys.find(key_of([8; 32]).expose()).is_none());
        assert!(!format!("{keys:?}").contains(key.expose()));
        assert_eq!(entry.id, format!("twk_{}", &hash[..16]));
        assert_eq!(keys.by_id(&entry.id), Some(entry));
        assert!(is_key_id(&entry.id) && !is_key_id(&entry.id[..19]) && !is_key_id(key.expose()));
        assert!(!is_key_id("twk_00112233445566GG") && !is_key_id("0011223344556677"));
        assert_eq!((keys.oldest_of("desk"), keys.oldest_of("other")), (Some(0), None));
        assert!(keys.by_id("twk_").is_none() && ApiKeys::default().by_id(&entry.id).is_none());
        // What people choose is not taken, even where somebody hashed it.
        assert_eq!(hash_of(&Secret::new("letmein")), None);
        for wrong in
            ["twk_", "twk_short", "letmein", &format!("{}x", key.expose()), &key.expose().replace('B', "+")]
        {
            assert!(!is_key(wrong), "{wrong}");
        }
    }

    #[test]
    fn all_faults_of_a_file_are_told() {
        let hash = "0".repeat(64);
        let file = format!(
            "[[key]]\nname = \"\"\nsha256 = \"{hash}\"\ngrants = [{{}}]\n\
             [[key]]\nname = \"b\"\nsha256 = \"abc\"\n\
             [[key]]\nname = \"c\"\nsha256 = \"{hash}\"\ngrants = [{{channels = [\"quotes\"]}}]\n"
        );
        let told = ApiKeys::parse(&file).unwrap_err();
        let expected = [
            "key 1 (``): `name` has to have 1 to 256 bytes",
            "key 2 (`b`): `grants` is missing; [{}] grants everything",
            "key 2 (`b`): `sha256` has to be 64 hexadecimal digits, as `tickwire token key --api` prints them",
            "key 3 (`c`): grant 1: there is no channel `quotes`; channels: quote, trade, book, bar, stat, status, instrument, derivative",
            "key 3 (`c`): its hash is that of ``; one key cannot be of two",
        ];
        assert_eq!(told.lines().collect::<Vec<_>>(), expected);
        // A sign is no digit, though a number may begin with one.
        assert!(unhex(&"+f".repeat(32)).is_none());
        assert!(ApiKeys::parse("[[key]]\nnmae = 1\n").unwrap_err().contains("unknown field `nmae`"));
    }
}
