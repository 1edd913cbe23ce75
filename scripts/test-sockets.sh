#!/usr/bin/env bash
# Slow, stalled and distant readers at a real gateway on real sockets: five minutes, in a release build.
#
#   scripts/test-sockets.sh          all
#   scripts/test-sockets.sh slow::   those whose name holds this
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# One at a time: they measure.
cargo test --release --package tickwire-gateway --test sockets -- --ignored --nocapture --test-threads=1 "$@"
