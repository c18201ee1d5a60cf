"""The journal over HTTP: access, media types, batches, streamed events, offsets; and the contract of /openapi.json."""
import hashlib
import json
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from urllib.parse import quote

from support.dpone_server import DponeServer
from support.patience import wait_until

NDJSON = "application/x-ndjson"
TOKEN = "an-integration-test-token"


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def make_batch(pipeline, first, transactions=1, rows=3, text="x", source="1/db"):
    """A batch of whole transactions that end at 0x100 * (first + 1), ...: (batch id, body)."""
    lines = []
    token = None
    for number in range(first, first + transactions):
        end = 0x100 * (number + 1)
        for row in range(rows):
            data = {"id": number * 1000 + row, "v": text}
            identity = {"key": None, "number": number, "row": row, "v": text}
            lines.append(compact({"event_id": hashlib.sha256(compact(identity).encode()).hexdigest(),
                                  "operation": "insert", "source_schema": "public", "source_table": "t",
                                  "position": f"0/{end - 0x80:X}", "transaction_id": str(number + 1), "sequence": row,
                                  "ordinal": row, "data": data, "before": None, "unchanged": []}) + "\n")
        token = f"0/{end:X}"
        lines.append(compact({"type": "commit", "transaction_id": str(number + 1), "end_position": token,
                              "committed_at": None, "count": rows}) + "\n")
    middle = "".join(lines)
    batch_id = hashlib.sha256((middle + token).encode()).hexdigest()
    head = {"type": "batch", "schema": "dpone.cdc.batch.v1", "pipeline": pipeline, "backend": "postgres_logical",
            "source": source, "identity": "v1",
            "next_offset": {"backend": "postgres_logical", "token": token, "snapshot_complete": True},
            "stored_offset": None, "high_watermark": token}
    end_line = {"type": "end", "count": rows * transactions, "batch_id": batch_id}
    return batch_id, (compact(head) + "\n" + middle + compact(end_line) + "\n").encode()


def post_batch(server, pipeline, batch, headers=None):
    batch_id, body = batch
    return server.json("POST", f"/v1/pipelines/{quote(pipeline, safe='')}/batches",
                       {"Content-Type": NDJSON, "Idempotency-Key": batch_id, **(headers or {})}, body)


class Journal(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.server = DponeServer(directory=cls.directory.name, state="sqlite:journal.db")
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.directory.cleanup()

    def test_a_batch_becomes_events_and_a_repetition_the_same_receipt(self):
        batch = make_batch("first", 0, transactions=3)
        status, headers, receipt = post_batch(self.server, "first", batch)
        self.assertEqual((status, receipt["accepted"], receipt["duplicates"]), (200, 9, 0))
        self.assertNotIn("Idempotency-Replayed", headers)
        status, headers, again = post_batch(self.server, "first", batch)
        self.assertEqual((status, again, headers["Idempotency-Replayed"]), (200, receipt, "true"))
        status, headers, text = self.server.request("GET", "/v1/pipelines/first/events?limit=4")
        self.assertEqual((status, headers["Content-Type"]), (200, NDJSON))
        lines = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([line.get("type", "event") for line in lines], ["event"] * 3 + ["commit"] + ["event"] * 3 + ["commit"])
        self.assertEqual(self.server.json("GET", "/v1/pipelines/first")[2]["pipeline"], "first")
        names = [one["pipeline"] for one in self.server.json("GET", "/v1/pipelines")[2]["pipelines"]]
        self.assertIn("first", names)

    def test_names_are_percent_decoded(self):
        name = "a/b c%é"
        self.assertEqual(post_batch(self.server, name, make_batch(name, 0))[0], 200)
        names = [one["pipeline"] for one in self.server.json("GET", "/v1/pipelines")[2]["pipelines"]]
        self.assertIn(name, names)

    def test_concurrent_batches_of_one_key(self):
        batch = make_batch("same", 0, transactions=20, rows=50)
        replies = self.server.concurrently(8, lambda _: post_batch(self.server, "same", batch))
        for status, headers, reply in replies:
            self.assertIn(status, (200, 409))
            if status == 409:
                self.assertEqual((reply["code"], headers["Retry-After"]), ("request_in_flight", "1"))
        self.assertIn(200, [status for status, _, _ in replies])
        shown = self.server.json("GET", "/v1/pipelines/same")[2]
        self.assertEqual(shown["streams"][0]["event_count"], 1000)

    def test_a_long_answer_streams_in_bounded_memory_and_a_slow_reader_holds_nobody_up(self):
        text = "y" * 2000
        for first in range(0, 2000, 200):
            self.assertEqual(post_batch(self.server, "long", make_batch("long", first, 200, 10, text))[0], 200)
        before = self.server.resident_bytes()
        slow = [socket.create_connection(("127.0.0.1", self.server.port)) for _ in range(12)]
        for connection in slow:
            connection.sendall(b"GET /v1/pipelines/long/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(100)  # and no more: more of them than there are worker threads
        status, _, body = self.server.request("GET", "/v1/pipelines/long/events")
        self.assertEqual((status, body.count(b"\n")), (200, 2000 * 10 + 2000))
        self.assertGreater(len(body), 40 << 20)
        if not self.server.is_sanitized:
            self.assertLess(self.server.resident_bytes() - before, 32 << 20)
        for connection in slow:
            connection.close()
        self.assertEqual(self.server.request("GET", "/health")[0], 200)

    def test_offsets_come_and_go(self):
        path = "/v1/pipelines/offs/offsets/postgres_logical/*/*"
        typed = {"Content-Type": "application/json"}
        self.assertEqual(self.server.json("GET", path)[2]["code"], "offset_not_found")
        status, _, row = self.server.json("PUT", path, typed, compact({"token": "0/20"}))
        self.assertEqual((status, row["token"]), (200, "0/20"))
        status, _, reply = self.server.json("PUT", path, typed, compact({"token": "0/10"}))
        self.assertEqual((status, reply["code"]), (409, "offset_regression"))
        self.assertEqual(self.server.json("GET", path)[2]["token"], "0/20")
        self.assertEqual(len(self.server.json("GET", "/v1/pipelines/offs/offsets")[2]["offsets"]), 1)
        self.assertEqual(self.server.json("DELETE", path)[::2], (200, {"deleted": True}))
        self.assertEqual(self.server.request("GET", path)[0], 404)

    def test_plans_and_decisions(self):
        typed = {"Content-Type": "application/json; charset=utf-8"}
        status, _, plan = self.server.json("POST", "/v1/replay-plans", typed, compact(
            {"backend": "postgres_logical", "pipeline_name": "p", "source_schema": "public", "source_table": "t",
             "replay_from": "0/10", "replay_to": "0/5"}))
        self.assertEqual((status, plan["safe_to_execute"], plan["blockers"]), (200, False, ["replay.invalid_window"]))
        status, _, decision = self.server.json("POST", "/v1/commit-decisions", typed, compact(
            {"next_offset": None, "expected_backend": "postgres_logical", "sink_status": "success",
             "load_status": "committed", "idempotency_passed": True}))
        self.assertEqual((status, decision["can_commit"], decision["blockers"]), (200, False, ["offset_missing"]))

    def test_writing_needs_its_content_type(self):
        for method, path in [("POST", "/v1/pipelines/p/batches"), ("POST", "/v1/replay-plans"),
                             ("PUT", "/v1/pipelines/p/offsets/postgres_logical/*/*"), ("POST", "/v1/commit-decisions")]:
            for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
                status, _, reply = self.server.json(method, path, headers, b"{}")
                self.assertEqual((status, reply["code"]), (415, "unsupported_media_type"), path)

    def test_without_a_token_only_plain_local_requests(self):
        for headers in ({"Origin": "http://localhost"}, {"Forwarded": "for=1.2.3.4"}, {"X-Forwarded-For": "1.2.3.4"},
                        {"X-Forwarded-Anything": "x"}, {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}):
            status, _, reply = self.server.json("GET", "/v1/pipelines", headers)
            self.assertEqual((status, reply["code"]), (403, "token_required"), headers)
        for host in ("localhost", "localhost:1234", "127.0.0.1", "[::1]"):
            self.assertEqual(self.server.request("GET", "/v1/pipelines", {"Host": host})[0], 200, host)

    def test_metrics_know_the_journal(self):
        self.server.request("PUT", "/v1/pipelines/events%20elsewhere/offsets/postgres_logical/a/b",
                            {"Content-Type": "application/json"}, b'{"token":"1/0","snapshot_complete":true}')
        post_batch(self.server, 'quo"te', make_batch('quo"te', 0, 2, 5))
        give_up = time.monotonic() + 30
        while True:
            text = self.server.request("GET", "/metrics")[2].decode()
            if 'dpone_journal_events{pipeline="quo\\"te"} 10\n' in text:
                break
            self.assertLess(time.monotonic(), give_up, text)
            time.sleep(0.2)
        self.assertIn('dpone_journal_transactions{pipeline="quo\\"te"} 2\n', text)
        self.assertIn("dpone_journal_up 1\n", text)
        self.assertIn('dpone_offset_position{backend="postgres_logical",pipeline="events elsewhere",schema="a",table="b"}'
                      " 4294967296\n", text)

    def test_many_requests_at_once_while_events_flow(self):
        post_batch(self.server, "busy", make_batch("busy", 0, 50, 50))
        stop = threading.Event()
        times = []

        def watch():
            while not stop.is_set():
                started = time.monotonic()
                self.server.request("GET", "/health")
                times.append(time.monotonic() - started)
        watcher = threading.Thread(target=watch)
        watcher.start()

        def ask(index):
            if index % 2:
                return self.server.request("GET", "/v1/pipelines/busy/events")[0]
            return post_batch(self.server, f"busy-{index}", make_batch(f"busy-{index}", 0, 20, 50))[0]
        statuses = self.server.concurrently(24, ask)
        stop.set()
        watcher.join()
        self.assertEqual(set(statuses), {200})
        self.assertLess(sorted(times)[len(times) * 9 // 10], 2)  # one may meet a machine that stands still


class Limits(unittest.TestCase):
    def test_a_batch_above_the_limit_is_413_before_it_is_read(self):
        with DponeServer("--max-batch-bytes", "100000", state="sqlite:journal.db") as server:
            head = (b"POST /v1/pipelines/p/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
                    b"Idempotency-Key: k\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n")
            reply = server.raw(head % 100001)
            self.assertTrue(reply.startswith(b"HTTP/1.1 413"), reply)
            self.assertIn(b'"code":"body_too_large"', reply)
            self.assertNotIn(b"100 Continue", reply)
            self.assertEqual(post_batch(server, "p", make_batch("p", 0))[0], 200)

    def test_a_client_that_sends_without_asking_still_reads_why(self):
        with DponeServer("--max-batch-bytes", "100000", state="sqlite:journal.db") as server:
            for headers, expected in (({"Content-Type": NDJSON, "Idempotency-Key": "k"}, 413),
                                      ({"Content-Type": "text/plain"}, 415), ({"Host": "evil.example"}, 403)):
                for _ in range(5):
                    status, _, _ = server.request("POST", "/v1/pipelines/p/batches", headers, b"x" * (8 << 20))
                    self.assertEqual(status, expected)

    def test_an_unauthorised_large_body_is_refused_before_it_is_read(self):
        with DponeServer(state="sqlite:journal.db") as server:
            reply = server.raw(b"POST /v1/pipelines/p/batches HTTP/1.1\r\nHost: evil.example\r\n"
                               b"Content-Type: application/x-ndjson\r\nContent-Length: 10000000\r\n\r\n")
            self.assertTrue(reply.startswith(b"HTTP/1.1 403"), reply)

    def test_announced_bodies_cannot_promise_all_memory_away(self):
        with DponeServer(state="sqlite:journal.db") as server:
            head = (b"POST /v1/pipelines/p/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
                    b"Idempotency-Key: k\r\nContent-Length: 16777216\r\n\r\n")
            connections = []
            for _ in range(17):  # 17 * 16 MiB is more than 256 MiB
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
                connection.sendall(head)
                connections.append(connection)
            refused = select.select(connections, [], [], 60)[0]  # whichever the server reads last
            self.assertEqual([connection.recv(100)[:12] for connection in refused], [b"HTTP/1.1 503"])
            for connection in connections:
                connection.close()
            wait_until(lambda: post_batch(server, "p", make_batch("p", 0))[0] == 200, "the memory that was promised")

    def test_without_a_state(self):
        with DponeServer() as server:
            status, _, reply = server.json("GET", "/v1/pipelines")
            self.assertEqual((status, reply["code"]), (503, "no_state"))
            self.assertEqual(server.json("GET", "/ready")[2]["status"], "ready")


class Token(unittest.TestCase):
    def test_bearer(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "token")
            with open(path, "w", encoding="ascii") as file:
                file.write(TOKEN + "\n")
            with DponeServer("--token-file", path, state="sqlite:journal.db", directory=directory) as server:
                for headers in ({}, {"Authorization": "Bearer wrong-wrong-wrong"}, {"Authorization": "Basic " + TOKEN},
                                {"Authorization": TOKEN}):
                    status, reply_headers, reply = server.json("GET", "/v1/pipelines", headers)
                    self.assertEqual((status, reply["code"]), (401, "unauthorized"))
                    self.assertEqual(reply_headers["WWW-Authenticate"], "Bearer")
                good = {"Authorization": "Bearer " + TOKEN}
                self.assertEqual(server.request("GET", "/v1/pipelines", good)[0], 200)
                forwarded = dict(good, **{"X-Forwarded-For": "1.2.3.4", "Host": "public.example"})
                self.assertEqual(server.request("GET", "/v1/pipelines", forwarded)[0], 200)
                for path in ("/msg", "/health", "/ready", "/metrics", "/docs", "/fail/status"):
                    self.assertEqual(server.request("GET", path)[0], 200, path)
                server.stop()
                self.assertNotIn(TOKEN, server.log_text())


class Shutdown(unittest.TestCase):
    def test_acknowledged_batches_are_there_after_a_restart(self):
        with tempfile.TemporaryDirectory() as directory:
            server = DponeServer(directory=directory, state="sqlite:journal.db")
            server.start()
            results = []

            def send(index):
                if index == 8:
                    wait_until(lambda: len(results) >= 16, "batches")
                    return server.stop()
                for number in range(1000):
                    pipeline = f"p{index}-{number}"
                    try:
                        if post_batch(server, pipeline, make_batch(pipeline, 0, 2, 20))[0] == 200:
                            results.append(pipeline)
                    except (OSError, ValueError):
                        return None
                return None
            exit_code = server.concurrently(9, send)[8]
            self.assertEqual(exit_code, 0)
            self.assertTrue(results)
            with DponeServer(directory=directory, state="sqlite:journal.db") as again:
                names = {one["pipeline"] for one in again.json("GET", "/v1/pipelines")[2]["pipelines"]}
                self.assertLessEqual(set(results), names)


class Contract(unittest.TestCase):
    """Walks every path, method and error of /openapi.json against the server."""

    @classmethod
    def setUpClass(cls):
        cls.server = DponeServer(state="sqlite:journal.db")
        cls.server.start()
        cls.api = cls.server.json("GET", "/openapi.json")[2]
        post_batch(cls.server, "known", make_batch("known", 0, 2))
        cls.server.request("PUT", "/v1/pipelines/known/offsets/postgres_logical/*/*", {"Content-Type": "application/json"},
                           compact({"token": "0/100"}))

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server._own_directory.cleanup()

    def resolve(self, value):
        while "$ref" in value:
            at = self.api
            for key in value["$ref"][2:].split("/"):
                at = at[key]
            value = at
        return value

    def check(self, schema, value, where):
        schema = self.resolve(schema)
        if "anyOf" in schema:
            for one in schema["anyOf"]:
                try:
                    return self.check(one, value, where)
                except AssertionError:
                    pass
            self.fail(f"{where}: {value!r} fits no form")
        names = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
                 "null": type(None)}
        types = schema.get("type", list(names))
        types = types if isinstance(types, list) else [types]
        self.assertTrue(any(isinstance(value, names[one]) for one in types), f"{where}: {value!r} is not {types}")
        if "enum" in schema:
            self.assertIn(value, schema["enum"])
        if isinstance(value, dict):
            for name in schema.get("required", []):
                self.assertIn(name, value, where)
            for name, member in value.items():
                if name in schema.get("properties", {}):
                    self.check(schema["properties"][name], member, f"{where}.{name}")
                else:
                    self.assertIsNot(schema.get("additionalProperties"), False, f"{where}: {name} is not described")
        if isinstance(value, list):
            for member in value:
                self.check(schema.get("items", {}), member, where + "[]")
        return None

    def call(self, method, pattern, path, headers=None, body=None):
        """One request whose answer must be described."""
        operation = self.api["paths"][pattern][method.lower()]
        status, reply_headers, text = self.server.request(method, path, headers, body)
        where = f"{method} {path} -> {status}"
        self.assertIn(str(status), operation["responses"], where)
        described = self.resolve(operation["responses"][str(status)])
        self.assertIn("X-Correlation-ID", reply_headers)
        for name in described.get("headers", {}):
            if name in ("Location", "WWW-Authenticate"):
                self.assertIn(name, reply_headers, where)
        content = described.get("content", {})
        media = (reply_headers["Content-Type"] or "").split(";")[0]
        if not content:
            self.assertEqual(text, b"", where)
            return status
        self.assertIn(media, content, where)
        if media == "application/json":
            self.check(content[media]["schema"], json.loads(text), where)
        return status

    def test_every_operation_answers_as_described(self):
        typed = {"Content-Type": "application/json"}
        batch_id, batch = make_batch("contract", 0)
        offsets = "/v1/pipelines/{pipeline}/offsets/{backend}/{schema}/{table}"
        quarantine = "/v1/pipelines/{pipeline}/quarantine"
        consumers = "/v1/pipelines/{pipeline}/consumers"
        consumer = consumers + "/{consumer}"
        seen = set()
        for method, pattern, path, headers, body, expected in [
                ("GET", "/msg", "/msg", {}, None, 200), ("GET", "/msg", "/msg?delay=x", {}, None, 422),
                ("POST", "/fail/count/{count}", "/fail/count/0", {}, None, 200),
                ("POST", "/fail/count/{count}", "/fail/count/1001", {}, None, 422),
                ("POST", "/fail/duration/{seconds}", "/fail/duration/0", {}, None, 200),
                ("POST", "/fail/duration/{seconds}", "/fail/duration/x", {}, None, 422),
                ("POST", "/fail/reset", "/fail/reset", {}, None, 200),
                ("GET", "/fail/status", "/fail/status", {}, None, 200),
                ("GET", "/health", "/health", {}, None, 200), ("GET", "/ready", "/ready", {}, None, 200),
                ("GET", "/metrics", "/metrics", {}, None, 200), ("GET", "/openapi.json", "/openapi.json", {}, None, 200),
                ("GET", "/docs", "/docs", {}, None, 200), ("GET", "/redoc", "/redoc", {}, None, 307),
                ("GET", "/v1/pipelines", "/v1/pipelines", {}, None, 200),
                ("GET", "/v1/pipelines", "/v1/pipelines", {"Origin": "x"}, None, 403),
                ("GET", "/v1/pipelines/{pipeline}", "/v1/pipelines/known", {}, None, 200),
                ("GET", "/v1/pipelines/{pipeline}", "/v1/pipelines/unknown", {}, None, None),
                ("POST", "/v1/pipelines/{pipeline}/batches", "/v1/pipelines/contract/batches",
                 {"Content-Type": NDJSON, "Idempotency-Key": batch_id}, batch, 200),
                ("POST", "/v1/pipelines/{pipeline}/batches", "/v1/pipelines/contract/batches",
                 {"Content-Type": NDJSON, "Idempotency-Key": batch_id}, make_batch("contract", 5)[1], 422),
                ("POST", "/v1/pipelines/{pipeline}/batches", "/v1/pipelines/contract/batches", {"Content-Type": NDJSON}, batch, 400),
                ("POST", "/v1/pipelines/{pipeline}/batches", "/v1/pipelines/contract/batches", {}, batch, 415),
                ("GET", "/v1/pipelines/{pipeline}/events", "/v1/pipelines/known/events", {}, None, 200),
                ("GET", "/v1/pipelines/{pipeline}/events", "/v1/pipelines/known/events?limit=x", {}, None, 400),
                ("GET", "/v1/pipelines/{pipeline}/events", "/v1/pipelines/unknown/events", {}, None, None),
                ("GET", "/v1/pipelines/{pipeline}/events", "/v1/pipelines/known/events?consumer=c&wait=0", {}, None, 200),
                ("GET", "/v1/pipelines/{pipeline}/events", "/v1/pipelines/known/events?wait=61", {}, None, 400),
                ("GET", consumers, "/v1/pipelines/known/consumers", {}, None, 200),
                ("GET", consumer, "/v1/pipelines/known/consumers/c", {}, None, 404),
                ("GET", consumer, "/v1/pipelines/known/consumers/c%2Fd", {}, None, 400),
                ("PUT", consumer, "/v1/pipelines/known/consumers/c", typed, "{}", 200),
                ("PUT", consumer, "/v1/pipelines/known/consumers/c", typed, compact({"token": "F/0"}), 409),
                ("PUT", consumer, "/v1/pipelines/known/consumers/c", typed, compact({"token": "x"}), 400),
                ("PUT", consumer, "/v1/pipelines/known/consumers/c", {}, "{}", 415),
                ("GET", consumer, "/v1/pipelines/known/consumers/c", {}, None, 200),
                ("GET", consumers, "/v1/pipelines/known/consumers", {}, None, 200),
                ("DELETE", consumer, "/v1/pipelines/known/consumers/c", {}, None, 200),
                ("DELETE", consumer, "/v1/pipelines/known/consumers/c", {}, None, 404),
                ("GET", "/v1/pipelines/{pipeline}/offsets", "/v1/pipelines/known/offsets", {}, None, 200),
                ("GET", offsets, "/v1/pipelines/known/offsets/postgres_logical/*/*", {}, None, 200),
                ("GET", offsets, "/v1/pipelines/none/offsets/postgres_logical/*/*", {}, None, 404),
                ("PUT", offsets, "/v1/pipelines/known/offsets/postgres_logical/*/*", typed, compact({"token": "0/200"}), 200),
                ("PUT", offsets, "/v1/pipelines/known/offsets/postgres_logical/*/*", typed, compact({"token": "0/1"}), 409),
                ("PUT", offsets, "/v1/pipelines/known/offsets/postgres_logical/*/*", typed, "{", 400),
                ("PUT", offsets, "/v1/pipelines/known/offsets/postgres_logical/*/*", {}, "{}", 415),
                ("DELETE", offsets, "/v1/pipelines/known/offsets/postgres_logical/*/*", {}, None, 200),
                ("DELETE", offsets, "/v1/pipelines/known/offsets/postgres_logical/*/*", {}, None, 404),
                ("PUT", "/v1/pipelines/{pipeline}/source", "/v1/pipelines/known/source", typed, "{}", 400),
                ("GET", quarantine, "/v1/pipelines/known/quarantine", {}, None, 200),
                ("GET", quarantine, "/v1/pipelines/known/quarantine?after=x", {}, None, 400),
                ("POST", quarantine, "/v1/pipelines/known/quarantine", typed, "{}", 400),
                ("POST", quarantine + "/resolve", "/v1/pipelines/known/quarantine/resolve", typed, "{}", 400),
                ("POST", quarantine + "/resolve", "/v1/pipelines/known/quarantine/resolve", typed, compact(
                    {"ids": [999], "state": "discarded", "who": "me", "why": "test"}), 404),
                ("GET", "/v1/pipelines/{pipeline}/audit", "/v1/pipelines/known/audit", {}, None, 200),
                ("GET", "/v1/pipelines/{pipeline}/audit", "/v1/pipelines/known/audit?before=x", {}, None, 400),
                ("POST", "/v1/pipelines/{pipeline}/audit", "/v1/pipelines/known/audit", typed, "{}", 400),
                ("POST", "/v1/pipelines/{pipeline}/audit", "/v1/pipelines/known/audit", typed, compact(
                    {"who": "me", "action": "test", "subject": "this"}), 200),
                ("POST", "/v1/replay-plans", "/v1/replay-plans", typed, "[]", 400),
                ("POST", "/v1/replay-plans", "/v1/replay-plans", typed, "x" * (1 << 20) + "y", 413),
                ("POST", "/v1/commit-decisions", "/v1/commit-decisions", typed, compact(
                    {"next_offset": None, "expected_backend": "postgres_logical", "sink_status": "x", "load_status": "x",
                     "idempotency_passed": False}), 200)]:
            with self.subTest(method=method, path=path):
                status = self.call(method, pattern, path, headers, body)
                if expected is not None:
                    self.assertEqual(status, expected)
                seen.add((pattern, method.lower()))
        described = {(pattern, method) for pattern, item in self.api["paths"].items() for method in item}
        self.assertEqual(described - seen, set(), "every described operation is walked")

    def test_every_route_is_described_and_every_description_is_a_route(self):
        with open(os.path.join(os.environ["DPONE_SOURCE_DIR"], "server", "router.h"), encoding="utf-8") as source:
            routes = {(path, method.lower()) for method, path in re.findall(r'X\(\w+, "(\w+)",\s*\\?\s*"([^"]+)"\)', source.read())}
        described = {(pattern, method) for pattern, item in self.api["paths"].items() for method in item}
        self.assertEqual(routes, described)

    def test_other_methods_are_405_with_what_is_allowed(self):
        values = {"{count}": "1", "{seconds}": "1", "{pipeline}": "p", "{backend}": "b", "{schema}": "s", "{table}": "t"}
        for pattern, item in self.api["paths"].items():
            path = pattern
            for name, value in values.items():
                path = path.replace(name, value)
            status, headers, reply = self.server.json("PATCH", path)
            self.assertEqual((status, reply), (405, {"detail": "Method Not Allowed"}), path)
            self.assertEqual(set(headers["Allow"].split(", ")), {method.upper() for method in item}, path)

    def test_documentation_can_be_switched_off(self):
        with DponeServer("--enable-docs", "false") as server:
            for path in ("/docs", "/redoc", "/openapi.json"):
                self.assertEqual(server.json("GET", path)[::2], (404, {"detail": "Not Found"}))

    def test_the_page_asks_for_nothing_outside(self):
        status, headers, page = self.server.request("GET", "/docs")
        self.assertEqual(status, 200)
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertEqual(re.findall(rb'(?:src|href)="(?!openapi\.json")[^"]*"|https?://', page), [])

    @unittest.skipUnless(shutil.which("chromium"), "chromium is not installed")
    def test_the_page_shows_every_operation_in_a_browser(self):
        with tempfile.TemporaryDirectory() as profile:
            page = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                                   f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom",
                                   self.server.url + "/docs"], capture_output=True, text=True, timeout=120, check=False)
        self.assertIn('data-ready="true"', page.stdout, page.stderr[-2000:])
        for item in self.api["paths"].values():
            for operation in item.values():
                self.assertIn(f'<details id="{operation["operationId"]}"', page.stdout)

    def test_every_metric_is_documented_and_every_documented_metric_is_there(self):
        self.server.request("GET", "/metrics")
        give_up = time.monotonic() + 30
        text = ""
        while "dpone_journal_up" not in text:
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.1)
            text = self.server.request("GET", "/metrics")[2].decode()
        served = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
        with open(os.path.join(os.environ["DPONE_SOURCE_DIR"], "docs", "monitoring.md"), encoding="utf-8") as page:
            section = page.read().split("## Metrics\n")[1].split("\n## ")[0]
        documented = dict(re.findall(r"^\| `(\w+)(?:\{[^}]*\})?` \| (\w+) \|", section, re.M))
        self.assertEqual(documented, served)


if __name__ == "__main__":
    unittest.main()
