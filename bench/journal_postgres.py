"""Starts a private PostgreSQL with its durability on and runs bench_journal_postgres against it.

    python3 bench/journal_postgres.py build/release/bench/bench_journal_postgres [compare|streams|grow ...] [--over socket|tcp]

Without a mode: compare. Without --over: over the Unix socket, then over TCP (127.0.0.1).
"""

import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "integration"))
from support.postgres import PostgresServer  # noqa: E402

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "wal_level": "replica"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("mode", nargs="*", default=["compare"])
    parser.add_argument("--over", action="append", choices=("socket", "tcp"))
    options = parser.parse_args()
    with PostgresServer(fsync=True, settings=SETTINGS) as server:
        print(server.version())
        for over in options.over or ("socket", "tcp"):
            print(f"over {over}", flush=True)
            subprocess.run([options.program, server.dsn(over=over), *options.mode], check=True)


if __name__ == "__main__":
    main()
