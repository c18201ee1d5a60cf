"""Events/s into one PostgreSQL through 1, 2 and 3 servers and from 1, 4 and 16 streams, beside one of each in the same run;
then what an event costs while the journal grows to 10 million. Batches of 1000 events, everything synced, all on one machine.

    python3 bench/scaling_postgres.py build/release/cli/dpone [MILLIONS]    MILLIONS 0: without the second part
"""
import hashlib
import http.client
import itertools
import json
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration"))
DPONE = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else sys.exit(__doc__)
MILLIONS = int(sys.argv[2]) if len(sys.argv) > 2 else 10
os.environ["DPONE_BINARY"] = DPONE

from support.dpone_server import DponeServer  # noqa: E402
from support.postgres import PostgresServer  # noqa: E402

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "wal_level": "replica", "max_connections": "100"}
EVENTS = 1000
ROWS = 100  # in a transaction
names = itertools.count(1)


def lsn(number):
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


class Lines:
    """A batch without its header, so that any stream can send it."""

    def __init__(self, start):
        out = []
        for first in range(start, start + EVENTS, ROWS):
            for i in range(ROWS):
                number = first + i
                data = (f'{{"id":{number},"customer":"customer-{number % 1000000:06}","amount":"{number % 1000}.50","status":"open",'
                        '"note":"the quick brown fox jumps over the lazy dog","created":"2026-01-02 03:04:05"}')
                out.append(f'{{"event_id":"{hashlib.sha256(data.encode()).hexdigest()}","operation":"insert","source_schema":"public",'
                           f'"source_table":"orders","position":"{lsn(number * 256)}","transaction_id":"{first}","sequence":0,'
                           f'"ordinal":{i},"data":{data},"before":null,"unchanged":[]}}\n')
            self.end = (first + ROWS) * 256
            out.append(f'{{"type":"commit","transaction_id":"{first}","end_position":"{lsn(self.end)}",'
                       f'"committed_at":"2026-01-02T03:04:05.678901Z","count":{ROWS}}}\n')
        lines = "".join(out).encode()
        self.id = hashlib.sha256(lines + lsn(self.end).encode()).hexdigest()
        self.tail = lines + f'{{"type":"end","count":{EVENTS},"batch_id":"{self.id}"}}\n'.encode()

    def body(self, pipeline):
        header = {"type": "batch", "schema": "dpone.cdc.batch.v1", "pipeline": pipeline, "backend": "postgres_logical",
                  "source": "7000/shop", "identity": "v1", "next_offset": {"backend": "postgres_logical", "token": lsn(self.end),
                  "snapshot_complete": True}, "stored_offset": None, "high_watermark": None}
        return json.dumps(header, separators=(",", ":")).encode() + b"\n" + self.tail


def send(port, pipeline, bodies):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for identity, body in bodies:
        connection.request("POST", f"/v1/pipelines/{pipeline}/batches", body,
                           {"Content-Type": "application/x-ndjson", "Idempotency-Key": identity})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{reply.status} {text!r}")


def rate(servers, streams, batches):
    """Each stream has one sender; the first batch of each, which makes its partition, is not timed."""
    senders = []
    for index in range(streams):
        pipeline = f"p{next(names)}"
        bodies = [(lines.id, lines.body(pipeline)) for lines in batches]
        port = servers[index % len(servers)].port
        send(port, pipeline, bodies[:1])
        senders.append(threading.Thread(target=send, args=(port, pipeline, bodies[1:])))
    start = time.monotonic()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return streams * (len(batches) - 1) * EVENTS / (time.monotonic() - start)


def scale(database):
    prepared = [Lines(1 + i * EVENTS) for i in range(81)]
    servers = [DponeServer(state=database.dsn()) for _ in range(3)]
    for server in servers:
        server.start()
    one = None
    print(f"{'servers':>8}" + "".join(f"{count:>12} streams" for count in (1, 4, 16)))
    for count in (1, 2, 3):
        row = []
        for streams in (1, 4, 16):
            best = max(rate(servers[:count], streams, prepared[:80 // streams + 1]) for _ in range(2))
            one = one or best
            row.append(f"{best:>10.0f} ({best / one:4.2f} x)")
        print(f"{count:>8} " + " ".join(row), flush=True)
    for server in servers:
        server.stop()


def grow(database):
    """The journal is filled in its own format; then 40 batches are ingested and timed, again and again."""
    print(f"{'million':>8}{'us/event':>10}")
    with DponeServer(state=database.dsn()) as server:
        for million in range(MILLIONS + 1):
            batches = [Lines((million << 24) + 1 + i * EVENTS) for i in range(40)]
            bodies = [(lines.id, lines.body("grown")) for lines in batches]
            send(server.port, "grown", bodies[:1])
            start = time.monotonic()
            send(server.port, "grown", bodies[1:])
            print(f"{million:>8}{(time.monotonic() - start) / 39 / EVENTS * 1e6:>10.2f}", flush=True)
            count = 1_000_000 - 40 * EVENTS
            database.psql(f"""SET search_path = etl_state; SELECT stream_id AS s, next_event_number AS n FROM dpone_stream
                WHERE pipeline = 'grown' \\gset
                SELECT dpone_event_add_partition(:s, part) FROM generate_series(:n / 1000000, (:n + {count}) / 1000000) part;
                INSERT INTO dpone_event SELECT :s, n, 0, 0, sha256(n::text::bytea), 'public', 'orders', '0/' || to_hex(n),
                    '{{"id":' || n || ',"note":"' || repeat('x', 150) || '"}}' FROM generate_series(:n, :n + {count} - 1) n;
                INSERT INTO dpone_transaction SELECT :s, decode(lpad(to_hex(({million}::bigint << 32) + (1::bigint << 31) + n), 20, '0'), 'hex'),
                    n::text, 1, 1, :n + n * {ROWS}, {ROWS} FROM generate_series(0, {count // ROWS - 1}) n;
                UPDATE dpone_stream SET next_event_number = :n + {count}, event_count = event_count + {count},
                    transaction_count = transaction_count + {count // ROWS},
                    high_position = decode(lpad(to_hex(({million}::bigint << 32) + (1::bigint << 31) + {count // ROWS}), 20, '0'), 'hex')
                    WHERE stream_id = :s""")


def main():
    with PostgresServer(fsync=True, settings=SETTINGS) as database:
        print(database.version())
        scale(database)
        if MILLIONS > 0:
            grow(database)


if __name__ == "__main__":
    main()
