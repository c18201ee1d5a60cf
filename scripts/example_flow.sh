#!/usr/bin/env bash
# The specification's example flow against a running server, with curl.
# usage: scripts/example_flow.sh [URL]   (default http://127.0.0.1:8000)
set -euo pipefail
url=${1:-http://127.0.0.1:8000}

fail() { echo "example flow: $*" >&2; exit 1; }
status() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
expect() { # STATUS curl arguments...
  local wanted=$1 got
  shift
  got=$(status "$@")
  [ "$got" = "$wanted" ] || fail "expected $wanted, got $got: ${*: -1}"
}

for _ in $(seq 100); do
  [ "$(status "$url/health")" = 200 ] && break
  sleep 0.1
done
expect 200 "$url/health"
expect 200 -X POST "$url/fail/reset"
expect 200 -X POST "$url/fail/count/3"
for _ in 1 2 3; do expect 500 "$url/msg"; done
expect 200 "$url/msg"
id="flow-$$-$RANDOM"
first=$(curl -fs -H "X-Request-ID: $id" "$url/msg")
[ "$(curl -fs -H "X-Request-ID: $id" "$url/msg")" = "$first" ] || fail "the same request id got another message"
expect 200 -X POST "$url/fail/count/1"
expect 500 -H "X-Request-ID: $id" "$url/msg"
[ "$(curl -fs -H "X-Request-ID: $id" "$url/msg")" = "$first" ] || fail "the remembered message was lost"
echo "example flow: passed against $url"
