"""A disk that is really full (a small tmpfs) under the state: nothing is acknowledged then, and all goes on when there is
room again. Needs the right to mount; skipped without it."""
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.batch import Batch, transaction  # noqa: E402
from support.dpone import dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.postgres import PostgresServer  # noqa: E402


class SmallDisk:
    """A tmpfs of so many megabytes."""

    def __init__(self, megabytes):
        self.path = tempfile.mkdtemp(prefix="dpone-disk-", dir="/tmp")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "dpone-test", self.path], capture_output=True)
        if done.returncode != 0:
            os.rmdir(self.path)
            raise unittest.SkipTest(f"no right to mount: {done.stderr.decode().strip()}")

    def fill(self, leave=0):
        """Takes all room but so many bytes."""
        room = os.statvfs(self.path)
        try:
            with open(os.path.join(self.path, "ballast"), "wb", buffering=0) as file:
                file.write(bytes(max(0, room.f_bavail * room.f_bsize - leave)))
        except OSError as error:  # the server has taken some of it meanwhile
            if error.errno != errno.ENOSPC:
                raise

    def free(self):
        os.unlink(os.path.join(self.path, "ballast"))

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=True)
        os.rmdir(self.path)


class DiskFullTest(unittest.TestCase):
    def disk(self, megabytes):
        disk = SmallDisk(megabytes)
        self.addCleanup(disk.close)
        return disk

    def start(self, state):
        server = DponeServer(state=state)
        server.start()
        self.addCleanup(server.stop)
        return server

    def test_a_state_on_a_disk_that_must_not_be_written_says_why_it_cannot_be_read(self):
        disk = self.disk(1)
        state = f"sqlite:{disk.path}/state.db"
        self.assertEqual(dpone("state", "migrate", "--state", state).returncode, 0)
        subprocess.run(["mount", "-o", "remount,ro", disk.path], check=True)
        for words in (["offsets", "list"], ["offsets", "delete", "--pipeline", "p", "--why", "x"], ["state", "migrate"]):
            done = dpone(*words, "--state", state)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("Read-only file system\nhint: SQLite needs files beside the database", done.stderr)

    def send_until_full(self, server, first, codes, rows=500):
        """Batches until one is refused; the lines of those that were acknowledged, and the one that was not."""
        lines = []
        for number in range(first, first + 60):
            end = f"0/{number * 0x1000:X}"
            batch = Batch(transaction(900 + number, end, rows), end)
            status, headers, body = batch.send(server)
            if status != 200:
                self.assertEqual(status, 503, body)
                self.assertIn(body["code"], codes)
                self.assertGreater(int(headers["Retry-After"]), 0)
                return lines, batch, transaction(900 + number, end, rows), number + 1
            lines += transaction(900 + number, end, rows)
        self.fail("the disk never became full")

    def accept(self, server, batch, seconds=30):
        give_up = time.monotonic() + seconds
        while (reply := batch.send(server))[0] == 503 and time.monotonic() < give_up:
            time.sleep(0.1)
        self.assertEqual(reply[0], 200, reply[2])

    def journal(self, server):
        return [json.loads(line) for line in pipeline.journal(server.url)]

    def run_full(self, server, disk, codes):
        """Twice: the second time the disk is full from the start."""
        stored = transaction(900, "0/100", 3)
        self.accept(server, Batch(stored, "0/100"))
        number = 1
        for leave in (300_000, 0):
            disk.fill(leave)
            more, batch, lines, number = self.send_until_full(server, number, codes)
            stored += more
            self.assertEqual(batch.send(server)[0], 503)
            disk.free()
            self.accept(server, batch)
            stored += lines
            self.assertEqual(self.journal(server), stored)

    def test_sqlite(self):
        disk = self.disk(24)
        self.run_full(self.start(f"sqlite:{disk.path}/state.db"), disk, {"store_full"})

    def test_postgresql_tables(self):
        disk = self.disk(24)
        with PostgresServer(fsync=True, settings={"autovacuum": "off"}) as database:  # which would make room
            folder = os.path.join(disk.path, "tables")
            os.mkdir(folder)
            os.chmod(disk.path, 0o755)
            shutil.chown(folder, database._user.pw_uid if database._user else None)
            database.psql(f"CREATE TABLESPACE small LOCATION '{folder}'")
            database.psql("ALTER DATABASE postgres SET default_tablespace = small")
            self.run_full(self.start(database.dsn()), disk, {"store_full"})

    def test_postgresql_write_ahead_log(self):
        """PostgreSQL stops itself then; what it acknowledged is there when it is started again with room."""
        disk = self.disk(64)
        os.chmod(disk.path, 0o755)
        with PostgresServer(fsync=True, settings={"max_wal_size": "1GB", "min_wal_size": "32MB"}) as database:
            database.stop()
            wal = os.path.join(database.data, "pg_wal")
            subprocess.run(["cp", "-a", wal, disk.path], check=True)
            shutil.rmtree(wal)
            os.symlink(os.path.join(disk.path, "pg_wal"), wal)
            database.start()
            server = self.start(database.dsn())
            disk.fill()
            stored, batch, lines, _ = self.send_until_full(server, 1, {"store_full", "store_unavailable", "commit_unknown"}, rows=3000)
            self.assertIn("No space left on device", database.log_tail(400))
            disk.free()
            database.stop("immediate")
            database.start()
            self.accept(server, batch)
            self.assertEqual(self.journal(server), stored + lines)


if __name__ == "__main__":
    unittest.main()
