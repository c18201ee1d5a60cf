#!/usr/bin/env bash
# Builds every fuzz target with clang and runs each for the given number of seconds on its corpus, one on each core.
# New inputs stay in build/fuzz; a finding fails the run with the input's path. usage: scripts/fuzz.sh SECONDS [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
export seconds=$1
shift
TARGETS=fuzz scripts/build.sh fuzz
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for source in tests/fuzz/fuzz_*.c; do targets+=("$(basename "$source" .c)"); done
fi

fuzz_one() {
  local target=$1 work=build/fuzz/corpus/$1 seeds=()
  mkdir -p "$work" build/fuzz/findings
  [ -d "tests/fuzz/corpus/$target" ] && seeds=("tests/fuzz/corpus/$target")
  echo "fuzz: $target for $seconds s"
  build/fuzz/tests/fuzz/"$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=0 \
    -artifact_prefix="build/fuzz/findings/$target-" "$work" "${seeds[@]}" >"build/fuzz/$target.log" 2>&1 || {
    tail -n 40 "build/fuzz/$target.log"
    echo "fuzz: $target found something: see build/fuzz/findings" >&2
    return 255 # xargs begins no other one then
  }
}
export -f fuzz_one
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'fuzz_one {}'
echo "fuzz: no findings in ${#targets[@]} targets"
