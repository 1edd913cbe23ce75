#!/usr/bin/env python3
"""Runs every scenario against every server, in turn, and writes docs/benchmarks.md from the results.

    benches/peers/run.sh                      all scenarios and servers, three rounds
    benches/peers/run.sh --brief              both series, the noisy one among them, with short runs: half an hour
    benches/peers/run.sh --quick              one short round of a few, as a smoke test; writes no document
    benches/peers/run.sh --scenario firehose --peer tickwire,uwebsockets
    benches/peers/run.sh --fresh              does not go on with the last results
    benches/peers/run.sh --report             only writes the document again
    benches/peers/run.sh --noise              latency beside another process on each core, a series of its own

Each run is kept as one JSON file in .cache/peers-results, so that an interrupted series goes on where it stopped. The
order is A B C A B C: what the machine does meanwhile hits everybody alike. The server has one core, the publisher and the
sessions have another.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

from peers import ALL, HERE, ROOT, TARGET, Peer, is_installed

SCENARIOS = ["dashboard-25k", "dashboard-250k", "firehose", "firehose-ticks", "wide-idle", "first-price", "slow-readers"]
OPTIONAL = ["most-dashboard", "most-firehose"]
# The search is for the highest rate without loss: Tickwire sends trades there, because it merges quotes where several wait for one write.
LOSSLESS = {"source": {"trades": 1.0}, "sessions": {"channels": ["trade"]}}
QUICK_PEERS = ["ws", "nats", "socket.io", "uwebsockets", "floor-1ms", "tickwire"]
# The seconds that are measured where the command line does not say. Slow readers need time to fall behind.
SECONDS = {"wide-idle": 4, "first-price": 4, "slow-readers": 40}
SECONDS_OTHERS = 8
QUICK_SECONDS = {"slow-readers": 5}
QUICK_SECONDS_OTHERS = 2
BRIEF_SECONDS = {"wide-idle": 2, "slow-readers": 20}
BRIEF_SECONDS_OTHERS = 3
# What a brief series runs once: memory hardly differs between rounds, and the ages of slow readers differ by factors between servers.
BRIEF_ONCE = {"wide-idle", "slow-readers"}
BRIEF_PATIENCE = 5
BRIEF_TOGETHER = 4
# A peer that is only a floor has no queue worth reading slowly from, and a window that a client asks for changes nothing there.
FLOORS = {key for key in ALL if key.startswith("floor")}
# It differs from another floor only where sessions are idle.
HEARTBEAT = {"floor-heartbeat"}
PACED = {key for key in ALL if key.startswith("tickwire-")} - {"tickwire-nats"}
LEFT_OUT = {
    "slow-readers": FLOORS | PACED | {"tickwire-nats"},
    "wide-idle": FLOORS - {"floor-1ms"} - HEARTBEAT | PACED | {"tickwire-nats"},
    # A floor shakes hands with one client after another, and waits for its symbols.
    "first-price": FLOORS | PACED,
    **dict.fromkeys(["dashboard-25k", "dashboard-250k", "firehose", "firehose-ticks"], HEARTBEAT),
    "most-dashboard": FLOORS | PACED,
    "most-firehose": FLOORS | PACED,
}
# What is run beside other work, and what stands beside it there.
NOISY = ["dashboard-25k"]
QUIET_ONLY = FLOORS - {"floor-1ms"}
SERVER_CPU, OTHERS_CPU = 0, 1
# Its results are seconds of age, and a server has a twentieth of a core to do.
TOGETHER = "slow-readers"
OVERHEAD_SECONDS = 4
READY_SECONDS = 20
# The share of the machine that others may take before a run begins.
QUIET = 0.15
# The seconds after which a run hangs, on top of what it measures: connecting, warming up, settling, or a search for the highest rate.
RUN_SECONDS_MAX = 240
LOADGEN = TARGET / "release" / "tickwire-loadgen"


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def noise():
    """Keeps a process at work on each of the two cores, as neighbours do: half of the time, in turns of 5 ms."""
    code = "import time\nwhile True:\n end = time.monotonic() + 0.005\n while time.monotonic() < end: pass\n time.sleep(0.005)"
    with process([sys.executable, "-c", code], SERVER_CPU, None), process([sys.executable, "-c", code], OTHERS_CPU, None):
        yield


@contextmanager
def process(argv: list[str], cpu: int, ready: str | None):
    """Runs a program on one core; it is gone when this ends, with all that it started."""
    child = subprocess.Popen(
        ["taskset", "-c", str(cpu), *argv],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        if ready is not None:
            # A server that does not start is killed, which ends the line.
            deadline = threading.Timer(READY_SECONDS, child.kill)
            deadline.start()
            line = child.stdout.readline()
            deadline.cancel()
            if line.strip() != ready:
                raise RuntimeError(f"{argv[0]} did not get ready: {line!r}")
        yield child
    finally:
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(child.pid, how)
                child.wait(3)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
            break
        child.stdout.close()


def busy_share(seconds: float = 0.5) -> float:
    """Returns the share of all cores that is at work while nothing of ours runs."""

    def times() -> tuple[int, int]:
        numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    (total, idle), _ = times(), time.sleep(seconds)
    total_then, idle_then = times()
    return 1 - (idle_then - idle) / max(total_then - total, 1)


def wait_for_quiet(patience: float) -> float:
    """Returns how busy others keep the machine, at the latest when patience ends."""
    end = time.monotonic() + patience
    while (busy := busy_share()) > QUIET and time.monotonic() < end:
        pass
    return busy


def merged(into: dict, more: dict) -> dict:
    for key, value in more.items():
        into[key] = merged(into.get(key, {}), value) if isinstance(value, dict) else value
    return into


def as_toml(table: dict, path: str = "") -> str:
    """Writes what scenarios hold: scalars, lists of scalars, tables, lists of tables."""
    lines, tables = [], []
    for key, value in table.items():
        name = f"{path}{key}"
        if isinstance(value, dict):
            tables.append(f"[{name}]\n{as_toml(value, name + '.')}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables.extend(f"[[{name}]]\n{as_toml(item, name + '.')}" for item in value)
        else:
            # JSON's scalars and lists are TOML's.
            lines.append(f"{key} = {json.dumps(value)}\n")
    return "".join(lines) + "".join(tables)


def measure(scenario: str, peer: Peer, seconds: float) -> dict:
    """Makes one run. Raises where there is no report."""
    plan = tomllib.loads((HERE / "scenarios" / f"{scenario}.toml").read_text())
    plan["duration"] = f"{seconds}s"
    pins = {"server_cpus": [SERVER_CPU], "source_cpus": [OTHERS_CPU], "generator_cpus": [OTHERS_CPU]}
    merged(plan, {"threads": 1, "target": pins})
    if peer.kind != "tickwire":
        listen, publish = free_address(), free_address()
        inlet = {"ws": f"ws://{listen}/publish"}.get(peer.publish, f"{peer.publish}://{publish}")
        merged(plan, {"peer": {"kind": peer.kind, "name": peer.name, "publish": inlet}})
        with process(peer.argv(listen, publish), SERVER_CPU, "ready") as server:
            merged(plan, {"target": {"url": f"ws://{listen}{peer.path}", "server_pid": server.pid}})
            return run_loadgen(plan, seconds)
    if scenario in OPTIONAL:
        merged(plan, LOSSLESS)
    text = json.dumps(peer.extra)
    if "{bus}" not in text:
        return run_loadgen(merged(plan, peer.extra), seconds)
    host, port = free_address().split(":")
    nats = [str(ROOT / ".cache" / "nats-server"), "--addr", host, "--port", port]
    with process(nats, OTHERS_CPU, None):
        wait_for(host, int(port))
        return run_loadgen(merged(plan, json.loads(text.replace("{bus}", f"{host}:{port}"))), seconds)


def wait_for(host: str, port: int) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {host}:{port}")


def run_loadgen(plan: dict, seconds: float) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{plan['name']}.toml"
        file.write_text(as_toml(plan))
        done = subprocess.run(
            [LOADGEN, "run", file, "--json"], capture_output=True, text=True, timeout=seconds + RUN_SECONDS_MAX
        )
    # 1: an assertion or a promise does not hold. 3: the generator was the bottleneck; the report says so, and the tables do.
    if done.returncode not in (0, 1, 3) or not done.stdout.strip():
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout)


def allow_files() -> None:
    """Takes as many open files as the system lets us have: servers inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def words(text: str, known) -> list[str]:
    chosen = [word for word in text.split(",") if word]
    unknown = [word for word in chosen if word not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="", help=f"of {', '.join(SCENARIOS)}; also {', '.join(OPTIONAL)}")
    parser.add_argument("--peer", default="", help=f"of {', '.join(ALL)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="measured in each run")
    parser.add_argument("--together", type=int, default=1, help=f"servers at a time in {TOGETHER}, where they do little")
    parser.add_argument("--minutes", type=float, default=1e9, help="starts no run after this time; another call goes on")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine before a run")
    parser.add_argument("--noise", action="store_true", help="beside another process on each core")
    parser.add_argument("--brief", action="store_true", help="both series with short runs, in half an hour")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--fresh", action="store_true", help="forgets the results that are there")
    parser.add_argument("--report", action="store_true", help="runs nothing")
    options = parser.parse_args()

    if options.brief:
        options.patience, options.together = min(options.patience, BRIEF_PATIENCE), max(options.together, BRIEF_TOGETHER)
    allow_files()
    # Ended from outside, it ends the server that it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    failed = 0
    for is_noisy in [False, True] if options.brief else [options.noise]:
        results = ROOT / ".cache" / ("peers-quick" if options.quick else "peers-noisy" if is_noisy else "peers-results")
        if options.fresh or options.quick:
            shutil.rmtree(results, ignore_errors=True)
        if not options.report:
            with noise() if is_noisy else nullcontext():
                failed += run_all(series(options, is_noisy), results, options, is_noisy)
    if not options.quick:
        import report

        print(f"wrote {report.write(ROOT / '.cache').relative_to(ROOT)}")
    return 1 if failed else 0


def series(options: argparse.Namespace, is_noisy: bool) -> list[tuple]:
    """Returns the runs of a series, in order: scenario, peer, round, seconds."""
    chosen = words(options.peer, ALL) or (QUICK_PEERS if options.quick else list(ALL))
    scenarios = words(options.scenario, SCENARIOS + OPTIONAL) or (NOISY if is_noisy else SCENARIOS)
    if is_noisy and options.brief:
        scenarios = [scenario for scenario in scenarios if scenario in NOISY]
    seconds, others = SECONDS, SECONDS_OTHERS
    if options.quick or options.brief:
        more = QUICK_SECONDS if options.quick else BRIEF_SECONDS
        seconds, others = {**SECONDS, **more}, QUICK_SECONDS_OTHERS if options.quick else BRIEF_SECONDS_OTHERS
    return [
        (scenario, key, number, options.seconds or seconds.get(scenario, others))
        for number in range(1, 2 if options.quick else options.rounds + 1)
        for scenario in scenarios
        for key in chosen
        if key not in LEFT_OUT.get(scenario, ()) and is_installed(ALL[key])
        if not (is_noisy and key in QUIET_ONLY) and not (options.brief and number > 1 and scenario in BRIEF_ONCE)
    ]


def is_done(file: Path) -> bool:
    """Makes a run, and tries again where it has no report."""
    return file.exists() and "failed" not in json.loads(file.read_text())


def run_all(plan: list, results: Path, options: argparse.Namespace, is_noisy: bool) -> int:
    todo = [step for step in plan if not is_done(file_of(results, step))]
    print(f"{len(plan)} runs, {len(plan) - len(todo)} are there already", flush=True)
    batches = []
    for step in todo:
        alike = batches and batches[-1][0][0] == step[0] == TOGETHER and batches[-1][0][2] == step[2]
        if alike and len(batches[-1]) < options.together:
            batches[-1].append(step)
        else:
            batches.append([step])
    failed, done, began = 0, 0, time.monotonic()
    weights = [batch[0][3] + OVERHEAD_SECONDS for batch in batches]
    for at, batch in enumerate(batches):
        passed = time.monotonic() - began
        if passed + weights[at] > 60 * options.minutes:
            print(f"time is up, {len(todo) - done} runs are left for another call")
            break
        left = f", {passed / sum(weights[:at]) * sum(weights[at:]) / 60:.0f} min left" if at else ""
        busy = wait_for_quiet(0 if options.quick or is_noisy else options.patience)
        with ThreadPoolExecutor(len(batch)) as pool:
            outcomes = list(pool.map(attempt, batch))
        for step, outcome in zip(batch, outcomes):
            done += 1
            failed += "failed" in outcome
            outcome |= {"together": len(batch), "busy_before": busy}
            print(f"[{done}/{len(todo)}{left}] {step[0]} {step[1]} #{step[2]}: {brief(outcome)}", flush=True)
            file = file_of(results, step)
            file.parent.mkdir(parents=True, exist_ok=True)
            scratch = file.with_suffix(".part")
            scratch.write_text(json.dumps(outcome))
            scratch.rename(file)
    return failed


def file_of(results: Path, step: tuple) -> Path:
    return results / step[0] / f"{step[1]}-{step[2]}.json"


def attempt(step: tuple) -> dict:
    scenario, key, _, seconds = step
    try:
        return measure(scenario, ALL[key], seconds)
    except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
        return {"failed": str(error)}


def brief(run: dict) -> str:
    if "failed" in run:
        return f"FAILED: {run['failed']}"
    latency, server = run["latency"], run.get("server") or {}
    parts = [
        f"{run['flow']['records_per_second'] / 1e3:.1f} k/s",
        f"{server.get('cpu_seconds_per_million', 0):.2f} s/M",
        f"p50 {latency['p50_ns'] / 1e6:.2f} ms, p99 {latency['p99_ns'] / 1e6:.2f} ms",
        f"{100 * run['flow']['delivered_share']:.1f} % delivered",
        f"{server.get('bytes_per_session', 0) / 1024:.1f} KiB/session",
    ]
    if run["refused"]:
        parts.append("GENERATOR AT ITS LIMIT")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
