#!/usr/bin/env bash
# Runs the cases of the Autobahn suite against an echo behind the gateway's listener, and against `tickwire demo`; see
# tests/autobahn/run.py. It takes about half a minute beside compiling.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup-tests.sh
# As the tests build them, so that nothing is compiled again with other features.
cargo test --quiet --workspace --test e2e --no-run
cargo build --quiet --workspace --example echo
target=${CARGO_TARGET_DIR:-target}/debug
logs=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$logs"' EXIT
"$target/examples/echo" >"$logs/echo" &
pids+=($!)
"$target/tickwire" demo --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 >"$logs/gateway" 2>&1 &
pids+=($!)
url() {
    for _ in $(seq 300); do
        if grep -q 'stream: ws://' "$logs/$1"; then
            sed -n 's|^stream: ||p' "$logs/$1"
            return
        fi
        sleep 0.1
    done
    cat "$logs/$1" >&2
    return 1
}
echo_url=$(url echo)
gateway_url=$(url gateway)
.cache/venv/bin/python tests/autobahn/run.py "$echo_url" "$gateway_url"
