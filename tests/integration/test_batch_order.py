"""Batches that reach the server before the ones they come after (Dpone-After): held back, without a thread, until those are
stored; and `dpone cdc run` with several batches in flight."""
import http.server
import json
import os
import random
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.batch import Batch, transaction  # noqa: E402
from support.downstream import Downstream  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.patience import wait_until  # noqa: E402

CAPTURE = pipeline.capture("main/pgoutput.csv")


def chain(count, first=1, name="orders"):
    """Batches of one transaction each, in order."""
    return [Batch(transaction(900 + n, f"0/{0x1000 * n:X}", 2, 10 * n), f"0/{0x1000 * n:X}", pipeline=name)
            for n in range(first, first + count)]


FOLLOW_S = 5  # how long the server holds a batch back whose predecessor does not come
PATIENCE_S = 60  # how long all senders of a test together may take


class Sender(threading.Thread):
    """One batch on a connection of its own. Where its predecessor did not come in time, because the machine stood still, it asks
    again, as any sender would, until its test has no more patience; unless it is told to ask once. An answer that it comes too
    early, given too early, is final."""

    def __init__(self, give_up, server, batch, after=None, name="orders", once=False):
        super().__init__(daemon=True)
        self.give_up, self.server, self.batch, self.name_, self.once = give_up, server, batch, name, once
        self.answer, self.last = None, None
        self.fields = {} if after is None else {"Dpone-After": after.batch_id}
        self.start()

    def run(self):
        while (started := time.monotonic()) < self.give_up:
            self.last = self.batch.send(self.server, headers=self.fields, pipeline=self.name_)
            if self.last[0] != 425 or self.once or time.monotonic() - started < FOLLOW_S - 0.1:
                self.answer = self.last
                return


class BatchOrderTest(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(DponeServer(state="sqlite:journal.db"))
        self.give_up = time.monotonic() + PATIENCE_S

    def sender(self, batch, after=None, name="orders", once=False, server=None):
        return Sender(self.give_up, server or self.server, batch, after, name, once)

    def patience(self):
        return max(0, self.give_up - time.monotonic())

    def journal(self, name="orders"):
        return [json.loads(line) for line in pipeline.journal(self.server.url, name)]

    def wait_for_waiting(self, count):
        """Until the server has received so many batches that wait for others."""
        line = f"\ndpone_waiting_batches {count}\n"
        wait_until(lambda: line in self.server.request("GET", "/metrics")[2].decode(), f"{count} batches that wait",
                   self.patience())

    def finish(self, sender):
        sender.join(self.patience())
        self.assertIsNotNone(sender.answer, f"no final answer, the last one was {sender.last}")
        return sender.answer

    def test_a_batch_waits_for_the_one_it_comes_after(self):
        first, second = chain(2)
        late = self.sender(second, first)
        self.wait_for_waiting(1)
        time.sleep(0.2)
        self.assertIsNone(late.answer)
        self.assertEqual(self.journal(), [])
        status, headers, _ = first.send(self.server)
        self.assertEqual((status, headers["Dpone-Keeps-Order"]), (200, "true"))
        self.assertEqual(self.finish(late)[0], 200)
        self.assertEqual(self.journal(), transaction(901, "0/1000", 2, 10) + transaction(902, "0/2000", 2, 20))

    def test_any_order_of_arrival_gives_the_order_of_the_sender(self):
        chance = random.Random(20261121)
        for turn in range(4):
            name = f"turn-{turn}"
            batches = chain(12, name=name)
            order = list(range(len(batches)))
            chance.shuffle(order)
            senders = [self.sender(batches[n], batches[n - 1] if n > 0 else None, name) for n in order]
            self.assertEqual([self.finish(sender)[0] for sender in senders], [200] * len(batches))
            ends = [line["end_position"] for line in self.journal(name) if line.get("type") == "commit"]
            self.assertEqual(ends, [f"0/{0x1000 * n:X}" for n in range(1, 13)])

    def test_what_waits_holds_no_thread(self):
        held = chain(40, first=2, name="held")
        senders = [self.sender(batch, before, "held") for before, batch in zip(chain(1, name="held") + held, held)]
        self.wait_for_waiting(40)
        for batch in chain(20, name="other"):
            self.assertEqual(batch.send(self.server, pipeline="other")[0], 200)
        self.assertEqual(self.server.request("GET", "/health")[0], 200)
        self.assertEqual(chain(1, name="held")[0].send(self.server, pipeline="held")[0], 200)
        self.assertEqual({self.finish(sender)[0] for sender in senders}, {200})

    def test_one_that_is_stored_already_is_not_waited_for_also_after_a_restart(self):
        batches = chain(5)
        batches[0].send(self.server)
        self.assertEqual(self.finish(self.sender(batches[1], batches[0], once=True))[0], 200)
        took = []
        for before, batch in zip(batches[1:], batches[2:]):
            self.server.stop()
            self.server.start()
            started = time.monotonic()
            self.assertEqual(self.finish(self.sender(batch, before, once=True))[0], 200)
            took.append(time.monotonic() - started)
            if took[-1] < FOLLOW_S - 1:  # waiting would take all of it every time, a machine that stands still takes it once
                break
        self.assertLess(min(took), FOLLOW_S - 1)

    def test_one_that_never_comes_or_is_refused_ends_the_wait_and_nothing_is_stored(self):
        first, second = chain(2)
        other = chain(2, name="refused")
        lonely = self.sender(second, first, once=True)
        behind = self.sender(other[1], other[0], "refused", once=True)
        self.wait_for_waiting(2)
        self.assertEqual(other[0].send(self.server, body=other[0].body[:-30], pipeline="refused")[0], 400)
        for sender in (lonely, behind):
            status, headers, body = self.finish(sender)
            self.assertEqual((status, body["code"], headers["Retry-After"]), (425, "predecessor_missing", "1"))
        self.assertEqual(self.journal(), [])
        self.assertEqual(self.journal("refused"), [])
        self.assertEqual(first.send(self.server)[0], 200)
        self.assertEqual(second.send(self.server, headers={"Dpone-After": first.batch_id})[0], 200)

    def test_another_server_with_the_same_state_may_have_stored_it(self):
        with DponeServer(state=f"sqlite:{self.server.directory}/journal.db") as twin:
            batches = chain(10)
            senders = [self.sender(batches[n], batches[n - 1] if n > 0 else None, server=(self.server, twin)[n % 2])
                       for n in reversed(range(10))]
            self.assertEqual({self.finish(sender)[0] for sender in senders}, {200})
        ends = [line["end_position"] for line in self.journal() if line.get("type") == "commit"]
        self.assertEqual(ends, [f"0/{0x1000 * n:X}" for n in range(1, 11)])

    def leave(self, first, second, linger):
        with socket.create_connection(("127.0.0.1", self.server.port)) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", *linger))
            link.sendall(f"POST /v1/pipelines/orders/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
                         f"Idempotency-Key: {second.batch_id}\r\nDpone-After: {first.batch_id}\r\n"
                         f"Content-Length: {len(second.body)}\r\n\r\n".encode() + second.body)
            self.wait_for_waiting(1)
        self.wait_for_waiting(0)
        self.assertEqual(first.send(self.server)[0], 200)
        time.sleep(0.3)
        self.assertEqual(self.journal(), transaction(901, "0/1000", 2, 10))

    def test_a_sender_that_has_left_is_not_obeyed_any_more(self):
        self.leave(*chain(2), linger=(0, 0))

    def test_nor_is_one_whose_connection_was_reset(self):
        self.leave(*chain(2), linger=(1, 0))

    def test_stopping_the_server_answers_what_waits(self):
        first, second = chain(2)
        took = []
        for _ in range(3):
            waiting = self.sender(second, first, once=True)
            self.wait_for_waiting(1)
            started = time.monotonic()
            self.assertEqual(self.server.stop(), 0)
            self.assertEqual(self.finish(waiting)[0], 425)
            took.append(time.monotonic() - started)
            if took[-1] < FOLLOW_S - 1:
                break
            self.server.start()
        self.assertLess(min(took), FOLLOW_S - 1)

    def test_the_header_is_checked(self):
        batch = chain(1)[0]
        for value in ("", "a b", "x" * 256):
            with self.subTest(value):
                status, _, body = batch.send(self.server, headers={"Dpone-After": value})
                self.assertEqual((status, body["code"]), (400, "after_invalid"))
        head = (f"POST /v1/pipelines/orders/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
                f"Idempotency-Key: k\r\nDpone-After: a\r\nDpone-After: b\r\nConnection: close\r\n"
                f"Content-Length: {len(batch.body)}\r\n\r\n").encode()
        self.assertIn(b"after_invalid", self.server.raw(head + batch.body))
        self.assertEqual(self.journal(), [])


class ScriptedJournal:
    """Answers batches with receipts, says that it keeps order, and refuses some as it was told. Like a server it holds a batch back
    until the one that it comes after is stored or refused. `fail` has how many of those that wait behind the n-th are to be answered
    503, and the n-th is not stored before they have come; `gather` has how many are at work before the n-th is stored."""

    def __init__(self, keeps_order=True, fail=(), refuse=None, gather=()):
        self.refuse, self.tokens = refuse, []
        self.requests, self.stored, self.busy, self.most_busy = [], [], 0, 0
        self.keeps_order, self.fail, self.gather, self.turned_away = keeps_order, dict(fail), dict(gather), set()
        self.changed = threading.Condition()

    def __enter__(self):
        journal = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                if journal.keeps_order:
                    self.send_header("Dpone-Keeps-Order", "true")
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                self.answer(404, {"detail": "Not Found"})

            def do_PUT(self):
                self.answer(200, {"body": len(self.rfile.read(int(self.headers["Content-Length"])))})

            def do_POST(self):
                lines = self.rfile.read(int(self.headers["Content-Length"])).decode().removesuffix("\n").split("\n")
                self.answer(*journal.take(self.headers, json.loads(lines[0]), json.loads(lines[-1])))

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # a sender that hangs up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def take(self, headers, header, trailer):
        key, after = headers["Idempotency-Key"], headers["Dpone-After"]
        with self.changed:
            self.requests.append((key, after))
            self.turned_away.discard(key)
            self.busy += 1
            self.most_busy = max(self.busy, self.most_busy)
            self.changed.notify_all()
            status, answer = self.decide(key, after, header, trailer)
            if status != 200:
                self.turned_away.add(key)
            self.busy -= 1
            self.changed.notify_all()
            return status, answer

    def decide(self, key, after, header, trailer):
        if after is not None:
            number = len(self.stored)
            if self.fail.get(number, 0) > 0:
                self.fail[number] -= 1
                return 503, {"detail": "busy", "code": "store_busy"}
            self.changed.wait_for(lambda: after in self.stored or after in self.turned_away, 60)
            if after not in self.stored:
                return 425, {"detail": "early", "code": "predecessor_missing"}
        number = len(self.stored)
        self.changed.wait_for(lambda: self.fail.get(number, 0) == 0, 60)  # the fifth to the 14th of the capture have others behind them
        self.changed.wait_for(lambda: self.most_busy >= self.gather.get(number, 0), 60)
        if number in self.gather:
            self.changed.wait(0.1)  # one too many would come now
        if len(self.stored) == self.refuse:
            return 409, {"detail": "other content", "code": "event_conflict"}
        if key not in self.stored:
            self.stored.append(key)
            if header["next_offset"]:
                self.tokens.append(header["next_offset"]["token"])
        return 200, {"batch_id": key, "sink_status": "success", "load_status": "committed" if header["next_offset"] else "staged",
                     "accepted": trailer["count"], "duplicates": 0, "idempotency_passed": True, "next_offset": header["next_offset"],
                     "end_position": None}


class RunInFlightTest(unittest.TestCase):
    def run_into(self, url, *options, environment=None):
        code, summary, errors = pipeline.run(url, CAPTURE, "--batch-events", "15", "--batch-wait-ms", "600000", *options, environment=environment)
        self.assertEqual(code, 0, errors)
        return summary

    def test_each_batch_names_the_one_before_it_and_no_more_are_in_flight_than_asked_for(self):
        for how in ("option", "environment"):
            with self.subTest(how), ScriptedJournal(gather={8: 4}) as journal:
                options = ["--batches-in-flight", "4"] if how == "option" else []
                self.run_into(journal.url, *options, environment={"DPONE_BATCHES_IN_FLIGHT": "4"} if how == "environment" else None)
                self.assertEqual(journal.most_busy, 4)
                self.assertGreater(len(journal.stored), 10)
                before = dict(zip(journal.stored[1:], journal.stored))
                named = [(key, after) for key, after in journal.requests if after is not None]
                self.assertGreaterEqual(len(named), 3)
                self.assertEqual([(key, before[key]) for key, _ in named], named)

    def test_what_comes_after_a_failure_is_sent_again_after_it(self):
        with ScriptedJournal() as journal:
            self.run_into(journal.url, "--batches-in-flight", "1")
            expected = journal.stored
        with ScriptedJournal(fail={6: 1, 10: 1}) as journal:
            summary = self.run_into(journal.url, "--batches-in-flight", "4")
            self.assertEqual(journal.stored, expected)
            self.assertGreater(len(journal.requests), len(expected))
            self.assertEqual(summary["batches"], len(expected))

    def test_an_endpoint_that_keeps_no_order_gets_one_at_a_time(self):
        with ScriptedJournal(keeps_order=False) as journal:
            self.run_into(journal.url, "--batches-in-flight", "4")
            self.assertEqual(journal.most_busy, 1)
            self.assertEqual({after for _, after in journal.requests}, {None})
        with ScriptedJournal() as journal, tempfile.TemporaryDirectory() as folder:
            self.run_into(journal.url, "--batches-in-flight", "4", "--state", f"sqlite:{folder}/offsets.db")
            self.assertEqual(journal.most_busy, 1)
        with Downstream() as downstream:
            folder = self.enterContext(tempfile.TemporaryDirectory())
            self.run_into(downstream.url, "--batches-in-flight", "4", "--state", f"sqlite:{folder}/offsets.db")
            self.assertEqual(len(downstream.event_ids()), sum("event_id" in line for line in pipeline.decode(CAPTURE)))

    def test_a_refused_batch_stops_the_run_and_nothing_behind_it_counts(self):
        with ScriptedJournal(refuse=5) as journal:
            code, summary, errors = pipeline.run(journal.url, CAPTURE, "--batch-events", "15", "--batches-in-flight", "4")
            self.assertEqual((code, len(journal.stored), summary["batches"]), (1, 5, 5), errors)
            self.assertIn("event_conflict", errors)
            self.assertIn(summary["stored_offset"], [None, *journal.tokens])  # never ahead of what has a receipt

    def test_the_journal_is_what_decode_prints_with_any_number_in_flight(self):
        expected = [json.loads(line) for line in pipeline.decode(CAPTURE)]
        with DponeServer(state="sqlite:journal.db") as server:
            for count in ("0", "1", "2", "4", "16"):
                with self.subTest(count):
                    code, _, errors = pipeline.run(server.url, CAPTURE, "--batch-events", "3", "--batches-in-flight", count,
                                                   pipeline=f"p{count}")
                    self.assertEqual(code, 0, errors)
                    self.assertEqual([json.loads(line) for line in pipeline.journal(server.url, f"p{count}")], expected)

    def test_numbers_out_of_range_are_refused(self):
        for count in ("17", "-1", "x"):
            code, _, errors = pipeline.run("http://127.0.0.1:9", CAPTURE, "--batches-in-flight", count)
            self.assertEqual(code, 2, errors)
            self.assertIn("--batches-in-flight", errors)

    def test_a_server_that_takes_less_at_once_gets_halves_also_with_several_in_flight(self):
        expected = [json.loads(line) for line in pipeline.decode(CAPTURE)]
        with DponeServer("--max-batch-bytes", "4000", state="sqlite:journal.db") as server:
            code, _, errors = pipeline.run(server.url, CAPTURE, "--batch-events", "20", "--batches-in-flight", "4")
            self.assertEqual(code, 0, errors)
            self.assertEqual([json.loads(line) for line in pipeline.journal(server.url)], expected)


if __name__ == "__main__":
    unittest.main()
