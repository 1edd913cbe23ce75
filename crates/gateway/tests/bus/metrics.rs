//! The table of metrics, what a scrape has, and the document say the same.

use std::path::Path;

use tickwire_gateway::{GatewayConfig, metrics};
use tickwire_wire::Channel;

use super::rig::{Rig, quote};
use super::sessions::{raw, run};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

/// The table stands between these lines.
const BEGIN: &str = "<!-- The table is written by `TICKWIRE_WRITE=1 cargo test -p tickwire-gateway --test bus metrics`. -->\n";
const END: &str = "<!-- end of the table -->\n";

#[test]
fn the_document_has_the_table_of_the_code() {
    let text = std::fs::read_to_string(Path::new(DOCUMENT)).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the document has the line at which the table begins");
    let (table, after) = rest.split_once(END).expect("the document has the line at which the table ends");
    if std::env::var_os("TICKWIRE_WRITE").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}{}{END}{after}", metrics::table())).unwrap();
        return;
    }
    assert_eq!(table, metrics::table(), "see the comment above the table for how to write it");
}

#[test]
fn a_scrape_has_the_metrics_of_the_table_and_no_others() {
    run(async {
        let rig = Rig::start(GatewayConfig::default()).await;
        let mut watcher = rig.client(Channel::Quote).await;
        rig.happens(1, quote(5)).await;
        watcher.until("a quote", |watcher| !watcher.sequences().is_empty()).await;
        let scraped = raw(&rig, "/metrics").await;
        let declared = scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let mut declared: Vec<_> = declared
            .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
            .collect();
        // This gateway has no TLS.
        let mut expected = metrics::series();
        expected.retain(|series| series != "tickwire_tls_certificate_expiry_seconds");
        declared.sort_unstable();
        expected.sort_unstable();
        assert_eq!(declared, expected);
        for series in expected {
            let has = scraped.lines().any(|line| line.starts_with(&series));
            assert!(has, "{series} has no value: {scraped}");
        }
        drop(watcher);
        rig.end().await;
    });
}
