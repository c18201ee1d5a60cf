"""The conformance suite of the store drivers on a real PostgreSQL server. The same program runs on SQLite as a unit
test."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support.postgres import PostgresServer  # noqa: E402

SUITE = os.path.join(os.environ["DPONE_BUILD_DIR"], "tests/unit/unit_state_test_store_conformance")


class StoreConformanceTest(unittest.TestCase):
    def test_postgres_passes_the_suite(self):
        with PostgresServer() as server:
            environment = dict(os.environ, DPONE_CONFORMANCE_DSN=server.dsn())
            done = subprocess.run([SUITE], env=environment, capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
