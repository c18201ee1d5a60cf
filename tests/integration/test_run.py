"""`dpone cdc run` from a capture into a real server: what arrives, what a second run does, how it waits, stops and refuses."""
import http.server
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.dpone import BINARY, SOURCE_DIR, clean_environment  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402

ORDERS = os.path.join(SOURCE_DIR, "examples", "captures", "orders.pgoutput.csv")
KEYS = ["--unique-key", "public.orders=id", "--unique-key", "public.customers=id"]


def notes(transactions, first=0):
    """A pgoutput capture of rows of public.notes (id int4, body text): a list of lengths for each transaction."""
    def lsn(number):
        return f"0/{number:X}"

    def column(text):
        data = str(text).encode()
        return b"t" + struct.pack(">I", len(data)) + data

    relation = b"R" + struct.pack(">I", 7) + b"public\0notes\0d" + struct.pack(">H", 2)
    relation += b"\1id\0" + struct.pack(">Ii", 23, -1) + b"\0body\0" + struct.pack(">Ii", 25, -1)
    lines, identity = [], 0
    for number, lengths in enumerate(transactions, first):
        begin, xid = 0x10000 * (number + 1), 900 + number
        messages = [(begin, b"B" + struct.pack(">QQI", begin + 0x8000, 0, xid)), (0, relation)]
        for length in lengths:
            row = b"I" + struct.pack(">I", 7) + b"N" + struct.pack(">H", 2) + column(identity) + column("x" * length)
            messages.append((begin + 0x10 + identity, row))
            identity += 1
        messages.append((begin + 0x8040, b"C\0" + struct.pack(">QQQ", begin + 0x8000, begin + 0x8040, 0)))
        lines += [f"{lsn(at)},{xid},\\x{message.hex()}\n".encode() for at, message in messages]
    return b"lsn,xid,data\n" * (first == 0) + b"".join(lines)


class RunTest(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(DponeServer(state="sqlite:journal.db"))
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def path(self, name, content=b""):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as out:
            out.write(content)
        return path

    def orders(self, first=None, last=None):
        with open(ORDERS, "rb") as capture:
            return b"".join(capture.readlines()[first:last])

    def start(self, path, *options):
        run = subprocess.Popen(pipeline.run_command(self.server.url, path, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=clean_environment(), cwd="/")
        self.addCleanup(run.stderr.close)
        self.addCleanup(run.stdout.close)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        return run

    def wait_for_events(self, count, seconds=30):
        give_up = time.monotonic() + seconds
        while True:
            held = sum("event_id" in line for line in pipeline.journal(self.server.url))
            if held >= count:
                return
            self.assertLess(time.monotonic(), give_up, f"{held} of {count} events arrived")
            time.sleep(0.05)

    # --- what arrives ---

    def test_the_journal_equals_what_decode_prints_from_every_form(self):
        for name in ("main/pgoutput.csv", "main/pgoutput.copy.txt", "main/test_decoding.csv", "main/test_decoding.at.txt",
                     "main/wal2json-2.csv", "main/wal2json-1-chunks.csv", "messages/pgoutput.csv"):
            with self.subTest(name):
                code, summary, errors = pipeline.run(self.server.url, pipeline.capture(name), "--batch-events", "40", pipeline=name)
                if code == 4 and "numeric" in errors:
                    continue  # wal2json's null for NaN: refused with a hint, see test_cli_decode.py
                self.assertEqual(code, 0, errors)
                expected = pipeline.decode(pipeline.capture(name))
                self.assertEqual(pipeline.journal(self.server.url, name.replace("/", "%2F")), expected)
                self.assertEqual(summary["accepted"], summary["events"])

    def test_a_pipe_is_read_to_its_end(self):
        command = [BINARY, "cdc", "run", "--pipeline", "orders", "--server", self.server.url, "--source-id", "shop", *KEYS]
        done = subprocess.run(command, input=self.orders(), capture_output=True, env=clean_environment(), cwd="/")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["accepted"], 12)
        self.assertEqual(done.stderr, b"")

    def test_the_server_comes_from_the_environment(self):
        code, summary, errors = 0, None, ""
        done = subprocess.run([BINARY, "cdc", "run", "--pipeline", "orders", "--source", ORDERS, "--until-end"], capture_output=True,
                              env=clean_environment(DPONE_SERVER=self.server.url), cwd="/")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_names_that_a_path_cannot_hold_are_refused(self):
        for name in (".", ".."):
            code, _, errors = pipeline.run(self.server.url, ORDERS, pipeline=name)
            self.assertEqual(code, 2, errors)
            self.assertIn("--pipeline", errors)

    def test_a_growing_file_is_followed(self):
        path = self.path("growing.csv", self.orders(last=9))
        run = self.start(path, *KEYS, "--batch-wait-ms", "10")
        self.wait_for_events(4)
        with open(path, "ab") as out:
            rest = self.orders(first=9)
            out.write(rest[:100])
            out.flush()
            time.sleep(0.3)
            out.write(rest[100:])
        self.wait_for_events(12)
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(20), 0)
        self.assertEqual(pipeline.journal(self.server.url), pipeline.decode(ORDERS, *KEYS))
        self.assertEqual(pipeline.stored_offset(self.server.url), pipeline.ends(pipeline.decode(ORDERS))[-1])

    def test_a_followed_file_that_shrinks_is_an_error(self):
        path = self.path("growing.csv", self.orders())
        run = self.start(path, *KEYS)
        self.wait_for_events(12)
        os.truncate(path, 10)
        self.assertEqual(run.wait(20), 4)
        self.assertIn(b"has become shorter", run.stderr.read())

    # --- again ---

    def test_a_second_run_sends_nothing_and_from_start_only_duplicates(self):
        first = pipeline.run(self.server.url, ORDERS, *KEYS)[1]
        second = pipeline.run(self.server.url, ORDERS, *KEYS)[1]
        third = pipeline.run(self.server.url, ORDERS, *KEYS, "--from-start", "--batch-events", "5")[1]
        self.assertEqual((first["accepted"], second["events"], second["skipped_transactions"]), (12, 0, 5))
        self.assertEqual((third["accepted"], third["duplicates"]), (0, 12))
        parts = pipeline.run(self.server.url, ORDERS, *KEYS, "--from-start", "--batch-events", "1")[1]
        self.assertEqual((parts["accepted"], parts["duplicates"]), (0, 12), "parts of known transactions are staged, then dropped")
        self.assertEqual({run["stored_offset"] for run in (first, second, third, parts)}, {first["stored_offset"]})

    def test_max_batches_stops_and_the_next_run_goes_on(self):
        code, summary, _ = pipeline.run(self.server.url, ORDERS, *KEYS, "--batch-events", "1", "--max-batches", "2")
        self.assertEqual((code, summary["batches"]), (0, 2))
        self.assertEqual(pipeline.run(self.server.url, ORDERS, *KEYS)[0], 0)
        self.assertEqual(pipeline.journal(self.server.url), pipeline.decode(ORDERS, *KEYS))

    def test_an_event_above_the_servers_limit_goes_to_quarantine_and_the_rest_arrives(self):
        self.assert_large_is_poison("--max-event-bytes", "65536")
        self.assert_large_is_poison("--max-batch-bytes", "65536")

    def assert_large_is_poison(self, *limit):
        with DponeServer(*limit, state="sqlite:journal.db") as server, tempfile.TemporaryDirectory() as folder:
            capture = os.path.join(folder, "large.csv")
            with open(capture, "wb") as out:
                out.write(notes([[10, 10, 100_000, 10, 10]]))
            code, _, errors = pipeline.run(server.url, capture, "--unique-key", "public.notes=id")
            self.assertEqual(code, 4, errors)
            self.assertIn("an event of more than 6", errors)
            self.assertEqual(pipeline.stored_offset(server.url), None)
            code, summary, errors = pipeline.run(server.url, capture, "--unique-key", "public.notes=id", "--on-poison", "quarantine")
            self.assertEqual(code, 0, errors)
            self.assertEqual((summary["accepted"], summary["quarantined"]), (4, 1))
            held = [json.loads(line) for line in pipeline.journal(server.url)]
            self.assertEqual([line["data"]["id"] for line in held if "event_id" in line], [0, 1, 3, 4])
            self.assertEqual([line["ordinal"] for line in held if "event_id" in line], [0, 1, 2, 3])
            listed = subprocess.run([BINARY, "cdc", "quarantine", "list", "--pipeline", "orders", "--server", server.url],
                                    capture_output=True, env=clean_environment(), cwd="/")
            self.assertIn(b"event_too_large", listed.stdout + listed.stderr)

    # --- the server is away ---

    def test_a_server_that_is_down_is_waited_for(self):
        self.server.stop()
        run = self.start(ORDERS, *KEYS, "--until-end")
        time.sleep(1)
        self.assertIsNone(run.poll())
        self.server.start()
        self.assertEqual(run.wait(120), 0, run.stderr.read())
        self.assertEqual(pipeline.journal(self.server.url), pipeline.decode(ORDERS, *KEYS))

    def lower_limits_while_it_runs(self, later, *flags, options=()):
        """A run that has begun meets a server that takes less: (run, what the journal has to hold in the end)."""
        path = self.path("notes.csv", notes([[10]]))
        run = self.start(path, "--unique-key", "public.notes=id", "--batch-wait-ms", "10", *options)
        self.wait_for_events(1)
        self.server.stop()
        with open(path, "ab") as out:
            out.write(notes(later, first=1))
        self.server.flags = list(flags)
        self.server.start()
        return run, [json.loads(line) for line in pipeline.decode(path, "--unique-key", "public.notes=id")]

    def test_a_server_that_takes_less_after_a_restart_gets_what_was_built_before_in_parts(self):
        for count in ("1", "4"):
            with self.subTest(count):
                later = [[300] * 40, [300] * 3, *[[200]] * 30, [300] * 40]
                run, expected = self.lower_limits_while_it_runs(later, "--max-batch-bytes", "4000",
                                                                options=["--batch-events", "30", "--batches-in-flight", count])
                self.wait_for_events(1 + sum(map(len, later)))
                run.send_signal(signal.SIGTERM)
                self.assertEqual(run.wait(20), 0, run.stderr.read())
                self.assertEqual([json.loads(line) for line in pipeline.journal(self.server.url)], expected)
                self.setUp()

    def test_an_event_read_after_the_limit_was_lowered_is_poison(self):
        later = [[300] * 40, [300] * 40, [300, 5000, 300]]
        run, _ = self.lower_limits_while_it_runs(later, "--max-batch-bytes", "4000", options=["--batch-events", "30", "--on-poison",
                                                                                             "quarantine", "--batches-in-flight", "1"])
        self.wait_for_events(83)
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(20), 0, run.stderr.read())
        self.assertEqual(json.loads(run.stdout.read())["quarantined"], 1)

    def test_an_event_that_was_built_under_a_higher_limit_stops_the_run_by_name_and_the_next_one_goes_on(self):
        for limit in ("--max-batch-bytes", "--max-event-bytes"):
            with self.subTest(limit):
                run, expected = self.lower_limits_while_it_runs([[10, 5000, 10], [10]], limit, "4000")
                self.assertEqual(run.wait(60), 4)
                large = [line["event_id"] for line in expected if len(line.get("data", {}).get("body", "")) == 5000]
                self.assertIn(f"event {large[0]} alone is more", run.stderr.read().decode())
                code, summary, errors = pipeline.run(self.server.url, os.path.join(self.folder, "notes.csv"), "--unique-key", "public.notes=id",
                                                     "--on-poison", "quarantine")
                self.assertEqual((code, summary["quarantined"]), (0, 1), errors)
                held = [json.loads(line) for line in pipeline.journal(self.server.url)]
                self.assertEqual([line["data"]["id"] for line in held if "event_id" in line], [0, 0, 2, 3])
                self.setUp()

    def test_a_signal_ends_the_waiting_at_once(self):
        self.server.stop()
        run = self.start(ORDERS, *KEYS, "--until-end")
        time.sleep(0.5)
        run.send_signal(signal.SIGTERM)
        started = time.monotonic()
        run.wait(30)
        self.assertLess(time.monotonic() - started, 15)

    # --- refusals ---

    def assert_refused(self, code, *words, options=(), path=ORDERS):
        answered, _, errors = pipeline.run(self.server.url, path, *options)
        self.assertEqual(answered, code, errors)
        for word in words:
            self.assertIn(word, errors)

    def test_what_is_refused_before_it_begins_prints_no_summary(self):
        for what, path, options in (("an option that does not exist", ORDERS, ["--no-such-option"]),
                                    ("a value that is refused", ORDERS, ["--batches-in-flight", "17"]),
                                    ("a value that proves useless when all is open", ORDERS, ["--metrics-listen", "nowhere"]),
                                    ("a form without positions", pipeline.capture("messages/test_decoding.stream"), [])):
            with self.subTest(what):
                command = [*pipeline.run_command(self.server.url, path, *options), "--until-end"]
                done = subprocess.run(command, capture_output=True, env=clean_environment(), cwd="/", timeout=120)
                self.assertEqual((done.returncode, done.stdout), (2, b""), done.stderr)
                self.assertTrue(done.stderr)

    def test_forged_content_is_refused_with_evidence(self):
        pipeline.run(self.server.url, ORDERS, *KEYS, "--source-id", "shop")
        forged = self.path("forged.csv")
        with open(ORDERS.replace("pgoutput", "test_decoding"), "rb") as capture, open(forged, "wb") as out:
            out.write(capture.read().replace(b"99.50", b"11.50"))
        before = pipeline.journal(self.server.url)
        self.assert_refused(1, "event_conflict", "line ", options=[*KEYS, "--source-id", "shop", "--from-start"], path=forged)
        self.assertEqual(pipeline.journal(self.server.url), before)

    def test_forms_without_positions_are_refused(self):
        self.assert_refused(2, "carries no positions", "hint: ", path=pipeline.capture("messages/test_decoding.stream"))

    def test_another_identity_is_refused(self):
        pipeline.run(self.server.url, ORDERS, *KEYS, "--source-id", "shop")
        self.assert_refused(1, "identity", options=[*KEYS, "--identity", "dpone-py", "--source-id", "shop", "--from-start"])

    def test_malformed_input_delivers_what_stands_before_it(self):
        rows = self.orders().split(b"\n")
        rows[-3] = rows[-3][:-2]
        self.assert_refused(4, "line ", options=KEYS, path=self.path("cut.csv", b"\n".join(rows)))
        held = pipeline.journal(self.server.url)
        self.assertGreater(len(held), 5)
        self.assertEqual(held, pipeline.decode(ORDERS, *KEYS)[:len(held)])

    def test_unusable_addresses_and_tokens(self):
        answered, _, errors = pipeline.run("ftp://nowhere", ORDERS)
        self.assertEqual(answered, 2, errors)
        self.assert_refused(3, "/nowhere", options=["--token-file", "/nowhere"])
        self.assert_refused(2, "--token-file", options=["--token-file", self.path("empty")])

    def test_a_token_is_needed_where_the_server_asks_for_one(self):
        token = self.path("token", b"s3cret-of-the-test\n")
        self.server.stop()
        self.server.flags = ["--token-file", token]
        self.server.start()
        answered, _, errors = pipeline.run(self.server.url, ORDERS)
        self.assertEqual(answered, 2, errors)
        answered, _, errors = pipeline.run(self.server.url, ORDERS, "--token-file", token)
        self.assertEqual(answered, 0, errors)
        self.assertNotIn("s3cret", errors + self.server.log_text())

    # --- an endpoint that is not ours ---

    def test_offsets_of_its_own_for_an_endpoint_that_only_gives_receipts(self):
        received = []

        class Endpoint(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8").split("\n")[:-1]
                header, trailer = json.loads(body[0]), json.loads(body[-1])
                received.extend(line for line in body[1:-1])
                receipt = json.dumps({"batch_id": trailer["batch_id"], "sink_status": "Succeeded", "load_status": " committed ",
                                      "accepted": trailer["count"], "duplicates": 0, "idempotency_passed": True,
                                      "next_offset": header["next_offset"]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(receipt)))
                self.end_headers()
                self.wfile.write(receipt)

            def log_message(self, *_):
                pass

        endpoint = self.enterContext(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint))
        thread = threading.Thread(target=endpoint.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(endpoint.shutdown)
        url = f"http://127.0.0.1:{endpoint.server_port}"
        state = f"sqlite:{self.folder}/own.db"
        code, summary, errors = pipeline.run(url, ORDERS, *KEYS, "--state", state)
        self.assertEqual((code, summary and summary["accepted"]), (0, 12), errors)
        self.assertEqual(received, pipeline.decode(ORDERS, *KEYS))
        code, summary, _ = pipeline.run(url, ORDERS, *KEYS, "--state", state)
        self.assertEqual((code, summary["events"], summary["skipped_transactions"]), (0, 0, 5))
        shown = subprocess.run([BINARY, "offsets", "show", "--pipeline", "orders", "--state", state], capture_output=True, text=True,
                               env=clean_environment())
        self.assertIn(summary["stored_offset"], shown.stdout, shown.stderr)

    # --- poison ---

    def test_poison_stops_by_default(self):
        self.assert_refused(4, "key column 'nowhere'", options=["--unique-key", "public.customers=nowhere"])

    def test_poison_in_quarantine_is_kept_and_the_rest_arrives(self):
        options = ["--unique-key", "public.customers=nowhere", "--on-poison", "quarantine"]
        code, summary, errors = pipeline.run(self.server.url, ORDERS, *options)
        self.assertEqual((code, summary["quarantined"], summary["accepted"]), (0, 3, 9), errors)
        kept = self.server.json("GET", "/v1/pipelines/orders/quarantine")[2]
        self.assertIn("Ada Lovelace", json.dumps(kept))
        self.assertEqual(summary["stored_offset"] is not None, True)
        code, summary, _ = pipeline.run(self.server.url, ORDERS, *options, "--strict", "--from-start")
        self.assertEqual(code, 4)


if __name__ == "__main__":
    unittest.main()
