#!/usr/bin/env bash
# Runs the table of hostile behaviours (tests/hostile/cases.py) against `tickwire demo`: scripts/test-hostile.sh [ws|wss]
# Over wss it needs openssl, for a certificate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scheme=${1:-ws}

scripts/setup-tests.sh
# As the tests build it, so that nothing is compiled again with other features.
cargo test --quiet --workspace --test e2e --no-run
files=()
if [[ $scheme == wss ]]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>/dev/null
    files=("$folder/cert.pem" "$folder/key.pem")
fi
.cache/venv/bin/python tests/hostile/run.py "${CARGO_TARGET_DIR:-target}/debug/tickwire" "${files[@]}"
