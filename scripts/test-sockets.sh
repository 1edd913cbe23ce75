#!/usr/bin/env bash
# Slow, stalled and distant readers at a real gateway on real sockets: five minutes, in a release build.
#
#   scripts/test-sockets.sh          all
#   scripts/test-sockets.sh slow:: stalled::   those whose name holds one of these
#
# They measure, so they run one at a time. THREADS=3 runs three at a time: only for such as leave the processors alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/release-packages.sh
cargo test --release "${release_packages[@]}" --test sockets -- --ignored --nocapture "--test-threads=${THREADS:-1}" "$@"
