#!/usr/bin/env python3
"""What a second and a fourth shard bring, modelled on one core: prints a table.

    benches/shards.py [--rounds 3] [--seconds 4]

A machine with two processors has none left for the source and the clients when a gateway uses both. So all threads of the gateway share
one here, at a rate that it holds, and each thread's processor time is counted. On cores of their own the threads run at the same time, and
the busiest one is full first: what it takes for a delivery of the whole gateway bounds how many there can be. The gain is that time of the one
thread that hub and shard share, divided by that of the busiest of several.

A millisecond is worth next to nothing here, so the delay of the writes is long, as on a core that is full. Where one message
carries fewer records with one count of shards than with another, more writes are in its numbers. What the model leaves out: that
threads on one core take turns in its near caches (this speaks for several cores), and that what one hands to another travels
between cores (this speaks against them). The machine has to be quiet.
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOADGEN = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "tickwire-loadgen"
SERVER_CPU, OTHERS_CPU = 0, 1
SHAPES = {
    "dashboard, 250 k/s": ["dashboard", "--rate", "5000"],
    "firehose, 400 k/s": ["firehose"],
}
SHARDS = (1, 2, 4)
SOURCE = "source"


def run(shape: list[str], shards: int, seconds: int) -> dict:
    settings = {
        "target.server_cpus": f"[{SERVER_CPU}]",
        "target.source_cpus": f"[{OTHERS_CPU}]",
        "target.generator_cpus": f"[{OTHERS_CPU}]",
        "gateway.shards": shards,
        "gateway.cork_worth_percent": 1,
    }
    command = [LOADGEN, "run", *shape, "--json", "--allow-bottleneck", "--for", f"{seconds}s"]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"{shape[0]}: {done.stdout[-500:]}\n{done.stderr[-1500:]}") from None


def threads(report: dict) -> dict[str, float]:
    """Returns the CPU seconds of each of the gateway's threads for a million deliveries of the whole gateway."""
    records = report["flow"]["records"]
    return {
        name: 1e6 * seconds / records
        for name, seconds in report["server"]["cpu_by_thread"].items()
        if not name.startswith(SOURCE)
    }


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    asked = parser.parse_args()
    subprocess.run(["cargo", "build", "--quiet", "--release", "-p", "tickwire-loadgen"], cwd=ROOT, check=True)
    print("| shape | shards | all threads, CPU s per million | the busiest | which | gain | records in a message | p99 ms |")
    print("|---|---:|---:|---:|---|---:|---:|---:|")
    for shape, arguments in SHAPES.items():
        reports = {shards: [] for shards in SHARDS}
        for _ in range(asked.rounds):
            for shards in SHARDS:
                reports[shards].append(run(arguments, shards, asked.seconds))
        one = statistics.median(max(threads(report).values()) for report in reports[1])
        for shards, found in reports.items():
            taken = [threads(report) for report in found]
            busiest = [max(each.values()) for each in taken]
            name = max(taken[0], key=taken[0].get)
            batch = [report["flow"]["records"] / max(report["flow"]["messages"], 1) for report in found]
            late = [report["latency"]["p99_ns"] / 1e6 for report in found]
            cells = [
                shape,
                str(shards),
                spread([sum(each.values()) for each in taken]),
                spread(busiest),
                name,
                f"{one / statistics.median(busiest):.2f}",
                spread(batch),
                spread(late),
            ]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
