"""A live PostgreSQL, a dpone server and `dpone cdc run` between them, held against an oracle that shares nothing with dpone:
a second slot of PostgreSQL's own plugin test_decoding, made before the load and read afterwards by SQL."""
import json
import os
import random
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from support.dpone import BINARY as DPONE
from support.dpone_server import DponeServer
from support.pipeline import lsn

LONG = os.environ.get("DPONE_LONG_TESTS") == "1"
SCHEMA = "live"
TABLES = [f"{SCHEMA}.w{n}" for n in range(4)] + [f"{SCHEMA}.shared"]

# --- the oracle ------------------------------------------------------------------------------------------------------

_HEAD = re.compile(r"table (.*?): (INSERT|UPDATE|DELETE|TRUNCATE): ?", re.S)
_COLUMN = re.compile(r' ?("(?:[^"]|"")*"|[^\[ ]+)\[((?:[^\[\]]|\[\])*)\]:')


def _columns(text, at):
    """name[type]:value pairs from `at` to the end or to a bare word such as new-tuple:"""
    values = {}
    while at < len(text):
        match = _COLUMN.match(text, at)
        if match is None:
            break
        name, at = match.group(1).strip('"'), match.end()
        if text[at] == "'":
            end = at + 1
            while True:
                end = text.index("'", end)
                if text[end:end + 2] != "''":
                    break
                end += 2
            value, at = text[at + 1:end].replace("''", "'"), end + 1
        else:
            end = text.find(" ", at)
            end = len(text) if end < 0 else end
            value, at = text[at:end], end
        if value == "null" and text[at - 1] != "'":
            value = None
        if value != "unchanged-toast-datum" or text[at - 1] == "'":
            values[name] = value
    return values, at


def _change(text):
    """(operation, [tables], data) of one line of test_decoding."""
    match = _HEAD.match(text)
    operation, rest = match.group(2).lower(), match.end()
    tables = [name.replace('"', "") for name in match.group(1).split(", ")]
    if operation == "truncate":
        return operation, tables, {}
    if text.startswith("old-key: ", rest):
        _, rest = _columns(text, rest + len("old-key:"))
        rest = text.index("new-tuple:", rest) + len("new-tuple:")
    data, _ = _columns(text, rest)
    return operation, tables, data


def oracle(pg, slot="oracle", tables=TABLES):
    """Every transaction that changed one of the tables: (xid, end, [(operation, table, position, sequence, data)])."""
    transactions, changes, sequences = [], [], {}
    for position, xid, text in pg.query(f"SELECT lsn, xid, data FROM pg_logical_slot_peek_changes('{slot}', NULL, NULL)"):
        if text.startswith("BEGIN"):
            changes, sequences = [], {}
        elif text.startswith("COMMIT"):
            if changes:
                transactions.append((xid, lsn(position), changes))
        else:
            operation, names, data = _change(text)
            for name in names:
                number = sequences.get((name, position), 0)
                sequences[name, position] = number + 1
                if name in tables:
                    changes.append((operation, name, lsn(position), number, data))
    return transactions


# --- the journal -----------------------------------------------------------------------------------------------------

def _text(value):
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def journal(url, pipeline):
    """What the journal holds, in the oracle's form."""
    transactions, changes = [], []
    for line in _get(f"{url}/v1/pipelines/{pipeline}/events") or []:
        event = json.loads(line)
        if event.get("type") == "commit":
            transactions.append((event["transaction_id"], lsn(event["end_position"]), changes))
            changes = []
        else:
            data = {name: _text(value) for name, value in event["data"].items()}
            changes.append((event["operation"], f"{event['source_schema']}.{event['source_table']}",
                            lsn(event["position"]), event["sequence"], data))
    return transactions


def _get(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            return reply.read().decode("utf-8").splitlines()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def differences(expected, found):
    """The first few ways in which two lists of transactions differ, as text; [] when they are equal."""
    if expected == found:
        return []
    words = []
    known, seen = {t[1] for t in expected}, [t[1] for t in found]
    missing = [t for t in expected if t[1] not in set(seen)]
    extra = [t for t in found if t[1] not in known]
    twice = sorted({end for end in seen if seen.count(end) > 1}) if len(seen) < 5000 else []
    if missing:
        words.append(f"gap: {len(missing)} transactions are missing, the first ends at {missing[0][1]:X}")
    if extra:
        words.append(f"{len(extra)} transactions that never were, the first ends at {extra[0][1]:X}")
    if twice:
        words.append(f"{len(twice)} transactions twice")
    if seen != sorted(seen):
        words.append("out of order")
    by_end = {t[1]: t for t in found}
    for wanted in expected:
        got = by_end.get(wanted[1])
        if got is not None and got != wanted:
            pairs = [(a, b) for a, b in zip(wanted[2], got[2]) if a != b]
            words.append(f"transaction {wanted[0]} differs: {len(wanted[2])} changes, found {len(got[2])}; "
                         f"first: {pairs[:1]}")
            break
    return words


# --- the load --------------------------------------------------------------------------------------------------------

TABLE_DEFINITIONS = f"""
CREATE SCHEMA {SCHEMA};
""" + "".join(f"""
CREATE TABLE {table} (id bigint PRIMARY KEY, name text, amount numeric, at timestamptz, ok boolean, body text, tags int[]);
ALTER TABLE {table} ALTER COLUMN body SET STORAGE EXTERNAL;
""" for table in TABLES)


def _writer(number, count, rows, chance):
    """One writer's script: `count` transactions of about `rows` rows each on its own table and the shared one."""
    own, shared, lines, next_id, added = f"{SCHEMA}.w{number}", f"{SCHEMA}.shared", [], 1, 0

    def value(n):
        return (f"({n}, 'näme ''{n}''\\n', {chance.randint(-10**6, 10**6)}.{chance.randint(0, 99):02d}, "
                f"timestamptz '2026-01-01 UTC' + {n} * interval '1 s', {chance.choice(('true', 'false', 'NULL'))}, "
                f"'short {n}', ARRAY[{n}, NULL])")

    for turn in range(count):
        kind = chance.random()
        ids = range(next_id, next_id + rows)
        next_id += rows
        lines.append("BEGIN;")
        if kind < 0.15:
            copied = "\n".join(f"{n}\tcopied\t1.5\t2026-01-01 00:00:00+00\tt\t\\N\t{{1,2}}" for n in ids)
            lines.append(f"COPY {own} (id, name, amount, at, ok, body, tags) FROM stdin;\n{copied}\n\\.")
        else:
            names = "(id, name, amount, at, ok, body, tags)"
            lines.append(f"INSERT INTO {own} {names} VALUES " + ", ".join(value(n) for n in ids) + ";")
        shared_id = number * 10**9 + next_id
        lines.append(f"INSERT INTO {shared} (id, name, body) VALUES ({shared_id}, 's', repeat('t', 9000));")
        if kind < 0.3:
            lines.append(f"SAVEPOINT a; UPDATE {own} SET name = 'undone' WHERE id = {next_id - 1}; ROLLBACK TO a;")
        if kind < 0.5:
            lines.append(f"UPDATE {shared} SET name = 'kept body' WHERE id = {shared_id};")  # unchanged TOAST
        if 0.4 < kind < 0.7:
            lines.append(f"UPDATE {own} SET id = -id, amount = NULL WHERE id = {next_id - 1};")  # a key change
        if kind > 0.6:
            lines.append(f"DELETE FROM {own} WHERE id BETWEEN {next_id - 3} AND {next_id - 2};")
        if turn % 17 == 11:
            lines.append(f"TRUNCATE {own};")
        if turn % 23 == 7:
            added += 1
            lines.append(f"ALTER TABLE {own} ADD COLUMN extra{added} text DEFAULT 'e{added}';")
        lines.append("ROLLBACK;" if turn % 29 == 13 else "COMMIT;")
    return "\n".join(lines) + "\n"


def load(pg, count, rows, seed=1, big=0):
    """Four writers at once; `big` adds one transaction of so many rows."""
    chance = random.Random(seed)
    scripts = [_writer(number, count, rows, random.Random(chance.random())) for number in range(4)]
    failures = []

    def run(script):
        try:
            pg.psql(script)
        except Exception as error:  # handed to the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(script,)) for script in scripts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    if big:
        pg.psql(f"INSERT INTO {TABLES[0]} (id, name, ok) SELECT 10^12 + g, 'big ' || g, true FROM generate_series(1, {big}) g")


def prepare(pg, plugin="pgoutput", slot="origin"):
    """Tables, publication, and two slots at the same place: what dpone reads (or copies) and the oracle's."""
    pg.psql(TABLE_DEFINITIONS)
    pg.psql(f"CREATE PUBLICATION dpone FOR TABLE {', '.join(TABLES)}")
    pg.psql(f"SELECT pg_create_logical_replication_slot('{slot}', '{plugin}')")
    pg.psql("SELECT pg_create_logical_replication_slot('oracle', 'test_decoding')")


def copy_slot(pg, name, origin="origin"):
    pg.psql(f"SELECT pg_copy_logical_replication_slot('{origin}', '{name}')")
    return name


# --- the pipeline ----------------------------------------------------------------------------------------------------

def run_command(pg, url, pipeline, slot, *options, over="tcp"):
    return [DPONE, "cdc", "run", "--pipeline", pipeline, "--source", pg.dsn(over=over), "--slot", slot,
            "--publication", "dpone", "--unique-key", "auto", "--server", url, *options]


def run(pg, url, pipeline, slot, *options, environment=None, over="tcp", timeout=300, until_end=True):
    """One run; (exit code, summary or None, standard error)."""
    command = run_command(pg, url, pipeline, slot, *options, over=over) + (["--until-end"] if until_end else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                          env={**pg.environment(), **(environment or {})})
    summary = json.loads(done.stdout) if done.stdout.strip() else None
    return done.returncode, summary, done.stderr.decode("utf-8", "replace")


class Follower:
    """`dpone cdc run` kept alive as a supervisor would: started again whenever it ends."""

    def __init__(self, pg, url, pipeline, slot, *options, environment=None):
        self.command = run_command(pg, url, pipeline, slot, *options)
        self.environment = {**pg.environment(), **(environment or {})}
        self.process, self.codes, self._stopping = None, [], False
        self._log = tempfile.TemporaryFile()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self):
        while not self._stopping:
            self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=self._log,
                                            env=self.environment)
            self.codes.append(self.process.wait())
            time.sleep(0.05)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)

    def stop(self):
        if self._log.closed:
            return
        self._stopping = True
        deadline = time.monotonic() + 60
        while self._thread.is_alive() and time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            self._thread.join(0.2)
        self.kill()
        self._thread.join(10)
        self.last_log = self.log()
        self._log.close()

    def log(self):
        if self._log.closed:
            return self.last_log
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")


class Invariant:
    """Samples confirmed_flush <= stored offset <= what is durable, each read after the one it must not exceed."""

    def __init__(self, pg, url, pipeline, slot):
        self.pg, self.url, self.pipeline, self.slot = pg, url, pipeline, slot
        self.samples, self._stopping = [], False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._stopping:
            try:
                confirmed = lsn(self.pg.query_value("SELECT coalesce(confirmed_flush_lsn, '0/0') FROM "
                                                    f"pg_replication_slots WHERE slot_name = '{self.slot}'"))
                page = json.loads("".join(_get(f"{self.url}/v1/pipelines/{self.pipeline}") or ["{}"]))
                offsets = [lsn(entry["token"]) for entry in page.get("offsets", [])]
                page = json.loads("".join(_get(f"{self.url}/v1/pipelines/{self.pipeline}") or ["{}"]))
                marks = [stream["high_watermark"] for stream in page.get("streams", []) if stream["high_watermark"]]
                high = max((lsn(mark["token"] if isinstance(mark, dict) else mark) for mark in marks), default=0)
                self.samples.append((confirmed, max(offsets, default=0), high))
            except Exception:  # a server that is down at the moment says nothing
                pass
            time.sleep(0.05)

    def stop(self):
        self._stopping = True
        self._thread.join(30)

    def violations(self, transactions, begin):
        """`begin` is where the slot started: it is confirmed before anything is stored."""
        ends = [t[1] for t in transactions]
        words = []
        for confirmed, stored, high in self.samples:
            if confirmed > max(stored, begin):
                words.append(f"confirmed {confirmed:X} is ahead of the stored offset {stored:X}")
            last = max((end for end in ends if end <= stored), default=0)
            if last > high:
                words.append(f"the stored offset {stored:X} is ahead of the journal {high:X}")
        return words


class Journal:
    """A dpone server on a SQLite journal that can be killed and started again at the same address."""

    def __init__(self, environment=None):
        self._directory = tempfile.TemporaryDirectory(prefix="dpone-live-")
        self.environment = environment or {}
        self.server = DponeServer(state=f"sqlite:{self._directory.name}/journal.db", directory=self._directory.name)
        self.start()

    def start(self, environment=None):
        if self.server.process is not None:
            self._close()
        self.server.environment = environment or self.environment
        self.server.start()
        self.url = self.server.url

    def kill(self):
        if self.server.process.poll() is None:
            self.server.process.send_signal(signal.SIGKILL)
        self._close()

    def stop(self):
        if self.server.process.poll() is None:
            self.server.process.send_signal(signal.SIGTERM)
        self._close()

    def _close(self):
        self.server.process.wait(30)
        self.server.process.stdout.close()
        self.server._log.close()

    def cleanup(self):
        self.stop()
        self._directory.cleanup()

    def restart(self):
        self.kill()
        self.start()
