"""Starts a private PostgreSQL with its durability on and runs bench_journal_postgres against it.

    python3 bench/journal_postgres.py build/release/bench/bench_journal_postgres [MILLIONS]
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "integration"))
from support.postgres import PostgresServer  # noqa: E402

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "wal_level": "replica"}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with PostgresServer(fsync=True, settings=SETTINGS) as server:
        print(server.version())
        for over in ("socket", "tcp"):
            print(f"over {over}", flush=True)
            subprocess.run([sys.argv[1], server.dsn(over=over), *sys.argv[2:]], check=True)


if __name__ == "__main__":
    main()
