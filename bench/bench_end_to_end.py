#!/usr/bin/env python3
"""Rows a second from a replication slot to the durable journal, beside `pg_recvlogical -f /dev/null` with pgoutput on the
same slot contents in the same run; CPU time a row by process; resident memory.

    bench/bench_end_to_end.py build/release/cli/dpone [ROWS]

dpone runs four times: with nothing prepared ahead (0 batches in flight while reading), with the next batch prepared while
one is in flight (1), and with 2 and 4 in flight; the CPU and memory figures are of the last. DPONE_BENCH_IN_FLIGHT=4 names
others. The last is run again with a server that stores no events (bench/nothing_stored.c): the journal's part in the cost.
DPONE_BENCH_OVER=socket reads PostgreSQL over a Unix socket, DPONE_BENCH_SHAPES=COPY,... names some of the shapes.

Only the ratios mean something: the machine's speed changes from hour to hour. Each shape is read through copies of one
slot, over TCP unless told otherwise, with PostgreSQL's fsync off (it only feeds) and the journal's on.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(SOURCE, "tests", "integration"))
DPONE = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(SOURCE, "build/release/cli/dpone"))
COUNTS = os.environ.get("DPONE_BENCH_IN_FLIGHT", "0,1,2,4").split(",")
ROWS = int(sys.argv[2]) if len(sys.argv) > 2 else 200000
OVER = os.environ.get("DPONE_BENCH_OVER", "tcp")
NOTHING_STORED = os.path.join(os.path.dirname(os.path.dirname(DPONE)), "bench", "dpone_nothing_stored")

from support.dpone_server import DponeServer  # noqa: E402
from support.postgres import PostgresServer  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
BODY = "repeat(chr(97 + (g % 26)::int), 100)"
SHAPES = {
    "100 rows a transaction": lambda rows: f"""
        DO $$ BEGIN FOR i IN 1..{rows // 100} LOOP
          INSERT INTO t SELECT i * 1000 + g, g * 3, now(), {BODY} FROM generate_series(1, 100) g; COMMIT;
        END LOOP; END $$""",
    "1 row a transaction": lambda rows: f"""
        DO $$ DECLARE g bigint; BEGIN FOR g IN 1..{rows // 4} LOOP
          INSERT INTO t VALUES (g, g * 3, now(), {BODY}); COMMIT;
        END LOOP; END $$""",
    "one transaction": lambda rows: f"INSERT INTO t SELECT g, g * 3, now(), {BODY} FROM generate_series(1, {rows}) g",
    "COPY": lambda rows: f"COPY t FROM PROGRAM 'seq 1 {rows} | sed \"s/.*/&,3,2026-01-01,{'x' * 100}/\"' WITH (FORMAT csv)",
}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


def walsender(server):
    pids = server.query("SELECT pid FROM pg_stat_replication")
    return int(pids[0][0]) if pids else None


def timed(command, environment, server):
    """(seconds, CPU of the command, CPU of its walsender, peak MiB, standard output)."""
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    sender, sender_cpu, own_cpu, peak = None, 0.0, 0.0, 0.0
    while process.poll() is None:
        try:
            sender = sender or walsender(server)
            own_cpu, peak = cpu_seconds(process.pid), peak_mib(process.pid)
            sender_cpu = cpu_seconds(sender) if sender else 0.0
        except (OSError, StopIteration, IndexError):
            pass
        time.sleep(0.05)
    seconds = time.monotonic() - start
    out, errors = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(errors.decode("utf-8", "replace"))
    return seconds, own_cpu, sender_cpu, peak, out


def chain(server, program, slot, number, state, directory):
    """From the slot into a journal: what timed() gives, the server's CPU seconds and peak MiB."""
    os.environ["DPONE_BINARY"] = program
    journal = DponeServer(state=f"sqlite:{state}", directory=directory)
    journal.start()
    before = cpu_seconds(journal.process.pid)
    run = timed([DPONE, "cdc", "run", "--pipeline", "bench", "--source", server.dsn(over=OVER), "--slot", slot, "--publication",
                 "bench", "--unique-key", "public.t=id", "--server", journal.url, "--until-end", "--batches-in-flight", number],
                server.environment(), server)
    serve_cpu, serve_peak = cpu_seconds(journal.process.pid) - before, peak_mib(journal.process.pid)
    journal.stop()
    return run, serve_cpu, serve_peak


def measure(server, shape, rows, directory):
    server.psql("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, n bigint, at timestamptz, body text)")
    server.psql("SELECT pg_create_logical_replication_slot('base', 'pgoutput')")
    server.psql(SHAPES[shape](rows))
    end = server.query_value("SELECT pg_current_wal_flush_lsn()")
    count = int(server.query_value("SELECT count(*) FROM t"))
    slots = ["bare", "nothing", *(f"dpone{number}" for number in COUNTS)]
    for slot in slots:
        server.psql(f"SELECT pg_copy_logical_replication_slot('base', '{slot}')")
    bare = timed([server.binary("pg_recvlogical"), "-d", server.dsn(over=OVER), "--slot", "bare", "--start", "--no-loop",
                  "--endpos", end, "-f", "/dev/null", "-o", "proto_version=1", "-o", "publication_names=bench"],
                 server.environment(), server)
    rates = {}
    for number in COUNTS:
        state = f"{directory}/{shape.replace(' ', '_')}-{number}.db"
        ours, serve_cpu, serve_peak = chain(server, DPONE, f"dpone{number}", number, state, directory)
        summary = json.loads(ours[4])
        if summary["accepted"] != count:
            raise RuntimeError(f"{shape}: {summary['accepted']} of {count} rows arrived")
        rates[number] = count / ours[0]
    unstored = "not built"
    if os.path.exists(NOTHING_STORED):
        without = chain(server, NOTHING_STORED, "nothing", COUNTS[-1], f"{state}.nothing", directory)[0]
        unstored = f"{count / without[0]:,.0f}/s, ratio {without[0] / ours[0]:.2f}"
    for slot in ("base", *slots):
        server.psql(f"SELECT pg_drop_replication_slot('{slot}')")
    per_row = 1e6 / count
    print(f"{shape:24} {count:8} rows  pg_recvlogical {count / bare[0]:9,.0f}/s  dpone " +
          ", ".join(f"{number} in flight {rate:9,.0f}/s" for number, rate in rates.items()) +
          f"  ratio {bare[0] / ours[0]:.2f}  nothing stored {unstored}  CPU us/row: walsender {ours[2] * per_row:.1f} (bare {bare[2] * per_row:.1f}) "
          f"run {ours[1] * per_row:.1f} serve {serve_cpu * per_row:.1f}  peak MiB: run {ours[3]:.0f} serve {serve_peak:.0f}",
          flush=True)


def main():
    with PostgresServer(settings={"max_wal_size": "4GB", "shared_buffers": "128MB"}) as server, \
            tempfile.TemporaryDirectory(prefix="dpone-bench-") as directory:
        server.psql("CREATE PUBLICATION bench FOR ALL TABLES")
        for shape in os.environ.get("DPONE_BENCH_SHAPES", ",".join(SHAPES)).split(","):
            measure(server, shape, ROWS, directory)


if __name__ == "__main__":
    main()
