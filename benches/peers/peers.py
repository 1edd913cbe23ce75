"""The servers that are measured: how each is started and what it speaks. Checks, runner and tables share this place."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RUST = TARGET / "peers" / "release"
SERVERS = HERE / "servers"
# install.sh builds it where Go is there.
CENTRIFUGO = ROOT / ".cache" / "centrifugo" / "centrifugo"
PYTHON = ROOT / ".cache" / "peers-venv" / "bin" / "python"


@dataclass(frozen=True)
class Peer:
    """One server. `kind` and `publish` are words of `tickwire-loadgen`: they say what a session speaks and how updates go in."""

    key: str
    name: str
    version: str
    kind: str
    publish: str
    command: tuple[str, ...]
    path: str = "/"
    # The lot of a slow consumer when nothing is configured.
    slow: str = ""
    # The first price after a subscription.
    first: str = "the next update: it keeps no last value"
    # The settings of Tickwire that differ from the scenario. `{bus}` is the address of a nats-server that is started for it.
    extra: dict = field(default_factory=dict)

    def argv(self, listen: str, publish: str) -> list[str]:
        return [*self.command, "--listen", listen, "--publish", publish]


def floor(tick_us: int) -> Peer:
    ms = f"{tick_us / 1000:g}ms"
    return Peer(
        f"floor-{ms}", f"kernel floor, {ms[:-2]} ms", "", "raw40", "tcp",
        (str(RUST / "floor"), "--tick-us", str(tick_us)), slow="misses updates beyond 1 MiB",
    )  # fmt: skip


PEERS = {
    peer.key: peer
    for peer in [
        Peer(
            "socket.io", "Socket.IO", "4.8.4, Node 20", "socket.io", "tcp",
            ("node", str(SERVERS / "socket_io.mjs")), path="/socket.io/?EIO=4&transport=websocket",
            slow="buffers without a limit",
        ),
        Peer(
            "ws", "ws", "8.23.0, Node 20", "raw40", "tcp",
            ("node", str(SERVERS / "ws.mjs")), slow="buffers without a limit",
        ),
        Peer(
            "nats", "nats-server (WebSocket)", "2.15.1", "nats-ws", "nats",
            (str(SERVERS / "nats.sh"),), slow="is cut off at 64 MiB or after 10 s",
        ),
        Peer(
            "tungstenite", "tokio-tungstenite, naive", "0.30.0", "raw40", "tcp",
            (str(RUST / "tungstenite"),), slow="misses updates when 1,024 wait",
        ),
        Peer(
            "fastwebsockets", "fastwebsockets, naive", "0.10.0", "raw40", "tcp",
            (str(RUST / "fastwebsockets"),), slow="misses updates when 1,024 wait",
        ),
        Peer(
            "uwebsockets", "uWebSockets C++", "through socketify 0.0.31", "raw40", "ws",
            (str(PYTHON), str(SERVERS / "uwebsockets.py")), slow="misses updates when 64 KiB wait",
        ),
        Peer(
            "centrifugo", "Centrifugo", "6.9.1", "centrifugo", "nats",
            (str(SERVERS / "centrifugo.sh"),), path="/connection/websocket?cf_protocol=protobuf",
            slow="is cut off at 1 MiB",
        ),
        *map(floor, (250, 500, 1_000, 2_000, 5_000, 16_000)),
        # It looks at its clients as often as Tickwire at its clock, and keeps the same promise to those that are idle.
        Peer(
            "floor-heartbeat", "kernel floor, a heartbeat each second", "", "raw40", "tcp",
            (str(RUST / "floor"), "--tick-us", "50000", "--heartbeat-ms", "1000"),
        ),
    ]
}  # fmt: skip


def tickwire(key: str, name: str, extra: dict) -> Peer:
    """Tickwire itself: the load generator starts its gateway, so there is no command."""
    return Peer(key, name, "this checkout", "tickwire", "", (), slow="gets the newest, and is told what it missed",
                first="the last value", extra=extra)


OURS = {
    peer.key: peer
    for peer in [
        tickwire("tickwire", "**Tickwire**", {}),
        tickwire("tickwire-16ms", "**Tickwire**, 16 ms window", {"sessions": {"window": "16ms"}}),
        tickwire("tickwire-nats", "**Tickwire**, through NATS", {"target": {"bus": ["nats://{bus}"]}}),
    ]
}

ALL = {**PEERS, **OURS}


def is_installed(peer: Peer) -> bool:
    """Centrifugo is built where Go is there; another one may be on the PATH."""
    return peer.key != "centrifugo" or CENTRIFUGO.exists() or shutil.which("centrifugo") is not None
