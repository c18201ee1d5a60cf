#!/usr/bin/env python3
"""The sink is away for a long time: first stopped (SIGSTOP), then killed. The pipeline must wait without growing, keep its
offset where it is, and catch up within 30 s.

usage: soak_sink_down.py DPONE [--seconds 600]

A capture grows all the while. Prints the pipeline's resident memory during the outage and how long catching up took.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))


def resident_kib(process, log_path):
    if process.poll() is not None:
        with open(log_path, encoding="utf-8") as log:
            sys.exit(f"the pipeline ended with {process.returncode}: {log.read()[-1000:]}")
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


def serve(dpone, folder, port):
    server = subprocess.Popen([dpone, "serve", "--host", "127.0.0.1", "--port", str(port), "--state", "sqlite:journal.db",
                               "--log-level", "WARNING"], stdout=subprocess.PIPE, cwd=folder)
    url = re.search(rb"listening on (\S+)", server.stdout.readline()).group(1).decode()
    return server, url


def stored_events(url):
    try:
        with urllib.request.urlopen(f"{url}/v1/pipelines/soak", timeout=10) as reply:
            streams = json.load(reply)["streams"]
            return sum(stream.get("events", stream.get("event_count", 0)) for stream in streams)
    except OSError:
        return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dpone")
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    dpone = os.path.abspath(arguments.dpone)
    rows = subprocess.run([sys.executable, os.path.join(HERE, "make_bench_capture.py"), "--rows", "400000", "--rows-per-transaction",
                           "100", "--form", "copy-text"], stdout=subprocess.PIPE, check=True).stdout.splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as folder:
        capture = os.path.join(folder, "capture.txt")
        with open(capture, "wb"):
            pass
        server, url = serve(dpone, folder, 0)
        port = int(url.rsplit(":", 1)[1])
        with open(os.path.join(folder, "run.log"), "wb") as log:
            run = subprocess.Popen([dpone, "cdc", "run", "--pipeline", "soak", "--server", url, "--source", f"file:{capture}"],
                                   stdout=subprocess.DEVNULL, stderr=log)
        grow = threading.Event()

        def grow_slowly():
            step = max(1, len(rows) // max(1, arguments.seconds * 10))
            with open(capture, "ab") as out:
                for at in range(0, len(rows), step):
                    out.write(b"".join(rows[at:at + step]))
                    out.flush()
                    if grow.wait(0.1):
                        out.write(b"".join(rows[at + step:]))
                        return

        writer = threading.Thread(target=grow_slowly)
        writer.start()
        time.sleep(2)
        half = arguments.seconds // 2
        before = resident_kib(run, log.name)
        server.send_signal(signal.SIGSTOP)
        peak = before
        for _ in range(half):
            time.sleep(1)
            peak = max(peak, resident_kib(run, log.name))
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()
        for _ in range(arguments.seconds - half):
            time.sleep(1)
            peak = max(peak, resident_kib(run, log.name))
        grow.set()
        writer.join()
        server, url = serve(dpone, folder, port)
        started = time.monotonic()
        expected = sum(b"\\\\x49" in row for row in rows)
        while stored_events(url) < expected:
            if time.monotonic() - started > 120:
                sys.exit(f"only {stored_events(url)} of {expected} events after 120 s")
            time.sleep(0.5)
        seconds = time.monotonic() - started
        run.send_signal(signal.SIGTERM)
        code = run.wait(30)
        server.terminate()
        server.wait()
        with open(os.path.join(folder, "run.log"), encoding="utf-8") as log:
            told = log.read().count("trying again")
        print(f"sink down for {arguments.seconds} s: pipeline {before} KiB resident before, {peak} KiB at most during; told {told} times; "
              f"{expected:,} events caught up in {seconds:.1f} s; exit code {code}")


if __name__ == "__main__":
    main()
