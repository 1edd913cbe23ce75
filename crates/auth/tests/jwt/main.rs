//! Tokens of every algorithm, and what is wrong with others.

mod confusion;
mod jwks;
mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tickwire_auth::jwt::{Trusted, parse_key_file};
use tickwire_auth::{Denied, Tokens as _, Watcher};

use rig::{ALGORITHMS, NOW_S, Pair, claims, ring, verify};

#[test]
fn every_algorithm_is_taken() {
    for algorithm in ALGORITHMS {
        let pair = Pair::of(algorithm);
        let ring = ring(&[&pair], Trusted::default());
        let token = pair.sign(&claims());
        let read = verify(&ring, &token).unwrap();
        assert_eq!(
            (read.subject.as_str(), read.id.as_deref(), read.ends),
            ("desk", Some("t1"), Some(NOW_S as f64 + 600.0))
        );
        assert_eq!(read.rights.unwrap().grants.len(), 1, "{algorithm}");
        // Another key of the same kind.
        assert_eq!(
            verify(&ring, &Pair::of(algorithm).other().sign(&claims())),
            Err(Denied::Signature),
            "{algorithm}"
        );
    }
}

#[test]
fn a_change_anywhere_is_noticed() {
    for algorithm in ALGORITHMS {
        let pair = Pair::of(algorithm);
        let ring = ring(&[&pair], Trusted::default());
        let token = pair.sign(&claims());
        let dots: Vec<_> = token.match_indices('.').map(|(at, _)| at).collect();
        for part in [0..dots[0], dots[0] + 1..dots[1], dots[1] + 1..token.len()] {
            let mut changed = token.clone().into_bytes();
            let at = part.start + part.len() / 2;
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(verify(&ring, &String::from_utf8(changed).unwrap()).is_err(), "{algorithm}, byte {at}");
        }
        assert!(verify(&ring, &token[..token.len() - 2]).is_err());
        assert!(verify(&ring, &format!("{token}AA")).is_err());
    }
}

#[test]
fn keys_are_found_by_their_ids() {
    let (first, second) = (Pair::of("HS256").named("k1"), Pair::of("EdDSA").named("k2"));
    let ring = ring(&[&first, &second], Trusted::default());
    assert!(verify(&ring, &first.sign(&claims())).is_ok());
    assert!(verify(&ring, &second.sign(&claims())).is_ok());
    // The id of one key and the signature of the other.
    assert_eq!(verify(&ring, &Pair::of("HS256").named("k2").sign(&claims())), Err(Denied::Algorithm));
    assert_eq!(verify(&ring, &Pair::of("HS256").named("k3").sign(&claims())), Err(Denied::UnknownKey));
    // A token that names no key is tried with those of its algorithm.
    assert!(verify(&ring, &Pair::of("EdDSA").sign(&claims())).is_ok());
    assert_eq!(verify(&ring, &Pair::of("RS256").sign(&claims())), Err(Denied::Algorithm));
}

#[test]
fn issuers_and_audiences() {
    let pair = Pair::of("HS256");
    let trusted =
        Trusted { issuers: vec!["a".to_owned(), "b".to_owned()], audiences: vec!["tickwire".to_owned()] };
    let ring = ring(&[&pair], trusted);
    let check = |iss: serde_json::Value, aud: serde_json::Value| {
        let mut claims = claims();
        (claims["iss"], claims["aud"]) = (iss, aud);
        verify(&ring, &pair.sign(&claims)).map(drop)
    };
    assert_eq!(check("a".into(), "tickwire".into()), Ok(()));
    assert_eq!(check("b".into(), serde_json::json!(["x", "tickwire"])), Ok(()));
    assert_eq!(check("c".into(), "tickwire".into()), Err(Denied::Issuer));
    assert_eq!(check(serde_json::Value::Null, "tickwire".into()), Err(Denied::Issuer));
    assert_eq!(check("a".into(), "x".into()), Err(Denied::Audience));
    assert_eq!(check("a".into(), serde_json::Value::Null), Err(Denied::Audience));
    // One that is for somebody is not for everybody.
    let open = rig::ring(&[&pair], Trusted::default());
    let mut named = claims();
    named["aud"] = "x".into();
    assert_eq!(verify(&open, &pair.sign(&named)), Err(Denied::Audience));
}

#[test]
fn claims_that_cannot_be_used() {
    let pair = Pair::of("HS256");
    let ring = ring(&[&pair], Trusted::default());
    let check = |field: &str, value: serde_json::Value, part: &str| {
        let mut claims = claims();
        claims[field] = value;
        match verify(&ring, &pair.sign(&claims)) {
            Err(Denied::Claims(why)) => assert!(why.contains(part), "{why}"),
            other => panic!("{field}: {other:?}"),
        }
    };
    check("sub", serde_json::Value::Null, "`sub` is missing");
    check("sub", "".into(), "`sub` is missing");
    check("sub", "x\ny".into(), "characters that nobody sees");
    check("jti", "x".repeat(257).into(), "more than 256 bytes");
    check("exp", "soon".into(), "not the JSON");
    check("iat", (-5).into(), "no number of seconds");
    check("tickwire", serde_json::json!({"grant": []}), "unknown field `grant`");
    check("tickwire", "everything".into(), "`tickwire`: invalid type");
    assert_eq!(
        verify(&ring, &pair.sign(&serde_json::json!(["no", "object"]))).unwrap_err().reason(),
        "claims"
    );
    for text in ["", ".", "..", "a.b.c", "a.b", "a.b.c.d", "e30.e30.e30"] {
        assert!(matches!(verify(&ring, text), Err(Denied::Malformed)), "{text}");
    }
}

#[test]
fn a_key_has_its_number_as_long_as_it_is_there() {
    let (first, second) = (Pair::of("HS256").named("k1"), Pair::of("EdDSA").named("k2"));
    let ring = ring(&[&first, &second], Trusted::default());
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let count = move || {
        counter.fetch_add(1, Ordering::SeqCst);
    };
    ring.watch(Watcher::new(count));
    let number = |pair: &Pair| verify(&ring, &pair.sign(&claims())).unwrap().key.unwrap();
    let set = |source: &str, pairs: &[&Pair]| {
        let keys = pairs.iter().flat_map(|pair| parse_key_file(pair.id, pair.public.as_bytes()).unwrap());
        ring.set(source, keys.collect());
    };
    let numbers = (number(&first), number(&second));
    assert!(numbers.0 != numbers.1 && ring.has_key(numbers.0) && !ring.has_key(99));
    // A rotation: the key before is still there, in another place, and called otherwise in a second one.
    let third = first.other().named("k3");
    set("0", &[&third, &first]);
    set("2", &[&Pair::of("HS256").named("k4")]);
    assert_eq!((number(&first), number(&second)), numbers);
    assert_eq!(number(&Pair::of("HS256").named("k4")), numbers.0, "it is the same key");
    set("0", &[&third]);
    assert!(ring.has_key(numbers.0) && told.load(Ordering::SeqCst) == 0);
    set("2", &[]);
    assert!(!ring.has_key(numbers.0) && ring.has_key(numbers.1) && told.load(Ordering::SeqCst) == 1);
    assert_eq!(verify(&ring, &first.sign(&claims())), Err(Denied::UnknownKey));
    // One that comes back opens other sessions than those that ended.
    set("2", &[&first]);
    assert!(number(&first) != numbers.0 && !ring.has_key(numbers.0) && told.load(Ordering::SeqCst) == 1);
}
