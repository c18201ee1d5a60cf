#!/usr/bin/env bash
# GET /msg beside a bare libmicrohttpd program and nginx `return 200`, under the same wrk, in one run.
# Usage: bench/bench_server.sh [BUILD_DIR] [SECONDS]   (default: build/release, 3 seconds a measurement)
# Prints requests/s and the ratio to each yardstick. Rounds alternate, because the machine's speed drifts; the
# median of the rounds counts. Target: 0.9 of each, with and without X-Request-ID. CPU time a request says the same
# on a machine that is busy with other things. (The bare program stalls at 256: docs/decisions/0020.)
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
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; } # user and system time of a process
measure() { # port connections script pid: requests/s and CPU microseconds a request
  local before after
  before=$(ticks "$4")
  wrk -t1 -c"$2" -d"${seconds}s" ${3:+-s "$3"} "http://127.0.0.1:$1/msg" >"$work/wrk"
  after=$(ticks "$4")
  awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" \
    '/requests in/ {n = $1} /Requests\/sec/ {print $2, (n > 0 ? t / hz * 1e6 / n : 0)}' "$work/wrk"
}
median() { sort -g -k"$1" | awk -v k="$1" '{v[NR]=$k} END {print v[int((NR+1)/2)]}'; }

nginx_worker=$(pgrep -P "${pids[2]}")
printf '%-12s %-4s | %9s %9s %9s %6s %6s | %s\n' connections ids dpone bare nginx /bare /nginx \
  'CPU us a request: dpone, bare, nginx'
for connections in ${CONNECTIONS:-50 256}; do
  for ids in no yes; do
    script=""; [ "$ids" = yes ] && script="$work/ids.lua"
    : >"$work/d"; : >"$work/m"; : >"$work/n"
    for _ in $(seq "$rounds"); do
      measure "$dpone_port" "$connections" "$script" "${pids[0]}" >>"$work/d"
      measure "$bare_port" "$connections" "$script" "${pids[1]}" >>"$work/m"
      measure "$nginx_port" "$connections" "$script" "$nginx_worker" >>"$work/n"
    done
    awk -v c="$connections" -v i="$ids" -v d="$(median 1 <"$work/d")" -v m="$(median 1 <"$work/m")" \
      -v n="$(median 1 <"$work/n")" -v dc="$(median 2 <"$work/d")" -v mc="$(median 2 <"$work/m")" \
      -v nc="$(median 2 <"$work/n")" \
      'BEGIN {printf "%-12s %-4s | %9.0f %9.0f %9.0f %6.2f %6.2f | %.2f %.2f %.2f\n", c, i, d, m, n, d/m, d/n, dc, mc, nc}'
  done
done
