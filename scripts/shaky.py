#!/usr/bin/env python3
"""Runs a command on a machine that stands still: everything that the command started is stopped and goes on, again and again.

    scripts/shaky.py target/debug/deps/e2e-... faults::
    scripts/shaky.py --busy 2 --stop 0.3 scripts/run_tests.py

A test that compares wall times, or that counts what a busy machine conflates, fails here on a quiet machine too, before it fails on a
shared one. The stops are 50 ms to --stop long and as far apart as --every says, with a third of that more or less; --busy loops take
the processors meanwhile. The status is that of the command.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import time


def family(root):
    """Returns a process and all that it started, by their ids, but for those that a test has stopped."""
    children, stopped = {}, set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        children.setdefault(int(parent), []).append(int(name))
        if state == "T":
            stopped.add(int(name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return [process for process in found if process not in stopped]


def send(processes, what):
    for process in processes:
        try:
            os.kill(process, what)
        except ProcessLookupError:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=1, help="loops that take the processors (default: 1)")
    parser.add_argument("--stop", type=float, default=0.7, help="the longest stop in seconds (default: 0.7)")
    parser.add_argument("--every", type=float, default=1.5, help="seconds between two stops (default: 1.5)")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("name a command")
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.busy)]
    command = subprocess.Popen(arguments.command)
    stops = 0
    try:
        while command.poll() is None:
            time.sleep(arguments.every * random.uniform(0.7, 1.3))
            stopped = family(command.pid)
            send(stopped, signal.SIGSTOP)
            time.sleep(random.uniform(0.05, arguments.stop))
            send(stopped, signal.SIGCONT)
            stops += 1
    finally:
        for loop in loops:
            loop.kill()
    print(f"stood still {stops} times", file=sys.stderr)
    return command.returncode


if __name__ == "__main__":
    sys.exit(main())
