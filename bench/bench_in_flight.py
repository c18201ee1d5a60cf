#!/usr/bin/env python3
"""What batches in flight side by side are worth: one capture through `dpone cdc run` into `dpone serve` over links of
different lengths, with nothing prepared ahead (0), the next batch prepared while one is in flight (1), and 2, 4, 8 in flight.

usage: bench_in_flight.py DPONE [--rows N] [--delays MS,MS,...] [--counts N,N,...] [--rounds N]

The link is a proxy on this machine that holds every piece back for the given time each way (0: no proxy). Rounds are
interleaved and the median is printed. Small transactions: the parts of one transaction always go one at a time.
"""
import argparse
import collections
import json
import os
import re
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class SlowLink(threading.Thread):
    """Forwards TCP connections, each piece `delay` seconds after it came."""

    def __init__(self, port, delay):
        super().__init__(daemon=True)
        self.target, self.delay = ("127.0.0.1", port), delay
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.poll = selectors.DefaultSelector()
        self.poll.register(self.listener, selectors.EVENT_READ, None)
        self.held = collections.deque()  # (when, to, piece)

    def run(self):
        while True:
            timeout = max(0, self.held[0][0] - time.monotonic()) if self.held else None
            for key, _ in self.poll.select(timeout):
                if key.data is None:
                    near, far = self.listener.accept()[0], socket.create_connection(self.target)
                    for one, other in ((near, far), (far, near)):
                        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        self.poll.register(one, selectors.EVENT_READ, other)
                    continue
                try:
                    piece = key.fileobj.recv(1 << 20)
                except OSError:
                    piece = b""
                if not piece:
                    self.poll.unregister(key.fileobj)
                self.held.append((time.monotonic() + self.delay, key.data, piece))
            while self.held and self.held[0][0] <= time.monotonic():
                _, to, piece = self.held.popleft()
                try:
                    to.sendall(piece) if piece else to.shutdown(socket.SHUT_WR)
                except OSError:
                    pass


def carry(dpone, folder, capture, rows, delay_ms, count):
    database = os.path.join(folder, "journal.db")
    server = subprocess.Popen([dpone, "serve", "--host", "127.0.0.1", "--port", "0", "--state", f"sqlite:{database}",
                               "--log-level", "WARNING"], stdout=subprocess.PIPE, cwd=folder)
    port = int(re.search(rb"http://[^ ]*:(\d+)", server.stdout.readline()).group(1))
    if delay_ms > 0:
        link = SlowLink(port, delay_ms / 1000)
        link.start()
        port = link.port
    started = time.monotonic()
    done = subprocess.run([dpone, "cdc", "run", "--pipeline", "bench", "--server", f"http://127.0.0.1:{port}", "--source",
                           f"file:{capture}", "--until-end", "--batches-in-flight", str(count)], stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - started
    server.send_signal(signal.SIGTERM)
    server.wait()
    server.stdout.close()
    for name in os.listdir(folder):
        if name.startswith("journal.db"):
            os.remove(os.path.join(folder, name))
    if json.loads(done.stdout)["accepted"] != rows:
        sys.exit(f"{done.stdout} where {rows} events were sent")
    return rows / seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dpone")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--delays", default="0,1,10")
    parser.add_argument("--counts", default="0,1,2,4,8")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.counts.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        capture = os.path.join(folder, "capture.txt")
        with open(capture, "wb") as out:
            subprocess.run([sys.executable, os.path.join(HERE, "make_bench_capture.py"), "--rows", str(arguments.rows),
                            "--rows-per-transaction", "100", "--form", "copy-text"], stdout=out, check=True)
        print("events/s".ljust(22), *(f"{count} in flight".rjust(12) for count in counts))
        for delay_ms in [float(delay) for delay in arguments.delays.split(",")]:
            rates = {count: [] for count in counts}
            for _ in range(arguments.rounds):
                for count in counts:
                    rates[count].append(carry(os.path.abspath(arguments.dpone), folder, capture, arguments.rows, delay_ms, count))
            print(f"{delay_ms:g} ms each way".ljust(22), *(f"{statistics.median(rates[count]):12,.0f}" for count in counts), flush=True)


if __name__ == "__main__":
    main()
