"""Runs the cases of the Autobahn suite (as kosoku runs them) against a gateway, and prints a table of results.

    run.py ECHO_URL GATEWAY_URL

All cases outside compression (12, 13) and speed (9) run against an echo behind the gateway's own listener. Those that expect no
message run against a real gateway, too, whose own messages and pings are left out of what a case has received. A case passes where the
suite says OK for what happened and for how the connection ended, and the gateway's close frame has a code that the case names: the
suite itself takes a connection that just ends. Status 1: a case did not pass.
"""

import asyncio
import collections
import os
import sys

import kosoku
import websockets
from kosoku.cases import CASES

LEFT_OUT = ["9.*", "12.*", "13.*"]
CASES_MIN = 247
REAL_MIN = 130
AT_A_TIME = 24
# Verdicts other than OK that pass, each with its reason. The suite gives none but these for them, whatever a server does.
OTHERS = {
    "7.1.6": ("INFORMATIONAL", "the suite has no verdict on a message right before a close"),
    "7.13.1": ("INFORMATIONAL", "the suite has no verdict on close code 5000; ours is checked all the same"),
    "7.13.2": ("INFORMATIONAL", "the suite has no verdict on close code 65535; ours is checked all the same"),
}
# Cases that a real gateway cannot be judged by: a frame comes in three parts, and the suite answers our ping in the middle of it.
SPOILT = {"6.4.3", "6.4.4"}
# Where the suite takes any end of the connection, this is ours.
OWN_CODES = {"7.13.1": [1002], "7.13.2": [1002]}


def expects_messages(result):
    """Returns whether a case can pass only where messages come back."""
    wanted = result.expected.get("OK", [])
    return any(event[0] == "message" for event in wanted)


def faults(result):
    """Returns what is wrong with a result."""
    number = result.case_id
    expected, _ = OTHERS.get(number, ("OK", ""))
    verdicts = (result.behavior.value, result.behavior_close.value)
    if any(verdict not in ("OK", expected) for verdict in verdicts):
        yield f"{verdicts[0]}, {verdicts[1]}: {result.result} {result.result_close}"
    if result.expected_close is None:
        yield f"it did not run to its end: {result.result} {result.result_close}"
        return
    codes = OWN_CODES.get(number) or result.expected_close.get("closeCode")
    if result.remote_close_code not in codes:
        yield f"the close code is {result.remote_close_code}, not one of {codes}"


def report(title, results):
    """Prints the results of one server by group. Returns how many did not pass."""
    groups, failed = collections.defaultdict(collections.Counter), []
    for result in results:
        wrong = list(faults(result))
        group = groups[result.case_id.split(".")[0]]
        group["failed" if wrong else result.behavior.value] += 1
        failed += [(result.case_id, result.description, fault) for fault in wrong]
    print(f"{title}: {len(results)} cases")
    for number, counts in sorted(groups.items(), key=lambda group: int(group[0])):
        print(f"  {number:>3}.*  " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    for number, description, fault in failed:
        print(f"  {number} FAILED: {fault}\n      {' '.join(description.split())}")
    return len(failed)


def leave_out(*events):
    """Makes all cases take no notice of what a gateway sends by itself."""
    case = next(base for base in CASES["1.1.1"].__mro__ if base.__name__ == "Case")
    for event in events:
        setattr(case, event, lambda self, *told: None)


async def run(url, **selected):
    """Runs cases against a server. Returns their results, whatever they are."""
    try:
        return await kosoku.run_fuzzingclient(url, concurrency=AT_A_TIME, **selected)
    except kosoku.FailureError as error:
        return error.results


async def until_ready(url):
    """Waits until a server takes sessions: a gateway that just started refuses them (HTTP 503) for a moment."""
    for attempt in range(300):
        try:
            async with websockets.connect(url):
                return
        except (OSError, websockets.WebSocketException) as error:
            reason = error
        await asyncio.sleep(0.1)
    sys.exit(f"{url} takes no sessions: {reason}")


async def main(echo, gateway):
    for url in (echo, gateway):
        await until_ready(url)
    # A gateway pings behind what it sends, to see how fast it is read.
    leave_out("onPing")
    results = await run(echo, exclude_cases=LEFT_OUT)
    failed = report("echo behind the gateway's listener", results)
    judged = [result.case_id for result in results if not expects_messages(result) and result.case_id not in SPOILT]
    leave_out("onPing", "onMessage")
    real = await run(gateway, cases=judged)
    failed += report("the gateway itself, cases that expect no message", real)
    for number, (verdict, reason) in OTHERS.items():
        print(f"  {number}: {verdict} passes, because {reason}")
    if len(results) < CASES_MIN or len(real) < REAL_MIN:
        print(f"too few cases ran: {len(results)} of {CASES_MIN}, {len(real)} of {REAL_MIN}")
        failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    status = asyncio.run(main(*sys.argv[1:]))
    sys.stdout.flush()
    # Threads of the suite may still hold Python objects: an orderly end of the interpreter aborts then and again.
    os._exit(status)
