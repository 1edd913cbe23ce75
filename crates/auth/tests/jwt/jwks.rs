//! Sets of keys as providers publish them.

use serde_json::{Value, json};
use tickwire_auth::jwt::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, KeyRing, Origin, Trusted, parse_jwks};

use crate::rig::{Pair, claims, verify};

/// The public key of `keys/ed.pem`.
const ED: &str = include_str!("keys/ed.x.txt");

fn ed(id: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": ED.trim(), "kid": id})
}

fn count(keys: &[Value], origin: Origin) -> Result<usize, String> {
    parse_jwks(json!({ "keys": keys }).to_string().as_bytes(), origin).map(|keys| keys.len())
}

#[test]
fn a_set_verifies_tokens() {
    let ring = KeyRing::new(Trusted::default());
    let text = json!({ "keys": [ed("k1")], "more": 1 }).to_string();
    ring.set("url", parse_jwks(text.as_bytes(), Origin::Url).unwrap());
    assert!(verify(&ring, &Pair::of("EdDSA").named("k1").sign(&claims())).is_ok());
    ring.set("url", Vec::new());
    assert!(verify(&ring, &Pair::of("EdDSA").named("k1").sign(&claims())).is_err());
}

#[test]
fn what_is_of_no_use_is_passed_over() {
    let secret = json!({"kty": "oct", "k": "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyBvciBtb3Jl", "kid": "s"});
    let with = |field: &str, value: &str| {
        let mut key = ed("k");
        key[field] = value.into();
        key
    };
    assert_eq!(count(&[ed("k"), secret.clone()], Origin::File), Ok(2));
    assert_eq!(count(&[ed("k"), secret], Origin::Url), Ok(1), "a secret that everybody can fetch is none");
    let useless = [
        with("use", "enc"),
        with("alg", "ES256"),
        with("alg", "EdDSA-of-tomorrow"),
        with("crv", "P-384"),
        with("x", "AAAA"),
        with("kty", "new"),
        json!({"kty": "RSA", "n": "AAAA", "e": "AQAB"}),
        json!({}),
    ];
    for key in useless {
        assert_eq!(count(&[ed("k"), key.clone()], Origin::Url), Ok(1), "{key}");
        assert!(count(std::slice::from_ref(&key), Origin::Url).is_err(), "{key}");
    }
    assert_eq!(count(&[with("use", "sig"), with("alg", "EdDSA")], Origin::Url), Ok(2));
    assert_eq!(parse_jwks(ed("k").to_string().as_bytes(), Origin::File).unwrap().len(), 1, "a key alone");
}

#[test]
fn sets_are_bounded() {
    let many = |count: usize| (0..count).map(|at| ed(&at.to_string())).collect::<Vec<_>>();
    assert_eq!(count(&many(JWKS_KEYS_MAX), Origin::Url), Ok(JWKS_KEYS_MAX));
    assert!(count(&many(JWKS_KEYS_MAX + 1), Origin::Url).unwrap_err().contains("33 keys, at most 32"));
    let mut text = json!({ "keys": [ed("k")] }).to_string();
    text.extend(std::iter::repeat_n(' ', JWKS_BYTES_MAX));
    assert!(parse_jwks(text.as_bytes(), Origin::Url).unwrap_err().contains("more than 65536 bytes"));
    for wrong in ["", "[]", "{", "{\"keys\": 5}", "null"] {
        assert!(parse_jwks(wrong.as_bytes(), Origin::Url).is_err(), "{wrong}");
    }
}
