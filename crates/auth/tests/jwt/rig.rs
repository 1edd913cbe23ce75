//! Pairs of keys, and rings that have the public halves.

use tickwire_auth::jwt::{KeyRing, Minter, Trusted, parse_key_file};
use tickwire_auth::{Claims, Denied, Tokens};

pub(crate) const NOW_S: u64 = 1_767_623_400;
pub(crate) const ALGORITHMS: [&str; 4] = ["HS256", "RS256", "ES256", "EdDSA"];

/// The halves of a key, by `openssl genpkey` and `openssl pkey -pubout`. They protect nothing.
const FILES: [(&str, [&str; 2], [&str; 2]); 4] = [
    ("HS256", [SECRET, SECRET], ["another secret of thirty-two bytes", "another secret of thirty-two bytes"]),
    (
        "RS256",
        [include_str!("keys/rsa.pem"), include_str!("keys/rsa.pub.pem")],
        [include_str!("keys/rsa2.pem"), include_str!("keys/rsa2.pub.pem")],
    ),
    (
        "ES256",
        [include_str!("keys/ec.pem"), include_str!("keys/ec.pub.pem")],
        [include_str!("keys/ec2.pem"), include_str!("keys/ec2.pub.pem")],
    ),
    (
        "EdDSA",
        [include_str!("keys/ed.pem"), include_str!("keys/ed.pub.pem")],
        [include_str!("keys/ed2.pem"), include_str!("keys/ed2.pub.pem")],
    ),
];
const SECRET: &str = "a secret of thirty-two bytes or more";

/// A key with which tests sign, and its public half.
pub(crate) struct Pair {
    algorithm: &'static str,
    private: &'static str,
    pub(crate) public: &'static str,
    pub(crate) id: Option<&'static str>,
}

impl Pair {
    pub(crate) fn of(algorithm: &str) -> Self {
        let (algorithm, [private, public], _) =
            FILES.into_iter().find(|(name, ..)| *name == algorithm).expect("an algorithm");
        Self { algorithm, private, public, id: None }
    }

    /// Returns another pair of the same kind.
    pub(crate) fn other(&self) -> Self {
        let found = FILES.into_iter().find(|(name, ..)| *name == self.algorithm);
        let (algorithm, _, [private, public]) = found.expect("an algorithm");
        Self { algorithm, private, public, id: self.id }
    }

    pub(crate) fn named(self, id: &'static str) -> Self {
        Self { id: Some(id), ..self }
    }

    pub(crate) fn sign(&self, claims: &serde_json::Value) -> String {
        let minter = Minter::parse(self.id, self.private.as_bytes()).unwrap();
        minter.sign(claims).unwrap().expose().to_owned()
    }
}

pub(crate) fn claims() -> serde_json::Value {
    serde_json::json!({
        "sub": "desk", "jti": "t1", "iat": NOW_S, "exp": NOW_S + 600, "tickwire": { "grants": [{}] }
    })
}

pub(crate) fn ring(pairs: &[&Pair], trusted: Trusted) -> KeyRing {
    let ring = KeyRing::new(trusted);
    for (at, pair) in pairs.iter().enumerate() {
        ring.set(&at.to_string(), parse_key_file(pair.id, pair.public.as_bytes()).unwrap());
    }
    ring
}

pub(crate) fn verify(ring: &KeyRing, token: &str) -> Result<Claims, Denied> {
    ring.verify(token)
}
