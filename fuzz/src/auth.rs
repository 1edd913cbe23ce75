//! Tokens that strangers show, and what providers and the bus send about them.

use std::sync::LazyLock;
use std::time::Duration;

#[cfg(feature = "jwt")]
use tickwire_auth::jwt::{JWKS_KEYS_MAX, KeyRing, Origin, Trusted, parse_jwks, parse_key_file};
#[cfg(feature = "jwt")]
use tickwire_auth::Tokens;
use tickwire_auth::{ApiKeys, AuthSettings, Authenticator, Revocation, RevocationMessage, Revocations, Rights, hash_of, key_of, parse_grant};
use tickwire_core::engine::Principal;
use tickwire_wire::Secret;

#[cfg(feature = "jwt")]
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

#[cfg(feature = "jwt")]
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

#[cfg(feature = "jwt")]
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

/// Checks rights as claims have them, and grants as command lines and settings have them.
pub fn claims(bytes: &[u8]) {
    if let Ok(rights) = serde_json::from_slice::<Rights>(bytes)
        && rights.check().map_err(|why| header(&why)).is_ok()
    {
        let mut principal = Principal::clone(&Principal::anonymous());
        rights.give(&mut principal);
        assert!(principal.entitlements.len() <= 4096);
        let written = serde_json::to_vec(&rights).expect("rights are written");
        assert_eq!(serde_json::from_slice::<Rights>(&written).expect("own bytes read back"), rights);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(grant) = parse_grant(text)
    {
        grant.check().expect("what was parsed was checked");
    }
}

/// Checks messages of revocations: what they say is kept within bounds, and told on as it was.
pub fn revocation(bytes: &[u8]) {
    let Ok(message) = RevocationMessage::parse(bytes) else { return };
    assert_eq!(RevocationMessage::parse(&message.encode()).as_ref(), Ok(&message));
    let (now, keep) = (1_000_000, Duration::from_secs(1_000));
    let (mut known, mut other) = (Revocations::new(keep), Revocations::new(keep));
    for one in &message.revocations {
        let is_new = known.add(one, message.of_api_keys, now);
        assert!(!known.add(one, message.of_api_keys, now), "nothing is new twice");
        assert!(known.count() > 0 || !is_new);
    }
    assert!(known.count() <= message.revocations.len());
    for told in known.messages() {
        for one in &told.revocations {
            assert!(other.add(one, told.of_api_keys, now), "what is kept is news to whoever does not know it");
        }
    }
    assert_eq!(other.count(), known.count());
    // No clock of somebody else's keeps one for longer than the longest life of a token, but those of API keys have no end.
    known.sweep(now + 2_000);
    other.sweep(u64::MAX);
    assert_eq!(known.count(), other.count());
    assert!(known.messages().iter().all(|told| told.of_api_keys) && (known.count() == 0 || may_be_of_keys(&message)));
}

/// Returns whether a revocation may be of an API key.
fn may_be_of_keys(message: &RevocationMessage) -> bool {
    let is_id = |one: &Revocation| matches!(one, Revocation::Token { jti, .. } if jti.starts_with("twk_"));
    message.of_api_keys || message.revocations.iter().any(is_id)
}

/// Checks files of API keys: nobody comes in by a file that is wrong, nor with a key that is not in it.
pub fn api_keys(bytes: &[u8]) {
    static OWN: LazyLock<Secret> = LazyLock::new(|| key_of([7; 32]));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(keys) = ApiKeys::parse(text) else { return };
    let count = keys.count();
    let shown = format!("{keys:?}");
    let authenticator = Authenticator::new(AuthSettings::default()).with_api_keys(keys);
    let is_listed = text.to_ascii_lowercase().contains(&hash_of(&OWN).expect("a key"));
    match authenticator.admit(&OWN, 1) {
        Ok(admitted) => assert!(is_listed && count > 0 && !admitted.principal.entitlements.is_empty()),
        Err(why) => header(&why.message()),
    }
    assert!(!shown.contains(OWN.expose()));
}
