#!/usr/bin/env bash
# Installs all that the peers need: npm packages, a Python environment and nats-server in .cache/, the Rust servers,
# the load generator in release builds. Run it again at any time; what is there already stays.
# Root is needed only where libuv or python3-venv is missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/.cache/peers-venv
say() { printf 'peers: %s\n' "$*" >&2; }

command -v node >/dev/null || { say 'Node.js 20 or newer is needed'; exit 1; }
(($(node -p 'parseInt(process.versions.node)') >= 20)) || { say "Node.js 20 or newer is needed, this is $(node --version)"; exit 1; }

missing=()
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
ldconfig -p | grep -q 'libuv\.so\.1 ' || missing+=(libuv1)
if ((${#missing[@]})); then
    say "installing ${missing[*]} with apt-get"
    as_root=()
    if [[ $(id -u) -ne 0 ]]; then
        command -v sudo >/dev/null || { say "run as root: apt-get install ${missing[*]}"; exit 1; }
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi

"$root/scripts/setup-tests.sh"

if [[ ! $here/node_modules/.package-lock.json -nt $here/package-lock.json ]]; then
    say 'npm packages'
    (cd "$here" && npm ci --no-audit --no-fund --loglevel=error >&2)
    touch "$here/node_modules/.package-lock.json"
fi

stamp=$venv/.requirements.sha256
wanted=$(sha256sum "$here/requirements.txt" | cut -d' ' -f1)
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
    say 'Python packages'
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        --requirement "$here/requirements.txt"
    printf '%s\n' "$wanted" >"$stamp"
fi
"$venv/bin/python" -c 'import socketify'

say 'release builds'
cargo build --quiet --release --locked --manifest-path "$here/rust/Cargo.toml" \
    --target-dir "${CARGO_TARGET_DIR:-$root/target}/peers"
cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" -p tickwire-loadgen
centrifugo=github.com/centrifugal/centrifugo/v6@v6.9.1
if [[ ! -x $root/.cache/centrifugo/centrifugo ]]; then
    if command -v go >/dev/null; then
        say "Centrifugo, ${centrifugo##*@}; some minutes"
        GOBIN=$root/.cache/centrifugo GOFLAGS=-trimpath go install "$centrifugo" || say 'Centrifugo could not be built'
    fi
    [[ -x $root/.cache/centrifugo/centrifugo ]] || command -v centrifugo >/dev/null || say 'no Centrifugo: it is left out (with Go on the PATH it is built)'
fi
say 'ready'
