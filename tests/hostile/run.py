"""Runs the table of hostile behaviours (cases.py, floods.py) against `tickwire demo`, with a canary session beside them.

    run.py TICKWIRE                        over plain TCP
    run.py TICKWIRE CERTIFICATE KEY        over TLS

Each row has the exact answer that is expected. The canary loses nothing, and its ledger equals what it got. At the end no session, no
open file and no memory worth mention is left. Status 1: one of these does not hold. No time is asserted; the canary's ages are printed.
"""

import asyncio
import json
import logging
import pathlib
import re
import ssl
import sys
import urllib.request

import floods  # noqa: F401: it adds rows
from cases import CASES
from peer import Door

AT_A_TIME = 8
CASE_SECONDS_MAX = 60
QUIET_SECONDS = 3
START_SECONDS_MAX = 60
# What may be left of memory: what an allocator keeps for next time.
KEPT_BYTES_MAX = 64 << 20
SETTINGS = {
    "gateway.handshake_ms": 1_500,
    "gateway.message_ms": 1_000,
    "gateway.ping_ms": 2_000,
    "gateway.no_progress_ms": 2_000,
    "gateway.limits.handshakes": 64,
    "gateway.limits.handshakes_per_second": 100,
    "gateway.limits.address_handshakes_per_second": 5,
    "gateway.limits.address_sessions": 10,
    "gateway.proxies": "127.0.0.1",
    "ingest.sim.events_per_second": 1_000,
    "log.level": "warn",
}


class Gateway:
    """The process, and what its admin side says."""

    def __init__(self, process, listen, admin):
        self.process, self.listen, self.admin = process, listen, admin

    @classmethod
    async def start(cls, program, more):
        arguments = ["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        for name, value in (SETTINGS | more).items():
            arguments += ["--set", f"{name}={value}"]
        process = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.PIPE)
        found = {}
        while len(found) < 2:
            line = (await asyncio.wait_for(process.stdout.readline(), START_SECONDS_MAX)).decode()
            if not line:
                raise SystemExit("the gateway did not start")
            if told := re.match(r"(stream|admin): (?:ws|http)s?://([^/]*)", line):
                found[told[1]] = told[2]
        return cls(process, found["stream"], found["admin"])

    async def metric(self, name):
        """Returns the value of a metric; 0 where it is not there."""
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{self.admin}/metrics").read().decode())
        found = re.search(rf"^tickwire_{re.escape(name)} ([0-9.e+]+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0

    def sessions(self):
        return self.metric("sessions")

    def closed(self, code):
        return self.metric(f'sessions_closed_total{{code="{code}"}}')

    async def until(self, get, at_most=float("inf"), at_least=0.0):
        """Waits until a number is within these. Returns whether it is."""
        for _ in range(200):
            if at_least <= await get() <= at_most:
                return True
            await asyncio.sleep(0.1)
        return False

    def files(self):
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) << 10


async def try_case(case, door, gateway):
    """Returns the response that a case got."""
    try:
        return await asyncio.wait_for(case.run(door, gateway), CASE_SECONDS_MAX)
    except Exception as error:  # a row that cannot be run fails, and the others go on
        return f"{type(error).__name__}: {error}"


async def try_all(door, gateway):
    """Runs all rows. Returns those whose answer is another than expected, with it."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(case):
        async with places:
            return case, await try_case(case, door, gateway)

    answers = await asyncio.gather(*(one(case) for case in CASES if not case.alone))
    for case in CASES:
        if case.alone:
            answers.append((case, await try_case(case, door, gateway)))
    order = {id(case): at for at, case in enumerate(CASES)}
    answers.sort(key=lambda answer: order[id(answer[0])])
    for case, answer in answers:
        mark = "ok    " if answer == case.expected else "FAILED"
        told = case.expected if answer == case.expected else f"{case.expected} expected, got {answer}"
        print(f"{mark} {case.name}: {case.what}: {told}")
    return [case.name for case, answer in answers if answer != case.expected]


async def start_canary(gateway, certificate):
    """Starts a canary, a process of its own so that the rows do not delay it."""
    scheme = "wss" if certificate else "ws"
    command = [sys.executable, str(pathlib.Path(__file__).with_name("canary.py")), f"{scheme}://{gateway.listen}/v1/stream"]
    pipe = asyncio.subprocess.PIPE
    canary = await asyncio.create_subprocess_exec(*command, *filter(None, [certificate]), stdin=pipe, stdout=pipe)
    await gateway.until(gateway.sessions, at_least=1)
    return canary


async def end_canary(canary, when, faults):
    """Ends a canary, and prints what it found."""
    summary = json.loads((await canary.communicate(b""))[0])
    print(f"canary {when}: {json.dumps(summary)}")
    if summary["violations"] or not summary["totals"].get("delivered"):
        faults.append(f"the canary lost something {when}")


async def main(program, certificate=None, key=None):
    # Rows go on writing to connections that the gateway has ended, and the library warns of each such write.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    more = {"gateway.tls.cert_file": certificate, "gateway.tls.key_file": key} if certificate else {}
    gateway = await Gateway.start(program, more)
    tls = ssl.create_default_context(cafile=certificate) if certificate else None
    door = Door(gateway.listen, tls)
    faults = []
    try:
        if not await gateway.until(lambda: gateway.metric("ready"), at_least=1):
            faults.append("the gateway does not become ready")
        # What a first session makes is there before it is counted what is left.
        (await door.session()).drop()
        await gateway.until(gateway.sessions, at_most=0)
        canary = await start_canary(gateway, certificate)
        await asyncio.sleep(QUIET_SECONDS)
        await end_canary(canary, "alone", faults)
        await gateway.until(gateway.sessions, at_most=0)
        canary = await start_canary(gateway, certificate)
        files, memory = gateway.files(), gateway.memory()
        failed = await try_all(door, gateway)
        if not await gateway.until(gateway.sessions, at_most=1):
            faults.append(f"{await gateway.sessions()} sessions are left, the canary among them")
        await end_canary(canary, "beside all rows", faults)

        async def open_files():
            return gateway.files()

        if not await gateway.until(open_files, at_most=files):
            faults.append(f"{gateway.files()} files are open, {files} were")
        grown = gateway.memory() - memory
        print(f"memory: {memory >> 20} MiB before, {grown / (1 << 20):+.1f} MiB after; open files: {files} before, {gateway.files()} after")
        if grown > KEPT_BYTES_MAX:
            faults.append(f"{grown >> 20} MiB of memory are left")
        if gateway.process.returncode is not None:
            faults.append("the gateway ended")
    finally:
        if gateway.process.returncode is None:
            gateway.process.terminate()
            await gateway.process.wait()
    faults += [f"{len(failed)} of {len(CASES)} rows: {', '.join(failed)}"] if failed else []
    print("\n".join(f"FAILED: {fault}" for fault in faults) or f"all {len(CASES)} rows as expected")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
