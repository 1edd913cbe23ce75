//! The metrics of a gateway: one table with the name, the unit, the labels, the meaning and the trouble of each, and where its
//! values come from. `docs/metrics.md` is written from this table, and a test compares the two.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tickwire_auth::Denied;
use tickwire_wire::{CloseCode, FeedState};

use crate::audit::LOST_LINES;
use crate::hops::Hops;
use crate::stats::Stats;
use tickwire_core::engine::{Pressure, SessionState, Survey};
use tickwire_core::hub::FeedReport;

/// The prefix of all names.
pub const PREFIX: &str = "tickwire";

/// One metric.
struct Metric {
    /// The name as a scrape has it, without the prefix and without the `_total` of counters.
    name: &'static str,
    /// The thing that it counts or measures.
    meaning: &'static str,
    /// When somebody should look; empty where no value of it is a trouble by itself.
    worry: &'static str,
    values: Values,
}

/// The kind of a metric, with where its values come from. All are read when they are scraped.
enum Values {
    Counter(fn(&Stats) -> u64),
    Gauge(fn(&Stats) -> u64),
    /// A gauge in seconds; nothing is written where there is none.
    Seconds(fn(&Stats) -> Option<f64>),
    /// A counter for each value of a label.
    CounterBy(&'static str, fn(&Stats) -> Vec<(String, u64)>),
    /// A gauge for each value of a label.
    GaugeBy(&'static str, fn(&Stats) -> Vec<(String, u64)>),
    /// The histogram of [`Hops`].
    Hops,
}

use Values::{Counter, CounterBy, Gauge, GaugeBy, Seconds};

/// All metrics, in the order in which documents have them.
static METRICS: &[Metric] = &[
    Metric {
        name: "ready",
        meaning: "1 while sessions are taken, else 0",
        worry: "0 for longer than a start or a drain takes",
        values: Gauge(|of| u64::from(of.is_ready())),
    },
    Metric {
        name: "feed_live",
        meaning: "1 while the feed of the venue is live, else 0",
        worry: "0: nobody gets live prices of the venue; `/readyz` says why",
        values: GaugeBy("venue", |of| by_feed(of, |feed| u64::from(feed.state == FeedState::Live))),
    },
    Metric {
        name: "feed_rivals",
        meaning: "Ingesters that claim the venue beside the one that is followed",
        worry: "above 0 for longer than a deployment takes",
        values: GaugeBy("venue", |of| by_feed(of, |feed| feed.rivals as u64)),
    },
    Metric {
        name: "feed_takeovers",
        meaning: "How often another ingester of a venue was followed",
        worry: "rises without a deployment: ingesters fail, or two are in each other's way",
        values: Counter(|of| load(&of.hub.takeovers)),
    },
    Metric {
        name: "records_published",
        meaning: "Sequence numbers that passed the subscriptions; each is delivered, conflated, dropped or filtered",
        worry: "",
        values: Counter(|of| of.sum(|shard| &shard.published)),
    },
    Metric {
        name: "records_delivered",
        meaning: "Records handed to sockets",
        worry: "",
        values: Counter(|of| of.sum(|shard| &shard.delivered)),
    },
    Metric {
        name: "records_conflated",
        meaning: "Records superseded by newer ones before they were sent",
        worry: "",
        values: Counter(|of| of.sum(|shard| &shard.conflated)),
    },
    Metric {
        name: "records_dropped",
        meaning: "Records announced to clients in gaps",
        worry: "rises: clients miss trades; `decisions` and `/v1/sessions` say which and why",
        values: Counter(|of| of.sum(|shard| &shard.dropped)),
    },
    Metric {
        name: "records_filtered",
        meaning: "Records left out for a rate that the subscription asked for",
        worry: "",
        values: Counter(|of| of.sum(|shard| &shard.filtered)),
    },
    Metric {
        name: "sessions",
        meaning: "Open sessions",
        worry: "near `gateway.limits.sessions`: further ones get HTTP 503",
        values: Gauge(|of| load(&of.sessions)),
    },
    Metric {
        name: "sessions_by_state",
        meaning: "Open sessions by their place on the pressure ladder",
        worry: "many are not `prompt`: clients, or the network, are slower than what they ask for",
        values: GaugeBy("state", |of| {
            by_name(SessionState::ALL.map(SessionState::name), |at| of.sum(|shard| &shard.states[at]))
        }),
    },
    Metric {
        name: "sessions_accepted",
        meaning: "Sessions that were opened",
        worry: "",
        values: Counter(|of| load(&of.accepted)),
    },
    Metric {
        name: "sessions_refused",
        meaning: "Connections that were refused because of the limit of sessions",
        worry: "rises: add gateways, or raise the limit",
        values: Counter(|of| load(&of.refused)),
    },
    Metric {
        name: "handshakes_refused",
        meaning: "Requests and connections that were refused before they were sessions, by the reasons of docs/protocol.md",
        worry: "`rate` or `address_rate` rise: somebody reconnects in a loop, or attacks",
        values: CounterBy("reason", |of| {
            of.refusals.all().map(|(reason, count)| (reason.to_owned(), count)).collect()
        }),
    },
    Metric {
        name: "auth_refused",
        meaning: "Tokens and keys that were refused, of handshakes and of open sessions, by reason",
        worry: "`unknown_key` rises: keys do not come from `gateway.auth.jwks_url`; `signature` or `unknown_api_key` rise: somebody tries",
        values: CounterBy("reason", |of| by_name(Denied::REASONS, |at| load(&of.auth.denied[at]))),
    },
    Metric {
        name: "tokens_renewed",
        meaning: "Tokens that open sessions handed in and that count",
        worry: "",
        values: Counter(|of| load(&of.auth.renewed)),
    },
    Metric {
        name: "revocations",
        meaning: "Revocations that said something new",
        worry: "",
        values: Counter(|of| load(&of.auth.revocations)),
    },
    Metric {
        name: "revocations_kept",
        meaning: "Revocations that are in force",
        worry: "",
        values: Gauge(|of| load(&of.auth.kept)),
    },
    Metric {
        name: "revocations_lost",
        meaning: "Revocations that had no room although they matter, of `token` or of `api_key`",
        worry: "rises at all: what was revoked first counts again; take revoked API keys out of the file",
        values: CounterBy("of", |of| by_name(["token", "api_key"], |at| load(&of.auth.lost[at]))),
    },
    Metric {
        name: "revocations_malformed",
        meaning: "Messages of revocations that could not be read",
        worry: "rises: something else publishes there, or versions do not fit",
        values: Counter(|of| load(&of.auth.malformed)),
    },
    Metric {
        name: "log_lines_lost",
        meaning: "Log lines that could not be written, by kind: `audit`, or `other`",
        worry: "rises at all: the disk of the log is full, or its reader is gone or stands still; `audit` says that the record of who was here has holes",
        values: CounterBy("kind", |_| {
            let (audit, other) = LOST_LINES.counts();
            vec![("audit".to_owned(), audit), ("other".to_owned(), other)]
        }),
    },
    Metric {
        name: "tls_handshakes",
        meaning: "TLS handshakes that succeeded: `full`, or `resumed` with a ticket",
        worry: "",
        values: CounterBy("kind", |of| {
            let counts = of.tls_counts();
            vec![("full".to_owned(), counts.full), ("resumed".to_owned(), counts.resumed)]
        }),
    },
    Metric {
        name: "tls_handshake_failures",
        meaning: "TLS handshakes that failed or took too long",
        worry: "rises with a new certificate: clients do not trust it",
        values: Counter(|of| of.tls_counts().failed),
    },
    Metric {
        name: "tls_reloads",
        meaning: "Changes of the TLS certificate in use",
        worry: "",
        values: Counter(|of| of.tls_counts().reloads),
    },
    Metric {
        name: "tls_reload_failures",
        meaning: "Changes of the TLS files that could not be used",
        worry: "rises at all: the certificate from before stays in use until it expires; `/readyz` says why",
        values: Counter(|of| of.tls_counts().reload_failures),
    },
    Metric {
        name: "tls_certificate_expiry_seconds",
        meaning: "Time until the TLS certificate in use expires; negative when it has; only where there is TLS",
        worry: "below two weeks",
        values: Seconds(|of| of.tls_counts().expires_in_s.map(|left| left as f64)),
    },
    Metric {
        name: "sessions_closed",
        meaning: "Sessions closed by the gateway, by the name of the close code",
        worry: "`slow_consumer` rises: clients cannot follow; `internal` rises at all",
        values: CounterBy("code", |of| {
            by_name(CloseCode::ALL.map(CloseCode::name), |at| load(&of.closed[at]))
        }),
    },
    Metric {
        name: "connections_evicted",
        meaning: "Connections without a session that had to go for newer ones",
        worry: "rises: somebody opens connections and says nothing",
        values: Counter(Stats::evicted),
    },
    Metric {
        name: "writes",
        meaning: "Calls that handed bytes to a socket",
        worry: "",
        values: Counter(|of| of.sum(|shard| &shard.writes)),
    },
    Metric {
        name: "written_bytes",
        meaning: "Bytes that sockets took",
        worry: "",
        values: Counter(|of| of.sum(|shard| &shard.written_bytes)),
    },
    Metric {
        name: "write_delay_seconds",
        meaning: "Time that what is ready waits now so that one write carries more, in the shard where that is longest",
        worry: "stays at `gateway.cork_us`: the cores are full; add shards or gateways",
        values: Seconds(|of| {
            let delays = of.shards.iter().map(|shard| load(&shard.write_delay_us));
            Some(delays.max().unwrap_or_default() as f64 / 1e6)
        }),
    },
    Metric {
        name: "hop_seconds",
        meaning: "Time that records took on their way, one of 61 of them, by hop and by the pace of the session",
        worry: "p99 of `gateway_in-gateway_write` of prompt sessions is far above `write_delay_seconds`",
        values: Values::Hops,
    },
    Metric {
        name: "pressure_bytes",
        meaning: "Bytes owed to sessions: `control`, `lossless`, `unsent`, `in_flight`",
        worry: "nears a quarter of `gateway.limits.memory_bytes`",
        values: GaugeBy("part", |of| by_name(Pressure::NAMES, |at| of.sum(|shard| &shard.pressure[at]))),
    },
    Metric {
        name: "decisions",
        meaning: "Decisions for sessions that were held back, by kind, as in `/v1/sessions/{id}`; of `superseded`, `gap` and \
                  `snapshot` the sequence numbers concerned",
        worry: "",
        values: CounterBy("kind", |of| by_name(Survey::KINDS, |at| of.sum(|shard| &shard.decisions[at]))),
    },
    Metric {
        name: "bus_messages",
        meaning: "Messages taken from the bus",
        worry: "stands still while ingesters run",
        values: Counter(|of| load(&of.hub.messages)),
    },
    Metric {
        name: "bus_records",
        meaning: "Records taken from the bus",
        worry: "",
        values: Counter(|of| load(&of.hub.records)),
    },
    Metric {
        name: "bus_bytes",
        meaning: "Bytes of records taken from the bus",
        worry: "",
        values: Counter(|of| load(&of.hub.bytes)),
    },
    Metric {
        name: "bus_malformed",
        meaning: "Bus messages that could not be used",
        worry: "rises: something else than an ingester publishes there, or versions do not fit",
        values: Counter(|of| load(&of.hub.malformed)),
    },
    Metric {
        name: "bus_foreign",
        meaning: "Messages of ingesters that are not followed",
        worry: "rises while `feed_rivals` is above 0",
        values: Counter(|of| load(&of.hub.foreign)),
    },
    Metric {
        name: "bus_lost_records",
        meaning: "Sequence numbers that were lost on the bus; each was announced or repaired",
        worry: "rises: the bus drops messages of this gateway, or its host is too slow",
        values: Counter(|of| load(&of.hub.lost)),
    },
    Metric {
        name: "history_records",
        meaning: "Records found in the history of the bus for clients that came back",
        worry: "",
        values: Counter(|of| load(&of.hub.history_records)),
    },
    Metric {
        name: "history_failures",
        meaning: "Requests that the history did not answer",
        worry: "rises: clients that come back get gaps; `/readyz` says what is wrong",
        values: Counter(|of| load(&of.hub.history_failures)),
    },
    Metric {
        name: "topics",
        meaning: "Instruments' channels followed on the bus",
        worry: "near `gateway.limits.topics`",
        values: Gauge(|of| load(&of.hub.topics)),
    },
    Metric {
        name: "instruments",
        meaning: "Instruments known",
        worry: "near `gateway.limits.instruments`",
        values: Gauge(|of| load(&of.hub.instruments)),
    },
    Metric {
        name: "instruments_ended",
        meaning: "Instruments that ended",
        worry: "",
        values: Counter(|of| load(&of.hub.ended)),
    },
    Metric {
        name: "instruments_refused",
        meaning: "Definitions beyond `gateway.limits.instruments`",
        worry: "rises at all: instruments are missing here",
        values: Counter(|of| load(&of.hub.over_limit)),
    },
    Metric {
        name: "log_bytes",
        meaning: "Bytes of recent records kept for sessions",
        worry: "",
        values: Gauge(|of| of.sum(|shard| &shard.log_bytes)),
    },
    Metric {
        name: "delays",
        meaning: "Different delays of sessions that may not see live data, of all shards",
        worry: "at `gateway.limits.delays` for each shard: a session that needs another one gets a longer one, or nothing",
        values: Gauge(|of| of.sum(|shard| &shard.delays)),
    },
    Metric {
        name: "depths",
        meaning: "Different depths of books of sessions that may not see all of them, each with each delay, of all shards",
        worry: "at `gateway.limits.depths` for each shard: a session that needs another one gets a shallower one, or nothing",
        values: Gauge(|of| of.sum(|shard| &shard.depths)),
    },
    Metric {
        name: "delayed_topics",
        meaning: "Topics of delayed views",
        worry: "",
        values: Gauge(|of| of.sum(|shard| &shard.delayed_topics)),
    },
    Metric {
        name: "delayed_bytes",
        meaning: "Bytes of records that wait until they are old enough",
        worry: "near `gateway.limits.delayed_bytes`",
        values: Gauge(|of| of.sum(|shard| &shard.delayed_bytes)),
    },
    Metric {
        name: "delayed_dropped",
        meaning: "Records for which there was no room among those; they were announced with cause `shed`",
        worry: "rises: raise `gateway.limits.delayed_bytes`",
        values: Counter(|of| of.sum(|shard| &shard.delayed_dropped)),
    },
];

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn by_name<const N: usize>(names: [&'static str; N], value: impl Fn(usize) -> u64) -> Vec<(String, u64)> {
    names.into_iter().enumerate().map(|(at, name)| (name.to_owned(), value(at))).collect()
}

fn by_feed(stats: &Stats, value: impl Fn(&FeedReport) -> u64) -> Vec<(String, u64)> {
    let feeds = stats.hub.feeds.lock().unwrap_or_else(PoisonError::into_inner);
    feeds.iter().map(|feed| (feed.venue.clone(), value(feed))).collect()
}

impl Metric {
    /// Returns the name of its first series in a scrape.
    fn series(&self) -> String {
        let end = if matches!(self.values, Counter(_) | CounterBy(..)) { "_total" } else { "" };
        format!("{PREFIX}_{}{end}", self.name)
    }

    fn kind(&self) -> &'static str {
        match self.values {
            Counter(_) | CounterBy(..) => "counter",
            Gauge(_) | GaugeBy(..) | Seconds(_) => "gauge",
            Values::Hops => "histogram",
        }
    }

    fn labels(&'static self) -> &'static [&'static str] {
        match &self.values {
            CounterBy(label, _) | GaugeBy(label, _) => std::slice::from_ref(label),
            Values::Hops => &["hop", "sessions"],
            Counter(_) | Gauge(_) | Seconds(_) => &[],
        }
    }

    /// Returns the unit of its values, which its name ends with by the rules of OpenMetrics; empty where they have none.
    fn unit(&self) -> &'static str {
        ["bytes", "seconds"].into_iter().find(|unit| self.name.ends_with(unit)).unwrap_or_default()
    }

    fn encode(&self, stats: &Stats, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        match &self.values {
            Counter(value) => self.encode_one(encoder, &ConstCounter::new(value(stats))),
            Gauge(value) => self.encode_one(encoder, &ConstGauge::new(value(stats) as i64)),
            Seconds(value) => {
                let Some(value) = value(stats) else { return Ok(()) };
                self.encode_one(encoder, &ConstGauge::new(value))
            }
            CounterBy(label, values) => self.encode_by(encoder, label, &ConstCounter::new, values(stats)),
            GaugeBy(label, values) => {
                self.encode_by(encoder, label, &|value| ConstGauge::new(value as i64), values(stats))
            }
            Values::Hops => Hops::of(stats).encode(encoder, self.name, self.meaning),
        }
    }

    fn encode_one(&self, encoder: &mut DescriptorEncoder<'_>, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(encoder.encode_descriptor(self.name, self.meaning, None, metric.metric_type())?)
    }

    fn encode_by<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        label: &str,
        metric: &impl Fn(u64) -> M,
        values: Vec<(String, u64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.meaning, None, metric(0).metric_type())?;
        for (of, value) in values {
            metric(value).encode(family.encode_family(&[(label, of.as_str())])?)?;
        }
        Ok(())
    }
}

/// Returns a registry with all metrics of a gateway.
pub(crate) fn registry(stats: Arc<Stats>) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Metrics(stats)));
    registry
}

#[derive(Debug)]
struct Metrics(Arc<Stats>);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        METRICS.iter().try_for_each(|metric| metric.encode(&self.0, &mut encoder))
    }
}

/// Returns the names of all series that a scrape may have, without what histograms add to theirs.
pub fn series() -> Vec<String> {
    METRICS.iter().map(Metric::series).collect()
}

/// Returns the table of all metrics in Markdown.
pub fn table() -> String {
    let mut table =
        "| name | kind | unit | labels | meaning | when to look |\n|---|---|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let labels: Vec<_> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} | {} | {} |",
            metric.series(),
            metric.kind(),
            metric.unit(),
            labels.join(", "),
            metric.meaning,
            metric.worry,
        );
    }
    table
}
