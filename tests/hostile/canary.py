"""A session as it should be, beside those that are not: it follows trades and quotes until its standard input ends, then asks for the
ledger, and compares it with what it got. It prints what it found as JSON.

    canary.py URL [CERTIFICATE]
"""

import asyncio
import collections
import json
import pathlib
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

import tickwire_codec as codec  # noqa: E402
import tickwire_probe as probing  # noqa: E402
import websockets  # noqa: E402

ENCODING = "proto"
CHANNELS = ["trade", "quote"]


class Canary(probing.Probe):
    """Counts what came of each subscription since it was granted, and how old messages were."""

    def __init__(self):
        super().__init__()
        self.delivered, self.ages = collections.Counter(), []

    def on_data(self, sub, record):
        super().on_data(sub, record)
        if record["sequence"] > sub.granted:
            self.delivered[sub.symbol, sub.channel] += 1

    def on_sent(self, message):
        super().on_sent(message)
        self.ages.append(time.time_ns() - message["sent_time"])

    def compare(self):
        """Compares the ledger with what came: a record of every number, or of a newer one."""
        totals = collections.Counter()
        for entry in self.ledger["entries"]:
            channel = entry["channel"] if isinstance(entry["channel"], str) else codec.control_pb2.Channel.Name(entry["channel"])
            channel = channel.lower().removeprefix("channel_")
            came = self.delivered[entry["symbol"], channel]
            if entry["delivered"] != came or entry["dropped"]:
                self.fault(f"{came} records came", entry)
            totals.update({part: entry[part] for part in ("published", "delivered", "conflated", "dropped", "filtered")})
        if self.gaps:
            self.fault("gaps", dict(self.gaps))
        return totals


async def follow(canary, url, tls, stop):
    options = {"ssl": tls} if tls else {}
    async with websockets.connect(url, subprotocols=[f"tickwire.v1.{ENCODING}"], max_size=None, **options) as socket:
        for number, channel in enumerate(CHANNELS, 1):
            fields = {"id": number, "channel": channel, "symbols": ["sim:*"], "max_rate": 0.0}
            await socket.send(codec.encode_command(ENCODING, "subscribe", fields))
        while not stop.is_set():
            canary.on_payload(ENCODING, await socket.recv())
        await socket.send(codec.encode_command(ENCODING, "ledger", {"id": 99}))
        while canary.ledger is None:
            canary.on_payload(ENCODING, await socket.recv())


async def main(url, certificate=None):
    tls = ssl.create_default_context(cafile=certificate) if certificate else None
    canary, stop = Canary(), asyncio.Event()
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    ended.add_done_callback(lambda _: stop.set())
    totals = collections.Counter()
    try:
        await follow(canary, url, tls, stop)
        totals = canary.compare()
    except Exception as error:  # whatever it is, the summary says it
        canary.violations.append(f"{type(error).__name__}: {error}")
    ages = sorted(canary.ages) or [0]
    summary = {
        "totals": dict(totals),
        "violations": canary.violations[:10],
        "notices": canary.notices,
        "age_us": {name: ages[int(len(ages) * part)] // 1000 for name, part in (("median", 0.5), ("p99", 0.99))},
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
