#!/usr/bin/env bash
# Installs what is missing, runs the peers and writes docs/benchmarks.md. `--help` has the options.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/install.sh"
exec "$here/../../.cache/peers-venv/bin/python" "$here/run.py" "$@"
