#!/usr/bin/env bash
# Every benchmark in its short form, one heading each; each prints its figure beside its baseline from the same run.
# usage: bench/run.sh [NAME...]   without names: all of them
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/release
dpone=$build/cli/dpone
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() { # run NAME COMMAND...: when NAME was asked for, or nothing was
  local name=$1
  shift
  [ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " == *" $name "* ]] || return 0
  printf '\n== %s: %s\n' "$name" "$*"
  "$@"
}

wanted=("$@")
run event_id "$build/bench/bench_event_id"
run decode python3 bench/bench_decode.py "$dpone"
run journal "$build/bench/bench_journal" "$work"
run journal_postgres python3 bench/journal_postgres.py "$build/bench/bench_journal_postgres"
run scaling_postgres python3 -W ignore bench/scaling_postgres.py "$dpone" 0
run retention_postgres python3 bench/retention_postgres.py "$dpone"
run path python3 bench/bench_path.py "$dpone"
run in_flight python3 bench/bench_in_flight.py "$dpone" --rounds 1
run client "$build/bench/bench_client" 1
run server bench/bench_server.sh "$build" 2
run health python3 bench/bench_health.py "$dpone"
run end_to_end python3 bench/bench_end_to_end.py "$dpone" 100000
run replay env DPONE_BINARY="$PWD/$dpone" python3 bench/bench_replay.py
run follow env DPONE_BINARY="$PWD/$dpone" python3 bench/bench_follow.py
run sink_down python3 bench/soak_sink_down.py "$dpone" --seconds 20
