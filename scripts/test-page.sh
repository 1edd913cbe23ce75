#!/usr/bin/env bash
# Tests the demo page in headless Chromium: against scripted gateways, then against the real demo. It needs
# scripts/setup-page-tests.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# As the tests build it, so that nothing is compiled again with other features.
cargo test --quiet --workspace --test e2e --no-run
binary=${CARGO_TARGET_DIR:-target}/debug/tickwire
log=$(mktemp)
"$binary" demo --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 >"$log" 2>&1 &
demo=$!
trap 'kill "$demo" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 200); do
    grep -q 'stream: ws://' "$log" && break
    kill -0 "$demo" || { cat "$log"; exit 1; }
    sleep 0.1
done
address=$(sed -n 's|^stream: ws://\([^/]*\)/.*|\1|p' "$log")
cd tests/page
TICKWIRE_DEMO_URL="http://$address/" node --test --test-concurrency=1 ./*.test.mjs
