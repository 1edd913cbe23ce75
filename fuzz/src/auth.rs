//! Tokens that strangers show, and what providers and the bus send about them.

use std::sync::LazyLock;

use tickwire_auth::jwt::{JWKS_KEYS_MAX, KeyRing, Origin, Trusted, parse_jwks, parse_key_file};
use tickwire_auth::{AuthSettings, Authenticator, RevocationMessage, Rights, Tokens};
use tickwire_wire::Secret;

/// A key of each algorithm; nobody has the private halves of the three public ones here, nor the secret.
static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let ring = KeyRing::new(Trusted::default());
    let files: [&[u8]; 4] = [
        b"a secret of thirty-two bytes or more",
        include_bytes!("../../crates/auth/tests/jwt/keys/rsa.pub.pem"),
        include_bytes!("../../crates/auth/tests/jwt/keys/ec.pub.pem"),
        include_bytes!("../../crates/auth/tests/jwt/keys/ed.pub.pem"),
    ];
    for (at, file) in files.iter().enumerate() {
        ring.set(&at.to_string(), parse_key_file(None, file).expect("a key"));
    }
    ring
});

/// Checks that nobody comes in by chance, and that what a client is told can stand in a header.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let told = RING.verify(text).expect_err("the signature of nobody");
    header(&told.message());
    let authenticator = Authenticator::new(AuthSettings::default());
    let told = authenticator.admit(&Secret::new(text), 1).expect_err("there are no keys");
    header(&told.message());
}

fn header(message: &str) {
    assert!(message.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !message.contains(['"', '\\']), "{message}");
}

/// Checks sets of keys.
pub fn jwks(bytes: &[u8]) {
    for origin in [Origin::File, Origin::Url] {
        match parse_jwks(bytes, origin) {
            Ok(keys) => assert!((1..=JWKS_KEYS_MAX).contains(&keys.len())),
            Err(why) => header(&why),
        }
    }
    if let Err(why) = parse_key_file(None, bytes) {
        header(&why);
    }
}

/// Checks rights as claims have them, and messages of revocations.
pub fn claims(bytes: &[u8]) {
    if let Ok(rights) = serde_json::from_slice::<Rights>(bytes)
        && rights.check().map_err(|why| header(&why)).is_ok()
    {
        let mut principal = tickwire_core::engine::Principal::clone(&tickwire_core::engine::Principal::anonymous());
        rights.give(&mut principal);
        assert!(principal.entitlements.len() <= 4096);
        let written = serde_json::to_vec(&rights).expect("rights are written");
        assert_eq!(serde_json::from_slice::<Rights>(&written).expect("own bytes read back"), rights);
    }
    if let Ok(message) = RevocationMessage::parse(bytes) {
        assert_eq!(RevocationMessage::parse(&message.encode()), Ok(message));
    }
}
