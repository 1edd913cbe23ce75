#!/usr/bin/env bash
# Measures paths and readers of all kinds, with the freshness window and without, on real sockets, and writes the table and picture of
# docs/benchmarks.md. It takes two minutes with the build, on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export TICKWIRE_WRITE_PATHS=$PWD/docs/benchmarks
scripts/test-sockets.sh paths::
python3 benches/peers/paths.py
