#!/usr/bin/env bash
# Paths and readers of all kinds, with the freshness window and without, on real sockets: writes the table and the picture of
# docs/benchmarks.md. Two minutes with the build, on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export TICKWIRE_WRITE_PATHS=$PWD/docs/benchmarks
scripts/test-sockets.sh paths::
python3 benches/peers/paths.py
