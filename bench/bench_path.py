#!/usr/bin/env python3
"""The whole path: a capture file through `dpone cdc run` into the journal of `dpone serve` (SQLite, synchronous=FULL), beside
`dpone cdc decode` of the same file to nowhere, in one run.

usage: bench_path.py DPONE [--rows N] [--transaction-rows N,N,...]

Prints events/s of wall time, CPU microseconds an event of both processes, their peak resident memory, and bytes stored an
event beside the bytes of its row in the capture.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROW_BYTES = 150  # of data in a row, as make_bench_capture.py writes it


def timed(command, **options):
    """(wall seconds, CPU seconds, peak resident KiB, standard output)"""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status != 0:
        sys.exit(f"{command} ended with status {status}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, output


def one(dpone, folder, rows, transaction_rows):
    capture = os.path.join(folder, "capture.txt")
    with open(capture, "wb") as out:
        subprocess.run([sys.executable, os.path.join(HERE, "make_bench_capture.py"), "--rows", str(rows),
                        "--rows-per-transaction", str(transaction_rows), "--form", "copy-text"], stdout=out, check=True)
    with open(os.devnull, "wb") as nowhere:
        started = time.monotonic()
        subprocess.run([dpone, "cdc", "decode", capture], stdout=nowhere, check=True)
        decode_seconds = time.monotonic() - started
    database = os.path.join(folder, f"journal-{rows}-{transaction_rows}.db")
    server = subprocess.Popen([dpone, "serve", "--host", "127.0.0.1", "--port", "0", "--state", f"sqlite:{database}",
                               "--log-level", "WARNING"], stdout=subprocess.PIPE, cwd=folder)
    url = re.search(rb"listening on (\S+)", server.stdout.readline()).group(1).decode()
    wall, cpu, rss, output = timed([dpone, "cdc", "run", "--pipeline", "bench", "--server", url, "--source", f"file:{capture}",
                                    "--until-end"])
    server.send_signal(signal.SIGTERM)
    _, _, usage = os.wait4(server.pid, 0)
    server.returncode = 0
    server.stdout.close()
    summary = json.loads(output)
    if summary["accepted"] != rows:
        sys.exit(f"{summary} where {rows} events were sent")
    stored = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder) if name.startswith(os.path.basename(database)))
    print(f"whole path, {rows:,} events in transactions of {transaction_rows:,}: {rows / wall:,.0f} events/s; decode alone "
          f"{rows / decode_seconds:,.0f} events/s, ratio {decode_seconds / wall:.2f}; CPU {cpu / rows * 1e6:.1f} us/event run + "
          f"{(usage.ru_utime + usage.ru_stime) / rows * 1e6:.1f} serve; peak {rss / 1024:.1f} + {usage.ru_maxrss / 1024:.1f} MiB; "
          f"{stored / rows:.0f} bytes stored an event beside {ROW_BYTES} of row data")
    os.remove(capture)
    os.remove(database)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dpone")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--transaction-rows", default="100,200000")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for transaction_rows in arguments.transaction_rows.split(","):
            one(os.path.abspath(arguments.dpone), folder, arguments.rows, int(transaction_rows))


if __name__ == "__main__":
    main()
