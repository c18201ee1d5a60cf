#!/usr/bin/env python3
"""Events a second and peak memory of `dpone cdc decode` from a file, beside sha256sum of the same file in one run.

usage: bench_decode.py DPONE [--rows N] [--rounds N]

CPU seconds are user + system of the one process, so that a busy machine disturbs less; the file is in the page cache.
The ratio is dpone's CPU time over that of sha256sum, which hashes each input byte once and does nothing else.
"""
import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def measure(command, stdin=None):
    """Runs a command with its output thrown away; returns (CPU seconds, peak resident KiB)."""
    process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command} ended with status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dpone")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for plugin, form in (("pgoutput", "copy-text"), ("pgoutput", "csv"), ("wal2json", "copy-text"), ("wal2json", "csv")):
            path = os.path.join(folder, "capture")
            with open(path, "wb") as out:
                subprocess.run([sys.executable, os.path.join(HERE, "make_bench_capture.py"), "--rows", str(arguments.rows),
                                "--rows-per-transaction", "100", "--form", form, "--plugin", plugin], stdout=out, check=True)
            for name, options in (("whole row in the id", []), ("key in the id", ["--unique-key", "public.bench_rows=id"])):
                rounds = [(measure([arguments.dpone, "cdc", "decode", path] + options), measure(["sha256sum", path]))
                          for _ in range(arguments.rounds)]
                (cpu, rss), (baseline, _) = min(r[0] for r in rounds), min(r[1] for r in rounds)
                print(f"decode, {plugin} as {form}, {name}: {arguments.rows / cpu:,.0f} events/s of CPU, "
                      f"peak {rss / 1024:.1f} MiB; sha256sum of the same file {baseline:.2f} s, ratio {cpu / baseline:.2f}")


if __name__ == "__main__":
    main()
