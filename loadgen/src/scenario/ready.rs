//! Scenarios that come with the program.

/// Name and text, in the order in which one would try them.
pub(crate) const READY: [(&str, &str); 8] = [
    ("dashboard", include_str!("../../scenarios/dashboard.toml")),
    ("firehose", include_str!("../../scenarios/firehose.toml")),
    ("wide-idle", include_str!("../../scenarios/wide-idle.toml")),
    ("slow-readers", include_str!("../../scenarios/slow-readers.toml")),
    ("reconnect-storm", include_str!("../../scenarios/reconnect-storm.toml")),
    ("soak", include_str!("../../scenarios/soak.toml")),
    ("saturation", include_str!("../../scenarios/saturation.toml")),
    ("latency", include_str!("../../scenarios/latency.toml")),
];

/// The text of a scenario.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    READY.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::fields::Fields;
    use crate::scenario::read;

    #[test]
    fn all_are_right_and_say_what_they_are() {
        for (name, text) in READY {
            let mut fields = Fields::default();
            fields.add_file(name, text);
            let scenario = read(&mut fields, 2);
            assert_eq!(fields.mistakes(), [""; 0], "{name}");
            assert_eq!(scenario.name, name);
            assert!(!scenario.about.is_empty(), "{name}");
        }
    }
}
