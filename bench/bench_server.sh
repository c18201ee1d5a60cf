#!/usr/bin/env bash
# GET /msg beside a bare libmicrohttpd program and nginx `return 200`, under the same wrk, in one run.
# Usage: bench/bench_server.sh [BUILD_DIR] [ROUNDS]   (default: build/release, 7 rounds)
# CONNECTIONS and IDS in the environment choose the shapes: CONNECTIONS="50 256" IDS="no yes".
#
# Every server has one thread that answers, and wrk has one. A round gives each server one second and begins with
# another one each time, because the machine's speed drifts; a ratio is the median of the rounds' ratios. Target: 0.9
# of each, with and without X-Request-ID. The CPU time a request says the same on a machine that is busy with other
# things. The bare program stalls at multiples of 128 connections (docs/decisions/0020) and gets two fewer there.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
rounds=${2:-${ROUNDS:-7}}
work=$(mktemp -d)
pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap stop EXIT

declare -A port pid
"$build/cli/dpone" serve --host 127.0.0.1 --port 0 --state none --log-level WARNING --workers 1 --max-concurrency 1000 \
  --cache-max-size 100000 >"$work/dpone" 2>"$work/dpone.err" &
pids+=($!)
pid[dpone]=$!
mkfifo "$work/stdin"
"$build/bench/bench_server_bare" <"$work/stdin" >"$work/bare" &
pids+=($!)
pid[bare]=$!
exec 8>"$work/stdin"
port[nginx]=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $work/nginx.pid; error_log $work/nginx.err;
events { worker_connections 4096; use epoll; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 127.0.0.1:${port[nginx]} backlog=4096; default_type application/json;
    location / { return 200 '{"message_id":"00000000-0000-4000-8000-000000000000"}'; } } }
CONF
"$(PATH=$PATH:/usr/sbin command -v nginx)" -c "$work/nginx.conf" -p "$work" 2>/dev/null &
pids+=($!)
while ! pid[nginx]=$(pgrep -P "${pids[2]}") || [ ! -s "$work/dpone" ] || [ ! -s "$work/bare" ]; do sleep 0.1; done
port[dpone]=$(sed 's/.*://' "$work/dpone")
port[bare]=$(cat "$work/bare")

cat >"$work/ids.lua" <<'LUA'
local thread_count = 0
function setup(thread) thread_count = thread_count + 1; thread:set("index", thread_count) end
local n = 0
function request()
  n = n + 1
  return "GET /msg HTTP/1.1\r\nHost: x\r\nX-Request-ID: " .. index .. "-" .. n .. "\r\n\r\n"
end
LUA
cpu_us() { awk '{t += $1} END {printf "%.0f", t / 1000}' /proc/"$1"/task/*/schedstat; }
measure() { # server connections script: adds requests/s and CPU microseconds a request to its file
  local before after connections=$2
  [ "$1" = bare ] && [ $((connections % 128)) -eq 0 ] && connections=$((connections - 2))
  before=$(cpu_us "${pid[$1]}")
  wrk -t1 -c"$connections" -d1s ${3:+-s "$3"} "http://127.0.0.1:${port[$1]}/msg" >"$work/wrk"
  after=$(cpu_us "${pid[$1]}")
  awk -v t=$((after - before)) '/requests in/ {n = $1} /Requests\/sec/ {print $2, (n > 0 ? t / n : 0)}' \
    "$work/wrk" >>"$work/$1.rounds"
}
median() { sort -g | awk '{v[NR] = $1} END {printf "%.2f\n", v[int((NR + 1) / 2)]}'; }
of() { awk -v k="$2" '{print $k}' "$work/$1.rounds" | median; } # server field
ratio() { paste "$work/dpone.rounds" "$work/$1.rounds" | awk '{print $1 / $3}' | median; }

printf '%-11s %-4s | %8s %8s %8s | %5s %6s | %s\n' connections ids dpone bare nginx /bare /nginx \
  'CPU us a request: dpone, bare, nginx'
order=(dpone bare nginx)
for connections in ${CONNECTIONS:-50 256}; do
  for ids in ${IDS:-no yes}; do
    script=""; [ "$ids" = yes ] && script="$work/ids.lua"
    rm -f "$work"/*.rounds
    for _ in $(seq "$rounds"); do
      for server in "${order[@]}"; do measure "$server" "$connections" "$script"; done
      order=("${order[@]:1}" "${order[0]}")
    done
    printf '%-11s %-4s | %8.0f %8.0f %8.0f | %5s %6s | %s %s %s\n' "$connections" "$ids" "$(of dpone 1)" "$(of bare 1)" \
      "$(of nginx 1)" "$(ratio bare)" "$(ratio nginx)" "$(of dpone 2)" "$(of bare 2)" "$(of nginx 2)"
  done
done
