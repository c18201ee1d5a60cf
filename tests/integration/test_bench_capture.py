"""The synthesised benchmark capture has the bytes that a real server sends for the same rows."""

import os
import subprocess
import sys
import unittest

from support import captures
from support.dpone import BINARY
from support.postgres import PostgresServer

SCRIPT = os.path.join(captures.SOURCE, "bench", "make_bench_capture.py")
sys.path.insert(0, os.path.dirname(SCRIPT))
import make_bench_capture  # noqa: E402


def made(*options):
    return subprocess.run([sys.executable, "-B", SCRIPT, *options], stdout=subprocess.PIPE, check=True).stdout


def rows_of(output, separator="|"):
    return [tuple(line.split(separator)) for line in output.decode().splitlines()]


class BenchCapture(unittest.TestCase):
    def test_messages_equal_those_of_a_real_server_but_for_positions_times_and_ids(self):
        synthetic = rows_of(made("--rows", "250", "--rows-per-transaction", "100"))
        changes = [message for message in captures.pgoutput_messages(
            [(lsn, xid, data.encode()) for lsn, xid, data in synthetic]) if message["kind"] == "I"]
        with PostgresServer(settings={"autovacuum": "off"}) as server:
            server.psql(make_bench_capture.CREATE_TABLE)
            server.psql("CREATE PUBLICATION dpone FOR ALL TABLES;"
                        "SELECT pg_create_logical_replication_slot('bench', 'pgoutput')")
            for start in range(0, 250, 100):
                values = ", ".join("(" + ", ".join(f"'{value}'" for value in change["new"]) + ")"
                                   for change in changes[start:start + 100])
                server.psql(f"INSERT INTO public.bench_rows VALUES {values}")
            real = server.query("SET timezone = 'UTC'; SELECT lsn, xid, data FROM pg_logical_slot_peek_binary_changes("
                                "'bench', NULL, NULL, 'proto_version', '1', 'publication_names', 'dpone')")
            oid = int(server.query_value("SELECT 'public.bench_rows'::regclass::oid"))
        real = [data.replace(f"{oid:08x}", f"{make_bench_capture.RELATION_OID:08x}", 1) for _, _, data in real]
        self.assertEqual(len(real), 250 + 1 + 2 * 3)
        for expected, (_, _, message) in zip(real, synthetic, strict=True):
            if expected[2:4] in ("42", "43"):
                self.assertEqual((message[:4], len(message)), (expected[:4], len(expected)))
            else:
                self.assertEqual(message, expected)

    def test_both_plugins_decode_to_the_same_lines(self):
        for rows, in_transaction, form in (("2500", "1200", "csv"), ("300", "7", "at")):
            lines = [subprocess.run([BINARY, "cdc", "decode"], input=made("--rows", rows, "--rows-per-transaction", in_transaction,
                                                                         "--form", form, "--plugin", plugin),
                                    stdout=subprocess.PIPE, check=True).stdout for plugin in ("pgoutput", "wal2json")]
            self.assertEqual(lines[0], lines[1])
            self.assertEqual(lines[0].count(b'"event_id"'), int(rows))

    def test_every_form_holds_the_same_rows_and_positions_only_rise(self):
        rows = rows_of(made("--rows", "2500", "--rows-per-transaction", "1200"))
        self.assertEqual(len(rows), 2500 + 1 + 2 * 3)
        for form, separator in (("tab", "\t"), ("copy-csv", ",")):
            self.assertEqual(rows_of(made("--rows", "2500", "--rows-per-transaction", "1200", "--form", form),
                                     separator), rows)
        self.assertEqual(rows_of(made("--rows", "2500", "--rows-per-transaction", "1200", "--form", "csv"), ",")[1:],
                         rows)
        copied = rows_of(made("--rows", "2500", "--rows-per-transaction", "1200", "--form", "copy-text"), "\t")
        self.assertEqual([(lsn, xid, data[1:]) for lsn, xid, data in copied], rows)
        self.check_positions(rows)
        self.check_positions(rows_of(made("--rows", "2500", "--rows-per-transaction", "7")))

    def check_positions(self, rows):
        ids, position, final = set(), 0, None
        for message in captures.pgoutput_messages([(lsn, xid, data.encode()) for lsn, xid, data in rows]):
            self.assertGreaterEqual(captures.lsn_value(message["lsn"]), position)
            position = captures.lsn_value(message["lsn"])
            if message["kind"] == "B":
                self.assertEqual(str(message["top_xid"]), message["xid"])
                final = message["final_lsn"], message["timestamp"]
            if message["kind"] == "C":
                self.assertEqual((message["commit_lsn"], message["timestamp"]), final)
                self.assertEqual(message["end_lsn"], position)
            if message["kind"] == "I":
                ids.add(message["new"][0])
        self.assertEqual(len(ids), 2500)


if __name__ == "__main__":
    unittest.main()
