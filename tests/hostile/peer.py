"""A client that may do what no library lets one do: raw bytes towards a gateway, over plain TCP or TLS, and what comes back."""

import asyncio
import base64
import ssl
import struct

PATIENCE = 20  # seconds after which a case fails that would wait for ever; nothing is measured by it
KEY = base64.b64encode(b"the sample nonce").decode()
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HANDSHAKE = {
    "Host": "127.0.0.1",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def head(changes=(), path="/v1/stream", method="GET", version="HTTP/1.1"):
    """Returns the head of a handshake. A change is a name with a value, with several (a list), or with none (None)."""
    fields = HANDSHAKE | dict(changes)
    lines = [f"{method} {path} {version}"]
    for name, value in fields.items():
        values = value if isinstance(value, list) else [value]
        lines += [f"{name}: {one}" for one in values if one is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(payload=b"", opcode=TEXT, last=True, rsv=0, mask=b"\x1f\x2e\x3d\x4c", length=None, wide=0):
    """Returns a frame of a client: `length` is what its head claims, `wide` how many bytes the length takes at least."""
    claimed = len(payload) if length is None else length
    first = (0x80 if last else 0) | rsv << 4 | opcode
    masked = 0x80 if mask else 0
    if claimed < 126 and wide < 2:
        start = struct.pack("!BB", first, masked | claimed)
    elif claimed < 1 << 16 and wide < 8:
        start = struct.pack("!BBH", first, masked | 126, claimed)
    else:
        start = struct.pack("!BBQ", first, masked | 127, claimed)
    if not mask:
        return start + payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return start + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def close(code, reason=b""):
    return frame(struct.pack("!H", code) + reason, CLOSE)


class Peer:
    """One connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.buffer = b""

    async def send(self, *parts):
        """Sends bytes. That the gateway has ended the connection meanwhile is told by what it sent, not here."""
        try:
            self.writer.write(b"".join(parts))
            await asyncio.wait_for(self.writer.drain(), PATIENCE)
        except (ConnectionError, ssl.SSLError):
            pass

    async def more(self):
        """Reads more bytes. Returns whether there are any."""
        try:
            data = await asyncio.wait_for(self.reader.read(1 << 16), PATIENCE)
        except (ConnectionError, ssl.SSLError):
            return False
        self.buffer += data
        return bool(data)

    async def response(self):
        """Returns status and headers of a response, and takes it out of what has come; None where the connection ended instead."""
        while b"\r\n\r\n" not in self.buffer:
            if not await self.more():
                return None
        start, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = start.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        length = 0 if status == 101 else int(headers.get("content-length", 0))
        while len(self.buffer) < length and await self.more():
            pass
        self.buffer = self.buffer[length:]
        return status, headers

    async def frame(self):
        """Returns opcode and payload of the next frame; None at the end of the connection."""
        while (found := self.find()) is None:
            if not await self.more():
                return None
        opcode, start, end = found
        payload, self.buffer = self.buffer[start:end], self.buffer[end:]
        return opcode, payload

    def find(self):
        if len(self.buffer) < 2:
            return None
        size, start = self.buffer[1] & 0x7F, 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            if len(self.buffer) < 2 + wide:
                return None
            size, start = int.from_bytes(self.buffer[2 : 2 + wide], "big"), 2 + wide
        end = start + size
        return (self.buffer[0] & 0x0F, start, end) if len(self.buffer) >= end else None

    async def told(self, part):
        """Reads until a message has this in it. Returns whether one has."""
        while (found := await self.frame()) is not None:
            if found[0] in (TEXT, BINARY) and part in found[1]:
                return True
        return False

    async def pongs(self, count):
        """Returns the payloads of so many pongs."""
        payloads = []
        while len(payloads) < count and (found := await self.frame()) is not None:
            payloads += [found[1]] if found[0] == PONG else []
        return payloads

    async def end(self):
        """Reads to the end of the connection. Returns the close code, or `cut` where no close frame came."""
        code = None
        while (found := await self.frame()) is not None:
            if found[0] == CLOSE:
                code = int.from_bytes(found[1][:2], "big")
        self.drop()
        return "cut" if code is None else str(code)

    def drop(self):
        """Ends the connection as a process does that dies: with a reset where bytes are unread."""
        self.writer.transport.abort()


class Door:
    """The way to a gateway."""

    def __init__(self, address, tls=None):
        self.host, port = address.rsplit(":", 1)
        self.port, self.tls = int(port), tls

    async def connect(self):
        """Opens a connection, without a byte of HTTP."""
        connecting = asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=1 << 20)
        return Peer(*await asyncio.wait_for(connecting, PATIENCE))

    async def raw(self, source):
        """Opens a connection of TCP from this address of the machine, also where TLS would come next."""
        connecting = asyncio.open_connection(self.host, self.port, local_addr=(source, 0))
        return Peer(*await asyncio.wait_for(connecting, PATIENCE))

    async def ask(self, *parts):
        """Sends bytes on a connection of its own. Returns the status of the response as text, or `cut` where none came."""
        peer = await self.connect()
        await peer.send(*parts)
        response = await peer.response()
        peer.drop()
        return "cut" if response is None else str(response[0])

    async def session(self, changes=(), path="/v1/stream", encoding="json"):
        """Opens a session. Returns its connection."""
        peer = await self.connect()
        await peer.send(head({"Sec-WebSocket-Protocol": f"tickwire.v1.{encoding}"} | dict(changes), path))
        response = await peer.response()
        if response is None or response[0] != 101:
            raise AssertionError(f"no session: {response}")
        return peer

