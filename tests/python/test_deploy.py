"""The dashboard for Grafana and the rules for Prometheus: their schemas, their queries, and the metrics that they name."""

import json
import re
import unittest

import promql_parser
import tickwire_codec as codec
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

DASHBOARDS = sorted((codec.ROOT / "deploy/grafana").glob("*.json"))
RULES = codec.ROOT / "deploy/prometheus/alerts.yml"
# What a scrape of a histogram has for its name.
OF_HISTOGRAM = ["_bucket", "_sum", "_count"]


def metrics():
    """Returns the names of all series. `docs/metrics.md` has them, and a test of the gateway compares it with the code."""
    rows = re.findall(r"^\| `(tickwire_\w+)` \| (\w+) \|", (codec.ROOT / "docs/metrics.md").read_text(), re.M)
    ends = {"histogram": OF_HISTOGRAM}
    return {name + end for name, kind in rows for end in ends.get(kind, [""])} | {"up"}


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


class Deploy(unittest.TestCase):
    def check(self, query, place):
        """A query parses, and asks for metrics that there are."""
        query = query.replace("$__rate_interval", "1m")
        promql_parser.parse(query)
        named = re.findall(r"\b(?:tickwire_\w+|up)\b(?![\"'])", query)
        self.assertTrue(named, f"{place}: `{query}` asks for no metric")
        for name in named:
            self.assertIn(name, metrics(), f"{place}: `{query}`")

    def test_dashboards(self):
        self.assertTrue(DASHBOARDS)
        for path in DASHBOARDS:
            text = json.loads(path.read_text())
            # Grafana's own model reads it, and loses nothing of it.
            again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(text)))
            self.assertEqual(kept(text, again), text, path.name)
            ids = [panel["id"] for panel in panels(text)]
            self.assertEqual(len(ids), len(set(ids)), path.name)
            queries = [(target["expr"], panel["title"]) for panel in panels(text) for target in panel.get("targets", [])]
            self.assertGreater(len(queries), 10)
            for query, title in queries:
                self.check(query, f"{path.name}, {title}")

    def test_rules(self):
        groups = yaml.safe_load(RULES.read_text())["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertGreater(len(rules), 5)
        names = [rule["alert"] for rule in rules]
        self.assertEqual(len(names), len(set(names)))
        for rule in rules:
            self.assertLessEqual(rule.keys(), {"alert", "expr", "for", "labels", "annotations"}, rule["alert"])
            self.assertEqual(rule["annotations"].keys(), {"summary", "description"}, rule["alert"])
            self.assertIn(rule["labels"]["severity"], {"page", "ticket"}, rule["alert"])
            self.check(rule["expr"], rule["alert"])

    def test_scrapes(self):
        """Each example of Prometheus's settings has the same targets and rules, and one of them TLS and a token."""
        jobs = {}
        for path in sorted((codec.ROOT / "deploy/prometheus").glob("prometheus*.yml")):
            text = yaml.safe_load(path.read_text())
            self.assertEqual(text["rule_files"], [RULES.name], path.name)
            [job] = text["scrape_configs"]
            jobs[path.stem] = job
        plain, sealed = jobs["prometheus"], jobs["prometheus-tls"]
        more = {
            "scheme": "https",
            "tls_config": {"ca_file": "/etc/prometheus/tickwire-ca.pem"},
            "authorization": {"credentials_file": "/etc/prometheus/tickwire-admin-token"},
        }
        self.assertEqual(sealed, plain | more)

    def test_what_is_wrong_is_found(self):
        for query in ["sum(tickwire_no_such_metric)", "sum(", "1 + 1"]:
            with self.assertRaises((AssertionError, ValueError)):
                self.check(query, "here")


def kept(text, again):
    """Returns what of `text` is in `again`. Where a part is missing or differs, so does the result."""
    if isinstance(text, dict) and isinstance(again, dict):
        return {name: kept(part, again[name]) for name, part in text.items() if name in again}
    if isinstance(text, list) and isinstance(again, list) and len(text) == len(again):
        return [kept(*pair) for pair in zip(text, again)]
    return again
