"""The probe against a small server that plays the golden vectors, rightly and wrongly."""

import asyncio
import contextlib
import io
import json
import threading
import unittest

import msgpack
import tickwire_codec as codec
import tickwire_probe as probe
import websockets

FOLDER = codec.ROOT / "proto/vectors"
FILES = {vector["name"]: vector["files"] for vector in json.loads((FOLDER / "manifest.json").read_text())["vectors"]}
# The sequence numbers already used when a channel is granted, so that the vectors follow on them.
USED = {"quote": 7, "trade": 76, "book": 40, "bar": 12, "stat": 5, "status": 2, "instrument": 1, "derivative": 21}
STATE = ["quote", "book_snapshot", "bar", "stat", "status", "instrument", "derivative"]
LIVE = ["quote_no_ask", "trade", "gap", "book_delta", "book_merged", "bar_closed", "heartbeat"]


def vector(name, encoding):
    if name == "book_damaged":
        frame = codec.record_pb2.Frame.FromString(vector("book_delta", "proto"))
        frame.records[0].book.checksum ^= 1
        return frame.SerializeToString()
    return (FOLDER / FILES[name][encoding]).read_bytes()


def subscribed(encoding, number, channel):
    grant = {"symbol": "binance:BTCUSDT", "instrument": 1042, "price_decimals": 2, "size_decimals": 5}
    grant |= {"max_rate": 0.0, "epoch": 1767600000000000001, "sequence": USED[channel]}
    if encoding == "json":
        grant |= {"channel": channel, "epoch": str(grant["epoch"])}
        return json.dumps({"type": "subscribed", "id": number, "granted": [grant], "refused": []}).encode() + b"\n"
    grant["channel"] = codec.control_pb2.Channel.Value("CHANNEL_" + channel.upper())
    if encoding == "proto":
        answer = codec.control_pb2.Subscribed(id=number, granted=[grant])
        return codec.record_pb2.Frame(records=[{"subscribed": answer}]).SerializeToString()
    order = ["channel", "symbol", "instrument", "price_decimals", "size_decimals", "max_rate", "epoch", "sequence"]
    return msgpack.packb([17, [number, [[grant[field] for field in order]], []]])


def play(encoding, state=STATE, live=LIVE, channels=probe.CHANNELS):
    """Sends what one session gets: hello; then, after the last subscribe, responses and state in one message, then live records."""

    async def session(socket):
        def out(*parts):
            payload = b"".join([*parts, vector("sent", encoding)])
            return socket.send(payload.decode() if encoding == "json" else payload)

        await out(vector("hello", encoding))
        for _ in channels:
            await socket.recv()
        answers = [subscribed(encoding, at, channel) for at, channel in enumerate(channels, 1)]
        await out(*answers, *(vector(name, encoding) for name in state))
        for name in live:
            await out(vector(name, encoding))
        await socket.recv()
        await out(vector("ledger", encoding))
        await socket.wait_closed()

    return session


def run_probe(encoding, **script):
    """Returns exit status and summary of the probe against a server on a port of its own."""
    ready, port, stop = threading.Event(), [], []

    async def serve():
        stop.append((asyncio.get_running_loop(), asyncio.Event()))
        async with websockets.serve(
            play(encoding, **script), "127.0.0.1", 0, subprotocols=[f"tickwire.v1.{encoding}"]
        ) as server:
            port.append(server.sockets[0].getsockname()[1])
            ready.set()
            await stop[0][1].wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        ready.wait()
        printed = io.StringIO()
        url = f"ws://127.0.0.1:{port[0]}/v1/stream"
        with contextlib.redirect_stdout(printed):
            status = probe.main([url, "--encoding", encoding, "--seconds", "0.5", "--allow-old", "--window-ms", "16"])
        return status, json.loads(printed.getvalue())
    finally:
        stop[0][0].call_soon_threadsafe(stop[0][1].set)
        thread.join()


class AgainstAScriptedGateway(unittest.TestCase):
    def test_a_right_session(self):
        for encoding in codec.ENCODINGS:
            with self.subTest(encoding):
                status, summary = run_probe(encoding)
                self.assertEqual(summary["violations"], [])
                self.assertEqual(status, 0)
                self.assertEqual(summary["checksums"], {"right": 3})
                self.assertEqual(summary["gaps"], {"shed": 1})
                self.assertEqual(summary["top_of_book"], {"binance:BTCUSDT": [[[6183763, 120000]], [[6183765, 33]]]})
                self.assertEqual(summary["feeds"]["kraken"], "stale")

    def check_fault(self, what, encoding="proto", **script):
        status, summary = run_probe(encoding, **script)
        self.assertEqual(status, 1)
        self.assertTrue(any(what in fault for fault in summary["violations"]), summary["violations"])

    def test_lost_trade(self):
        self.check_fault("expected 77", live=["trade_text_id"])

    def test_gap_in_the_wrong_place(self):
        self.check_fault("does not begin at 77", live=["gap"])

    def test_lost_book_change(self):
        self.check_fault("does not follow 40", live=["book_merged"])

    def test_book_change_without_snapshot(self):
        self.check_fault("does not follow 40", state=[], live=["book_delta"])

    def test_wrong_checksum(self):
        self.check_fault("checksum", live=["book_damaged"])

    def test_old_quote(self):
        self.check_fault("not newer than 8", live=["quote_no_ask", "quote"])

    def test_silent_channel(self):
        self.check_fault("no record of channel trade", live=[])

    def test_record_of_no_subscription(self):
        self.check_fault("no subscription", live=["quote_extreme"])


if __name__ == "__main__":
    unittest.main()
