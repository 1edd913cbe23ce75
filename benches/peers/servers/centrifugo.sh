#!/usr/bin/env bash
# Centrifugo 6 with NATS as its broker, raw mode: a message on subject u.<symbol> goes to the channel of that name as
# it is. The nats-server runs beside it; only Centrifugo's process is measured. This is written from its documentation and
# configuration types. install.sh builds Centrifugo where Go is there; else it is taken from the PATH.
#
#   centrifugo.sh --listen HOST:PORT --publish HOST:PORT     the second takes core NATS from the publisher
set -euo pipefail
[[ $# -eq 4 && $1 == --listen && $3 == --publish ]] || { sed -n '2,7p' "$0" | cut -c3-; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
PATH=$root/.cache/centrifugo:$PATH
command -v centrifugo >/dev/null || { echo 'no centrifugo: benches/peers/install.sh builds it where Go is there' >&2; exit 1; }
listen=$2 publish=$4
files=$(mktemp -d)
answers() { (exec 3<>"/dev/tcp/${1/://}") 2>/dev/null; }
wait_for() { until answers "$1"; do sleep 0.05; done; }

cat >"$files/config.json" <<JSON
{
  "http_server": { "address": "${listen%:*}", "port": "${listen#*:}" },
  "client": { "insecure": true },
  "broker": {
    "enabled": true,
    "type": "nats",
    "nats": { "url": "nats://$publish", "raw_mode": { "enabled": true } }
  }
}
JSON
me=$$
{
    "$root/.cache/nats-server" --addr "${publish%:*}" --port "${publish#*:}" 2>/dev/null &
    nats=$!
    wait_for "$listen"
    rm -r "$files"
    echo ready
    while kill -0 "$me" 2>/dev/null; do sleep 0.5; done
    kill "$nats"
} &
wait_for "$publish"
exec centrifugo --config "$files/config.json" 2>/dev/null >&2
