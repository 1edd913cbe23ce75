//! A client in another language, written from the documentation alone, with stock libraries.

use std::process::Command;

use tickwire_testkit::Program;

use crate::world::{Gateway, TICKWIRE, nats, root};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_decodes_every_channel_in_every_encoding() {
    // The simulator's instruments are no derivatives; that channel's bytes are among the golden vectors.
    let channels = ["--channels", "quote", "trade", "book", "bar", "stat", "status", "instrument"];
    let root = root();
    let python =
        std::env::var("TICKWIRE_PYTHON").map_or_else(|_| root.join(".cache/venv/bin/python"), Into::into);
    assert!(python.is_file(), "{} is not there: run scripts/setup-tests.sh", python.display());
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let arguments = ["ingest", "sim", "--instruments", "5", "--rate", "400", "--bus", &nats.url()];
    let halts = ["--set", "ingest.sim.halts_per_hour=3600", "--set", "ingest.sim.halt_seconds=1"];
    let _ingester = Program::start(TICKWIRE, &[&arguments[..], &halts[..]].concat());
    let fed = crate::world::until(|| async {
        gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""sim":"live""#))
    });
    assert!(fed.await, "the feed is not live");
    let asked = ["--max-rate", "2.5", "--window-ms", "16"];
    let runs = [("proto", &[][..]), ("msgpack", &[]), ("json", &[]), ("msgpack", &asked)];
    let runs = runs.map(|(encoding, asked)| {
        let mut probe = Command::new(&python);
        probe.arg(root.join("tests/python/tickwire_probe.py"));
        probe.args([&gateway.url(), "--encoding", encoding, "--seconds", "6"]).args(asked).args(channels);
        (encoding, tokio::task::spawn_blocking(move || probe.output().unwrap()))
    });
    for (encoding, run) in runs {
        let output = run.await.unwrap();
        let (told, failed) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{encoding}: {told}\n{failed}\n{}", gateway.program.output());
        println!("{encoding}: {told}");
    }
}
