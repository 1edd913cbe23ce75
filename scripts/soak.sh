#!/usr/bin/env bash
# All simulated venues at ten times their usual rate, with random faults: an hour, in a release build.
#
#   scripts/soak.sh              an hour
#   scripts/soak.sh 600 7        ten minutes, with another seed
#
# Every book that is live is one that the venue had; at the end all of them are right, and the process has not grown.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TICKWIRE_SOAK=${1:-3600} TICKWIRE_SOAK_SEED=${2:-1} \
    cargo test --release --package tickwire-live --test live -- --ignored --nocapture soak::
