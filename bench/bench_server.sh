#!/usr/bin/env bash
# GET /msg beside a bare libmicrohttpd program and nginx `return 200`, under the same wrk, in one run.
# Usage: bench/bench_server.sh [BUILD_DIR] [SECONDS]   (default: build/release, 3 seconds a measurement)
# Prints requests/s and the ratio to each yardstick. Rounds alternate, because the machine's speed drifts; the
# median of the rounds counts. Target: 0.9 of each, with and without X-Request-ID.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
seconds=${2:-3}
rounds=${ROUNDS:-3}
work=$(mktemp -d)
pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap stop EXIT

"$build/cli/dpone" serve --host 127.0.0.1 --port 0 --state none --log-level WARNING --max-concurrency 1000 \
  --cache-max-size 100000 >"$work/dpone" 2>"$work/dpone.err" &
pids+=($!)
mkfifo "$work/stdin"
"$build/bench/bench_server_bare" <"$work/stdin" >"$work/bare" &
pids+=($!)
exec 8>"$work/stdin"
nginx_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $work/nginx.pid; error_log $work/nginx.err;
events { worker_connections 4096; use epoll; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 127.0.0.1:$nginx_port backlog=4096; default_type application/json;
    location / { return 200 '{"message_id":"00000000-0000-4000-8000-000000000000"}'; } } }
CONF
"$(PATH=$PATH:/usr/sbin command -v nginx)" -c "$work/nginx.conf" -p "$work" 2>/dev/null &
pids+=($!)
sleep 1
dpone_port=$(sed 's/.*://' "$work/dpone")
bare_port=$(cat "$work/bare")

cat >"$work/ids.lua" <<'LUA'
local thread_count = 0
function setup(thread) thread_count = thread_count + 1; thread:set("index", thread_count) end
local n = 0
function request()
  n = n + 1
  return "GET /msg HTTP/1.1\r\nHost: x\r\nX-Request-ID: " .. index .. "-" .. n .. "\r\n\r\n"
end
LUA
measure() { # port connections script
  wrk -t1 -c"$2" -d"${seconds}s" ${3:+-s "$3"} "http://127.0.0.1:$1/msg" | awk '/Requests\/sec/ {print $2}'
}
median() { sort -g | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }

printf '%-12s %-8s %10s %10s %10s %8s %8s\n' connections ids dpone bare nginx /bare /nginx
for connections in ${CONNECTIONS:-50 256}; do
  for ids in no yes; do
    script=""; [ "$ids" = yes ] && script="$work/ids.lua"
    : >"$work/d"; : >"$work/m"; : >"$work/n"
    for _ in $(seq "$rounds"); do
      measure "$dpone_port" "$connections" "$script" >>"$work/d"
      measure "$bare_port" "$connections" "$script" >>"$work/m"
      measure "$nginx_port" "$connections" "$script" >>"$work/n"
    done
    awk -v c="$connections" -v i="$ids" -v d="$(median <"$work/d")" -v m="$(median <"$work/m")" -v n="$(median <"$work/n")" \
      'BEGIN {printf "%-12s %-8s %10.0f %10.0f %10.0f %8.2f %8.2f\n", c, i, d, m, n, d/m, d/n}'
  done
done
