#!/usr/bin/env bash
# nats-server with its own WebSocket, no compression, no TLS; everything else is its default.
#
#   nats.sh --listen HOST:PORT --publish HOST:PORT     the second takes core NATS from the publisher
set -euo pipefail
[[ $# -eq 4 && $1 == --listen && $3 == --publish ]] || { sed -n '2,5p' "$0" | cut -c3-; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
listen=$2 publish=$4
files=$(mktemp -d)
cat >"$files/nats.conf" <<CONF
listen: "$publish"
websocket { listen: "$listen", no_tls: true, compression: false }
CONF
{
    until (exec 3<>"/dev/tcp/${listen/://}" 4<>"/dev/tcp/${publish/://}") 2>/dev/null; do sleep 0.05; done
    rm -r "$files"
    echo ready
} &
exec "$root/.cache/nats-server" --config "$files/nats.conf" 2>/dev/null
