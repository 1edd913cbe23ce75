"""uWebSockets (C++) through socketify: native topics, so that fan-out and writing run in C++.

Only libuv's loop runs here: socketify's asyncio loop spins. Python is called once for each message of the publisher and
hands every update in it to the native publish. The publisher comes in by WebSocket on /publish, since libuv's plain
sockets are not offered to Python; its messages hold any number of 40-byte updates.
"""

import argparse
import struct

from socketify import App, AppListenOptions, OpCode
from socketify.native import ffi, lib

UPDATE_BYTES = 40
BINARY = int(OpCode.BINARY)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--publish", help="not used: the publisher comes in at /publish of the same address")
    host, port = parser.parse_args().listen.split(":")

    app = App()
    topics = [str(symbol).encode() for symbol in range(100_000)]
    from_buffer, publish = ffi.from_buffer, lib.uws_publish
    ssl, native_app = app.SSL, app.app

    waiting = []

    def on_updates(_socket, message, _opcode):
        # It is not published at once: inside a message's handler the library's one cork buffer is taken by the publisher's
        # socket, and every update that it has to write then costs a system call of its own.
        waiting.append(message)

    def publish_waiting(_data):
        for message in waiting:
            start = from_buffer(message)
            for at in range(0, len(message), UPDATE_BYTES):
                topic = topics[int.from_bytes(message[at : at + 8], "little")]
                publish(ssl, native_app, topic, len(topic), start + at, UPDATE_BYTES, BINARY, False)
        waiting.clear()

    def on_symbols(socket, message, _opcode):
        for (symbol,) in struct.iter_unpack("<I", message):
            socket.subscribe(topics[symbol])
        socket.send("ok", OpCode.TEXT)

    # All that is not named here is uWebSockets' default, its limit of 64 KiB for a slow consumer included.
    app.ws("/publish", {"message": on_updates, "max_payload_length": 16 << 20})
    app.ws("/", {"message": on_symbols})
    app.listen(AppListenOptions(port=int(port), host=host), lambda _options: print("ready", flush=True))
    # This runs after each turn's reading and, since libuv calls the youngest first, before the library writes what it has.
    check = app.loop.uv_loop.create_check(publish_waiting, None)
    app.loop.uv_loop.run()
    check.stop()


if __name__ == "__main__":
    main()
