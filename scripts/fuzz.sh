#!/bin/sh
# Fuzzes everything that reads bytes from strangers, with coverage guidance: scripts/fuzz.sh [SECONDS IN ALL] [TARGET]
# The target `engine` drives the fan-out engine with schedules made of bytes; it runs only where it is named.
# It needs a C++ compiler (for libFuzzer, which cargo builds) and stable Rust; nothing is installed. It keeps what it finds
# interesting in fuzz/target/corpus, and what fails in fuzz/target/failures. It ends with status 1 at the first failure.
set -eu
cd "$(dirname "$0")/../fuzz"
seconds=${1:-60}
targets="decode_proto decode_msgpack decode_json decode_command bus_frame"
chosen=${2:-$targets}
# The engine needs the gateway and all that it is built from, so it runs only where it is asked for.
case " $chosen " in *" engine "*) features=engine ;; *) features= ;; esac
export CARGO_TARGET_DIR="$PWD/target"
host=$(rustc -vV | sed -n 's/^host: //p')

command -v c++ >/dev/null || { echo "no C++ compiler: install g++ or clang" >&2; exit 1; }
cargo run --quiet --release --example seeds -- target/seeds

# These are the flags that `cargo fuzz` passes, less the address sanitizer: that needs a nightly compiler, and our code has no `unsafe`.
# `--target` keeps these flags away from build scripts.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
cargo build --quiet --release --bins --features "$features" --target "$host"
mkdir -p target/failures
each=$((seconds / $(echo "$chosen" | wc -w)))
for target in $chosen; do
    mkdir -p "target/corpus/$target" "target/seeds/$target"
    echo "== $target"
    "target/$host/release/$target" "target/corpus/$target" "target/seeds/$target" \
        -max_total_time="$each" -max_len=4096 -rss_limit_mb=512 -timeout=5 -print_final_stats=1 \
        -artifact_prefix="target/failures/$target-" >"target/$target.log" 2>&1 ||
        { tail -40 "target/$target.log"; exit 1; }
    grep -E 'DONE|number_of_executed_units|peak_rss_mb' "target/$target.log"
done
