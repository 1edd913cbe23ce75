#!/usr/bin/env bash
# Checks all that needs no test: formatting, words, who knows what, lints, documentation, licences.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s (%(%H:%M:%S)T)\n' "$1" -1; }

step 'formatting'
cargo fmt --all -- --check

step 'words of the field, and sentences'
scripts/words.py

step 'wire and core know no runtime'
for crate in tickwire-wire tickwire-core; do
    if cargo tree --package "$crate" --edges normal --prefix none | grep -E '^(tokio|mio|async-nats|hyper|fastwebsockets|rustls|tickwire-net) '; then
        echo "$crate decides and encodes: it must not depend on these" >&2
        exit 1
    fi
done

step 'release builds of tests do without NATS and TLS'
. scripts/release-packages.sh
if cargo tree "${release_packages[@]}" --prefix none | grep -E '^(async-nats|rustls|aws-lc-sys) '; then
    echo 'these are compiled for minutes: scripts/release-packages.sh says what does without them' >&2
    exit 1
fi

step 'files import each other in no new circles'
scripts/circles.py | grep --invert-match '^ '

step 'clippy'
cargo clippy --workspace --all-targets -- -D warnings

step 'clippy, with traces'
cargo clippy --package tickwire --all-targets --features otel -- -D warnings

step 'nobody gets traces unasked'
if cargo tree --package tickwire --edges normal --prefix none | grep -E '^(opentelemetry|tracing-opentelemetry)'; then
    echo 'traces are behind the feature `otel`' >&2
    exit 1
fi

step 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet

step 'who may depend on what'
scripts/deny.sh
