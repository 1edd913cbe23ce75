#!/usr/bin/env bash
# Tests slow, stalled and distant readers at a real gateway on real sockets: it takes five minutes, in a release build.
#
#   scripts/test-sockets.sh          all
#   scripts/test-sockets.sh slow::   those whose name holds this
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# They run one at a time, because they measure.
cargo test --release --package tickwire-gateway --test sockets -- --ignored --nocapture --test-threads=1 "$@"
