"""docs/benchmarks.md with its pictures and results, from the runs that run.py kept."""

import json
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import paths
import pictures
from peers import ALL, ROOT, is_installed

DOCUMENT = ROOT / "docs" / "benchmarks.md"
FOLDER = ROOT / "docs" / "benchmarks"
SHAPES = {
    "dashboard-25k": "dashboard, 25 k/s",
    "dashboard-250k": "dashboard, 250 k/s",
    "firehose": "firehose, 400 k/s",
    "firehose-ticks": "firehose, in ticks of 1 ms",
}
# A server holds a load when it delivers it, and in time.
P99_MAX_NS = 100e6
DELIVERED_MIN = 0.98
# Above this share of the machine for others, a run that does not hold says nothing about the server.
BUSY_MAX = 0.15


@dataclass
class Runs:
    """The runs of one server in one scenario."""

    runs: list[dict]
    failures: list[str]

    def values(self, *path) -> list[float]:
        found = []
        for run in self.runs:
            value = run
            for key in path:
                value = (value or {}).get(key)
            if value is not None:
                found.append(float(value))
        return found

    @property
    def holds(self) -> bool:
        return bool(self.runs) and not self.failures and all(holds(run) for run in self.runs)

    @property
    def refused(self) -> int:
        return sum(1 for run in self.runs if run.get("refused"))

    def median_run(self) -> dict:
        return sorted(self.runs, key=lambda run: run["latency"]["p99_ns"])[len(self.runs) // 2]


def holds(run: dict) -> bool:
    in_time = run["latency"]["p99_ns"] <= P99_MAX_NS
    if run["scenario"]["kind"] == "tickwire":
        # What a window merges is delivered as something newer, by design; nothing may be lost.
        return in_time and run["checks"]["lost"] == 0
    return in_time and run["flow"]["delivered_share"] >= DELIVERED_MIN


def is_disturbed(run: dict) -> bool:
    return run.get("busy_before", 0) > BUSY_MAX


def load(results: Path) -> dict[str, dict[str, Runs]]:
    found = defaultdict(lambda: defaultdict(lambda: Runs([], [])))
    for file in sorted(results.glob("*/*.json")):
        key = file.stem.rsplit("-", 1)[0]
        if key not in ALL:
            continue
        run = json.loads(file.read_text())
        runs = found[file.parent.name][key]
        if "failed" in run:
            runs.failures.append(run["failed"])
        else:
            runs.runs.append(run)
    return {scenario: {key: servers[key] for key in ALL if key in servers} for scenario, servers in found.items()}


def number(value: float) -> str:
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: list[float], scale: float = 1.0) -> str:
    """Returns the median, and the range where there is one to tell."""
    if not values:
        return "–"
    scaled = sorted(value * scale for value in values)
    low, middle, high = (number(value) for value in (scaled[0], statistics.median(scaled), scaled[-1]))
    return middle if low == high else f"{middle} ({low}–{high})"


def table(head: list[str], rows: list[list[str]]) -> str:
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ruler, *rows]) + "\n"


def mark(runs: Runs) -> str:
    return " †" if runs.refused else ""


def cost(runs: Runs | None) -> str:
    if runs is None:
        return "–"
    if not runs.runs:
        return "no run"
    if not runs.holds:
        word = "disturbed" if any(is_disturbed(run) for run in runs.runs) else "fails"
        return f"{word} ({statistics.median(runs.values('flow', 'records_per_second')) / 1e3:,.0f} k/s)"
    return spread(runs.values("server", "cpu_seconds_per_million")) + mark(runs)


def most(runs: Runs | None) -> str:
    if runs is None or not runs.values("saturation", "deliveries_per_second"):
        return "–"
    return spread(runs.values("saturation", "deliveries_per_second"), 1e-3) + " k/s" + mark(runs)


def summary(found: dict) -> str:
    searched = [name for name in ("most-dashboard", "most-firehose") if name in found]
    head = ["server", *SHAPES.values(), *[name.replace("-", ", ") for name in searched], "KiB per idle session"]
    rows = []
    for key, peer in ALL.items():
        of = {scenario: servers.get(key) for scenario, servers in found.items()}
        if not any(of.values()):
            continue
        idle = of.get("wide-idle")
        rows.append([
            peer.name, *[cost(of.get(scenario)) for scenario in SHAPES], *[most(of[name]) for name in searched],
            spread(idle.values("server", "bytes_per_session"), 1 / 1024) if idle else "–",
        ])  # fmt: skip
    return table(head, rows)


def shape(servers: dict[str, Runs]) -> str:
    head = ["server", "delivered, k/s", "of what was due", "CPU s per million",
            "updates per message", "p50 ms", "p99 ms", "p99.9 ms", "worst ms"]  # fmt: skip
    rows = []
    for key, runs in servers.items():
        if not runs.runs:
            rows.append([ALL[key].name, "no run", *["–"] * (len(head) - 2)])
            continue
        batch = [a / b for a, b in zip(runs.values("flow", "records"), runs.values("flow", "messages")) if b]
        share = statistics.median(runs.values("flow", "delivered_share"))
        rows.append([
            ALL[key].name + mark(runs), spread(runs.values("flow", "records_per_second"), 1e-3), f"{100 * share:.1f} %",
            spread(where_any(runs, "server", "cpu_seconds_per_million")), f"{statistics.median(batch or [0]):.1f}",
            *[spread(where_any(runs, "latency", name), 1e-6) for name in ("p50_ns", "p99_ns", "p999_ns", "max_ns")],
        ])  # fmt: skip
    return table(head, rows)


def where_any(runs: Runs, *path: str) -> list[float]:
    """Returns values of runs in which anything was delivered: where nothing was, there is no latency, not one of 0."""
    return Runs([run for run in runs.runs if run["flow"]["records"]], []).values(*path)


HOPS = {
    "intended-ingester": "intended → ingester", "ingester-gateway_in": "ingester → gateway in",
    "gateway_in-gateway_write": "gateway in → its write", "gateway_write-read": "write → client's read",
    "read-decoded": "read → decoded",
}  # fmt: skip


def hops(servers: dict[str, Runs]) -> str:
    """Tells where the time goes inside Tickwire, with the bus in memory and with a broker."""
    rows = []
    for key in ("tickwire", "tickwire-nats"):
        hops = [{f"{hop['from']}-{hop['to']}": hop["latency"] for hop in run["hops"]} for run in servers[key].runs]
        of = lambda hop, name: spread([run[hop][name] for run in hops if hop in run], 1e-3)  # noqa: E731
        rows.append([ALL[key].name, *[f"{of(hop, 'p50_ns')}; {of(hop, 'p99_ns')}" for hop in HOPS]])
    return table(["", *HOPS.values()], rows)


def idle(servers: dict[str, Runs]) -> str:
    rows = []
    for key, runs in servers.items():
        micros = [1e6 * run["server"]["cpu_seconds"] / run["seconds"] / run["sessions"]["opened"] for run in runs.runs]
        rows.append([ALL[key].name, spread(runs.values("server", "bytes_per_session"), 1 / 1024), spread(micros)])
    return table(["server", "KiB per session", "µs of CPU a second per session"], rows)


def first(servers: dict[str, Runs]) -> str:
    rows = []
    for key, runs in servers.items():
        answered = [spread(runs.values("sessions", "open", name), 1e-6) for name in ("p50_ns", "p99_ns")]
        shown = [spread(runs.values("sessions", "first", name), 1e-6) for name in ("p50_ns", "p99_ns")]
        rows.append([ALL[key].name + mark(runs), *answered, *shown, ALL[key].first])
    head = ["server", "answered, p50 ms", "p99 ms", "first price, p50 ms", "p99 ms", "what the first price is"]
    return table(head, rows)


def age_of(runs: Runs, figure: str) -> list[float]:
    found = []
    for run in runs.runs:
        found += [readers["age"][figure] for readers in run["readers"] if readers["kind"] == "throttled"]
    return [value for value in found if value]


def slow(servers: dict[str, Runs]) -> str:
    head = ["server", "age p50 s", "age p99 s", "prompt session's p99 ms", "most memory, MiB", "cut off", "by default, a slow consumer"]
    rows = []
    for key, runs in servers.items():
        if not runs.runs:
            rows.append([ALL[key].name, "no run", *["–"] * (len(head) - 2)])
            continue
        cut = statistics.median(runs.values("sessions", "ended_early", "count") or [0])
        rows.append([
            ALL[key].name + mark(runs), spread(age_of(runs, "p50_ns"), 1e-9), spread(age_of(runs, "p99_ns"), 1e-9),
            spread(runs.values("latency", "p99_ns"), 1e-6),
            spread(runs.values("server", "resident_bytes_max"), 2**-20), f"{cut:.0f}", ALL[key].slow,
        ])  # fmt: skip
    return table(head, rows)


def about(found: dict) -> str:
    runs = [run for servers in found.values() for each in servers.values() for run in each.runs]
    if not runs:
        return "No runs yet.\n"
    first, last = min(run["started_ns"] for run in runs), max(run["started_ns"] for run in runs)
    day = lambda ns: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ns / 1e9))  # noqa: E731
    machine = runs[0]["machine"]
    memory = machine["memory_bytes"] / 2**30
    rounds = max(len(each.runs) for servers in found.values() for each in servers.values())
    seconds = sorted({round(run["seconds"]) for servers in [found.get(name, {}) for name in SHAPES] for each in servers.values() for run in each.runs})
    disturbed = sum(1 for run in runs if is_disturbed(run))
    noise = "" if not disturbed else (
        f"\n**The machine was not quiet:** before {disturbed} of the {len(runs)} runs, others kept more than {100 * BUSY_MAX:.0f} % of it "
        "at work. Latencies hold the wait for them, and a load that was not held then counts as *disturbed*, not as failed.\n"
    )
    return (
        f"{len(runs)} runs from {day(first)} to {day(last)}, up to {rounds} of each server and scenario in turn (A B C, A B C), unless a series was continued later; "
        f"{', '.join(map(str, seconds))} s measured in the loaded shapes. {machine['cpu']}, {machine['cores']} cores, {memory:.0f} GiB, "
        f"{machine['system']}. Each cell: median (lowest–highest).\n{noise}"
    )


def versions() -> str:
    return "; ".join(f"{peer.key} {peer.version}" for peer in ALL.values() if peer.version and is_installed(peer))


def write(cache: Path) -> Path:
    found, noisy = load(cache / "peers-results"), load(cache / "peers-noisy")
    FOLDER.mkdir(parents=True, exist_ok=True)
    parts = [HEAD.format(about=about(found), versions=versions())]
    if any(name in found for name in SHAPES):
        pictures.costs(found, SHAPES, FOLDER / "cost.svg")
        parts += [COST, summary(found), "\n![CPU seconds per million deliveries](benchmarks/cost.svg)\n"]
        pictures.curve(found, SHAPES, FOLDER / "curve.svg")
        parts += [CURVE, "![CPU seconds per million deliveries against p99](benchmarks/curve.svg)\n"]
    if "dashboard-25k" in found:
        pictures.latencies(found["dashboard-25k"], FOLDER / "latency.svg")
        parts += [LATENCY, shape(found["dashboard-25k"]), "\n![Percentile curves](benchmarks/latency.svg)\n"]
    if "dashboard-25k" in noisy:
        parts += [NOISE, shape(noisy["dashboard-25k"])]
    for name, title in list(SHAPES.items())[1:]:
        if name in found:
            parts += [f"\n## {title.capitalize()}\n\n", shape(found[name])]
    for name, title in SHAPES.items():
        if {"tickwire", "tickwire-nats"} <= found.get(name, {}).keys():
            parts += ["" if HOPS_HEAD in parts else HOPS_HEAD, f"\n{title.capitalize()}:\n\n", hops(found[name])]
    if "slow-readers" in found:
        pictures.ages(found["slow-readers"], age_of, FOLDER / "slow-readers.svg")
        runs = [run for each in found["slow-readers"].values() for run in each.runs]
        together = max((run.get("together", 1) for run in runs), default=1)
        aside = f"; {together} servers were measured at a time, on the same core" if together > 1 else ""
        seconds = max((round(run["seconds"]) for run in runs), default=0)
        parts += [SLOW.format(seconds=seconds, together=aside), slow(found["slow-readers"]), "\n![Age of what a slow reader reads](benchmarks/slow-readers.svg)\n"]
    if "wide-idle" in found:
        pictures.idle(found["wide-idle"], FOLDER / "wide-idle.svg")
        parts += [IDLE, idle(found["wide-idle"]), "\n![Memory of an idle session](benchmarks/wide-idle.svg)\n"]
    if "first-price" in found:
        parts += [FIRST, first(found["first-price"])]
    if not is_installed(ALL["centrifugo"]):
        parts.append("\nCentrifugo was **not run**: `install.sh` builds it where Go is there.\n")
    failures = [f"- {name}, {key}: {text[:200]}" for name, servers in found.items() for key, runs in servers.items() for text in runs.failures]
    if failures:
        parts.append("\n## Runs without a report\n\n" + "\n".join(failures) + "\n")
    parts.append(TLS if (FOLDER / "tls.md").exists() else FOOT)
    parts.append(paths.section())
    DOCUMENT.write_text("".join(parts))
    return DOCUMENT


HEAD = """# Benchmarks

Tickwire beside servers that people would use instead, under the same load, in one session on one machine. Repeat it with
one command, on a machine that does nothing else:

```sh
benches/peers/run.sh
```

{about}
Versions: {versions}; all of them in `benches/peers/`. What is charged to whom, and the weak points of this method, are in
[benches/peers](../benches/peers/README.md#method). This page and its pictures are made by that command; nothing here is typed in.

A load counts as held when at least 98 % of what was due arrived, with p99 within 100 ms; otherwise the cell says *fails* and
what was delivered. † marks a row in which the load generator itself was at its limit in a run: its times say nothing about the server.
"""
COST = """
## CPU seconds per million deliveries

The server has one core; its user and kernel time count, nobody else's. Updates have 40 bytes. Dashboard: 500 sessions with 50 of
500 symbols each. Firehose: 20 sessions with all of 100 symbols. Idle: 2,000 sessions with 5 symbols each.

"""
CURVE = """
## Cost against delay

The line is the kernel floor: one write of ready bytes each 0.25 to 16 ms to every client that is owed something, no protocol at all. Who
lies above the line takes more of the core, or more time, than there is a reason for. Who held no load has no point.

"""
NOISE = """
## The same beside other work

Another process is at work on each core for half of the time, in turns of 5 ms (`benches/peers/run.sh --noise`).

"""
LATENCY = """
## Latency at 25,000 deliveries per second

From the moment at which an update was due (open loop) to the client's read, in the dashboard shape.

"""
HOPS_HEAD = """
## Through NATS, hop by hop

p50; p99 in microseconds. The broker sits between ingester and gateway in: what the second column has more is what it adds.
"""
SLOW = """
## Slow readers

One session takes 1 KB each 100 ms of a stream of some 404 KB/s for {seconds} s, with default socket buffers; another reads everything{together}. Age is
what the data has when the slow program gets it. The peers keep their defaults. The slow session
is slow from the first byte of its handshake on. `scripts/test-sockets.sh slow::` has the same with assertions.

"""
IDLE = """
## Idle sessions

Growth of resident memory by session, from before the sessions to when all were open; 5 symbols each, and an update for each session in ten seconds. Kernel
buffers are not in it. Tickwire sends each session a heartbeat after a second of silence, as does the floor that says so; the others say nothing.

"""
FIRST = """
## First price

10,000 sessions shake hands, and subscribe to 5 of 1,000 symbols each at the same moment: how long until the subscription is answered, and until a
price can be shown. The generator needs about a fifth of a second to ask for all of them, and each one's time counts from its own request.

"""
FOOT = """
"""
TLS = """
What TLS costs beside plain connections is on [a page of its own](benchmarks/tls.md).

"""
