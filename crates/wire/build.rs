//! Compiles the contract in `proto/` without a system `protoc`, and derives the serde forms that MessagePack and the
//! JSON encoding share with it.
use std::path::Path;

const FILES: [&str; 4] = ["record.proto", "control.proto", "command.proto", "bus.proto"];

/// Fields whose JSON form is not the number that the binary encodings carry.
const JSON_FORMS: [(&str, &str); 19] = [
    (".tickwire.v1.Granted.channel", "crate::forms::channel"),
    (".tickwire.v1.Refused.channel", "crate::forms::channel"),
    (".tickwire.v1.Position.channel", "crate::forms::channel"),
    (".tickwire.v1.LedgerEntry.channel", "crate::forms::channel"),
    (".tickwire.v1.Gap.channel", "crate::forms::channel"),
    (".tickwire.v1.Gap.cause", "crate::forms::gap_cause"),
    (".tickwire.v1.Feed.state", "crate::forms::feed_state"),
    (".tickwire.v1.Feed.book_proof", "crate::forms::book_proof"),
    (".tickwire.v1.Feed.since", "crate::forms::wide"),
    (".tickwire.v1.Heartbeat.time", "crate::forms::wide"),
    (".tickwire.v1.Hello.token_expires", "crate::forms::wide"),
    (".tickwire.v1.Identity.token_expires", "crate::forms::wide"),
    (".tickwire.v1.Receipt.sent_time", "crate::forms::wide"),
    (".tickwire.v1.Granted.epoch", "crate::forms::wide"),
    (".tickwire.v1.Position.epoch", "crate::forms::wide"),
    (".tickwire.v1.Gap.epoch", "crate::forms::wide"),
    (".tickwire.v1.ResumePosition.epoch", "crate::forms::wide"),
    (".tickwire.v1.Trade.aggressor", "crate::forms::side"),
    (".tickwire.v1.Status.state", "crate::forms::trading_state"),
];

/// Lists, read without trusting the length that the sender claims, and open to longer elements.
const LISTS: [&str; 17] = [
    ".tickwire.v1.Book.bid_prices",
    ".tickwire.v1.Book.bid_sizes",
    ".tickwire.v1.Book.ask_prices",
    ".tickwire.v1.Book.ask_sizes",
    ".tickwire.v1.Subscribed.granted",
    ".tickwire.v1.Subscribed.refused",
    ".tickwire.v1.Heartbeat.feeds",
    ".tickwire.v1.Heartbeat.positions",
    ".tickwire.v1.Ledger.entries",
    ".tickwire.v1.Subscribe.symbols",
    ".tickwire.v1.Unsubscribe.symbols",
    ".tickwire.v1.SetRate.symbols",
    ".tickwire.v1.Resume.positions",
    ".tickwire.v1.FeedHeartbeat.positions",
    ".tickwire.v1.Snapshots.topics",
    ".tickwire.v1.FeedResponse.snapshots",
    ".tickwire.v1.Instrument.last_sequences",
];

/// Read by people who type them: a misspelt field is an error that names it.
const COMMANDS: [&str; 8] =
    ["Subscribe", "Unsubscribe", "SetRate", "Resume", "ResumePosition", "Receipt", "LedgerRequest", "Token"];

/// Holds a secret: `secret.rs` says what is shown of it.
const SECRET: &str = ".tickwire.v1.Token";

/// Enumerations that grow: to match on one needs an arm for what comes later.
const CODES: [&str; 6] = ["Channel", "GapCause", "FeedState", "TradingState", "Side", "BookProof"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.join("tickwire").display());
    let files: Vec<_> = FILES.iter().map(|f| root.join("tickwire/v1").join(f)).collect();
    let mut schema = Vec::new();
    for file in &files {
        schema.extend(std::fs::read(file)?);
    }
    println!("cargo:rustc-env=TICKWIRE_SCHEMA={:08x}", crc32fast::hash(&schema));

    let mut config = prost_build::Config::new();
    config.message_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]\n#[serde(default)]");
    for command in COMMANDS {
        config.message_attribute(format!(".tickwire.v1.{command}"), "#[serde(deny_unknown_fields)]");
    }
    config.skip_debug([SECRET]);
    for (path, form) in JSON_FORMS {
        config.field_attribute(path, format!("#[serde(with = \"{form}\")]"));
    }
    for path in LISTS {
        config.field_attribute(path, "#[serde(deserialize_with = \"crate::forms::list\")]");
    }
    for message in ["Hello", "Identity"] {
        config.field_attribute(
            format!(".tickwire.v1.{message}.limits"),
            "#[serde(deserialize_with = \"crate::forms::optional\")]",
        );
    }
    config.enum_attribute(".tickwire.v1.Record.body", "#[derive(serde::Serialize, serde::Deserialize)]");
    config.enum_attribute(".tickwire.v1.Command.op", "#[derive(serde::Serialize, serde::Deserialize)]");
    config.enum_attribute(
        ".tickwire.v1.FeedRequest.request",
        "#[derive(serde::Serialize, serde::Deserialize)]",
    );
    for code in CODES {
        config.enum_attribute(format!(".tickwire.v1.{code}"), "#[non_exhaustive]");
    }
    config.compile_fds(protox::compile(&files, [&root])?)?;
    Ok(())
}
