"""What it costs to delete a million events from a PostgreSQL journal: by `dpone state prune`, which drops partitions,
and row by row from an unpartitioned table with the same rows, 5,000 at a time as prune did before there were partitions.

    python3 bench/retention_postgres.py build/release/cli/dpone
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "integration"))
from support.postgres import PostgresServer  # noqa: E402

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "wal_level": "replica", "autovacuum": "off"}
EVENTS = 2_000_000  # two partitions, of which the first is deleted
ROWS = """SELECT {stream}, n, 0, 0, sha256(n::text::bytea), 'public', 'orders', '0/' || to_hex(n), '{{"id":' || n || ',"note":"'
    || repeat('x', 150) || '"}}' FROM generate_series(0, {last}) n"""


def measured(server, table, work):
    before = server.query_value("SELECT pg_current_wal_lsn()")
    start = time.monotonic()
    work()
    seconds = time.monotonic() - start
    wal = int(server.query_value(f"SELECT pg_current_wal_lsn() - '{before}'::pg_lsn"))
    size = sum(int(row[0]) for row in server.query(
        f"SELECT pg_total_relation_size(c.oid) FROM pg_class c WHERE relkind = 'r' AND relname LIKE '{table}'"))
    return seconds, wal / 1e6, size / 1e6


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with PostgresServer(fsync=True, settings=SETTINGS) as server:
        program = [sys.argv[1], "state"]
        subprocess.run([*program, "migrate", "--state", server.dsn()], check=True, stdout=subprocess.DEVNULL)
        server.psql(f"""SET search_path = etl_state;
            INSERT INTO dpone_stream (pipeline, source, backend, identity, next_event_number, high_position, transaction_count,
                event_count, created_at_us, updated_at_us) VALUES ('orders', '7/shop', 'postgres_logical', 'v1', {EVENTS},
                decode(lpad(to_hex({EVENTS}), 20, '0'), 'hex'), {EVENTS // 100}, {EVENTS}, 1, 1);
            SELECT dpone_event_add_partition(1, part) FROM generate_series(0, {EVENTS // 1_000_000 - 1}) part;
            INSERT INTO dpone_event {ROWS.format(stream=1, last=EVENTS - 1)};
            INSERT INTO dpone_transaction SELECT 1, decode(lpad(to_hex(n * 100 + 100), 20, '0'), 'hex'), n::text, 1, 1, n * 100, 100
                FROM generate_series(0, {EVENTS // 100 - 1}) n;
            INSERT INTO etl_cdc_offset VALUES ('orders', '*', '*', 'postgres_logical', '0/' || to_hex({EVENTS}), true);
            CREATE TABLE plain (LIKE dpone_event INCLUDING ALL); INSERT INTO plain {ROWS.format(stream=1, last=EVENTS - 1)};
            CREATE TABLE plain_transaction (LIKE dpone_transaction INCLUDING ALL);
            INSERT INTO plain_transaction TABLE dpone_transaction; VACUUM ANALYZE; CHECKPOINT""")

        def drop():
            subprocess.run([*program, "prune", "--state", server.dsn(), "--pipeline", "orders", "--pause-ms", "0",
                            "--to", f"0/{1_000_000:X}"], check=True, stdout=subprocess.DEVNULL)

        def delete():
            server.psql("".join(f"BEGIN; DELETE FROM etl_state.plain WHERE stream_id = 1 AND event_number BETWEEN {n} AND "
                                f"{n + 4999}; DELETE FROM etl_state.plain_transaction WHERE stream_id = 1 AND end_position <= "
                                f"decode(lpad(to_hex({n + 5000}), 20, '0'), 'hex'); COMMIT;" for n in range(0, 1_000_000, 5000)))

        dropped = measured(server, "dpone_event_1_%", drop)
        deleted = measured(server, "plain", delete)
        vacuumed = measured(server, "plain", lambda: server.psql("VACUUM etl_state.plain"))
        print(f"{'a million events':28} {'seconds':>9} {'WAL MB':>9} {'left on disk MB':>16}")
        for name, row in (("prune, partitions dropped", dropped), ("row by row", deleted), ("  and VACUUM after it", vacuumed)):
            print(f"{name:28} {row[0]:9.2f} {row[1]:9.1f} {row[2]:16.0f}", flush=True)


if __name__ == "__main__":
    main()
