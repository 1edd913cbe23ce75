#!/usr/bin/env bash
# Fuzzes everything that reads bytes from strangers, with coverage guidance: scripts/fuzz.sh [SECONDS IN ALL] [TARGET]
# The target `engine` drives the fan-out engine with schedules made of bytes; it runs only where it is named.
# It needs a C++ compiler (for libFuzzer, which cargo builds) and stable Rust; nothing is installed. It keeps what it finds
# interesting in fuzz/target/corpus, and what fails in fuzz/target/failures. It ends with status 1 at the first failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
targets="decode_proto decode_msgpack decode_json decode_command bus_frame websocket session request proxied"
targets="$targets token jwks claims revocation api_keys recording"
chosen=${2:-$targets}
# The engine needs the gateway and all that it is built from: only where it is asked for.
case " $chosen " in *" engine "*) features=engine ;; *) features= ;; esac
case " $chosen " in *" claims "* | *" revocation "* | *" api_keys "*) features="$features auth" ;; esac
# The cryptography is compiled for a minute: only where it is asked for.
case " $chosen " in *" token "* | *" jwks "*) features="$features jwt" ;; esac
case " $chosen " in *" recording "*) features="$features recordings" ;; esac
host=$(rustc -vV | sed -n 's/^host: //p')

command -v c++ >/dev/null || { echo "no C++ compiler: install g++ or clang" >&2; exit 1; }
# As the tests build it, so that nothing is compiled again with other features.
cargo build --quiet --workspace --example fuzz_seeds --example recording_seeds
for seeds in fuzz_seeds recording_seeds; do
    "${CARGO_TARGET_DIR:-target}/debug/examples/$seeds" fuzz/target/seeds
done
cd fuzz
export CARGO_TARGET_DIR="$PWD/target"

# What `cargo fuzz` passes, less the address sanitizer: that needs a nightly compiler, and our code has no `unsafe`.
# `--target` keeps these flags away from build scripts.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
cargo build --quiet --release --bins --features "$features" --target "$host"
mkdir -p target/failures
# Each core takes one target at a time.
cores=$(nproc)
count=$(echo "$chosen" | wc -w)
each=$((seconds / ((count + cores - 1) / cores)))
one() {
    mkdir -p "target/corpus/$1" "target/seeds/$1"
    "target/$host/release/$1" "target/corpus/$1" "target/seeds/$1" \
        -max_total_time="$each" -max_len=4096 -rss_limit_mb=512 -timeout=5 -print_final_stats=1 \
        -artifact_prefix="target/failures/$1-" >"target/$1.log" 2>&1 || {
        tail -40 "target/$1.log"
        return 1
    }
    echo "== $1"
    grep -E 'DONE|number_of_executed_units|peak_rss_mb' "target/$1.log"
}
export -f one
export host each
echo "$chosen" | tr ' ' '\n' | xargs -P "$cores" -I TARGET bash -c 'one TARGET'
