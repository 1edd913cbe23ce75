"""Floods of handshakes from many addresses: of TCP, of HTTP and of TLS. Each row is run alone, because it takes all places that there are.

Clients on the gateway's own machine are not limited by address, so what TCP brings comes from many addresses of 127.0.0.0/8, and what
HTTP brings has the addresses that a listed proxy tells.
"""

import asyncio
import ssl

from cases import case, from_address
from peer import head

SILENT = 2_000
HELLOS = 1_000
# Fewer at a time than there are places, so that none has to go for another one.
HELLOS_AT_A_TIME = 40
REFUSED = 500
ASKED_MAX = 40_000
ASKED_AT_A_TIME = 40


def source(number):
    """Returns one of many addresses of this machine."""
    return f"127.{1 + number % 200}.{number // 200 % 250}.{1 + number // 50_000}"


def client_hello():
    """Returns the first bytes of a TLS client."""
    context, sent = ssl.create_default_context(), ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return sent.read()


async def refused(gateway):
    """Returns how many requests were refused for their rate, as the metrics have it."""
    counts = [await gateway.metric(f'handshakes_refused_total{{reason="{reason}"}}') for reason in ("rate", "address_rate")]
    return sum(counts)


async def others_come_in(door):
    """Returns whether a client that asks like any other gets a session, while the flood goes on. It may have to go for newer ones once,
    also in the middle of TLS, and then tries again."""
    for _ in range(20):
        try:
            if await door.ask(head()) == "101":
                return True
        except (OSError, ssl.SSLError):
            pass
    return False


@case("flood of connections", f"{SILENT} connections from as many addresses, which say nothing", "all are cut, others come in", alone=True)
async def _(door, gateway):
    evicted = await gateway.metric("connections_evicted_total")
    places = asyncio.Semaphore(200)

    async def one(number):
        async with places:
            peer = await door.raw(source(number))
            has_more = await peer.more()
            peer.drop()
            return not has_more

    flood = asyncio.gather(*(one(number) for number in range(SILENT)))
    came_in = await others_come_in(door)
    cut = sum(await flood)
    evicted = await gateway.metric("connections_evicted_total") - evicted
    is_right = cut == SILENT and evicted > 0 and came_in
    return "all are cut, others come in" if is_right else f"{cut} are cut, {evicted} for others, others come in: {came_in}"


@case("flood of TLS", f"{HELLOS} clients from as many addresses, which begin TLS and say no more", "each is counted, others come in", alone=True)
async def _(door, gateway):
    count = "tls_handshake_failures_total" if door.tls else 'handshakes_refused_total{reason="bad_head"}'
    before, places, hello = await gateway.metric(count), asyncio.Semaphore(HELLOS_AT_A_TIME), client_hello()

    async def one(number):
        async with places:
            peer = await door.raw(source(number))
            await peer.send(hello)
            while await peer.more():
                pass
            answer = peer.buffer
            peer.drop()
            return answer

    flood = asyncio.gather(*(one(number) for number in range(HELLOS)))
    came_in = await others_come_in(door)
    # Where TLS is spoken it is the hello of a server, and else the refusal of what is no HTTP.
    first = b"\x16\x03" if door.tls else b"HTTP/1.1 400 "
    answered = sum(answer.startswith(first) for answer in await flood)
    counted = await gateway.metric(count) - before
    is_right = answered == counted == HELLOS and came_in
    return "each is counted, others come in" if is_right else f"{answered} answered, {counted} counted, others come in: {came_in}"


@case("flood of requests", f"requests for sessions from many addresses, until {REFUSED} are refused", "101 or 429, each counted", alone=True)
async def _(door, gateway):
    before = await refused(gateway)
    numbers, answers = iter(range(ASKED_MAX)), {}

    async def some():
        for number in numbers:
            peer = await door.connect()
            await peer.send(head(from_address(f"203.0.{113 + number % 100}.{number // 100 % 250}")))
            status, headers = await peer.response() or (0, {})
            peer.drop()
            answer = f"{status}{' without a time' if status == 429 and 'retry-after' not in headers else ''}"
            answers[answer] = answers.get(answer, 0) + 1
            if answers.get("429", 0) >= REFUSED:
                return

    await asyncio.gather(*(some() for _ in range(ASKED_AT_A_TIME)))
    counted = await refused(gateway) - before
    is_right = answers.keys() == {"101", "429"} and counted == answers["429"] >= REFUSED
    # Those on this machine are not limited, and nobody's flood limits them.
    came_in = await others_come_in(door)
    return "101 or 429, each counted" if is_right and came_in else f"{answers}, {counted} counted, others come in: {came_in}"
