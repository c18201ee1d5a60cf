"""Backup and restore of a SQLite state as docs/state.md has it: taken while a server writes, then served by another one."""
import json
import os
import sqlite3
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.batch import Batch, transaction  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402


def batch_of(number):
    end = f"0/{number * 0x1000:X}"
    return Batch(transaction(900 + number, end, 20), end)


class SqliteBackupTest(unittest.TestCase):
    def test_a_backup_of_a_server_at_work_is_a_whole_state(self):
        with DponeServer(state="sqlite:state.db") as server:
            sent = []
            backed_up = threading.Event()

            def send():
                while not (backed_up.is_set() and len(sent) >= 30) and len(sent) < 2000:
                    number = len(sent) + 1
                    self.assertEqual(batch_of(number).send(server)[0], 200)
                    sent.append(number)

            sender = threading.Thread(target=send)
            sender.start()
            while len(sent) < 10 and sender.is_alive():
                time.sleep(0.01)
            with sqlite3.connect(f"{server.directory}/state.db") as source, sqlite3.connect(f"{server.directory}/copy.db") as copy:
                source.backup(copy)
            copy.close()
            backed_up.set()
            sender.join()
            with DponeServer(state="sqlite:copy.db", directory=server.directory) as other:
                lines = [json.loads(line) for line in pipeline.journal(other.url)]
                held = sum("event_id" not in line for line in lines)
                self.assertGreaterEqual(held, 10)
                self.assertEqual(lines, [line for number in range(1, held + 1)
                                         for line in transaction(900 + number, f"0/{number * 0x1000:X}", 20)])
                for number in sent:  # all of it again: receipts for what it holds, the rest is stored
                    status, headers, body = batch_of(number).send(other)
                    self.assertEqual((status, headers["Idempotency-Replayed"]), (200, "true" if number <= held else None), body)
                self.assertEqual(pipeline.journal(other.url), pipeline.journal(server.url))


if __name__ == "__main__":
    unittest.main()
