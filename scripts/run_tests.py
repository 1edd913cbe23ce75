#!/usr/bin/env python3
"""Runs all tests of the workspace, several test programs at a time; `cargo test` runs one program after another.

    scripts/run_tests.py            builds, then runs each test program and the tests in the documentation
    scripts/run_tests.py --jobs 1   one program at a time

Most programs wait for sockets and timers, so two at a time on two cores take little more than half the time. The output of a
program is shown where it fails. Status 1: a test failed or a program did not build.
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time

# These wait most, so they begin first.
LONG_FIRST = ["e2e", "window", "broken", "own", "engine", "figures", "sim"]


def build():
    """Builds everything that is tested. Returns (name, program, folder of its package) of each test program."""
    command = ["cargo", "test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(1)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    artifacts = [m for m in messages if m.get("executable") and m["profile"]["test"]]
    return [(m["target"]["name"], m["executable"], os.path.dirname(m["manifest_path"])) for m in artifacts]


def run(program):
    """Runs one test program. Returns its name, whether it passed, what it printed, and the seconds that it took."""
    name, executable, folder = program
    began = time.monotonic()
    done = subprocess.run([executable, "--quiet"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return name, done.returncode == 0, done.stdout.decode(errors="replace"), time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 4), help="test programs at a time")
    jobs = parser.parse_args().jobs

    programs = build()
    if not programs:
        sys.exit("no test program was built: that must not pass for tests that passed")
    order = {name: at for at, name in enumerate(LONG_FIRST)}
    programs.sort(key=lambda program: order.get(program[0], len(order)))
    failed = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for future in concurrent.futures.as_completed([pool.submit(run, program) for program in programs]):
            name, passed, output, seconds = future.result()
            counts = [line for line in output.splitlines() if line.startswith("test result:")]
            print(f"{name:24} {seconds:6.1f} s  {counts[-1] if counts else 'no result'}", flush=True)
            if not passed:
                failed.append(name)
                print(output, flush=True)
    if subprocess.run(["cargo", "test", "--workspace", "--doc", "--quiet"]).returncode != 0:
        failed.append("tests in the documentation")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
