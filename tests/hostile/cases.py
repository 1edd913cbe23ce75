"""The table of hostile behaviours: what a client does, and the exact answer that it gets."""

import asyncio
import dataclasses
import random

from peer import BINARY, CLOSE, KEY, PING, PONG, close, frame, head

CASES = []


@dataclasses.dataclass
class Case:
    name: str
    what: str
    expected: str
    run: object
    alone: bool = False


def case(name, what, expected, alone=False):
    """Adds a row. The function gets the door, and the gateway's metrics, and returns the response that came. `alone`: it counts what the
    gateway holds, or takes all of something, so no other row may run at the same time."""

    def add(function):
        CASES.append(Case(name, what, expected, function, alone))
        return function

    return add


def asks(name, what, expected, *parts):
    """Adds a row: these bytes are sent on a fresh connection, and the status of the response is what counts."""

    async def function(door, gateway):
        return await door.ask(*parts)

    CASES.append(Case(name, what, expected, function))


def sends(name, what, expected, *parts, encoding="json"):
    """Adds a row: these bytes are sent in a session, and the close code is what counts."""

    async def function(door, gateway):
        peer = await door.session(encoding=encoding)
        await peer.send(*parts)
        return await peer.end()

    CASES.append(Case(name, what, expected, function))


def lives(name, what, *parts, encoding="json"):
    """Adds a row: these bytes are sent in a session, which goes on and answers a ping that comes behind them."""

    async def function(door, gateway):
        peer = await door.session(encoding=encoding)
        await peer.send(*parts, frame(b"still there?", PING))
        while await peer.pongs(1) not in ([b"still there?"], []):
            pass
        answer = "lives" if await alive(peer) else "ended"
        peer.drop()
        return answer

    CASES.append(Case(name, what, "lives", function))


async def alive(peer):
    await peer.send(frame(b"again?", PING))
    return await peer.pongs(1) == [b"again?"]


def subscribe(number, channel, symbols, op="subscribe"):
    listed = ",".join(f'"{symbol}"' for symbol in symbols)
    return frame(f'{{"op":"{op}","id":{number},"channel":"{channel}","symbols":[{listed}]}}'.encode())


# ---- heads that are refused before anything is upgraded

asks("no handshake", "a plain GET of the stream", "426", b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
asks("post", "POST in place of GET", "405", head(method="POST"))
asks("http 1.0", "HTTP/1.0", "400", head(version="HTTP/1.0"))
asks("http 2", "the preface of HTTP/2", "cut", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
asks("no host", "no Host", "400", head({"Host": None}))
asks("two hosts", "two Hosts", "400", head({"Host": ["a.example", "b.example"]}))
asks("bad host", "a Host that cannot be one", "400", head({"Host": "a b/c"}))
asks("no key", "no key", "400", head({"Sec-WebSocket-Key": None}))
asks("two keys", "two keys", "400", head({"Sec-WebSocket-Key": [KEY, KEY]}))
asks("short key", "a key of 15 bytes", "400", head({"Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1"}))
asks("no base64", "a key that is no Base64", "400", head({"Sec-WebSocket-Key": "this is no base64 !!!!!!"}))
asks("empty key", "an empty key", "400", head({"Sec-WebSocket-Key": ""}))
asks("version 8", "version 8", "426", head({"Sec-WebSocket-Version": "8"}))
asks("no version", "no version", "426", head({"Sec-WebSocket-Version": None}))
asks("two versions", "two versions", "426", head({"Sec-WebSocket-Version": ["13", "13"]}))
asks("no upgrade", "no Upgrade", "426", head({"Upgrade": None}))
asks("other upgrade", "Upgrade: h2c", "426", head({"Upgrade": "h2c"}))
asks("keep-alive", "Connection without Upgrade", "426", head({"Connection": "keep-alive"}))
asks("with body", "a body", "400", head({"Content-Length": "5"}), b"hello")
asks("chunked", "a body in chunks", "400", head({"Transfer-Encoding": "chunked"}), b"0\r\n\r\n")
asks("smuggling", "Content-Length beside Transfer-Encoding", "400",
     head({"Content-Length": "4", "Transfer-Encoding": "chunked"}), b"0\r\n\r\nGET /v1/limits HTTP/1.1\r\nHost: x\r\n\r\n")
asks("smuggling in a page", "the same for a page", "400",
     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
asks("two lengths", "two different Content-Lengths", "400", head({"Content-Length": ["1", "2"]}))
asks("folded header", "a header that goes on in the next line", "400", head({"X-A": "b\r\n c"}))
asks("space in a name", "a header's name with a space", "400", head({"X A": "b"}))
asks("zero byte", "a zero byte in a header", "400", head({"X-A": "b\0c"}))
asks("bad target", "a target with a space", "400", head(path="/v1/ stream"))
asks("bare carriage return", "a second request behind a bare carriage return in a header", "400", head({"X-A": "b\rGET / HTTP/1.1"}))
asks("garbage", "random bytes", "400", b"\x16\x03\x01" + random.Random(7).randbytes(200) + b"\r\n\r\n")
asks("long url", "a URL of 5,000 bytes", "414", head(path="/v1/stream?" + "x" * 5000))
asks("large head", "a head of 24 KB", "431", head({"X-A": "b" * 24_000}))
asks("larger head", "a head of 100 KB in one piece", "431", head({"X-A": "b" * 100_000}))


@case("much larger head", "a head of 500 KB of which most is still to be written when it is refused", "431, then the end")
async def _(door, gateway):
    peer = await door.connect()
    whole = head({"X-A": "b" * 500_000})
    for at in range(0, len(whole), 4_000):
        await peer.send(whole[at : at + 4_000])
    answer = await peer.response()
    has_more = await peer.more()
    peer.drop()
    return f"{answer and answer[0]}, then {'more' if has_more else 'the end'}"


@case("head without an end", "a head that goes on for ever behind its refusal: a limited part of it is read", "431, then cut")
async def _(door, gateway):
    peer = await door.connect()
    await peer.send(head()[:-2], b"X-A: ", b"b" * 40_000)
    answer = await peer.response()
    # The end of TLS on one side is the end of both in this client; TCP has halves, and the other one goes on.
    is_over = peer.reader.at_eof if door.tls else peer.writer.transport.is_closing
    for _ in range(4_000):
        if is_over():
            break
        await peer.send(b"b" * 4_000)
    is_cut = is_over()
    peer.drop()
    return f"{answer and answer[0]}, then {'cut' if is_cut else 'read'}"


asks("many headers", "200 headers", "431", head({f"X-{number}": "b" for number in range(200)}))
asks("other subprotocol", "an unknown subprotocol", "400", head({"Sec-WebSocket-Protocol": "mqtt"}))
asks("bad query", "window_ms that is no number", "400", head(path="/v1/stream?window_ms=x"))
asks("elsewhere", "another path", "404", head(path="/v2/stream"))
asks("dots", "a path out of the folder", "404", head(path="/v1/../../etc/passwd"))
asks("foreign page", "a page of another site", "403", head({"Origin": "https://evil.example"}))
asks("two origins", "two Origins, one of them our own", "403", head({"Origin": ["http://127.0.0.1", "https://evil.example"]}))
asks("null page", "a page without an origin", "403", head({"Origin": "null"}))


@case("own page", "a page of the gateway's own", "101")
async def _(door, gateway):
    return await door.ask(head({"Origin": "http://127.0.0.1"}))


@case("versions told", "a refusal of the version names ours", "13 websocket")
async def _(door, gateway):
    peer = await door.connect()
    await peer.send(head({"Sec-WebSocket-Version": "7"}))
    _, headers = await peer.response()
    peer.drop()
    return f"{headers.get('sec-websocket-version')} {headers.get('upgrade')}"


@case("pipelined pages", "50 requests for pages in one write", "50 x 200")
async def _(door, gateway):
    peer = await door.connect()
    await peer.send(b"GET /v1/limits HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    answers = [await peer.response() for _ in range(50)]
    peer.drop()
    return f"{sum(answer is not None and answer[0] == 200 for answer in answers)} x 200"


@case("pipelined behind a handshake", "a request behind the handshake, in the same write", "1002")
async def _(door, gateway):
    peer = await door.connect()
    await peer.send(head(), b"GET /v1/limits HTTP/1.1\r\nHost: x\r\n\r\n")
    await peer.response()
    return await peer.end()


@case("slow head", "a head that comes a byte at a time", "cut")
async def _(door, gateway):
    peer = await door.connect()

    async def drip():
        for byte in head():
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    answer = await peer.response()
    dripping.cancel()
    peer.drop()
    return "cut" if answer is None else str(answer[0])


@case("idle", "100 connections that say nothing, of which 64 have places", "cut", alone=True)
async def _(door, gateway):
    peers = [await door.connect() for _ in range(100)]
    ended = [await peer.more() for peer in peers]
    for peer in peers:
        peer.drop()
    return "more" if any(ended) else "cut"


@case("half a handshake", "connections that are reset within the head, 200 times", "lets others in", alone=True)
async def _(door, gateway):
    for cut in range(1, 201):
        peer = await door.connect()
        await peer.send(head()[:cut])
        peer.drop()
    return "lets others in" if await door.ask(head()) == "101" else "locked"


# ---- limits by address; the suite is a listed proxy, and tells the addresses


def from_address(address):
    return {"X-Forwarded-For": address}


@case("one address, many handshakes", "60 handshakes in a row from one address: 25 may come at once", "25 or a few more, then 429")
async def _(door, gateway):
    answers = [await door.ask(head(from_address("198.51.100.1"))) for _ in range(60)]
    is_right = set(answers) == {"101", "429"} and answers.index("429") >= 25
    return "25 or a few more, then 429" if is_right else f"{answers}"


@case("told to wait", "the refusal says when to come back", "429, Retry-After 1")
async def _(door, gateway):
    for _ in range(60):
        peer = await door.connect()
        await peer.send(head(from_address("2001:db8:7:7::1") | {"Sec-WebSocket-Version": "1"}))
        status, headers = await peer.response()
        peer.drop()
        if status == 429:
            return f"429, Retry-After {headers.get('retry-after')}"
    return "never"


@case("one network of IPv6", "an address for each handshake, of one /64", "429")
async def _(door, gateway):
    answers = [await door.ask(head(from_address(f"2001:db8:1:1::{number:x}"))) for number in range(1, 80)]
    return "429" if "429" in answers else f"{answers}"


@case("another address", "beside it another address is let in", "101")
async def _(door, gateway):
    return await door.ask(head(from_address("198.51.100.99")))


@case("forged addresses", "an address of its own choice before the one that the proxy adds", "429")
async def _(door, gateway):
    answers = [await door.ask(head(from_address(f"203.0.113.{number}, 198.51.100.2"))) for number in range(80)]
    return "429" if "429" in answers else f"{answers}"


@case("sessions of one address", "11 sessions from one address, of which 10 may be", "10, then 429")
async def _(door, gateway):
    peers = [await door.session(from_address("198.51.100.3")) for _ in range(10)]
    answer = await door.ask(head(from_address("198.51.100.3")))
    for peer in peers:
        peer.drop()
    return f"{len(peers)}, then {answer}"


# ---- frames

sends("unmasked", "a frame without a mask", "1002", frame(b"{}", mask=b""))
sends("reserved bit 1", "RSV1", "1002", frame(b"{}", rsv=4))
sends("reserved bit 2", "RSV2", "1002", frame(b"{}", rsv=2))
sends("reserved bit 3", "RSV3", "1002", frame(b"{}", rsv=1))
for opcode in (3, 7, 11, 15):
    sends(f"opcode {opcode}", "an opcode that is reserved", "1002", frame(b"", opcode))
sends("long ping", "a ping of 126 bytes", "1002", frame(b"x" * 126, PING))
sends("long close", "a close frame of 126 bytes", "1002", close(1000, b"x" * 124))
sends("ping in parts", "a ping in fragments", "1002", frame(b"x", PING, last=False))
sends("close in parts", "a close frame in fragments", "1002", frame(b"\x03\xe8", CLOSE, last=False))
sends("no message", "a fragment of no message", "1002", frame(b"x", 0))
sends("message in a message", "a message within the fragments of another", "1002", frame(b"{", last=False), frame(b"{}"))
sends("wide length", "a length of 5 in two bytes", "1002", frame(b"hello", wide=2))
sends("wider length", "a length of 5 in eight bytes", "1002", frame(b"hello", wide=8))
sends("negative length", "a length with its highest bit set", "1002", frame(b"x", length=1 << 63 | 1))
sends("4 GiB", "a frame that claims 4 GiB", "1009", frame(b"x", length=1 << 32))
sends("oversized", "a message one byte too large", "1009", frame(b" " * 65_537))
sends("oversized in parts", "fragments that are too large together", "1009",
      frame(b" " * 65_536, last=False), frame(b" ", 0))
sends("text: no UTF-8", "text with a byte that begins nothing", "1007", frame(b'{"op":"\xff"}'))
sends("text: surrogate", "text with half a surrogate pair", "1007", frame(b"\xed\xa0\x80"))
sends("text: overlong", "text with an overlong slash", "1007", frame(b"\xc0\xaf"))
sends("text: too high", "text above U+10FFFF", "1007", frame(b"\xf4\x90\x80\x80"))
sends("text: cut", "text that ends within a character", "1007", frame(b"\xe2\x82"))
sends("text: in parts", "text that fails in its second fragment, long before its end", "1007",
      frame(b"\xe2", last=False), frame(b"\x28 and more", 0, last=False))
sends("text: in a frame", "text that fails within a frame whose end never comes", "1007", frame(b"\xc0" + b" " * 500)[:40])
sends("text to protobuf", "the same where the session is Protobuf", "1007", frame(b"\xff"), encoding="proto")
sends("garbage frames", "64 bytes of ones", "1002", b"\xff" * 64)
lives("pings in fragments", "a command in three fragments with pings in between",
      frame(b'{"op":"led', last=False), frame(b"a", PING), frame(b'ger","id":1', 0, last=False), frame(b"b", PING), frame(b"}", 0))
lives("unasked pongs", "20 pongs that nobody asked for", frame(b"x" * 125, PONG) * 20)
lives("empty message", "a message without a byte", frame(b""))
lives("bytes to JSON", "a command in a binary message", frame(b'{"op":"ledger","id":1}', BINARY))
lives("characters in parts", "text whose characters are cut between fragments", frame(b'{"op":"\xe2', last=False), frame(b"\x82", 0, last=False), frame(b'\xac"}', 0))


@case("ping payload", "ten pings of up to 125 bytes: each is answered, in order", "10 pongs in order")
async def _(door, gateway):
    peer = await door.session()
    payloads = [bytes([number]) * (number * 13 + 8) for number in range(10)]
    await peer.send(*(frame(payload, PING) for payload in payloads))
    pongs = await peer.pongs(10)
    peer.drop()
    return "10 pongs in order" if pongs == payloads else f"{[len(pong) for pong in pongs]}"


# ---- close frames

for code in (1000, 1001, 1003, 1008, 1011, 1012, 3000, 3999, 4000, 4999):
    sends(f"close {code}", "a close code that may be sent is echoed", str(code), close(code))
for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535):
    sends(f"close {code}", "a close code that no frame may have", "1002", close(code))
sends("empty close", "a close frame without a code", "1000", frame(b"", CLOSE))
sends("half a code", "a close frame of one byte", "1002", frame(b"\x03", CLOSE))
sends("close: no UTF-8", "a close frame whose text is not UTF-8", "1007", close(1000, b"\xce\xba\xed\xa0\x80"))
sends("close and more", "frames behind a close frame", "1000", close(1000), frame(b"x", PING), b"\xff" * 5000)


@case("half close", "the client ends its way out without a close frame", "cut")
async def _(door, gateway):
    peer = await door.session()
    if peer.writer.can_write_eof():
        peer.writer.write_eof()
    else:  # TLS has no such half
        peer.writer.close()
    return await peer.end()


@case("reset in a frame", "100 sessions that are reset within a frame", "forgotten", alone=True)
async def _(door, gateway):
    before = await gateway.sessions()
    for _ in range(100):
        peer = await door.session()
        await peer.send(frame(b'{"op":"ledger","id":1}')[:9])
        peer.drop()
    return "forgotten" if await gateway.until(gateway.sessions, at_most=before) else "kept"


# ---- what takes too long

sends("unfinished frame", "a frame whose end does not come", "4411", frame(b'{"op":"ledger","id":1}')[:12])
sends("unfinished head", "a frame's head whose end does not come", "4411", frame(b" " * 300)[:3])
sends("unfinished message", "fragments whose end does not come", "4411", frame(b"{", last=False))


@case("slow frame", "a frame that comes a byte at a time", "4411")
async def _(door, gateway):
    peer = await door.session()

    async def drip():
        for byte in frame(b" " * 200):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    answer = await peer.end()
    dripping.cancel()
    return answer


@case("empty fragments, slowly", "a message of fragments without a byte, one each 100 ms", "4411")
async def _(door, gateway):
    peer = await door.session()
    await peer.send(frame(b"", last=False))

    async def drip():
        while True:
            await peer.send(frame(b"", 0, last=False))
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    answer = await peer.end()
    dripping.cancel()
    return answer


@case("silent", "a client that answers no ping", "4410")
async def _(door, gateway):
    peer = await door.session()
    return await peer.end()


@case("never reads", "a client that subscribes to everything and never reads", "slow_consumer", alone=True)
async def _(door, gateway):
    before = await gateway.closed("slow_consumer")
    peer = await door.session()
    peer.writer.transport.pause_reading()
    await peer.send(*(subscribe(number, channel, ["sim:*"]) for number, channel in enumerate(("trade", "book", "quote"))))

    async def ping():  # it is not silent, it only does not read
        while True:
            await peer.send(frame(b"", PONG))
            await asyncio.sleep(0.5)

    pinging = asyncio.create_task(ping())
    is_closed = await gateway.until(lambda: gateway.closed("slow_consumer"), at_least=before + 1)
    pinging.cancel()
    peer.drop()
    return "slow_consumer" if is_closed else "kept"


# ---- floods

COMMAND = frame(b'{"op":"ledger","id":1}')
sends("flood of commands", "1,000 commands at once", "4502", COMMAND * 1000)
sends("flood of pings", "1,000 pings at once", "4502", frame(b"x" * 125, PING) * 1000)
sends("flood of pongs", "1,000 pongs at once", "4502", frame(b"x", PONG) * 1000)
sends("flood of empty messages", "1,000 messages without a byte", "4502", frame(b"") * 1000)
sends("flood of empty fragments", "1,000 fragments without a byte", "4502", frame(b"", last=False), frame(b"", 0, last=False) * 1000)
sends("flood of what cannot be read", "1,000 messages that are no commands", "4502", frame(b"x") * 1000)
lives("many fragments", "a command in 20,000 fragments", frame(b"{", last=False),
      frame(b" ", 0, last=False) * 20_000, frame(b'"op":"ledger","id":2}', 0))


@case("subscription flood", "4,000 symbols that do not exist, in one command", "each is refused")
async def _(door, gateway):
    peer = await door.session()
    await peer.send(subscribe(1, "quote", [f"sim:X{number}" for number in range(4_000)]))
    is_told = await peer.told(b"unknown_symbol")
    peer.drop()
    return "each is refused" if is_told else "not told"


@case("flapping", "subscribe and unsubscribe everything, again and again", "4502")
async def _(door, gateway):
    peer = await door.session()
    for _ in range(400):
        await peer.send(subscribe(1, "trade", ["sim:*"]), subscribe(2, "trade", ["sim:*"], "unsubscribe"))
    return await peer.end()


@case("flapping sessions", "200 sessions that subscribe and vanish", "forgotten", alone=True)
async def _(door, gateway):
    before = await gateway.sessions()
    for _ in range(200):
        peer = await door.session()
        await peer.send(subscribe(1, "book", ["sim:*"]))
        peer.drop()
    return "forgotten" if await gateway.until(gateway.sessions, at_most=before) else "kept"


# ---- bytes that are no commands: they are answered, and the session goes on

for encoding in ("msgpack", "proto"):
    for seed in range(3):
        junk = random.Random(seed).randbytes(2_000)
        lives(f"random to {encoding}, {seed}", "random bytes", frame(junk, BINARY), encoding=encoding)
lives("nested JSON", "arrays 30,000 deep", frame(b"[" * 30_000))
lives("nested JSON in a command", "objects 6,000 deep where a field is", frame(b'{"op":"subscribe","symbols":' + b'{"a":' * 6_000))
lives("nested MessagePack", "arrays 60,000 deep", frame(b"\x91" * 60_000, BINARY), encoding="msgpack")
lives("MessagePack that claims much", "an array that claims 4 billion elements", frame(b"\xdd\xff\xff\xff\xff", BINARY), encoding="msgpack")
lives("MessagePack text that claims much", "a text that claims 4 GB", frame(b"\x92\x01\x94\x01\xdb\xff\xff\xff\xff", BINARY), encoding="msgpack")
lives("nested Protobuf", "groups 30,000 deep", frame(b"\x0b" * 30_000, BINARY), encoding="proto")
lives("Protobuf that claims much", "a field that claims 2 GB", frame(b"\x0a\xff\xff\xff\xff\x07", BINARY), encoding="proto")
lives("numbers out of range", "a rate and an id that no number holds", frame(b'{"op":"subscribe","id":1e999,"channel":"quote","symbols":[],"max_rate":1e999}'))
lives("names with everything", "symbols of control characters and quotes", subscribe(1, "quote", ["sim:\\u0000", "\\\\", "sim:" + "x" * 5000]))
