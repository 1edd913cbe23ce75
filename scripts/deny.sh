#!/usr/bin/env bash
# Checks dependencies by deny.toml. When the machine has no cargo-deny, it is installed into .cache/: as a program where there is one
# for this kind of machine, else from its source.
# Advisories are not checked: their database is not on a package registry.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.20.2
if ! cargo deny --version >/dev/null 2>&1; then
    scripts/setup-tests.sh
    export PATH=$PWD/.cache/venv/bin:$PWD/.cache/tools/bin:$PATH
    if ! cargo deny --version >/dev/null 2>&1; then
        echo 'deny: installing cargo-deny into .cache/tools' >&2
        # Not optimised: it runs for two seconds, and would be compiled for minutes.
        CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_DEBUG=false \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=64 \
            CARGO_TARGET_DIR=$PWD/.cache/tools/target cargo install --quiet --locked --root .cache/tools "cargo-deny@$version"
        rm -rf .cache/tools/target
    fi
fi
cargo deny check --hide-inclusion-graph bans licenses sources
