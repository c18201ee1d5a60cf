#!/usr/bin/env bash
# The whole path as a story: decode, serve, run, run again, a forged change refused, a kill survived, a replay judged.
# Needs no PostgreSQL; uses a temporary folder and a free port, and leaves nothing behind.
# usage: examples/demo.sh [path to dpone]
set -euo pipefail
cd "$(dirname "$0")/.."
dpone=$(realpath "${1:-build/release/cli/dpone}")
captures=$PWD/examples/captures
keys=(--unique-key public.orders=id --unique-key public.customers=id)

work=$(mktemp -d)
server_pid='' run_pid=''
clean_up() {
  for pid in $run_pid $server_pid; do kill_hard "$pid"; done
  rm -rf "$work"
}
trap clean_up EXIT
cd "$work"

bold='' plain=''
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }
show() { sed -E 's/("event_id":"[0-9a-f]{12})[0-9a-f]{52}/\1…/; s/^/    /'; }
exec 3>&1
run() { # shows the command, whatever becomes of its output
  { printf '  $ dpone'; printf ' %s' "$@"; printf '\n'; } | sed "s#$captures#examples/captures#g; s#$work/##g" >&3
  "$dpone" "$@"
}
kill_hard() { # without the shell's own report of it
  { kill -9 "$1" && wait "$1"; } 2>/dev/null || true
}
expect() { # expect CODE command...: the command must end with this exit code
  local wanted=$1 code=0
  shift
  "$@" || code=$?
  [ "$code" -eq "$wanted" ] || { echo "demo: exit code $code where $wanted was expected: $*" >&2; exit 1; }
}
start_server() {
  : >listening
  "$dpone" serve --host 127.0.0.1 --port 0 --state sqlite:journal.db --log-level WARNING >listening 2>serve.log &
  server_pid=$!
  for _ in $(seq 200); do
    grep -q 'listening on' listening && break
    kill -0 "$server_pid" 2>/dev/null || { cat serve.log >&2; exit 1; }
    sleep 0.05
  done
  url=$(sed -n 's/.*listening on //p' listening)
}
journal_count() { curl -fsS "$url/v1/pipelines/orders/events" 2>/dev/null | grep -c event_id || true; }
offset() { curl -fsS "$url/v1/pipelines/orders/offsets/postgres_logical/*/*" | sed 's/.*"token":"\([^"]*\)".*/\1/'; }

chapter "1. Real output of PostgreSQL's logical decoding becomes events with deterministic ids"
run cdc decode "$captures/orders.pgoutput.csv" "${keys[@]}" >events.ndjson
head -n 3 events.ndjson | show
say "… $(grep -c event_id events.ndjson) changes in $(grep -c '"type":"commit"' events.ndjson) transactions. The same changes through test_decoding and wal2json:"
for plugin in pgoutput test_decoding wal2json-2; do
  ids=$("$dpone" cdc decode "$captures/orders.$plugin.csv" "${keys[@]}" | grep -o '"event_id":"[0-9a-f]*"' | sha256sum | cut -c1-16)
  say "$(printf '%-14s all ids together: %s' "$plugin" "$ids")"
  [ "$ids" = "${first_ids:=$ids}" ] || { echo "demo: the ids differ" >&2; exit 1; }
done

chapter "2. A server with a durable journal (SQLite), and a pipeline that carries the changes into it"
start_server
say "dpone serve listens on $url"
run cdc run --pipeline orders --server "$url" --source "file:$captures/orders.pgoutput.csv" --until-end "${keys[@]}" --source-id shop | show
say "The journal holds $(journal_count) events; the stored offset is $(offset)."
curl -fsS "$url/v1/pipelines/orders/events" | cmp - events.ndjson && say "It equals what decode printed, line by line."

chapter "3. Run again: the offset has passed everything, nothing is sent"
run cdc run --pipeline orders --server "$url" --source "file:$captures/orders.pgoutput.csv" --until-end "${keys[@]}" --source-id shop | show
say "Sent again on purpose, every event is recognised, and the offset does not move:"
before=$(offset)
run cdc run --pipeline orders --server "$url" --source "file:$captures/orders.pgoutput.csv" --until-end "${keys[@]}" --source-id shop --from-start --batch-events 5 | show
[ "$before" = "$(offset)" ]

chapter "4. A change that claims to be one we know, with other content, is refused"
sed 's/99\.50/11.50/' "$captures/orders.test_decoding.csv" >forged.csv
expect 1 run cdc run --pipeline orders --server "$url" --source file:forged.csv --until-end "${keys[@]}" --source-id shop --from-start 2>&1 | show
say "The journal still holds $(journal_count) events; the offset is still $(offset)."

chapter "5. Killed in the middle, it goes on where it stopped"
head -n 12 "$captures/orders.pgoutput.csv" >growing.csv
"$dpone" cdc run --pipeline resumed --server "$url" --source file:growing.csv "${keys[@]}" --offset-interval-ms 0 >run.log 2>&1 &
run_pid=$!
for _ in $(seq 200); do
  curl -fsS "$url/v1/pipelines/resumed/offsets" 2>/dev/null | grep -q token && break
  sleep 0.05
done
kill_hard "$run_pid"
run_pid=''
say "kill -9 of the pipeline while it follows a growing file: the journal holds" \
  "$(curl -fsS "$url/v1/pipelines/resumed/events" | grep -c event_id) events so far"
kill_hard "$server_pid"
start_server
say "kill -9 of the server; a new one on the same journal listens on $url"
cp "$captures/orders.pgoutput.csv" growing.csv
run cdc run --pipeline resumed --server "$url" --source file:growing.csv --until-end "${keys[@]}" | show
curl -fsS "$url/v1/pipelines/resumed/events" | cmp - events.ndjson && say "Every change is there exactly once, in order."

chapter "6. May this window be replayed? A pure question: nothing is touched"
stored=$(offset)
expect 1 run cdc replay-plan --backend postgres_logical --pipeline-name orders --schema public --table orders \
  --stored-offset "$stored" --replay-from 0/26A1000 | grep -E '^- |Blocked|blocked|Safe|safe' | show
say "Blocked, exit code 1. With the rewind allowed and an artifact to read from:"
expect 0 run cdc replay-plan --backend postgres_logical --pipeline-name orders --schema public --table orders \
  --stored-offset "$stored" --replay-from 0/26A1000 --allow-rewind --artifact-uri file:events.ndjson |
  grep -E '^- |Blocked|blocked|Safe|safe' | show
say "Safe, exit code 0."

chapter "Done. Nothing is left behind."
