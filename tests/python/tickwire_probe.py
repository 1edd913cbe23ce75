#!/usr/bin/env python3
"""Follows a gateway for a while, checks everything that docs/protocol.md promises, and prints a summary as JSON.

    tickwire_probe.py ws://127.0.0.1:7400/v1/stream --symbols sim:* --encoding proto --seconds 10

Exits with 1 when a promise was broken, a subscription refused, or a wanted channel brought nothing (--need).
"""

import argparse
import asyncio
import collections
import json
import sys
import time
import zlib

import tickwire_codec as codec
import websockets

CHANNELS = ["quote", "trade", "book", "bar", "stat", "status", "instrument", "derivative"]
LOSSLESS = {"trade", "status", "instrument"}
MARKET_DATA = {*CHANNELS, "gap"}


class Book:
    def __init__(self):
        self.valid = False
        self.bids, self.asks = {}, {}

    def sides(self):
        return sorted(self.bids.items(), reverse=True)[:10], sorted(self.asks.items())[:10]

    def take(self, record):
        for side, levels in ((self.bids, record["bids"]), (self.asks, record["asks"])):
            if record["snapshot"]:
                side.clear()
            for price, size in levels:
                side.pop(price, None)
                if size:
                    side[price] = size
        if record["snapshot"]:
            self.valid = True

    def checksum(self):
        bids, asks = self.sides()
        raw = b"".join(p.to_bytes(8, "little", signed=True) + s.to_bytes(8, "little") for p, s in bids + asks)
        return zlib.crc32(raw)


class Subscription:
    def __init__(self, grant):
        self.symbol, self.channel = grant["symbol"], grant["channel"]
        self.epoch, self.last = grant["epoch"], grant["sequence"]
        self.granted = self.last
        self.fresh = True  # nothing came since the grant
        self.renumbered = False  # the sequence was lost: the next number is whatever comes
        self.keys = {}
        self.book = Book() if self.channel == "book" else None


class Probe:
    """Keeps the state that a client keeps, and notes what breaks the rules."""

    def __init__(self):
        self.subscriptions, self.hello = {}, None
        self.counts, self.gaps = collections.Counter(), collections.Counter()
        self.violations, self.refused, self.notices, self.feeds = [], [], [], {}
        self.checksums = collections.Counter()
        self.answers, self.ledger, self.rates = {}, None, {}
        self.superseded = 0

    def fault(self, what, record):
        self.violations.append(f"{what}: {json.dumps(record)[:300]}")

    def on_payload(self, encoding, payload):
        messages = codec.decode(encoding, payload)
        if not messages or messages[-1]["type"] != "sent":
            self.fault("no send time at the end", messages[-1:])
        for message in messages:
            self.counts[message["type"]] += 1
            if self.hello is None and message["type"] != "hello":
                self.fault("something came before hello", message)
            if message["type"] in MARKET_DATA:
                self.on_record(message)
            else:
                getattr(self, "on_" + message["type"])(message)

    def on_hello(self, message):
        if self.hello is not None or message["protocol_version"] != 1 or not message["limits"]:
            self.fault("hello", message)
        self.hello = message

    def on_subscribed(self, message):
        for grant in message["granted"]:
            self.subscriptions[grant["instrument"], grant["channel"]] = Subscription(grant)
        self.refused += message["refused"]
        self.answers[message["id"]] = message

    def on_notice(self, message):
        self.notices.append(message["code"])

    def on_heartbeat(self, message):
        self.feeds.update({feed["venue"]: feed["state"] for feed in message["feeds"]})

    def on_ledger(self, message):
        self.ledger = message
        for entry in message["entries"]:
            parts = [entry[part] for part in ("delivered", "conflated", "dropped", "filtered")]
            if entry["published"] != sum(parts):
                self.fault("the ledger's sums differ", entry)

    def on_error(self, message):
        self.fault("error", message)

    def on_sent(self, message):
        if abs(time.time_ns() - message["sent_time"]) > 60e9 and not self.allow_old:
            self.fault("the send time is not of this minute", message)

    allow_old = False

    def on_record(self, record):
        channel = record["channel"] if record["type"] == "gap" else record["type"]
        sub = self.subscriptions.get((record["instrument"], channel))
        if sub is None:
            self.fault("a record of no subscription", record)
        elif record["type"] == "gap":
            self.on_gap(sub, record)
        else:
            self.on_data(sub, record)
            sub.renumbered = False
        if sub is not None:
            sub.fresh = False

    def on_gap(self, sub, gap):
        self.gaps[gap["cause"]] += 1
        if sub.book is not None:
            sub.book.valid = False
        if gap["last_sequence"] == 0:
            if gap["epoch"] == sub.epoch:
                self.fault("a new sequence with the old epoch", gap)
            sub.epoch, sub.last, sub.renumbered, sub.keys = gap["epoch"], 0, True, {}
            return
        if gap["last_sequence"] < gap["first_sequence"]:
            self.fault("a gap of no range", gap)
        if sub.channel in LOSSLESS and not sub.renumbered and gap["first_sequence"] != sub.last + 1:
            self.fault(f"a gap that does not begin at {sub.last + 1}", gap)
        sub.last, sub.renumbered = max(sub.last, gap["last_sequence"]), False

    def on_data(self, sub, record):
        sequence = record["sequence"]
        if sub.book is not None:
            self.on_book(sub, record)
        elif sub.channel in LOSSLESS:
            is_state = sub.fresh and sub.channel != "trade" and sequence <= sub.granted
            if not is_state and not sub.renumbered and sequence != sub.last + 1:
                self.fault(f"lossless record out of order, expected {sub.last + 1}", record)
            sub.last = max(sub.last, sequence)
        else:
            # The state after the grant repeats old sequence numbers once for each key; from then on they grow.
            key = record.get("interval", 0)
            last = sub.keys.get(key, 0)
            if sequence <= last:
                self.fault(f"conflated record is not newer than {last}", record)
            if last and not sub.renumbered:
                self.superseded += sequence - last - 1
            sub.keys[key] = sequence
            sub.last = max(sub.last, sequence)

    def on_book(self, sub, record):
        first, book = record["first_sequence"] or record["sequence"], sub.book
        if record["snapshot"]:
            if record["sequence"] < sub.last and not sub.renumbered:
                self.fault(f"a snapshot older than {sub.last}", record)
        elif record["sequence"] <= sub.last:
            return
        elif not book.valid or first != sub.last + 1:
            self.fault(f"a book change that does not follow {sub.last}", record)
            book.valid = False
            return
        book.take(record)
        sub.last = record["sequence"]
        if record["checksum"] is None:
            self.checksums["absent"] += 1
        elif record["checksum"] == book.checksum():
            self.checksums["right"] += 1
        else:
            self.checksums["wrong"] += 1
            book.valid = False
            self.fault("checksum of the book", record)

    def summary(self):
        books = {sub.symbol: sub.book for sub in self.subscriptions.values() if sub.book}
        top = {name: [side[:1] for side in book.sides()] if book.valid else None for name, book in books.items()}
        return {
            "records": dict(self.counts),
            "subscriptions": len(self.subscriptions),
            "refused": self.refused,
            "rates": self.rates,
            "gaps": dict(self.gaps),
            "superseded": self.superseded,
            "checksums": dict(self.checksums),
            "notices": self.notices,
            "feeds": self.feeds,
            "top_of_book": top,
            "ledger_entries": len(self.ledger["entries"]) if self.ledger else 0,
            "violations": self.violations,
        }


def check_grants(probe, options):
    """Checks that rates are echoed, on channels that know them, and never above what was asked for or is allowed."""
    highest = min(options.max_rate, probe.hello["limits"]["max_rate"])
    for response in probe.answers.values():
        for grant in response["granted"]:
            probe.rates[grant["channel"]] = rate = grant["max_rate"]
            if grant["channel"] in LOSSLESS or options.max_rate == 0:
                is_right = rate == 0
            else:
                is_right = 0 < rate <= max(highest, 0.01)
            if not is_right:
                probe.fault(f"the granted rate, {options.max_rate} asked", grant)


async def follow(probe, options):
    subprotocol = f"tickwire.v1.{options.encoding}"
    url = f"{options.url}?window_ms={options.window_ms}" if options.window_ms else options.url
    async with websockets.connect(url, subprotocols=[subprotocol], max_size=None) as socket:
        if socket.subprotocol != subprotocol:
            probe.violations.append(f"subprotocol {socket.subprotocol} in place of {subprotocol}")
        await read_until(probe, socket, options, 0, lambda: probe.hello is not None)
        if probe.hello["window_ms"] != options.window_ms:
            probe.violations.append(f"a delivery window of {probe.hello['window_ms']} ms, not {options.window_ms}")
        for number, channel in enumerate(options.channels, 1):
            fields = {"id": number, "channel": channel, "symbols": options.symbols, "max_rate": options.max_rate}
            await socket.send(codec.encode_command(options.encoding, "subscribe", fields))
        await read_until(probe, socket, options, options.seconds, lambda: False)
        await socket.send(codec.encode_command(options.encoding, "ledger", {"id": 99}))
        await read_until(probe, socket, options, 0, lambda: probe.ledger is not None)
    unanswered = set(range(1, len(options.channels) + 1)) - probe.answers.keys()
    if unanswered:
        probe.violations.append(f"subscribes without a response: {sorted(unanswered)}")
    check_grants(probe, options)


async def read_until(probe, socket, options, seconds, is_done):
    """Reads for so many seconds, or (0) until `is_done`; two heartbeats of silence are a dead connection."""
    loop = asyncio.get_running_loop()
    end = loop.time() + (seconds or 10)
    while not is_done() and (left := end - loop.time()) > 0:
        silence = 2 * (probe.hello["heartbeat_ms"] / 1000 if probe.hello else 5)
        try:
            payload = await asyncio.wait_for(socket.recv(), min(left, silence))
        except asyncio.TimeoutError:
            if left > silence:
                raise RuntimeError(f"mute for {silence} s") from None
            continue
        if isinstance(payload, str) != (options.encoding == "json"):
            probe.violations.append("text and binary mixed up")
        probe.on_payload(options.encoding, payload.encode() if isinstance(payload, str) else payload)
    if seconds == 0 and not is_done():
        raise RuntimeError("no response in 10 s")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--encoding", choices=codec.ENCODINGS, default="proto")
    parser.add_argument("--channels", nargs="+", default=CHANNELS, choices=CHANNELS)
    parser.add_argument("--symbols", nargs="+", default=["sim:*"])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--max-rate", type=float, default=0.0)
    parser.add_argument("--window-ms", type=int, default=0)
    parser.add_argument("--need", nargs="*", default=None, help="channels that must bring records; default: all asked for")
    parser.add_argument("--allow-old", action="store_true", help="accept send times of the past: recordings")
    options = parser.parse_args(arguments)
    probe = Probe()
    probe.allow_old = options.allow_old
    try:
        asyncio.run(follow(probe, options))
    except Exception as error:  # whatever it is, the summary says it
        probe.violations.append(f"{type(error).__name__}: {error}")
    for channel in options.channels if options.need is None else options.need:
        if not probe.counts[channel]:
            probe.violations.append(f"no record of channel {channel}")
    print(json.dumps(probe.summary(), indent=2))
    return 1 if probe.violations or probe.refused else 0


if __name__ == "__main__":
    sys.exit(main())
