#!/usr/bin/env python3
"""Makes the captures of this folder: runs each workload once in a PostgreSQL of its own and keeps what logical
decoding gives for it, in every textual form a user may hand to `dpone cdc decode`. See README.md.

    tests/captures/make_captures.py [--output FOLDER] [--examples FOLDER] [--only SET]...

All slots exist before the workload starts, and reading by peek consumes nothing, so every capture of a set shows the
same WAL.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(SOURCE, "tests", "integration"))

from support.postgres import PostgresError, PostgresServer  # noqa: E402

# What the text of values depends on, set by whoever reads.
READER_SETTINGS = {
    "DateStyle": "ISO", "IntervalStyle": "postgres", "extra_float_digits": "1", "bytea_output": "hex",
    "client_encoding": "UTF8", "TimeZone": "UTC", "search_path": "", "lc_monetary": "C",
}

PGOUTPUT = {"proto_version": "1", "publication_names": "dpone"}
WAL2JSON_2 = {"format-version": "2", "include-lsn": "on", "include-xids": "on", "include-transaction": "on",
              "include-timestamp": "on"}
WAL2JSON_1 = {"format-version": "1", "include-lsn": "on", "include-xids": "on"}
EVERY_FORM = ("at", "tab", "csv", "copy-csv", "copy-text")

# name -> (plugin, options, forms, rows): the smallest whole number of transactions with at least that many rows of
# the plugin, or all. What only shows an option is kept short.
MAIN_CAPTURES = {
    "pgoutput": ("pgoutput", PGOUTPUT, ("at", "csv", "copy-csv", "copy-text"), None),
    "pgoutput-messages": ("pgoutput", {**PGOUTPUT, "messages": "true"}, ("csv",), None),
    "pgoutput-binary": ("pgoutput", {**PGOUTPUT, "binary": "true"}, ("csv",), 40),
    "pgoutput-via-root": ("pgoutput", {"proto_version": "1", "publication_names": "dpone_root"}, ("csv",), None),
    "test_decoding": ("test_decoding", {}, EVERY_FORM, None),
    "test_decoding-timestamp": ("test_decoding", {"include-timestamp": "on"}, ("at",), None),
    "test_decoding-skip-empty": ("test_decoding", {"skip-empty-xacts": "on"}, ("csv",), None),
    "test_decoding-no-xids": ("test_decoding", {"include-xids": "off"}, ("csv",), 40),
    "wal2json-2": ("wal2json", WAL2JSON_2, ("at", "csv", "copy-text"), None),
    "wal2json-2-numeric-as-string": ("wal2json", {**WAL2JSON_2, "numeric-data-types-as-string": "on"}, ("csv",), None),
    "wal2json-2-rich": ("wal2json", {**WAL2JSON_2, "include-pk": "on", "include-type-oids": "on",
                                     "include-column-positions": "on", "include-not-null": "on",
                                     "include-default": "on", "include-origin": "on", "include-typmod": "off",
                                     "include-domain-data-type": "on"}, ("csv",), 150),
    "wal2json-2-plain": ("wal2json", {"format-version": "2"}, ("csv",), 40),
    "wal2json-1": ("wal2json", WAL2JSON_1, ("at", "csv"), None),
    "wal2json-1-numeric-as-string": ("wal2json", {**WAL2JSON_1, "numeric-data-types-as-string": "on"}, ("csv",), None),
    "wal2json-1-chunks": ("wal2json", {**WAL2JSON_1, "write-in-chunks": "on"}, ("at", "csv"), None),
    "wal2json-1-plain": ("wal2json", {"format-version": "1"}, ("csv",), 10),
}
MAIN_STREAMS = {
    "pgoutput": ("pgoutput", PGOUTPUT),
    "test_decoding": ("test_decoding", {}),
    "wal2json-2": ("wal2json", WAL2JSON_2),
    "wal2json-1": ("wal2json", WAL2JSON_1),
}
MESSAGES_CAPTURES = {
    "pgoutput": ("pgoutput", {**PGOUTPUT, "messages": "true"}, ("at", "csv"), None),
    "test_decoding": ("test_decoding", {}, EVERY_FORM, None),
    "wal2json-2": ("wal2json", WAL2JSON_2, ("at", "csv"), None),
    "wal2json-1": ("wal2json", WAL2JSON_1, ("at", "csv"), None),
    "wal2json-1-chunks": ("wal2json", {**WAL2JSON_1, "write-in-chunks": "on"}, ("at", "csv"), None),
}
MESSAGES_STREAMS = {"test_decoding": ("test_decoding", {}), "wal2json-2": ("wal2json", WAL2JSON_2)}
BYTES_CAPTURES = {
    "pgoutput": ("pgoutput", {**PGOUTPUT, "messages": "true"}, ("csv",), None),
    "test_decoding": ("test_decoding", {}, EVERY_FORM, None),
    "wal2json-2": ("wal2json", WAL2JSON_2, ("csv", "copy-text"), None),
}
PARTIAL_CAPTURES = {
    "pgoutput": ("pgoutput", {"proto_version": "1", "publication_names": "dpone,dpone_inserts"}, ("csv",), None),
    "test_decoding": ("test_decoding", {}, ("csv",), None),
    "wal2json-2": ("wal2json", WAL2JSON_2, ("csv",), None),
    "wal2json-1": ("wal2json", WAL2JSON_1, ("csv",), None),
}
NOT_JSON_CAPTURES = {
    "test_decoding": ("test_decoding", {}, ("csv",), None),
    "wal2json-2": ("wal2json", WAL2JSON_2, ("at", "csv"), None),
    "wal2json-2-default": ("wal2json", {**WAL2JSON_2, "include-default": "on"}, ("csv",), None),
    "wal2json-1": ("wal2json", WAL2JSON_1, ("csv",), None),
}
EXAMPLE_CAPTURES = {
    "orders.pgoutput": ("pgoutput", PGOUTPUT, ("csv",), None),
    "orders.test_decoding": ("test_decoding", {}, ("csv",), None),
    "orders.wal2json-2": ("wal2json", WAL2JSON_2, ("csv",), None),
}


class Session:
    """A psql that stays open, so that its transactions may span several parts of a workload."""

    def __init__(self, server, database, folder):
        self._marks = 0
        self._process = subprocess.Popen(server.psql_command(database, ["-A", "-t"]), cwd=folder,
                                         env=server.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True, encoding="utf-8")

    def run(self, sql):
        self._marks += 1
        mark = f"part {self._marks} done"
        self._process.stdin.write(f"{sql}\n\\echo '{mark}'\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.rstrip("\n") == mark:
                return
        raise PostgresError(self._process.stderr.read().strip())

    def close(self):
        _, errors = self._process.communicate()
        if errors:
            print(errors, file=sys.stderr)


def run_workload(server, database, name):
    with open(os.path.join(HERE, "workload", f"{name}.sql"), encoding="utf-8") as file:
        parts = re.split(r"^--@ (\w+)\n", file.read(), flags=re.MULTILINE)[1:]
    sessions = {}
    with tempfile.TemporaryDirectory(prefix="dpone-captures-") as folder:
        for session_name, sql in zip(parts[::2], parts[1::2]):
            if session_name not in sessions:
                sessions[session_name] = Session(server, database, folder)
            sessions[session_name].run(sql)
        for session in sessions.values():
            session.close()


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def reader_settings():
    return "".join(f"SET {name} = {literal(value)};\n" for name, value in READER_SETTINGS.items())


def peek(plugin, options, rows=None):
    function = "pg_logical_slot_peek_binary_changes" if plugin == "pgoutput" else "pg_logical_slot_peek_changes"
    pairs = "".join(f", {literal(name)}, {literal(value)}" for name, value in options.items())
    return f"SELECT lsn, xid, data FROM {function}({literal('peek_' + plugin)}, NULL, {rows or 'NULL'}{pairs})"


def knows_options(server, database, plugin, options):
    """wal2json before 2.6 has no numeric-data-types-as-string, for instance."""
    try:
        server.psql(f"SELECT count(*) FROM ({peek(plugin, options)}) AS rows", (), database)
    except PostgresError as error:
        if re.search(r'option "[^"]*" = "[^"]*" is unknown', str(error)):
            return False
        raise
    return True


def read_form(server, database, query, form):
    """The bytes that psql writes for the query in one of the supported forms."""
    options, statement = {
        "at": (["-At"], f"{query};"),
        "tab": (["-At", "-F", "\t"], f"{query};"),
        "csv": (["--csv"], f"{query};"),
        "copy-csv": ([], f"COPY ({query}) TO STDOUT WITH (FORMAT csv);"),
        "copy-text": ([], f"COPY ({query}) TO STDOUT;"),
    }[form]
    return server.psql(f"{reader_settings()}{statement}\n", options, database, text=False)


FORM_SUFFIX = {"at": "at.txt", "tab": "tab.txt", "csv": "csv", "copy-csv": "copy.csv", "copy-text": "copy.txt"}


def read_stream(server, database, slot, plugin_options, end, path):
    """Has pg_recvlogical write the stream of a slot to a file, up to the position `end`."""
    environment = server.environment()
    environment["PGOPTIONS"] = " ".join(f"-c {name}={value}" for name, value in READER_SETTINGS.items())
    command = [server.binary("pg_recvlogical"), "-h", server.socket_dir, "-p", str(server.port), "-U", "postgres",
               "-d", database, "--slot", slot, "--start", "--no-loop", "--endpos", end, "-f", path]
    for name, value in plugin_options.items():
        command += ["-o", f"{name}={value}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise PostgresError(done.stderr)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


TABLES = """
SELECT n.nspname, c.relname, c.oid::text, c.relkind, c.relreplident,
       coalesce((SELECT n2.nspname || chr(30) || p.relname FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent
                 JOIN pg_namespace n2 ON n2.oid = p.relnamespace WHERE h.inhrelid = c.oid), ''),
       (SELECT coalesce(string_agg(a.attname, chr(30) ORDER BY k.n), '')
          FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n), pg_attribute a
         WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.attnum),
       (SELECT coalesce(string_agg(a.attname, chr(30) ORDER BY k.n), '')
          FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n), pg_attribute a
         WHERE i.indrelid = c.oid AND a.attrelid = c.oid AND a.attnum = k.attnum
           AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END),
       (SELECT coalesce(string_agg(a.attname || chr(29) || format_type(a.atttypid, a.atttypmod) || chr(29)
                                   || a.attgenerated::text, chr(30) ORDER BY a.attnum), '')
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
 ORDER BY n.nspname, c.relname"""


def describe_tables(server, database):
    tables = []
    for schema, name, oid, kind, identity, parent, key, identity_columns, columns in server.query(
            f"SET search_path = '';{TABLES}", database):
        split = [column.split("\x1d") for column in columns.split("\x1e")] if columns else []
        table = {
            "schema": schema, "table": name, "oid": int(oid), "partitioned": kind == "p",
            "partition_of": parent.split("\x1e") if parent else None,
            "replica_identity": {"d": "default", "f": "full", "i": "index", "n": "nothing"}[identity],
            "primary_key": key.split("\x1e") if key else [],
            "identity_columns": identity_columns.split("\x1e") if identity_columns else [],
            "columns": [{"name": column, "type": type_name, "generated": generated != ""}
                        for column, type_name, generated in split],
        }
        tables.append(table)
    return tables


COPY_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse_copy_text(text):
    """The rows of COPY's text format, NULL as None."""
    rows = []
    for line in text.split("\n")[:-1]:
        rows.append([None if field == "\\N" else
                     re.sub(r"\\(.)", lambda m: COPY_ESCAPES.get(m.group(1), m.group(1)), field)
                     for field in line.split("\t")])
    return rows


def final_state(server, database, tables):
    """The content of every table after the workload, as the server prints it, without generated columns."""
    state = []
    for table in tables:
        if table["partitioned"]:
            continue
        quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (table["schema"], table["table"]))
        columns = [column["name"] for column in table["columns"] if not column["generated"]]
        if not columns:
            count = int(server.query_value(f"SELECT count(*) FROM {quoted}", database))
            state.append({"schema": table["schema"], "table": table["table"], "rows": [{} for _ in range(count)]})
            continue
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
        query = f'SELECT {names} FROM {quoted} ORDER BY ROW({quoted}.*)::text COLLATE "C"'
        text = server.psql(f"{reader_settings()}COPY ({query}) TO STDOUT;\n", (), database)
        state.append({"schema": table["schema"], "table": table["table"],
                      "rows": [dict(zip(columns, row)) for row in parse_copy_text(text)]})
    return state


def commit_list(server, database):
    """(end LSN, xid, number of rows, commit time) of each transaction, from the SQL rows of test_decoding."""
    query = peek("test_decoding", {"include-timestamp": "on"})
    commits, rows, xid = [], 0, None
    for lsn, row_xid, data in server.query(query, database):
        if data.startswith("BEGIN "):
            rows, xid = 0, row_xid
        elif data.startswith("table "):
            rows += 1
        elif data.startswith("COMMIT "):
            if xid != row_xid:
                raise PostgresError(f"COMMIT of {row_xid} inside transaction {xid}")
            commits.append({"end_position": lsn, "transaction_id": row_xid, "rows": rows,
                            "committed_at": re.search(r"\(at (.*)\)$", data).group(1)})
    return commits


def make_set(server, name, captures, streams, folder, with_oracle):
    database = f"capture_{name}"
    server.psql(f"CREATE DATABASE {database}")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(HERE, "workload", f"{name}_schema.sql"), encoding="utf-8") as file:
        server.psql(file.read(), (), database)
    if server.query_value("SELECT count(*) FROM pg_publication", database) == "0":
        server.psql("CREATE PUBLICATION dpone FOR ALL TABLES;"
                    "CREATE PUBLICATION dpone_root FOR ALL TABLES WITH (publish_via_partition_root = true)", (),
                    database)
    slots = [(f"peek_{plugin}", plugin) for plugin in ("pgoutput", "test_decoding", "wal2json")]
    slots += [(f"stream_{stream.replace('-', '_')}", plugin) for stream, (plugin, _) in streams.items()]
    for slot, plugin in slots:
        server.psql(f"SELECT pg_create_logical_replication_slot('{slot}', '{plugin}')", (), database)
    before = server.query_value("SELECT pg_current_wal_insert_lsn()", database)
    run_workload(server, database, name)
    end = server.query_value("SELECT pg_current_wal_insert_lsn()", database)
    for capture, (plugin, options, forms, rows) in captures.items():
        if not knows_options(server, database, plugin, options):
            print(f"{name}/{capture} is left out: this {plugin} does not know its options", file=sys.stderr)
            continue
        for form in forms:
            with open(os.path.join(folder, f"{capture}.{FORM_SUFFIX[form]}"), "wb") as file:
                file.write(read_form(server, database, peek(plugin, options, rows), form))
    for stream, (_, options) in streams.items():
        path = os.path.join(folder, f"{stream}.stream")
        if os.path.exists(path):
            os.remove(path)
        read_stream(server, database, f"stream_{stream.replace('-', '_')}", options, end, path)
    if with_oracle:
        tables = describe_tables(server, database)
        write_json(os.path.join(folder, "tables.json"), tables)
        write_json(os.path.join(folder, "expected_state.json"), final_state(server, database, tables))
        commits = commit_list(server, database)
        write_json(os.path.join(folder, "commits.json"), {
            "postgresql": server.version(), "slots_created_before": before, "end": end,
            "system_identifier": server.query_value("SELECT system_identifier FROM pg_control_system()"),
            "database": database, "commits": commits})
    # The files of dropped slots do not hold back the WAL of the next set.
    for slot, _ in slots:
        server.psql(f"SELECT pg_drop_replication_slot('{slot}')", (), database)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", help="default: postgres-<major> beside this script")
    parser.add_argument("--examples", default=os.path.join(SOURCE, "examples", "captures"))
    parser.add_argument("--only", action="append", metavar="SET", help="make this set only; may be repeated")
    arguments = parser.parse_args()
    with PostgresServer(settings={"autovacuum": "off", "lc_messages": "C"}) as server:
        server.require_plugin("wal2json")
        output = arguments.output or os.path.join(HERE, f"postgres-{server.major_version()}")
        sets = {
            "main": (MAIN_CAPTURES, MAIN_STREAMS), "messages": (MESSAGES_CAPTURES, MESSAGES_STREAMS),
            "bytes": (BYTES_CAPTURES, MESSAGES_STREAMS), "partial": (PARTIAL_CAPTURES, {}),
            "not_json": (NOT_JSON_CAPTURES, {}), "orders": (EXAMPLE_CAPTURES, {}),
        }
        for name, (captures, streams) in sets.items():
            if arguments.only and name not in arguments.only:
                continue
            example = name == "orders"
            folder = arguments.examples if example else os.path.join(output, name)
            make_set(server, name, captures, streams, folder, with_oracle=not example)
        print(f"captures of {server.version()} are in {output} and {arguments.examples}", file=sys.stderr)


if __name__ == "__main__":
    main()
