"""The helper that starts PostgreSQL must itself be reliable: every other integration test stands on it."""

import os
import signal
import subprocess
import sys
import time
import unittest

from support.postgres import PostgresError, PostgresServer

CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from support.postgres import PostgresServer
server = PostgresServer()
print(server.pid, server.base, flush=True)
time.sleep(600)
"""


def wait_until(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


class PostgresSupport(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PostgresServer()
        cls.addClassCleanup(cls.server.cleanup)

    def test_decodes_logically_with_every_plugin(self):
        self.assertEqual(self.server.query_value("SHOW wal_level"), "logical")
        self.server.require_plugin("wal2json")
        for plugin in ("pgoutput", "test_decoding", "wal2json"):
            self.server.psql(f"SELECT pg_create_logical_replication_slot('support_{plugin}', '{plugin}')")
            self.server.psql(f"SELECT pg_drop_replication_slot('support_{plugin}')")

    def test_answers_over_tcp_and_the_socket(self):
        for over in ("tcp", "socket"):
            done = subprocess.run([self.server.binary("psql"), "-XAtc", "SELECT 1", self.server.dsn(over=over)],
                                  capture_output=True, text=True, env=self.server.environment())
            self.assertEqual((done.returncode, done.stdout), (0, "1\n"), done.stderr)

    def test_query_tells_null_from_empty_and_keeps_newlines(self):
        self.assertEqual(self.server.query("SELECT NULL, '', E'a\\nb|c' UNION ALL SELECT 'x', 'y', 'z'"),
                         [(None, "", "a\nb|c"), ("x", "y", "z")])
        self.assertEqual(self.server.query("SELECT 1 WHERE false"), [])
        self.assertEqual(self.server.query("SELECT ''"), [("",)])
        self.assertEqual(self.server.query_value("SELECT E'\\r\\x1f\\x1e\"q\",'"), "\r\x1f\x1e\"q\",")

    def test_a_failing_statement_raises_with_the_servers_message(self):
        with self.assertRaisesRegex(PostgresError, "no_such_table"):
            self.server.psql("SELECT * FROM no_such_table")

    def test_committed_rows_survive_an_immediate_stop(self):
        with PostgresServer(fsync=True) as server:
            port = server.port
            server.psql("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
            server.restart("immediate")
            self.assertEqual(server.port, port)
            self.assertEqual(server.query_value("SELECT id FROM kept"), "7")
            self.assertEqual(server.query_value("SHOW fsync"), "on")

    def test_cleanup_leaves_neither_process_nor_folder(self):
        server = PostgresServer()
        pid, base = server.pid, server.base
        server.cleanup()
        self.assertFalse(os.path.exists(base))
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        server.cleanup()

    def test_a_killed_test_leaves_nothing_behind(self):
        child = subprocess.Popen([sys.executable, "-B", "-c", CHILD, os.path.dirname(os.path.abspath(__file__))],
                                 stdout=subprocess.PIPE, text=True)
        pid, base = child.stdout.readline().split()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        self.assertTrue(wait_until(lambda: not os.path.exists(base)), f"{base} is still there")
        # The orphan is reaped by whoever is its parent now, which may be slow or absent: a zombie does no harm.
        self.assertTrue(wait_until(lambda: _state(pid) in ("", "Z")), f"process {pid} still runs")

    def test_a_setting_that_keeps_the_server_from_starting_is_reported(self):
        with self.assertRaisesRegex(PostgresError, "no_such_parameter"):
            PostgresServer(settings={"no_such_parameter": "1"})


def _state(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


if __name__ == "__main__":
    unittest.main()
