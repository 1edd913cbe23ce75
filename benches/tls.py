#!/usr/bin/env python3
"""What TLS costs a gateway beside plain connections: in turn, in one session on one machine. Writes docs/benchmarks/tls.md.

    benches/tls.py [--rounds 3] [--seconds 4]

The gateway has one core, everything else another. Handshakes are made by one client, one after another: the gateway's processor time for
each of them counts, so the client's own speed does not. The machine has to be quiet.
"""

import argparse
import json
import os
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
LOADGEN = TARGET / "tickwire-loadgen"
WRITER = TARGET / "examples" / "tls_writer"
DOCUMENT = ROOT / "docs" / "benchmarks" / "tls.md"
SERVER_CPU, OTHERS_CPU = 0, 1
SHAPES = {
    "dashboard, 25 k/s": ("dashboard", []),
    "dashboard, 250 k/s": ("dashboard", ["--rate", "5000"]),
    "the same, windows of 16 ms": ("dashboard", ["--rate", "5000", "--set", "sessions.window=16ms"]),
    "firehose, 400 k/s": ("firehose", []),
}
IDLE = ("wide-idle", ["--sessions", "5000", "--set", "sessions.ramp=10s", "--set", "warm_up=2s"])
READY_SECONDS = 30


def certificate(folder: Path) -> tuple[Path, Path]:
    """Makes a certificate of an authority of its own, with a key on the curve P-256."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def command(scenario: str, more: list[str], tls: tuple[Path, Path] | None) -> list[str]:
    made = [LOADGEN, "run", scenario, "--json", "--allow-bottleneck", *more]
    for name, cpu in {"server_cpus": SERVER_CPU, "source_cpus": OTHERS_CPU, "generator_cpus": OTHERS_CPU}.items():
        made += ["--set", f"target.{name}=[{cpu}]"]
    if tls:
        cert, key = tls
        made += ["--set", f"gateway.tls.cert_file={cert}", "--set", f"gateway.tls.key_file={key}", "--set", f"sessions.tls.ca={cert}"]
    return [str(part) for part in made]


def run(scenario: str, more: list[str], seconds: int, tls: tuple[Path, Path] | None) -> dict:
    done = subprocess.run(command(scenario, [*more, "--for", f"{seconds}s"], tls), capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"{scenario}: {done.stdout[-500:]}\n{done.stderr[-1500:]}") from None


def spread(values: list[float], digits: int = 2) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def table(head: list[str], rows: list[list[str]]) -> str:
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ruler, *rows]) + "\n"


def deliveries(rounds: int, seconds: int, tls) -> tuple[str, dict]:
    rows, about = [], {}
    for shape, (scenario, more) in SHAPES.items():
        found = {False: [], True: []}
        for number in range(rounds):
            # A B, B A: what comes second has the machine as the first one left it.
            for sealed in (False, True) if number % 2 == 0 else (True, False):
                found[sealed].append(run(scenario, more, seconds, tls if sealed else None))
        cost = {sealed: [report["server"]["cpu_seconds_per_million"] for report in reports] for sealed, reports in found.items()}
        late = {sealed: [report["latency"]["p99_ns"] / 1e6 for report in reports] for sealed, reports in found.items()}
        batch = [report["flow"]["records"] / max(report["flow"]["messages"], 1) for report in found[True]]
        ratio = [with_tls / plain for plain, with_tls in zip(cost[False], cost[True], strict=True)]
        rows.append([shape, f"{statistics.median(batch):.1f}", spread(cost[False]), spread(cost[True]), spread(ratio), spread(late[False]), spread(late[True])])
        print(" | ".join(rows[-1]), flush=True)
        about = found[True][-1]
    head = ["shape", "updates in a message", "CPU s per million, plain", "with TLS", "TLS by plain", "p99 ms, plain", "with TLS"]
    return table(head, rows), about


def idle(rounds: int, seconds: int, tls) -> str:
    rows = []
    for name, files in {"plain": None, "TLS": tls}.items():
        reports = [run(*IDLE, seconds, files) for _ in range(rounds)]
        kib = [report["server"]["bytes_per_session"] / 1024 for report in reports]
        micros = [1e6 * report["server"]["cpu_seconds"] / report["seconds"] / report["sessions"]["opened"] for report in reports]
        rows.append([name, spread(kib), spread(micros, 1)])
        print(" | ".join(rows[-1]), flush=True)
    return table(["a session that is idle", "KiB of the gateway's memory", "µs of CPU a second, at a heartbeat each second"], rows)


def cpu_seconds(pid: int) -> float:
    """Returns what the threads of a process took of processors, to the nanosecond."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def gateway(seconds: int, tls):
    """Runs a gateway that has next to nothing to do; gives its port and its process."""
    port = free_port()
    quiet = ["--sessions", "1", "--rate", "1", "--set", f"gateway.listen=127.0.0.1:{port}", "--for", f"{seconds}s"]
    child = subprocess.Popen(command("wide-idle", quiet, tls), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise SystemExit("the gateway does not listen") from None
                time.sleep(0.1)
        (server,) = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()[:1]
        yield port, int(server)
    finally:
        child.terminate()
        child.wait()


def request(port: int, made: ssl.SSLContext | None, before: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Makes one connection with one request, and returns what a later one may resume."""
    with socket.create_connection(("127.0.0.1", port)) as plain:
        # Where the client speaks last in a handshake, its request would wait 40 ms for the server's acknowledgement.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = plain if made is None else made.wrap_socket(plain, server_hostname="127.0.0.1", session=before)
        with stream:
            if before is not None and not stream.session_reused:
                raise SystemExit("the session was not resumed")
            # A ticket comes behind the handshake, with the first bytes of the server.
            stream.sendall(b"GET /v1/limits HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while stream.recv(65536):
                pass
            return None if made is None else stream.session


def handshakes(seconds: int, tls) -> str:
    kinds = [
        ("plain", None, False),
        ("TLS 1.3, full", ssl.TLSVersion.TLSv1_3, False),
        ("TLS 1.3, resumed", ssl.TLSVersion.TLSv1_3, True),
        ("TLS 1.2, full", ssl.TLSVersion.TLSv1_2, False),
        ("TLS 1.2, resumed", ssl.TLSVersion.TLSv1_2, True),
    ]
    rows, plain = [], 0.0
    for files, of_files in ((None, kinds[:1]), (tls, kinds[1:])):
        with gateway(10 * seconds + 30, files) as (port, pid):
            os.sched_setaffinity(0, {OTHERS_CPU})
            time.sleep(2)
            begun, before = time.monotonic(), cpu_seconds(pid)
            time.sleep(seconds)
            idle_share = (cpu_seconds(pid) - before) / (time.monotonic() - begun)
            for name, version, resumes in of_files:
                made = None
                if version is not None:
                    made = ssl.create_default_context(cafile=tls[0])
                    made.minimum_version = made.maximum_version = version
                session = request(port, made, None) if resumes else None
                count, begun, before = 0, time.monotonic(), cpu_seconds(pid)
                while (took := time.monotonic() - begun) < seconds:
                    # Each ticket of TLS 1.3 is good once.
                    again = request(port, made, session)
                    session = again if resumes else None
                    count += 1
                each = (cpu_seconds(pid) - before - idle_share * took) / count
                plain = plain or each
                alone = f"{1 / (each - plain):,.0f}" if version and each > plain else "–"
                rows.append([name, f"{1e6 * each:.0f}", f"{1 / each:,.0f}", alone])
                print(" | ".join(rows[-1]), flush=True)
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
    head = ["connection with one request", "µs of the gateway's CPU", "so one core makes, a second", "handshakes alone, a second"]
    return table(head, rows)


def writer() -> str:
    """Runs the raw writers: what sealing and writing take without a gateway."""
    done = subprocess.run(["taskset", "-c", f"{SERVER_CPU},{OTHERS_CPU}", WRITER], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines() if line]
    print(done.stdout, flush=True)
    return table(["bytes in a write", "plain, ns", "rustls alone, ns", "the gateway's stream, ns", "sealing alone, ns"], rows)


HEAD = """# What TLS costs

`benches/tls.py` makes this page; nothing here is typed in. {about} The gateway has one core. Each cell: median (lowest–highest) of {rounds} rounds, plain
and TLS in turn. TLS 1.3, AES-256-GCM by aws-lc-rs, a certificate on the curve P-256.

## A delivered update

{deliveries}
A message is sealed for each session by itself, so what TLS adds is by message and by byte: the fewer updates share a message, the more of it falls on each.
Records are encoded once for all sessions, as without TLS. These are the writers alone, without a gateway: one thread writes, another reads on another core.

{writer}
## Idle sessions

{idle}
## Handshakes

{handshakes}
Each connection makes one request (`/v1/limits`) and ends; handshakes alone are what is left without that. A gateway shakes hands on the threads of its listeners, not on those of its shards.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", choices=["deliveries", "idle", "handshakes", "writer"], help="prints one table, and writes nothing")
    asked = parser.parse_args()
    subprocess.run(["cargo", "build", "--quiet", "--release", "-p", "tickwire-loadgen"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "build", "--quiet", "--release", "-p", "tickwire-net", "--features", "tls", "--example", "tls_writer"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        tls = certificate(Path(folder))
        parts = {
            "deliveries": lambda: deliveries(asked.rounds, asked.seconds, tls),
            "idle": lambda: idle(max(1, asked.rounds // 2), asked.seconds, tls),
            "handshakes": lambda: handshakes(asked.seconds, tls),
            "writer": writer,
        }
        if asked.only:
            parts[asked.only]()
            return
        (costs, report), rest = parts["deliveries"](), {name: parts[name]() for name in ("writer", "idle", "handshakes")}
    machine = report["machine"]
    day = time.strftime("%Y-%m-%d", time.gmtime(report["started_ns"] / 1e9))
    about = f"{day}, {machine['cpu']}, {machine['cores']} cores, {machine['system']}."
    DOCUMENT.write_text(HEAD.format(about=about, rounds=asked.rounds, deliveries=costs, **rest))
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
