"""dpone cdc commit-gate: receipts and flags to a decision and an exit code."""

import json
import os
import pty
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support.dpone import BINARY, dpone

OFFSET = {"backend": "postgres_logical", "token": "0/16B6D28", "snapshot_complete": True}
RECEIPT = {"batch_id": "ab" * 32, "sink_status": "success", "load_status": "committed", "accepted": 1, "duplicates": 0,
           "idempotency_passed": True, "next_offset": OFFSET, "end_position": "0/16B6D28"}

# what differs from RECEIPT, blockers
RECEIPTS = [
    ({}, []),
    ({"sink_status": " Succeeded "}, []),
    ({"sink_status": "completed"}, []),
    ({"sink_status": "COMMITTED"}, []),
    ({"next_offset": None}, ["offset_missing"]),
    ({"next_offset": {"backend": "mssql_cdc", "token": "0x1"}}, ["offset_backend_mismatch"]),
    ({"sink_status": "failed"}, ["sink_not_success"]),
    ({"sink_status": ""}, ["sink_not_success"]),
    ({"load_status": "staged"}, ["load_not_committed"]),
    ({"idempotency_passed": False}, ["idempotency_failed"]),
    ({"next_offset": None, "sink_status": "x", "load_status": "x", "idempotency_passed": False},
     ["offset_missing", "sink_not_success", "load_not_committed", "idempotency_failed"]),
]

MALFORMED = [
    ("", "standard input: not JSON"),
    ("{", "standard input: not JSON"),
    ("[]", "expected a JSON object"),
    ("{}", "'sink_status' is missing"),
    (json.dumps({**RECEIPT, "idempotency_passed": "yes"}), "'idempotency_passed' is not a boolean"),
    (json.dumps({**RECEIPT, "next_offset": "0/1"}), "'next_offset' is not an offset"),
    (json.dumps({**RECEIPT, "next_offset": {"backend": "postgres_logical", "token": "42"}}), "expected X/X"),
    (json.dumps(RECEIPT) + "{}", "not JSON"),
    ('{"sink_status":"success","sink_status":"failed"}', "not JSON"),
]

FLAGS = ["--next-offset", "0/16B6D28", "--sink-status", "success", "--load-status", "committed",
         "--idempotency-passed", "true"]


def gate(*options, input=None):
    return dpone("cdc", "commit-gate", "--backend", "postgres_logical", *options, input=input)


class Receipts(unittest.TestCase):
    def test_each_receipt_has_its_decision(self):
        for changes, blockers in RECEIPTS:
            with self.subTest(changes=changes):
                receipt = {**RECEIPT, **changes}
                done = gate(input=json.dumps(receipt))
                decision = json.loads(done.stdout)
                self.assertEqual(list(decision), ["can_commit", "next_offset", "blockers"])
                self.assertEqual(decision["blockers"], blockers)
                self.assertEqual(decision["can_commit"], not blockers)
                self.assertEqual(done.returncode, 1 if blockers else 0)
                self.assertEqual(done.stderr, "")
                if receipt["next_offset"] is None:
                    self.assertIsNone(decision["next_offset"])
                else:
                    self.assertEqual(decision["next_offset"], {"snapshot_complete": True, **receipt["next_offset"]})

    def test_a_malformed_receipt_is_a_data_error(self):
        for text, message in MALFORMED:
            with self.subTest(text=text):
                done = gate(input=text)
                self.assertEqual((done.returncode, done.stdout), (4, ""))
                self.assertEqual(len(done.stderr.splitlines()), 1)
                self.assertIn(message, done.stderr)

    def test_a_receipt_may_come_from_a_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(RECEIPT, file)
            file.flush()
            self.assertEqual(gate("--receipt", file.name).returncode, 0)
        self.assertEqual(gate("--receipt", "-", input=json.dumps(RECEIPT)).returncode, 0)
        done = gate("--receipt", "/nonexistent")
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertIn("unable to read '/nonexistent': No such file or directory", done.stderr)

    def test_a_receipt_is_bounded(self):
        done = gate(input=json.dumps({**RECEIPT, "padding": "x" * (1 << 20)}))
        self.assertEqual((done.returncode, done.stdout), (4, ""))
        self.assertIn("larger than 1048576 bytes", done.stderr)

    def test_a_terminal_is_not_waited_for(self):
        leader, follower = pty.openpty()
        done = subprocess.run([BINARY, "cdc", "commit-gate", "--backend", "mssql_cdc"], stdin=follower,
                              capture_output=True, text=True, timeout=60)
        os.close(leader)
        os.close(follower)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("standard input is a terminal", done.stderr)


class Flags(unittest.TestCase):
    def test_all_flags_may_commit(self):
        done = gate(*FLAGS)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(json.loads(done.stdout), {"can_commit": True, "next_offset": OFFSET, "blockers": []})

    def test_what_is_not_given_does_not_pass(self):
        blockers = ["offset_missing", "sink_not_success", "load_not_committed", "idempotency_failed"]
        for at, blocker in enumerate(blockers):
            done = gate(*FLAGS[:2 * at], *FLAGS[2 * at + 2:])
            self.assertEqual(done.returncode, 1)
            self.assertEqual(json.loads(done.stdout)["blockers"], [blocker])

    def test_usage_errors(self):
        for options, message in [
            (["--receipt", "-", "--sink-status", "success"], "--receipt and flags"),
            (["--next-offset", "1"], "--next-offset: '1' is not a token of postgres_logical"),
            (["--idempotency-passed", "maybe"], "--idempotency-passed: 'maybe' is not one of true|false"),
            (["--idempotency-passed"], "--idempotency-passed needs a value"),
        ]:
            done = gate(*options)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(message, done.stderr)
        self.assertIn("missing required option --backend", dpone("cdc", "commit-gate").stderr)


if __name__ == "__main__":
    unittest.main()
