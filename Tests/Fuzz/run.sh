#!/bin/bash
# run.sh [RUNS]: mutated inputs for every harness of zerofs-fuzz, from the corpus beside: so many executions each, or 5 s each
# without a number. An input that crashes, takes a second of processor time, 20 s or 200 MB ends it; it is kept in .build-fuzz/found,
# and `swift run zerofs-fuzz HARNESS FILE` reads it again. First a canary shows that a crash would be seen.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=.build-fuzz
limit=-max_total_time=5
[ $# = 0 ] || limit=-runs=$1
mkdir -p $build/found
swift build -c release --sanitize fuzzer -Xswiftc -DFUZZING --scratch-path $build --product zerofs-fuzz
top=$PWD scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch SWIFT_BACKTRACE=enable=no

fuzz() {
  ZEROFS_FUZZ=$1 "$build/release/zerofs-fuzz" "${@:2}" -timeout=20 -rss_limit_mb=200 -max_len=16384 -print_final_stats=1
}

if ZEROFS_FUZZ_CANARY=1 fuzz zip -runs=100000 -artifact_prefix="$scratch/" >/dev/null 2>&1; then
  echo "the canary's crash was not found: the fuzzer does not work here" >&2
  exit 1
fi
echo "the canary's crash was found"
for corpus in Tests/Fuzz/corpus/*; do
  harness=$(basename "$corpus")
  mkdir "$scratch/$harness"
  if ! fuzz "$harness" "$limit" -artifact_prefix="$top/$build/found/$harness-" "$scratch/$harness" "$top/$corpus" 2>"$scratch/log"; then
    tail -n 40 "$scratch/log" >&2
    exit 1
  fi
  echo "$harness: $(sed -n 's/^stat::number_of_executed_units: *//p' "$scratch/log") executions, at most $(sed -n 's/^stat::peak_rss_mb: *//p' "$scratch/log") MB"
done
