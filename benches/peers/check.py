#!/usr/bin/env python3
"""Checks that every peer passes on what it is sent: three sessions, 3,000 updates of 41 symbols, each in order and once.

    benches/peers/check.py [PEER...]

Speaks each peer's protocol with nothing but sockets, so that it says something about the servers and nothing about the
load generator.
"""

import asyncio
import base64
import json
import os
import struct
import sys
import time

from peers import PEERS, Peer, is_installed

UPDATES = 3_000
SYMBOLS = 41
LISTEN, PUBLISH = "127.0.0.1:17500", "127.0.0.1:17501"


class Socket:
    """A WebSocket client, as far as the check needs one."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, path: str) -> "Socket":
        host, port = LISTEN.split(":")
        reader, writer = await asyncio.open_connection(host, port)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {LISTEN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head.split(b"\r\n")[0], head
        return cls(reader, writer)

    def send(self, payload: bytes | str) -> None:
        opcode = 0x81 if isinstance(payload, str) else 0x82
        data = payload.encode() if isinstance(payload, str) else payload
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        # A mask of zeros is a mask.
        self.writer.write(bytes([opcode]) + length + bytes(4) + data)

    async def read(self) -> bytes | str:
        first, length = await self.reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
        payload = await self.reader.readexactly(length)
        return payload.decode() if first & 0xF == 1 else payload


async def subscribe(peer: Peer, symbols: list[int]) -> Socket:
    socket = await Socket.open(peer.path)
    match peer.kind:
        case "raw40":
            socket.send(struct.pack(f"<{len(symbols)}I", *symbols))
            assert await socket.read() == "ok"
        case "socket.io":
            assert (await socket.read()).startswith("0{")
            socket.send("40")
            assert (await socket.read()).startswith("40{")
            socket.send("42" + json.dumps(["sub", symbols]))
            assert await socket.read() == '42["ok"]'
        case "nats-ws":
            wants = "".join(f"SUB u.{symbol} {symbol + 1}\r\n" for symbol in symbols)
            socket.send(f'CONNECT {{"verbose":false,"protocol":1}}\r\n{wants}PING\r\n'.encode())
            while b"PONG\r\n" not in await socket.read():
                pass
        case kind:
            raise NotImplementedError(f"{kind} is checked by the load generator's tests only")
    return socket


async def updates(peer: Peer, socket: Socket):
    """Updates of 40 bytes, as they come."""
    rest = b""
    while True:
        message = await asyncio.wait_for(socket.read(), 5)
        if peer.kind == "nats-ws":
            rest += message
            while (end := rest.find(b"\r\n")) >= 0:
                line = rest[:end]
                if not line.startswith(b"MSG "):
                    rest = rest[end + 2 :]
                elif len(rest) >= end + 44:
                    yield rest[end + 2 : end + 42]
                    rest = rest[end + 44 :]
                else:
                    break
        elif isinstance(message, bytes):
            for at in range(0, len(message), 40):
                yield message[at : at + 40]


async def publish(peer: Peer, sent: list[bytes]) -> None:
    """Sends in batches, with pauses, some cut in the middle of an update where the protocol allows it."""
    batches = [sent[at : at + 100] for at in range(0, len(sent), 100)]
    if peer.publish == "ws":
        socket = await Socket.open("/publish")
        for batch in batches:
            socket.send(b"".join(batch))
            await asyncio.sleep(0.002)
        return
    _, writer = await asyncio.open_connection(*PUBLISH.split(":"))
    if peer.publish == "nats":
        writer.write(b'CONNECT {"verbose":false}\r\n')
        sent = [b"PUB u.%d 40\r\n%b\r\n" % (int.from_bytes(update[:8], "little"), update) for update in sent]
    stream = b"".join(sent)
    for at in range(0, len(stream), 3_991):
        writer.write(stream[at : at + 3_991])
        await writer.drain()
        await asyncio.sleep(0.002)


async def check(peer: Peer) -> str:
    server = await asyncio.create_subprocess_exec(
        *peer.argv(LISTEN, PUBLISH), stdout=asyncio.subprocess.PIPE
    )
    try:
        line = await asyncio.wait_for(server.stdout.readline(), 20)
        assert line == b"ready\n", line
        sessions = []
        for number in range(3):
            symbols = [*range(number, 30, 3), 40]
            sessions.append((symbols, await subscribe(peer, symbols)))
        last = dict.fromkeys(range(SYMBOLS), 0)
        sent = []
        for number in range(UPDATES):
            symbol = number % SYMBOLS
            last[symbol] += 1
            sent.append(struct.pack("<QQQ16x", symbol, last[symbol], time.time_ns()))
        publishing = asyncio.create_task(publish(peer, sent))
        count = 0
        for symbols, socket in sessions:
            seen = dict.fromkeys(symbols, 0)
            want = {symbol: last[symbol] for symbol in symbols}
            async for update in updates(peer, socket):
                symbol, sequence, _ = struct.unpack_from("<QQQ", update)
                assert sequence == seen[symbol] + 1, f"symbol {symbol}: {sequence} after {seen[symbol]}"
                seen[symbol] = sequence
                count += 1
                if seen == want:
                    break
        await publishing
        return f"{count:,} deliveries, all there, in order"
    finally:
        server.terminate()
        await server.wait()


def main() -> int:
    failed = 0
    for key in sys.argv[1:] or PEERS:
        if not is_installed(PEERS[key]):
            print(f"{key:15} not installed")
            continue
        try:
            print(f"{key:15} {asyncio.run(check(PEERS[key]))}")
        except Exception as error:  # noqa: BLE001 - one broken peer must not hide the others
            failed += 1
            print(f"{key:15} FAILED: {type(error).__name__} {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
