#!/usr/bin/env bash
# Configures and builds one preset, quietly unless it fails. usage: [TARGETS="..."] scripts/build.sh PRESET [cmake options]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
mkdir -p build
log=build/$preset.log
echo "building preset '$preset' (log: $log)" >&2
read -ra targets <<<"${TARGETS:-all}"
if ! { cmake --preset "$preset" "$@" && cmake --build --preset "$preset" --target "${targets[@]}"; } >"$log" 2>&1; then
  tail -n 60 "$log" >&2
  echo "build of preset '$preset' failed; the whole log is in $log" >&2
  exit 1
fi
