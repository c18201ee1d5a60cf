"""SIGTERM while a call to the state does not return: the server ends in a bounded time all the same."""
import http.client
import os
import re
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

from support.dpone_server import DponeServer
from support.postgres import PostgresServer
from test_server_v1 import make_batch, post_batch


class Poster(threading.Thread):
    """Posts one batch; `outcome` is its status, or the error that ended the connection."""

    def __init__(self, server, pipeline):
        super().__init__()
        self.server, self.pipeline, self.outcome = server, pipeline, None
        self.batch = make_batch(pipeline, 1, 1, 5)

    def run(self):
        try:
            self.outcome = post_batch(self.server, self.pipeline, self.batch)[0]
        except (OSError, http.client.HTTPException) as error:
            self.outcome = error


class StuckState(unittest.TestCase):
    def wait_until(self, condition, what):
        deadline = time.monotonic() + 120
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)

    def test_a_locked_postgres_table_does_not_hold_up_the_end(self):
        with PostgresServer() as postgres:
            with DponeServer("--shutdown-timeout", "1", state=postgres.dsn()) as server:
                Poster(server, "before").run()
                locker = subprocess.Popen(postgres.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          env=postgres.environment(), text=True)
                self.addCleanup(locker.stdout.close)
                self.addCleanup(locker.kill)
                table = postgres.query_value("SELECT schemaname || '.' || tablename FROM pg_tables "
                                             "WHERE tablename = 'dpone_transaction'")
                locker.stdin.write(f"BEGIN;\nLOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;\nSELECT 'locked';\n")
                locker.stdin.flush()
                self.wait_until(lambda: "locked" in locker.stdout.readline(), "the lock")
                poster = Poster(server, "during")
                poster.start()
                waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                self.wait_until(lambda: postgres.query_value(waiting) != "0", "the insert waits for the lock")
                self.assertEqual(server.request("GET", "/health")[0], 200)
                self.assertEqual(server.stop(seconds=50), 0)
                poster.join(60)
                self.assertNotEqual(poster.outcome, 200, "nothing was committed")
                locker.stdin.write("ROLLBACK;\n")
                locker.stdin.close()
                locker.wait()
                server.start()
                poster.run()
                self.assertEqual(poster.outcome, 200)

    def test_a_postgres_that_answers_no_more_does_not_hold_up_the_end(self):
        with PostgresServer() as postgres:
            with DponeServer("--shutdown-timeout", "1", state=postgres.dsn()) as server:
                Poster(server, "before").run()
                sessions = postgres.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
                                          "AND pid <> pg_backend_pid()")
                sessions = [int(re.search(r"[0-9]+", str(row)).group()) for row in sessions]
                for session in sessions + [postgres.pid]:
                    os.kill(session, signal.SIGSTOP)
                try:
                    posters = [Poster(server, "during"), Poster(server, "before")]
                    for poster in posters:
                        poster.start()
                    self.wait_until(lambda: server.metric("dpone_connections") >= 3, "the posters' connections")
                    time.sleep(0.5)
                    self.assertEqual(server.request("GET", "/health")[0], 200)
                    self.assertEqual(server.stop(seconds=50), 0)
                finally:
                    for session in sessions + [postgres.pid]:
                        os.kill(session, signal.SIGCONT)
                for poster in posters:
                    poster.join(60)
                    self.assertIsInstance(poster.outcome, Exception, "no receipt")
                entry = server.log_entries()[-1]
                self.assertEqual((entry["level"].lower(), entry["message"], entry["everything_finished"]),
                                 ("warning", "dpone server stopped without the end of a call to the state", False))
                server.start()  # whatever became of the batches, sending them again is right
                for poster in posters:
                    poster.run()
                    self.assertEqual(poster.outcome, 200)

    def test_a_locked_sqlite_file_is_503_and_does_not_hold_up_the_end(self):
        with tempfile.TemporaryDirectory() as directory:
            with DponeServer("--shutdown-timeout", "1", directory=directory, state="sqlite:journal.db") as server:
                other = sqlite3.connect(os.path.join(directory, "journal.db"), isolation_level=None)
                self.addCleanup(other.close)
                other.execute("BEGIN IMMEDIATE")
                posters = [Poster(server, f"p{index}") for index in range(3)]
                for poster in posters:
                    poster.start()
                self.wait_until(lambda: server.metric("dpone_connections") >= 4, "the posters' connections")
                time.sleep(0.3)
                self.assertEqual(server.stop(seconds=50), 0)
                for poster in posters:
                    poster.join(60)
                    self.assertNotEqual(poster.outcome, 200)
                other.execute("ROLLBACK")
                server.start()
                for poster in posters:
                    poster.run()
                    self.assertEqual(poster.outcome, 200)


if __name__ == "__main__":
    unittest.main()
