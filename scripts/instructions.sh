#!/usr/bin/env bash
# Counts the instructions of the engine per delivered update, and of the hub per record that comes, by valgrind's callgrind: the same on a
# busy machine as on a quiet one.
# Without arguments it counts, prints a table, and fails where a shape takes a tenth more than benches/instructions.txt says.
# Then it counts commands of clients, at two sizes, and fails where one grows faster than what it is about.
# With --write it keeps the counts there. (Counts change with the compiler: write them anew with a new one.)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} == --help ]]; then
    sed -n '2,6s/^# //p' "$0"
    exit 0
fi
if ! command -v valgrind > /dev/null; then
    apt-get install --yes --no-install-recommends valgrind > /dev/null
fi
. scripts/release-packages.sh
cargo build --quiet --release "${release_packages[@]}" --example instructions
program=${CARGO_TARGET_DIR:-target}/release/examples/instructions
kept=benches/instructions.txt
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

failed=0
printf '%-18s %12s %14s %10s\n' shape units 'instructions' kept
for shape in dashboard dashboard-single dashboard-json dashboard-trades firehose-trades books hub; do
    log=$(mktemp)
    deliveries=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*counted*' \
        "$program" "$shape" 2> "$log") || { cat "$log" >&2; exit 1; }
    instructions=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log")
    rm -f "$log"
    # Nothing counted means that the function was not found: that must not pass for a fast engine.
    [[ ${instructions:-0} -gt $deliveries ]] || { echo "$shape: nothing was counted" >&2; exit 1; }
    each=$((instructions / deliveries))
    before=$(awk -v shape="$shape" '$1 == shape { print $2 }' "$kept" 2> /dev/null || true)
    printf '%-18s %12d %14d %10s\n' "$shape" "$deliveries" "$each" "${before:--}"
    printf '%s %d\n' "$shape" "$each" >> "$counts"
    if [[ ${1:-} != --write ]] && ((each * 10 > ${before:-0} * 11)); then
        echo "$shape: $each instructions for each, ${before:-none} were kept" >&2
        failed=1
    fi
done

# The cost of a command must not grow with how much there is: per unit of work, with four times as many instruments.
count() {
    local log units instructions
    log=$(mktemp)
    units=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*counted*' \
        "$program" "$1" "$2" 2> "$log") || { cat "$log" >&2; exit 1; }
    instructions=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log")
    rm -f "$log"
    [[ ${instructions:-0} -gt $units ]] || { echo "$1: nothing was counted" >&2; exit 1; }
    echo $((instructions / units))
}
printf '\n%-18s %12s %14s\n' command '500 each' '2,000 each'
for task in resume unknown churn one ledger set_rate wildcard appear pending; do
    few=$(count "$task" 500)
    many=$(count "$task" 2000)
    printf '%-18s %12d %14d\n' "$task" "$few" "$many"
    if ((many * 10 > few * 13)); then
        echo "$task: $many instructions for one of 2,000, $few for one of 500" >&2
        failed=1
    fi
done
if [[ ${1:-} == --write ]]; then
    cp "$counts" "$kept"
    chmod 644 "$kept"
fi
exit "$failed"
