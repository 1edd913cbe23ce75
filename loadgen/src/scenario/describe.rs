//! What each field of a scenario is, for people who write one. A test holds it against what is read.

use std::fmt::Write as _;

use serde::Serialize;

/// A field, or several that differ by a word in braces.
struct Field {
    name: &'static str,
    /// What is written there, with its unit.
    kind: &'static str,
    /// As it would be written; in round brackets where that cannot be.
    default: &'static str,
    about: &'static str,
}

/// A single field, for programs.
#[derive(Debug, Serialize)]
struct Described {
    name: String,
    kind: &'static str,
    default: &'static str,
    about: String,
}

const fn field(name: &'static str, kind: &'static str, default: &'static str, about: &'static str) -> Field {
    Field { name, kind, default, about }
}

const NONE: &str = "(none)";
const MUST: &str = "(must be given)";
const NOT_ASKED: &str = "(not checked)";

/// In the order of a scenario file.
#[rustfmt::skip]
const FIELDS: &[Field] = &[
    field("name", "text", "(the file's name)", "what the run is called in reports"),
    field("about", "text", "\"\"", "what it is for; stands in the list of scenarios and on the page"),
    field("seed", "whole number", "1", "chooses symbols, readers and times: the same seed is the same run"),
    field("duration", "time", "\"20s\"", "how long is measured (--for)"),
    field("warm_up", "time", "\"2s\"", "between the last session's opening and measuring"),
    field("settle", "time", "\"10s\"", "longest wait for last values, after the source stopped"),
    field("hop_sampling", "whole number", "8", "one of so many records gives its times at the ingester and the gateway's write"),
    field("threads", "whole number", "(half of the processors)", "threads that read, in each process"),
    field("processes", "whole number", "1", "processes that read"),

    field("target.url", "text", "(a gateway of its own)", "the server to load: \"ws://HOST:7400/v1/stream\", or wss:// for TLS"),
    field("target.admin", "text", "(the own gateway's)", "admin address, for pressure and readiness: \"HOST:7401\""),
    field("target.bus", "list of texts", "[]", "NATS servers that the own source publishes on; none: a bus in memory"),
    field("target.server_pid", "whole number", "(the own gateway's)", "the server's process, for its processors and memory"),
    field("target.spawn", "text or list of texts", "[]", "a command that starts the server; it says `ready`, and is ended at last"),
    field("target.server_cpus", "list of numbers", "[]", "processors for the own gateway; none: all"),
    field("target.source_cpus", "list of numbers", "[]", "processors for the own source; none: all"),
    field("target.generator_cpus", "list of numbers", "[]", "processors for reading; none: all"),

    field("gateway.listen", "text", "(any free port)", "where the own gateway listens; with it, `target.url` may name a proxy before it"),
    field("gateway.shards", "whole number", "1", "threads of the own gateway that write"),
    field("gateway.pace_ratio", "number", "(the gateway's)", "waits between rounds of writing, as a multiple of what a round costs"),
    field("gateway.pace_wait_max", "time", "(the gateway's)", "longest such wait"),
    field("gateway.drain", "time", "\"1s\"", "how long the own gateway takes leave of its sessions when it is restarted"),

    field("peer.kind", "word", "(none: a Tickwire gateway)", "what another server speaks: KINDS"),
    field("peer.name", "text", "(its kind)", "what it is called in reports"),
    field("peer.publish", "text", MUST, "where it takes updates: \"tcp://HOST:PORT\", \"ws://HOST:PORT/publish\" or \"nats://HOST:PORT\""),

    field("source.kind", "word", "\"own\"", "own: publishes by a plan; running: what the gateway's ingester sends"),
    field("source.symbols", "whole number", "100", "symbols of the own source"),
    field("source.rate", "number, updates/s", "500", "over all symbols, at an even pace"),
    field("source.trades", "share, 0 to 1", "0.0", "of all updates; the others are quotes"),
    field("source.skew", "number", "0.0", "Zipf's exponent by which updates choose their symbol; 0: each in turn"),
    field("source.burst", "number, updates/s", NONE, "bursts of this rate; between them it is `source.rate`"),
    field("source.every", "time", "(1s)", "with `burst`: from one to the next"),
    field("source.lasting", "time", "(100ms)", "with `burst`: how long each is"),
    field("source.steps[].lasting", "time", MUST, "instead of `rate`: one step after the other, and from the first again"),
    field("source.steps[].rate", "number, updates/s", MUST, "of this step"),

    field("sessions.count", "whole number", "100", "sessions to open (--sessions)"),
    field("sessions.ramp", "time", "(1s for each 1,000)", "from the first session's opening to the last's"),
    field("sessions.symbols_each", "whole number", "0", "symbols of the own source that a session subscribes to; 0: all"),
    field("sessions.skew", "number", "0.0", "Zipf's exponent by which sessions choose them; 0: all alike"),
    field("sessions.symbols", "list of texts", "[]", "of a running source: [\"sim:*\", \"binance:BTCUSDT\"]"),
    field("sessions.channels", "list of words", "[\"quote\"]", "CHANNELS"),
    field("sessions.encodings.{proto,msgpack,json}", "number", "(proto only)", "weight of this encoding; or one for all: encodings = \"json\""),
    field("sessions.max_rate", "number, updates/s", "0.0", "asked for, per subscription; 0: all"),
    field("sessions.window", "time", "\"0s\"", "delivery window asked for; 0s: none"),
    field("sessions.receipts", "true or false", "false", "tells the gateway what was taken, as the SDKs do"),
    field("sessions.receive_buffer", "whole number, bytes", "0", "of the socket; 0: the system's default"),
    field("sessions.tls.ca", "text", "(the system's alone)", "file of authorities in PEM, trusted beside the system's; for wss://"),
    field("sessions.tls.server_name", "text", "(the URL's host)", "name that the server's certificate has to be for"),
    field("sessions.tls.insecure", "true or false", "false", "takes any certificate; the report says so"),
    field("sessions.token", "text", "(none)", "sent by every session; reports do not show it"),
    field("sessions.tokens_file", "text", "(none)", "file with one token a line; each session sends the next"),
    field("sessions.token_in", "word", "\"header\"", "header: `Authorization: Bearer`; query: a parameter of the URL"),
    field("sessions.token_parameter", "text", "(token)", "its name in the query"),

    field("readers[].kind", "word", MUST, "how these sessions read: prompt, throttled, stalled, slow-program, half-open (no more after subscribing), silent (answers no ping)"),
    field("readers[].share", "share, 0 to 1", MUST, "of all sessions; what is left reads promptly"),
    field("readers[].bytes_per_second", "number, bytes/s", "10000", "throttled: reads so much"),
    field("readers[].period", "time", "\"100ms\"", "throttled: and a part of it each period"),
    field("readers[].at", "time", "\"5s\"", "stalled: reads nothing from here in measuring"),
    field("readers[].lasting", "time", "\"5s\"", "stalled: for so long"),
    field("readers[].records_per_second", "number, records/s", "100", "slow-program: empties its socket, and works off so many"),

    field("churn.flaps_per_second", "number, sessions/s", "0.0", "sessions that drop a symbol and take it again"),
    field("churn.storms[].at", "time", "\"5s\"", "sessions lose their connection here in measuring"),
    field("churn.storms[].share", "share, 0 to 1", "1.0", "of all sessions"),
    field("churn.storms[].within", "time", "\"2s\"", "they come back within this, at random times"),
    field("churn.restarts[].at", "time", "\"5s\"", "the gateway ends here in measuring, and comes back"),
    field("churn.restarts[].command", "text or list of texts", "[]", "restarts a gateway that is not the own one"),

    field("assert.deliveries_per_second", "number, records/s", NOT_ASKED, "at least"),
    field("assert.delivered_share", "share, 0 to 1", NOT_ASKED, "at least; of what the published updates come to at all sessions"),
    field("assert.conflated_share", "share, 0 to 1", NOT_ASKED, "at most; of the ledgers' published"),
    field("assert.lost", "whole number", NOT_ASKED, "at most; numbers that neither came nor were announced"),
    field("assert.dropped", "whole number", NOT_ASKED, "at most; numbers that were announced as dropped"),
    field("assert.ended_early", "whole number", "(0)", "at most; sessions that ended against the plan"),
    field("assert.cpu_seconds_per_million", "number, seconds", NOT_ASKED, "at most; of the server, per million delivered records"),
    field("assert.resident_mib", "number, MiB", NOT_ASKED, "at most; memory of the server"),
    field("assert.growth_kib_per_second", "number, KiB/s", NOT_ASKED, "at most; of that memory, by least squares"),
    field("assert.kib_per_session", "number, KiB", NOT_ASKED, "at most; growth of that memory by opening the sessions"),
    field("assert.used_share", "share, 0 to 1", NOT_ASKED, "at least; of what throttled readers could have read"),
    field("assert.beyond_window", "true or false", "false", "bounds of latency, of age, and of the hops to the gateway's write count from the end of `sessions.window`"),
    field("assert.latency.{p50,p99,p999,max}", "time", NOT_ASKED, "at most; intended → read, of prompt readers"),
    field("assert.reconnect.{p50,p99,p999,max}", "time", NOT_ASKED, "at most; from the loss of a session to its subscriptions' answers"),
    field("assert.age.{prompt,throttled,stalled,slow-program}.{p50,p99,p999,max}", "time", NOT_ASKED, "at most; age of what the program of such a reader gets"),
    field("assert.hop.{intended-ingester,ingester-gateway_write,ingester-gateway_in,gateway_in-gateway_write,gateway_write-read,read-decoded}.{p50,p99,p999,max}", "time", NOT_ASKED, "at most; of this part of the way"),

    field("saturation.from", "number, updates/s", "1000", "a table `saturation` asks for a search for the highest rate that holds; it begins with this one"),
    field("saturation.to", "number, updates/s", "50000000", "it tries no more"),
    field("saturation.p99", "time", "\"100ms\"", "at most, for a rate to hold"),
    field("saturation.delivered_share", "share, 0 to 1", "0.99", "at least, for a rate to hold"),
    field("saturation.step", "time", "\"4s\"", "how long each rate is measured"),
    field("saturation.settle", "time", "\"1s\"", "between setting a rate and measuring it"),
    field("saturation.precision", "share, 0 to 1", "0.05", "it ends when the rate is known to within this"),
];

/// Without the braces: every name that they stand for.
fn expanded(name: &str) -> Vec<String> {
    let Some((head, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let (words, tail) = rest.split_once('}').expect("braces are closed");
    words.split(',').flat_map(|word| expanded(&format!("{head}{word}{tail}"))).collect()
}

impl Field {
    fn about(&self) -> String {
        let kinds = crate::peer::PeerKind::ALL.map(crate::peer::PeerKind::name).join(", ");
        let channels = tickwire_wire::Channel::ALL.map(tickwire_wire::Channel::name).join(", ");
        self.about.replace("KINDS", &kinds).replace("CHANNELS", &channels)
    }
}

/// The first field of the first entry of a list: `readers[0].kind`.
pub(super) fn first_of(list: &str) -> String {
    let within = format!("{list}[].");
    let field = FIELDS.iter().find(|field| field.name.starts_with(&within));
    field.map_or_else(|| format!("{list}[0]"), |field| field.name.replace("[]", "[0]"))
}

/// Two lines for each field.
pub(crate) fn to_text() -> String {
    let mut text = String::from(
        "Fields of a scenario: name, what is written there, its default in square brackets, and what it means. Times have a\n\
         unit: \"200us\", \"16ms\", \"20s\", \"5m\", \"1h\". Braces list words of which one stands there. What has `[]` in its name is\n\
         in a list of tables: [[readers]] in a file, `readers[0].share` with --set. --set FIELD=VALUE sets any of them over a file.\n",
    );
    let mut section = None;
    for field in FIELDS {
        let head = field.name.split_once('.').map(|(head, _)| head);
        if section != Some(head) {
            section = Some(head);
            text.push('\n');
        }
        let _ = writeln!(text, "{}  {}  [{}]\n    {}", field.name, field.kind, field.default, field.about());
    }
    text
}

/// One entry for each field, braces resolved.
pub(crate) fn to_json() -> String {
    let fields = FIELDS.iter().flat_map(|field| {
        let described =
            |name| Described { name, kind: field.kind, default: field.default, about: field.about() };
        expanded(field.name).into_iter().map(described)
    });
    serde_json::to_string_pretty(&fields.collect::<Vec<_>>()).expect("fields are plain data")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::fields::Fields;
    use crate::scenario::{Scenario, read};

    /// One table of each list, so that all their fields are asked for.
    const ONE_OF_EACH: &str = "readers = [{ kind = \"silent\", share = 0 }]\n\
                               churn = { storms = [{ at = \"1s\" }], restarts = [{ at = \"1s\" }] }\n\
                               source = { steps = [{ lasting = \"1s\", rate = 1 }] }\n[peer]\nkind = \"raw40\"\n";

    #[test]
    fn every_field_that_is_read_is_described_and_no_other() {
        let mut fields = Fields::default();
        fields.add_file("x", ONE_OF_EACH);
        read(&mut fields, 2);
        let asked: BTreeSet<_> = fields.known().iter().map(|name| name.replace("[0]", "[]")).collect();
        let described: Vec<_> = FIELDS.iter().flat_map(|field| expanded(field.name)).collect();
        assert_eq!(described.iter().cloned().collect::<BTreeSet<_>>(), asked);
        assert_eq!(described.len(), asked.len(), "one is there twice");
    }

    fn scenario(text: &str) -> Scenario {
        let mut fields = Fields::default();
        fields.add_file("x", text);
        let scenario = read(&mut fields, 2);
        assert_eq!(fields.mistakes(), [""; 0], "{text}");
        scenario
    }

    /// What is written as a default changes nothing, of the fields that begin so; `around` opens their table, if any.
    #[track_caller]
    fn check(around: &str, head: &str) {
        let fields = FIELDS.iter().filter(|field| field.name.starts_with(head));
        // A list's own fields stand in its table.
        let fields = fields.filter(|field| head.contains("[]") || !field.name.contains("[]"));
        for field in fields.filter(|field| !field.default.starts_with('(')) {
            let name = field.name.strip_prefix(head).filter(|_| !around.is_empty()).unwrap_or(field.name);
            let with = format!("{around}{name} = {}\n", field.default);
            assert_eq!(format!("{:?}", scenario(&with)), format!("{:?}", scenario(around)), "{}", field.name);
        }
    }

    #[test]
    fn defaults_are_those_that_are_in_force() {
        for head in ["seed", "duration", "warm_up", "settle", "hop_sampling", "processes", "about"] {
            check("", head);
        }
        for head in ["target.", "gateway.", "source.", "sessions.", "churn.", "assert."] {
            check("", head);
        }
        for kind in ["throttled", "stalled", "slow-program"] {
            check(&format!("[[readers]]\nkind = \"{kind}\"\nshare = 0.1\n"), "readers[].");
        }
        check("[[churn.storms]]\n", "churn.storms[].");
        check("[[churn.restarts]]\n", "churn.restarts[].");
        check("[saturation]\n", "saturation.");
    }

    #[test]
    fn text_and_json_hold_every_field() {
        let text = to_text();
        for part in [
            "readers[].kind  word",
            "churn.storms[].within  time  [\"2s\"]",
            "source.steps[].rate",
            "centrifugo",
            "book",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&to_json()).unwrap();
        let entry =
            json.as_array().unwrap().iter().find(|entry| entry["name"] == "assert.hop.read-decoded.p999");
        assert_eq!(entry.unwrap()["kind"], "time");
    }
}
