//! The findings of the checks.

use std::fmt::Display;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::printing::say;

/// The outcome of a check, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    #[serde(rename = "skipped")]
    Skipped,
    Warning,
    Failure,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    /// The sight, in words.
    said: String,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    took_ms: u64,
    #[serde(skip_serializing_if = "Map::is_empty")]
    facts: Map<String, Value>,
}

/// The findings, which are printed as they come where people read them.
#[derive(Debug)]
pub(super) struct Report {
    findings: Vec<Finding>,
    is_text: bool,
    begun: Instant,
    facts: Map<String, Value>,
}

impl Report {
    pub(super) fn new(is_text: bool) -> Self {
        Self { findings: Vec::new(), is_text, begun: Instant::now(), facts: Map::new() }
    }

    /// Notes a fact of the check that is under way.
    pub(super) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    pub(super) fn ok(&mut self, check: &'static str, said: impl Display) {
        self.note(check, Status::Ok, said, None);
    }

    pub(super) fn skipped(&mut self, check: &'static str, said: impl Display) {
        self.note(check, Status::Skipped, said, None);
    }

    pub(super) fn warning(&mut self, check: &'static str, said: impl Display, remedy: impl Display) {
        self.note(check, Status::Warning, said, Some(remedy.to_string()));
    }

    pub(super) fn failure(&mut self, check: &'static str, said: impl Display, remedy: impl Display) {
        self.note(check, Status::Failure, said, Some(remedy.to_string()));
    }

    fn note(&mut self, check: &'static str, status: Status, said: impl Display, remedy: Option<String>) {
        let took_ms = self.begun.elapsed().as_millis() as u64;
        self.begun = Instant::now();
        let facts = std::mem::take(&mut self.facts);
        let finding = Finding { check, status, said: said.to_string(), remedy, took_ms, facts };
        if self.is_text {
            let mark = match status {
                Status::Ok => "ok",
                Status::Skipped => "--",
                Status::Warning => "WARN",
                Status::Failure => "FAIL",
            };
            say(format_args!("{mark:<5}{check:<11}{}", finding.said));
            if let Some(remedy) = &finding.remedy {
                say(format_args!("{:16}-> {remedy}", ""));
            }
        }
        self.findings.push(finding);
    }

    /// Returns how many checks are this bad, or worse.
    pub(super) fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|finding| finding.status >= status).count()
    }

    pub(super) fn len(&self) -> usize {
        self.findings.len()
    }

    pub(super) fn to_json(&self, url: &str) -> String {
        // A password that somebody put into the URL is not repeated.
        let url = if url.contains('@') { "(a URL with credentials)" } else { url };
        let is_ok = self.count(Status::Failure) == 0;
        let told = json!({ "url": url, "ok": is_ok, "warnings": self.count(Status::Warning) - self.count(Status::Failure), "checks": self.findings });
        format!("{told:#}")
    }
}
