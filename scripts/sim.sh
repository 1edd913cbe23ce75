#!/usr/bin/env bash
# Simulates the whole path with many seeds: scripts/sim.sh [SEEDS] [FIRST SEED]. It is a release build; each core takes its part of
# the seeds, and one core takes some 5 minutes for 10,000. It ends with status 1 when a seed failed, after it printed the trace and
# the command that runs the seed again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${1:-} == --help ]]; then
    sed -n '2,4s/^# //p' "$0"
    exit 0
fi
seeds=${1:-10000}
first=${2:-0}
cores=$(nproc)
. scripts/release-packages.sh
run=(cargo test --quiet --release "${release_packages[@]}" --test sim)
"${run[@]}" --no-run
part=$(((seeds + cores - 1) / cores))
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
running=()
for ((from = 0; from < seeds; from += part)); do
    count=$((seeds - from < part ? seeds - from : part))
    TICKWIRE_SIM_SEEDS=$count TICKWIRE_SIM_FIRST=$((first + from)) \
        "${run[@]}" seeds -- --nocapture > "$logs/$from" 2>&1 &
    running+=("$!:$from")
done
failed=0
for each in "${running[@]}"; do
    wait "${each%%:*}" || failed=1
    cat "$logs/${each#*:}"
done
exit "$failed"
