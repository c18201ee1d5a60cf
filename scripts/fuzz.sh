#!/usr/bin/env bash
# Builds every fuzz target with clang and runs each for the given number of seconds on its corpus.
# New inputs stay in build/fuzz; a finding stops the run with the input's path. usage: scripts/fuzz.sh SECONDS [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift
scripts/build.sh fuzz
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for source in tests/fuzz/fuzz_*.c; do targets+=("$(basename "$source" .c)"); done
fi
for target in "${targets[@]}"; do
  work=build/fuzz/corpus/$target
  mkdir -p "$work" build/fuzz/findings
  seeds=()
  [ -d "tests/fuzz/corpus/$target" ] && seeds=("tests/fuzz/corpus/$target")
  echo "fuzz: $target for $seconds s"
  build/fuzz/tests/fuzz/"$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=0 \
    -artifact_prefix="build/fuzz/findings/$target-" "$work" "${seeds[@]}" >"build/fuzz/$target.log" 2>&1 || {
    tail -n 40 "build/fuzz/$target.log"
    echo "fuzz: $target found something: see build/fuzz/findings" >&2
    exit 1
  }
done
echo "fuzz: no findings in ${#targets[@]} targets"
