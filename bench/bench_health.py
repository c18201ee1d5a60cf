#!/usr/bin/env python3
"""GET /health beside a saturated /msg: median and 99th percentile, each probe on a connection of its own.

Usage: bench_health.py DPONE [PROBES]   (wrk is needed for the last row)
Three servers of the same kind are probed in turn, so that the machine's speed is the same for all: an idle one, one
that holds 10 slow requests and 20 in its queue, and (afterwards) one that wrk drives with 256 connections."""
import re
import socket
import statistics
import subprocess
import sys
import time

SLOW, LIMIT = 30, 10


class Server:
    def __init__(self, dpone):
        command = [dpone, "serve", "--host", "127.0.0.1", "--port", "0", "--state", "none", "--log-level", "WARNING",
                   "--max-concurrency", str(LIMIT)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().rsplit(b":", 1)[1])

    def ask(self, path):
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return answer

    def probe_ms(self):
        started = time.perf_counter()
        self.ask(b"/health")
        return (time.perf_counter() - started) * 1000

    def queue_depth(self):
        return int(re.search(rb"^dpone_queue_depth (\d+)", self.ask(b"/metrics"), re.M)[1])

    def saturate(self):
        """The connections must be kept."""
        connections = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(SLOW)]
        for connection in connections:
            connection.sendall(b"GET /msg?delay=30000 HTTP/1.1\r\nHost: x\r\n\r\n")
        while self.queue_depth() < SLOW - LIMIT:
            pass
        return connections


def show(name, times_ms):
    ordered = sorted(times_ms)
    print(f"{name:45} {statistics.median(ordered):8.3f} {ordered[int(len(ordered) * 0.99)]:8.3f}", flush=True)


def main():
    dpone = sys.argv[1]
    probes = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    servers = [Server(dpone) for _ in range(3)]
    idle, saturated, driven = servers
    try:
        connections = saturated.saturate()
        pairs = [(idle.probe_ms(), saturated.probe_ms()) for _ in range(probes)]
        assert saturated.queue_depth() == SLOW - LIMIT
        print(f"{'GET /health, ms':45} {'median':>8} {'p99':>8}")
        show("idle", [pair[0] for pair in pairs])
        show(f"{LIMIT} slow requests at work, {SLOW - LIMIT} queued", [pair[1] for pair in pairs])
        load = subprocess.Popen(["wrk", "-t1", "-c256", "-d30", f"http://127.0.0.1:{driven.port}/msg"],
                                stdout=subprocess.DEVNULL)
        time.sleep(1)
        show("wrk with 256 connections on /msg", [driven.probe_ms() for _ in range(probes)])
        assert load.poll() is None
        load.kill()
        load.wait()
        for connection in connections:
            connection.close()
    finally:
        for server in servers:
            server.process.kill()
            server.process.wait()


if __name__ == "__main__":
    main()
