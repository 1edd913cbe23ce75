//! Addresses and subjects, as others are to see them.

use tickwire_wire::Subject;

/// Returns an address without what stands before its last `@`, whether or not it is a good address.
pub(super) fn without_secrets(address: &str) -> String {
    match address.rsplit_once('@') {
        None => address.to_owned(),
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            let separator = if scheme.is_empty() { "" } else { "://" };
            format!("{scheme}{separator}..@{host}")
        }
    }
}

/// Makes a subject as the client wants it; it is a copy of some fifty bytes.
pub(super) fn wire(subject: &Subject) -> async_nats::Subject {
    async_nats::Subject::from(subject.as_str())
}
