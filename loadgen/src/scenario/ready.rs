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

/// Returns the text of a scenario.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    READY.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
