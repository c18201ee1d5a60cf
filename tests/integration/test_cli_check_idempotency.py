"""dpone cdc check-idempotency: event lines from files and pipes, of any size and cut anywhere."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support.dpone import BINARY, SOURCE_DIR, clean_environment, dpone

CAPTURE = os.path.join(SOURCE_DIR, "examples", "captures", "orders.pgoutput.csv")
LINES = dpone("cdc", "decode", CAPTURE).stdout.splitlines()
EVENTS = [line for line in LINES if json.loads(line).get("event_id")]
IDS = [json.loads(line)["event_id"] for line in EVENTS]


def check(lines, *options, end="\n"):
    return dpone("cdc", "check-idempotency", *options, input="\n".join(lines) + end)


class Decisions(unittest.TestCase):
    def test_what_decode_prints_passes(self):
        done = check(LINES)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout), {"passed": True, "total_events": len(EVENTS), "duplicate_count": 0,
                                                   "unique_events": len(EVENTS), "duplicate_event_ids": []})

    def test_nothing_passes(self):
        for text in ("", "\n"):
            self.assertEqual(json.loads(dpone("cdc", "check-idempotency", input=text).stdout)["total_events"], 0)

    def test_duplicates_are_listed_once_in_order_of_first_repetition(self):
        lines = [EVENTS[0], EVENTS[1], EVENTS[2], EVENTS[1], EVENTS[0], EVENTS[1]]
        done = check(lines)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        result = json.loads(done.stdout)
        self.assertEqual(list(result), ["passed", "total_events", "unique_events", "duplicate_count",
                                        "duplicate_event_ids"])
        self.assertEqual(result, {"passed": False, "total_events": 6, "unique_events": 3, "duplicate_count": 3,
                                  "duplicate_event_ids": [IDS[1], IDS[0]]})

    def test_a_file_and_a_last_line_without_its_end(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("\n".join(LINES + [EVENTS[3]]))
            file.flush()
            done = dpone("cdc", "check-idempotency", file.name)
        self.assertEqual(json.loads(done.stdout)["duplicate_event_ids"], [IDS[3]])

    def test_lines_longer_than_a_piece_and_more_than_fit_one(self):
        event = json.loads(EVENTS[0])
        event["data"] = {"text": "x" * 700000}
        lines = [json.dumps(event, separators=(",", ":")), *EVENTS[1:], *(LINES * 400)]
        result = json.loads(check(lines).stdout)
        self.assertEqual(result["total_events"], len(EVENTS) * 401)
        self.assertEqual(result["unique_events"], len(EVENTS))

    def test_a_slow_pipe_is_put_together(self):
        text = ("\n".join(EVENTS[:2] + EVENTS[:1]) + "\n").encode()
        with subprocess.Popen([BINARY, "cdc", "check-idempotency"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=clean_environment()) as process:
            for at in range(0, len(text), 97):
                process.stdin.write(text[at:at + 97])
                process.stdin.flush()
            output = process.communicate(timeout=60)[0]
        self.assertEqual(json.loads(output)["duplicate_event_ids"], [IDS[0]])


class Refusals(unittest.TestCase):
    def refuse(self, done, code, message):
        self.assertEqual((done.returncode, done.stdout), (code, ""))
        self.assertIn(message, done.stderr.splitlines()[0])

    def test_malformed_lines_are_named(self):
        for line in ("{", "[]", "text", EVENTS[0][:-1], EVENTS[0].replace('"insert"', '"upsert"')):
            with self.subTest(line=line):
                self.refuse(check(EVENTS[:2] + [line]), 4, "while checking standard input: line 3")

    def test_an_event_without_an_id_cannot_be_checked(self):
        event = {**json.loads(EVENTS[0]), "event_id": None}
        self.refuse(check([json.dumps(event)]), 4, "line 1: the event has no id")

    def test_bounds_and_paths(self):
        self.refuse(check(EVENTS, "--max-events", "3"), 4, "more than 3 different event ids")
        self.refuse(check(EVENTS, "--max-events", "0"), 2, "--max-events: '0' is not a whole number")
        self.refuse(dpone("cdc", "check-idempotency", "/nonexistent"), 3, "'/nonexistent': No such file or directory")


if __name__ == "__main__":
    unittest.main()
