#!/usr/bin/env bash
# Every benchmark in its short form; each prints its figure beside its baseline from the same run.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/release
for program in "$build"/bench/bench_*; do
  [ -x "$program" ] && [ -f "$program" ] && "$program"
done
for script in bench/bench_*.py; do
  python3 "$script" "$build/cli/dpone"
done
