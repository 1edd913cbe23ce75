#!/usr/bin/env bash
# Installs everything that tests need, then runs all tests: this is the README's second command.
#
#   scripts/test.sh             all
#   scripts/test.sh --no-page   without the browser (Chromium is not installed then)
#
# TICKWIRE_DATA=<folder of recordings> switches on the tests on real recordings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

with_page=yes
for argument in "$@"; do
    case $argument in
        --no-page) with_page=no ;;
        *) sed -n '2,8p' "$0" | cut -c3-; exit 2 ;;
    esac
done

scripts/setup-tests.sh
python3 scripts/run_tests.py

# Traces are in a build of their own.
cargo test --quiet --package tickwire --features otel --test otel

# These are real servers that the load generator drives beside Tickwire.
if command -v npm >/dev/null; then
    (cd benches/peers && npm ci --no-audit --no-fund --loglevel=error >/dev/null)
    cargo test --workspace --test peers --quiet -- --ignored
fi

.cache/venv/bin/python -m unittest discover --quiet --start-directory tests/python

if [[ $with_page == yes ]]; then
    scripts/setup-page-tests.sh
    scripts/test-page.sh
fi
echo 'all tests passed'
