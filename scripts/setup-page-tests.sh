#!/usr/bin/env bash
# Installs what the tests of the demo page need: Chromium and playwright-core. It may be run again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v chromium >/dev/null; then
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium
fi
cd tests/page
# npm writes this copy of the lock file last: as long as it is not older, nothing is to be done.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  npm ci --no-audit --no-fund
  touch node_modules/.package-lock.json
fi
