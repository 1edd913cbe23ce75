#!/usr/bin/env bash
# Tests the demo page in headless Chromium: against scripted gateways, then against the real demo, then against one with TLS. It needs
# scripts/setup-page-tests.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# As the tests build it, so that nothing is compiled again with other features.
cargo test --quiet --workspace --test e2e --no-run
binary=${CARGO_TARGET_DIR:-target}/debug/tickwire
files=$(mktemp --directory)
demos=()
trap 'for demo in "${demos[@]}"; do kill "$demo" 2>/dev/null || true; done; rm -rf "$files"' EXIT

# Starts a demo with these options, and sets `address` when it listens.
start() {
    local log=$files/log.${#demos[@]}
    "$binary" demo --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 "$@" >"$log" 2>&1 &
    local demo=$!
    demos+=("$demo")
    for _ in $(seq 200); do
        grep -q 'stream: ws' "$log" && break
        kill -0 "$demo" || { cat "$log"; exit 1; }
        sleep 0.1
    done
    address=$(sed -n 's|^stream: wss\{0,1\}://\([^/]*\)/.*|\1|p' "$log")
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
    -keyout "$files/key.pem" -out "$files/cert.pem" 2>/dev/null

start
plain=$address
start --tls-cert "$files/cert.pem" --tls-key "$files/key.pem"
cd tests/page
TICKWIRE_DEMO_URL="http://$plain/" node --test --test-concurrency=1 ./*.test.mjs
TICKWIRE_DEMO_URL="https://$address/" node --test --test-concurrency=1 page.test.mjs
