"""Ingestion over real HTTP: every rule of the receipt, the ledger and the refusals. Nothing is stored and nothing is
acknowledged in any refusal."""
import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.batch import Batch, commit, event, text, transaction  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.patience import wait_until  # noqa: E402


class IngestTest(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(DponeServer(state="sqlite:journal.db"))

    def journal(self, name="orders"):
        return [json.loads(line) for line in pipeline.journal(self.server.url, name)]

    def accept(self, batch, **options):
        status, headers, receipt = batch.send(self.server, **options)
        self.assertEqual(status, 200, receipt)
        self.assertRegex(headers["X-Correlation-ID"], "^[0-9a-f]{8}-")
        return receipt

    def refuse(self, batch, status, code, **options):
        before = self.journal()
        answered, headers, body = batch.send(self.server, **options)
        self.assertEqual((answered, body.get("code")), (status, code), body)
        self.assertIn("detail", body)
        self.assertRegex(headers["X-Correlation-ID"], "^[0-9a-f]{8}-")
        self.assertEqual(self.journal(), before)
        return headers, body

    # --- what is accepted ---

    def test_a_receipt_says_what_was_stored(self):
        batch = Batch(transaction(900, "0/1000", 3), "0/1000")
        receipt = self.accept(batch)
        self.assertEqual(receipt, {"batch_id": batch.batch_id, "sink_status": "success", "load_status": "committed", "accepted": 3,
                                   "duplicates": 0, "idempotency_passed": True, "end_position": "0/1000",
                                   "next_offset": {"backend": "postgres_logical", "token": "0/1000", "snapshot_complete": True}})
        self.assertEqual(self.journal(), transaction(900, "0/1000", 3))

    def test_known_events_are_duplicates_whatever_batch_they_come_in(self):
        self.accept(Batch(transaction(900, "0/1000", 3), "0/1000"))
        receipt = self.accept(Batch(transaction(900, "0/1000", 3) + transaction(901, "0/2000", 2, 10), "0/2000"))
        self.assertEqual((receipt["accepted"], receipt["duplicates"]), (2, 3))
        self.assertEqual(self.journal(), transaction(900, "0/1000", 3) + transaction(901, "0/2000", 2, 10))

    def test_the_order_of_members_does_not_make_other_content(self):
        self.accept(Batch(transaction(900, "0/1000", 1), "0/1000"))
        lines = transaction(900, "0/1000", 1)
        lines[0]["data"] = dict(reversed(lines[0]["data"].items()))
        receipt = self.accept(Batch(lines, "0/1000"))
        self.assertEqual(receipt["duplicates"], 1)

    def test_an_idle_advance_is_an_empty_batch(self):
        receipt = self.accept(Batch([], "0/9000"))
        self.assertEqual((receipt["accepted"], receipt["load_status"]), (0, "committed"))

    def test_a_transaction_in_parts_is_staged_until_its_commit(self):
        lines = transaction(900, "0/1000", 6)
        receipt = self.accept(Batch(lines[:2]))
        self.assertEqual((receipt["load_status"], receipt["next_offset"]), ("staged", None))
        self.assertEqual(self.journal(), [])
        self.accept(Batch(lines[2:4]))
        receipt = self.accept(Batch(lines[4:], "0/1000"))
        self.assertEqual(receipt["load_status"], "committed")
        self.assertEqual(self.journal(), lines)

    def test_a_part_sent_again_continues_and_ordinal_zero_restarts(self):
        lines = transaction(900, "0/1000", 4)
        self.accept(Batch(lines[:2]))
        self.accept(Batch(lines[:2]))
        self.accept(Batch(lines[:3]))
        self.accept(Batch(lines[3:], "0/1000"))
        self.assertEqual(self.journal(), lines)

    # --- the idempotency key ---

    def test_a_stored_transaction_may_be_sent_again_in_any_other_parts(self):
        ways = [cuts for count in range(4) for cuts in itertools.combinations((1, 2, 3), count)]
        end = 0x1000
        for first, second in itertools.product(ways, ways):
            with self.subTest(first=first, second=second):
                end += 0x1000
                token = f"0/{end:X}"
                lines = transaction(900, token, 4, first_id=end)
                before = self.journal()
                for cuts in (first, second, first):
                    edges = [0, *cuts, len(lines)]
                    for start, stop in zip(edges, edges[1:]):
                        self.accept(Batch(lines[start:stop], token if stop == len(lines) else None))
                self.assertEqual(self.journal(), before + lines)

    def test_a_repeated_key_answers_the_same_again(self):
        batch = Batch(transaction(900, "0/1000", 2), "0/1000")
        first = batch.send(self.server)
        second = batch.send(self.server)
        self.assertEqual((first[0], first[2]), (second[0], second[2]))
        self.assertIsNone(first[1]["Idempotency-Replayed"])
        self.assertEqual(second[1]["Idempotency-Replayed"], "true")

    def test_a_reused_key_is_refused(self):
        self.accept(Batch(transaction(900, "0/1000", 2), "0/1000"), key="my-key")
        self.refuse(Batch(transaction(901, "0/2000", 2), "0/2000"), 422, "idempotency_key_reused", key="my-key")

    def test_keys_belong_to_one_pipeline_and_source(self):
        self.accept(Batch(transaction(900, "0/1000", 2), "0/1000"), key="my-key")
        self.accept(Batch(transaction(901, "0/2000", 2), "0/2000", pipeline="other"), key="my-key", pipeline="other")
        self.accept(Batch(transaction(901, "0/2000", 2), "0/2000", source="8/shop"), key="my-key")

    def test_a_bad_key_is_refused(self):
        batch = Batch(transaction(900, "0/1000", 1), "0/1000")
        for key in ("", "x" * 256, "with space", "caf\u00e9".encode("latin-1").decode("latin-1")):
            with self.subTest(key=key):
                status, _, body = batch.send(self.server, key=key)
                self.assertEqual(status, 400, body)
        self.assertEqual(batch.send(self.server, headers={"Idempotency-Key": None})[0], 400)
        self.assertEqual(self.journal(), [])

    def test_two_keys_are_refused(self):
        batch = Batch(transaction(900, "0/1000", 1), "0/1000")
        head = (f"POST /v1/pipelines/orders/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
                f"Idempotency-Key: a\r\nIdempotency-Key: b\r\nConnection: close\r\nContent-Length: {len(batch.body)}\r\n\r\n").encode()
        self.assertIn(b" 400 ", self.server.raw(head + batch.body).split(b"\r\n")[0])
        self.assertEqual(self.journal(), [])

    # --- what the ledger refuses ---

    def test_the_same_event_with_other_content_is_a_conflict(self):
        self.accept(Batch(transaction(900, "0/1000", 3), "0/1000"))
        lines = transaction(900, "0/1000", 3)
        lines[1]["data"]["note"] = "changed"
        self.refuse(Batch(lines + transaction(901, "0/2000", 1), "0/2000"), 409, "event_conflict")

    def test_an_unknown_event_in_a_stored_transaction_differs(self):
        self.accept(Batch(transaction(900, "0/1000", 3), "0/1000"))
        self.refuse(Batch(transaction(900, "0/1000", 3, first_id=50), "0/1000"), 409, "transaction_differs")

    def test_an_unknown_transaction_below_the_watermark_differs(self):
        self.accept(Batch(transaction(901, "0/2000", 1), "0/2000"))
        self.refuse(Batch(transaction(900, "0/1000", 1), "0/1000"), 409, "transaction_differs")

    def test_an_ordinal_gap_is_refused(self):
        lines = transaction(900, "0/1000", 6)
        self.accept(Batch(lines[:2]))
        self.refuse(Batch(lines[3:], "0/1000"), 409, "ordinal_gap")
        self.refuse(Batch([lines[0], lines[2]]), 409, "ordinal_gap")

    def test_a_commit_with_another_count_is_refused(self):
        lines = transaction(900, "0/1000", 3)
        self.refuse(Batch(lines[:3] + [commit(900, "0/1000", 4)], "0/1000"), 400, "count_mismatch")

    def test_another_identity_is_refused(self):
        self.accept(Batch(transaction(900, "0/1000", 1), "0/1000"))
        status, _, body = Batch(transaction(901, "0/2000", 1), "0/2000", identity="dpone-py").send(self.server)
        self.assertGreaterEqual(status, 400)
        self.assertIn("identity", body["detail"])
        self.refuse(Batch(transaction(901, "0/2000", 1), "0/2000", identity="v9"), 400, "identity_unknown")

    # --- damaged bodies ---

    def test_a_body_cut_at_every_line_and_inside_lines_is_refused(self):
        batch = Batch(transaction(900, "0/1000", 2) + transaction(901, "0/2000", 1), "0/2000")
        body = batch.body
        cuts = [0] + [at + offset for at in range(len(body)) if body[at:at + 1] == b"\n" for offset in (0, 1)] + list(range(7, len(body), 41))
        for cut in sorted(set(cuts)):
            if cut >= len(body) - 1:
                continue  # the whole, or the whole without its last newline
            status, _, answer = batch.send(self.server, body=body[:cut])
            self.assertEqual(status, 400, f"cut at {cut}: {answer}")
        self.assertEqual(self.journal(), [])

    def test_a_connection_cut_inside_the_body_stores_nothing(self):
        batch = Batch(transaction(900, "0/1000", 2), "0/1000")
        head = (f"POST /v1/pipelines/orders/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
                f"Idempotency-Key: a\r\nContent-Length: {len(batch.body)}\r\n\r\n").encode()
        for together in (False, True):  # what was sent and its end are seen at once
            if together:
                self.server.process.send_signal(signal.SIGSTOP)
            with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
                connection.sendall(head + batch.body[:-1])
            if together:
                self.server.process.send_signal(signal.SIGCONT)
            self.accept(batch)
            self.assertEqual(len(self.journal()), 3)
            # Nor is it waited for until its time is over, which is after a minute.
            wait_until(lambda: self.server.metric("dpone_connections") == 1, "the end of the connection", 45)

    def test_damaged_lines_are_named(self):
        lines = transaction(900, "0/1000", 2)
        good = Batch(lines, "0/1000")
        middle = text(lines[1]).encode()
        for name, damage, code in (
                ("not JSON", b"{\n", "line_malformed"),
                ("bad UTF-8", middle.replace(b"row 1", b"row \xff"), "line_malformed"),
                ("a lone surrogate", middle.replace(b"row 1", b"\\ud800"), "line_malformed"),
                ("a short id", middle.replace(lines[1]["event_id"].encode(), b"abc"), "line_malformed"),
                ("a bad position", middle.replace(lines[1]["position"].encode(), b"x/y"), "line_malformed"),
                ("changed by one letter", middle.replace(b"row 1", b"row 7"), "digest_mismatch")):
            with self.subTest(name):
                body = text(good.header).encode() + text(lines[0]).encode() + damage + text(lines[2]).encode() + text(good.trailer).encode()
                status, _, answer = good.send(self.server, body=body)
                self.assertEqual((status, answer["code"]), (400, code), answer)
                if code == "line_malformed":
                    self.assertIn("line 3", answer["detail"])
        self.assertEqual(self.journal(), [])

    def test_a_wrong_count_in_the_trailer_is_refused(self):
        batch = Batch(transaction(900, "0/1000", 2), "0/1000")
        batch.trailer["count"] = 3
        self.refuse(batch, 400, "count_mismatch")

    def test_a_body_for_another_pipeline_is_refused(self):
        status, _, _ = Batch(transaction(900, "0/1000", 1), "0/1000", pipeline="other").send(self.server)
        self.assertEqual(status, 400)
        self.assertEqual(self.journal(), [])

    # --- limits and the store ---

    def test_a_name_that_could_not_be_listed_is_refused(self):
        for name, path in (("x" * 1024, "x" * 1024), ("a\0b", "a%00b")):
            batch = Batch(transaction(900, "0/1000", 1), "0/1000", pipeline=name)
            status, _, body = batch.send(self.server, pipeline=path)
            self.assertEqual((status, body["code"]), (400, "pipeline_name_invalid"))
            status, _, body = self.server.json("PUT", f"/v1/pipelines/{path}/source", {"Content-Type": "application/json"},
                                               json.dumps({"source": "s", "backend": "postgres_logical", "identity": "v1"}))
            self.assertEqual((status, body["code"]), (400, "pipeline_name_invalid"))
        longest = "x" * 1023
        self.accept(Batch(transaction(900, "0/1000", 1), "0/1000", pipeline=longest), pipeline=longest)
        status, _, body = self.server.json("GET", "/v1/pipelines")
        self.assertEqual((status, [entry["pipeline"] for entry in body["pipelines"]]), (200, [longest]))

    def test_too_large_is_413(self):
        large = Batch([event(900, 0, "0/F00", {"id": 1, "note": "x" * (9 << 20)}), commit(900, "0/1000", 1)], "0/1000")
        self.assertEqual(large.send(self.server)[0], 413)
        head = (b"POST /v1/pipelines/orders/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
                b"Idempotency-Key: a\r\nContent-Length: 17000000\r\n\r\n")
        self.assertIn(b" 413 ", self.server.raw(head).split(b"\r\n")[0])
        self.assertEqual(self.journal(), [])

    def test_a_locked_store_is_503_with_retry_after(self):
        lock = sqlite3.connect(os.path.join(self.server.directory, "journal.db"), isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        batch = Batch(transaction(900, "0/1000", 1), "0/1000")
        status, headers, body = batch.send(self.server)
        self.assertEqual(status, 503, body)
        self.assertGreater(int(headers["Retry-After"]), 0)
        lock.execute("ROLLBACK")
        lock.close()
        self.accept(batch)

    def test_a_full_store_is_503_and_nothing_is_acknowledged(self):
        self.server.stop()
        limit = 400 * 1024
        limited = ["prlimit", f"--pid={os.getpid()}"]
        self.assertEqual(subprocess.run(limited, stdout=subprocess.DEVNULL).returncode, 0)
        self.server.start()
        subprocess.run(["prlimit", f"--pid={self.server.process.pid}", f"--fsize={limit}"], check=True)
        acknowledged = []
        refused = None
        for number in range(1, 200):
            end = f"0/{number * 0x1000:X}"
            lines = transaction(900 + number, end, 50)
            status, headers, _ = Batch(lines, end).send(self.server)
            if status != 200:
                refused = status, headers["Retry-After"]
                break
            acknowledged += lines
        self.assertIsNotNone(refused, "the store never filled")
        self.assertEqual(refused[0], 503)
        self.assertGreater(int(refused[1]), 0)
        self.server.stop()
        self.server.start()
        self.assertEqual(self.journal(), acknowledged)

    def test_the_same_key_at_once_is_answered_once(self):
        batch = Batch(transaction(900, "0/1000", 2000), "0/1000")
        results = self.server.concurrently(12, lambda _: batch.send(self.server))
        statuses = sorted(result[0] for result in results)
        self.assertIn(200, statuses)
        for status, headers, body in results:
            if status != 200:
                self.assertEqual((status, body["code"], headers["Retry-After"]), (409, "request_in_flight", "1"))
        self.assertEqual(len(self.journal()), 2001)

    def test_many_pipelines_at_once_stay_apart(self):
        def send(index):
            return [Batch(transaction(900 + n, f"0/{n * 0x1000:X}", 5), f"0/{n * 0x1000:X}", pipeline=f"p{index}")
                    .send(self.server, pipeline=f"p{index}")[0] for n in range(1, 6)]
        for statuses in self.server.concurrently(8, send):
            self.assertEqual(statuses, [200] * 5)
        for index in range(8):
            self.assertEqual(len(self.journal(f"p{index}")), 30)

    # --- around it ---

    def test_writing_needs_its_content_type(self):
        batch = Batch(transaction(900, "0/1000", 1), "0/1000")
        for content_type in (None, "text/plain", "application/json"):
            self.assertEqual(batch.send(self.server, headers={"Content-Type": content_type})[0], 415)
        self.assertEqual(self.journal(), [])

    def test_without_a_token_only_plain_loopback_requests_are_answered(self):
        for headers in ({"Origin": "http://evil.example"}, {"X-Forwarded-For": "10.0.0.1"}, {"Forwarded": "for=10.0.0.1"},
                        {"Host": "evil.example"}):
            with self.subTest(headers):
                status, _, body = self.server.json("GET", "/v1/pipelines", headers)
                self.assertEqual((status, body["code"]), (403, "token_required"))


if __name__ == "__main__":
    unittest.main()
