//! Tokens that name another algorithm than the key's: the oldest fault of all that verify tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tickwire_auth::Denied;
use tickwire_auth::jwt::{Minter, Trusted, parse_key_file};

use crate::rig::{ALGORITHMS, Pair, claims, ring, verify};

fn with_head(token: &str, head: &serde_json::Value) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head.to_string()))
}

#[test]
fn a_public_key_is_no_secret() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let pair = Pair::of(algorithm);
        let ring = ring(&[&pair], Trusted::default());
        // The public half, which everybody has, as the secret of HS256. Its text begins as a key of its own does, so the file is
        // made without the first line's dashes where only bytes count.
        for secret in [pair.public, pair.public.trim()] {
            let plain = format!(" {}", secret.trim_start_matches('-'));
            let forged = Minter::parse(None, plain.as_bytes()).unwrap().sign(&claims()).unwrap();
            assert_eq!(verify(&ring, forged.expose()), Err(Denied::Algorithm), "{algorithm}");
        }
    }
}

#[test]
fn the_head_of_a_token_decides_nothing() {
    for algorithm in ALGORITHMS {
        let pair = Pair::of(algorithm);
        let ring = ring(&[&pair], Trusted::default());
        let token = pair.sign(&claims());
        for named in
            ["none", "None", "HS256", "HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
        {
            if named == algorithm {
                continue;
            }
            let forged = with_head(&token, &serde_json::json!({"alg": named, "typ": "JWT"}));
            let told = verify(&ring, &forged).unwrap_err();
            assert!(
                matches!(told, Denied::Algorithm | Denied::Malformed),
                "{algorithm} as {named}: {told:?}"
            );
        }
        let unsigned = with_head(&token, &serde_json::json!({"alg": "none"}));
        let (unsigned, _) = unsigned.rsplit_once('.').unwrap();
        assert!(verify(&ring, &format!("{unsigned}.")).is_err());
        // Keys of its own, and extensions that have to be understood.
        for head in [
            serde_json::json!({"alg": algorithm, "crit": ["x"], "x": 1}),
            serde_json::json!({"alg": algorithm, "jwk": {"kty": "oct", "k": "AAAA"}}),
            serde_json::json!({"alg": algorithm, "jku": "http://127.0.0.1/"}),
        ] {
            assert!(verify(&ring, &with_head(&token, &head)).is_err(), "the signature is of another head");
        }
    }
}

#[test]
fn files_that_are_no_keys() {
    let check = |bytes: &[u8], part: &str| {
        let told = parse_key_file(None, bytes).unwrap_err();
        assert!(told.contains(part), "{told}");
    };
    check(b"short", "has 5 bytes, and a secret for HS256 has to have 32 at least");
    check(b"", "has 0 bytes");
    check(include_bytes!("keys/ed.pem"), "is a private key");
    check(include_bytes!("keys/rsa.pem"), "is a private key");
    check(include_bytes!("keys/rsa1024.pub.pem"), "is a weak key");
    check(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is no public key in PEM");
    check(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificates are not read");
    check(&[0xff; 40], "is no text");
    check(b"{\"keys\": []}", "has no key for");
    let shown = format!("{:?}", parse_key_file(Some("k1"), &[b'x'; 40]).unwrap());
    assert!(shown.contains("k1") && shown.contains("HS256") && !shown.contains("xxxx"), "{shown}");
}
