"""Consumers over HTTP: waiting for events without a thread, commits that only go forward, several at once, kills."""
import http.client
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support.batch import Batch, transaction  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.postgres import PostgresServer  # noqa: E402

TYPED = {"Content-Type": "application/json"}
PATH = "/v1/pipelines/orders"


def lines_of(body):
    return [json.loads(line) for line in body.decode("utf-8").split("\n")[:-1]]


def commits(body):
    return [line["end_position"] for line in lines_of(body) if line.get("type") == "commit"]


class Rig(unittest.TestCase):
    def setUp(self):
        self.server = DponeServer(state="sqlite:journal.db")
        self.server.start()
        self.addCleanup(self.server._own_directory.cleanup)
        self.addCleanup(self.server.stop)
        self.count = 0

    def write(self, server=None, events=1, pipeline="orders"):
        """One transaction more; its end position."""
        self.count += 1
        end = f"0/{self.count * 0x100:X}"
        batch = Batch(transaction(str(self.count), end, events), pipeline=pipeline)
        status, _, body = (server or self.server).request(
            "POST", f"/v1/pipelines/{pipeline}/batches",
            {"Content-Type": "application/x-ndjson", "Idempotency-Key": batch.batch_id}, batch.body)
        self.assertEqual(status, 200, body)
        return end

    def read(self, consumer="billing", wait=0, server=None, query=""):
        return (server or self.server).request("GET", f"{PATH}/events?consumer={consumer}&wait={wait}{query}")

    def put(self, body, consumer="billing", server=None):
        status, _, reply = (server or self.server).json("PUT", f"{PATH}/consumers/{consumer}", TYPED, json.dumps(body))
        return status, reply

    def metric(self, name):
        text = self.server.request("GET", "/metrics")[2].decode()
        return float([line.split()[1] for line in text.splitlines() if line.startswith(name + " ")][0])

    def until(self, met, seconds=30):
        give_up = time.monotonic() + seconds
        while not met():
            self.assertLess(time.monotonic(), give_up, "it never came")
            time.sleep(0.01)

    def begin(self, count=1, wait=60, server=None, consumer="billing"):
        """Requests that wait; a list that fills with (status, body, seconds)."""
        answers = []

        def ask():
            begin = time.monotonic()
            status, _, body = self.read(consumer, wait, server)
            answers.append((status, body, time.monotonic() - begin))

        threads = [threading.Thread(target=ask) for _ in range(count)]
        for thread in threads:
            thread.start()
            self.addCleanup(thread.join)
        return answers


class ConsumersTest(Rig):
    def test_commits_go_forward_only_and_never_ahead_of_the_journal(self):
        self.assertEqual(self.put({})[1]["token"], "0/0", "before anything is written")
        ends = [self.write() for _ in range(4)]
        self.assertEqual(commits(self.read()[2]), ends)
        self.assertEqual(self.put({"token": ends[1]})[1]["token"], ends[1])
        self.assertEqual(self.put({"token": ends[1]})[0], 200, "again")
        self.assertEqual(self.put({})[1]["token"], ends[1], "registering what is there changes nothing")
        for token, code in ((ends[0], "offset_regression"), ("0/999999", "offset_ahead_of_journal"), ("x", "token_malformed")):
            status, reply = self.put({"token": token})
            self.assertEqual((status, reply["code"]), (400 if token == "x" else 409, code))
        self.assertEqual(commits(self.read()[2]), ends[2:])
        status, reply = self.put({"token": ends[0], "allow_rewind": True, "who": "t", "why": "again"})
        self.assertEqual((status, reply["token"], reply["high_watermark"]), (200, ends[0], ends[3]))
        self.assertEqual(commits(self.read()[2]), ends[1:])

    def test_consumers_are_listed_shown_and_ended_and_are_independent(self):
        ends = [self.write() for _ in range(3)]
        for consumer, end in (("a", ends[0]), ("b%20c", ends[2])):
            self.assertEqual(self.put({"token": end}, consumer)[0], 200)
        listed = self.server.json("GET", f"{PATH}/consumers")[2]["consumers"]
        self.assertEqual([(one["consumer"], one["token"]) for one in listed], [("a", ends[0]), ("b c", ends[2])])
        self.assertEqual(commits(self.read("a")[2]), ends[1:])
        self.assertEqual(self.read("b%20c")[2], b"")
        self.assertEqual(self.server.json("DELETE", f"{PATH}/consumers/a")[2], {"deleted": True})
        self.assertEqual(self.server.json("GET", f"{PATH}/consumers/a")[2]["code"], "consumer_not_found")
        self.assertEqual(commits(self.read("a")[2]), ends, "a stranger reads from the beginning")

    def test_names_and_parameters_are_checked(self):
        self.write()
        for name in ("a%2Fb", "%01", "x" * 201, "%FF"):
            self.assertEqual(self.put({}, name)[1]["code"], "consumer_name_invalid", name)
            self.assertEqual(self.read(name)[0], 400)
        for query, code in (("&from=0/1", "from_with_consumer"), ("&limit=0", "limit_malformed"), ("&wait=61", "wait_malformed"),
                            ("&wait=x", "wait_malformed"), ("&wait=-1", "wait_malformed"), ("&backend=none", "stream_not_found")):
            self.assertEqual(json.loads(self.read(query=query)[2])["code"], code)
        status, _, body = self.server.request("GET", f"{PATH}/events?consumer=")
        self.assertEqual((status, json.loads(body)["code"]), (400, "consumer_name_invalid"))
        self.assertEqual(self.put({"token": "0/100", "more": 1})[0], 400)
        status, _, reply = self.server.json("GET", "/v1/pipelines/none/events?consumer=a&wait=30")
        self.assertEqual((status, reply["code"]), (404, "pipeline_not_found"))

    def test_an_answer_is_bounded_by_events_and_by_bytes(self):
        ends = [self.write(events=300) for _ in range(5)]
        self.assertEqual(commits(self.read()[2]), ends[:4], "1000 events end within the fourth")
        self.assertEqual(commits(self.read(query="&limit=1")[2]), ends[:1])
        self.server.stop()
        with DponeServer("--max-batch-bytes", "40000", directory=self.server.directory, state="sqlite:journal.db") as small:
            self.assertEqual(commits(self.read(server=small)[2]), ends[:1])


class WaitingTest(Rig):
    def test_it_waits_holds_no_thread_and_is_woken_by_what_is_stored(self):
        first = self.write()
        self.assertEqual(commits(self.read(wait=60)[2]), [first], "at once when there is something")
        self.put({"token": first})
        threads = self.metric("process_threads")
        answers = self.begin(40)
        self.until(lambda: self.metric("dpone_waiting_readers") == 40)
        self.assertEqual(self.metric("process_threads"), threads)
        self.write(pipeline="another")
        self.assertEqual(self.metric("dpone_waiting_readers"), 40)
        second = self.write()
        self.until(lambda: len(answers) == 40)
        self.assertEqual({(status, tuple(commits(body))) for status, body, _ in answers}, {(200, (second,))})
        self.assertEqual(self.metric("dpone_waiting_readers"), 0)

    def test_after_its_time_it_answers_without_a_line(self):
        self.put({"token": self.write()})
        status, headers, body = self.read(wait=1)
        self.assertEqual((status, headers["Content-Type"], body), (200, "application/x-ndjson", b""))
        self.assertEqual(self.read(wait=0)[2], b"")

    def test_a_window_without_a_consumer_waits_as_well(self):
        end = self.write()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(
            self.server.request("GET", f"{PATH}/events?from={end}&wait=60")[2]))
        thread.start()
        self.until(lambda: self.metric("dpone_waiting_readers") == 1)
        second = self.write()
        thread.join(30)
        self.assertEqual(commits(answers[0]), [second])

    def test_only_so_many_may_wait(self):
        self.server.stop()
        with DponeServer("--max-waiting-readers", "2", directory=self.server.directory, state="sqlite:journal.db") as self.server:
            self.put({"token": self.write()})
            answers = self.begin(2)
            self.until(lambda: self.metric("dpone_waiting_readers") == 2)
            status, headers, body = self.read(wait=60)
            self.assertEqual((status, json.loads(body)["code"], headers["Retry-After"]), (503, "too_many_waiting", "1"))
            self.assertEqual(self.metric("dpone_readers_refused_total"), 1)
            self.assertEqual(self.read(wait=0)[0], 200)
            self.write()
            self.until(lambda: len(answers) == 2)

    def test_stopping_answers_everyone_at_once(self):
        self.put({"token": self.write()})
        answers = self.begin(20)
        self.until(lambda: self.metric("dpone_waiting_readers") == 20)
        begin = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        self.assertLess(time.monotonic() - begin, 20, "not the 60 s they were ready to wait, nor the grace of 30 s")
        self.until(lambda: len(answers) == 20)
        self.assertEqual({(status, body) for status, body, _ in answers}, {(200, b"")})
        self.assertIn('"everything_finished":true', self.server.log_text())

    def test_a_client_that_goes_away_gives_its_place_up_and_harms_nobody(self):
        """Those that go would be waited for 60 s."""
        self.put({"token": self.write()})
        connections = [self.server.connect() for _ in range(24)]
        for connection in connections:
            connection.request("GET", f"{PATH}/events?consumer=billing&wait=60")
        for connection in connections[:4]:
            connection.close()
        answers = self.begin(1)
        self.until(lambda: self.metric("dpone_waiting_readers") == 21)
        for index, connection in enumerate(connections[4:]):
            if index % 2:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        self.until(lambda: self.metric("dpone_waiting_readers") == 1)
        self.assertEqual(answers, [])
        end = self.write()
        self.until(lambda: len(answers) == 1)
        self.assertEqual(commits(answers[0][1]), [end])
        self.until(lambda: self.metric("dpone_waiting_readers") == 0)

    def test_waiting_while_writers_write_misses_nothing(self):
        """Consumers that read, apply and commit while more is written: each sees everything, in order."""
        self.write()
        total = 60
        seen = {name: [] for name in ("a", "b", "c")}

        def consume(name):
            while len(seen[name]) < total + 1:
                status, _, body = self.read(name, 60)
                self.assertEqual(status, 200, body)
                seen[name] += commits(body)
                self.assertEqual(self.put({"token": seen[name][-1]}, name)[0], 200)

        threads = [threading.Thread(target=consume, args=(name,)) for name in seen]
        for thread in threads:
            thread.start()
        expected = ["0/100"] + [self.write() for _ in range(total)]
        for thread in threads:
            thread.join(60)
        self.assertEqual(seen, {name: expected for name in seen})

    def test_a_killed_server_loses_no_commit_and_no_event(self):
        """Killed while a consumer reads and commits: what was acknowledged is there, the rest comes again."""
        ends = [self.write() for _ in range(40)]
        taken, acknowledged = [], [None]
        for _ in range(6):
            stop = threading.Timer(0.05, lambda: self.server.process.send_signal(signal.SIGKILL))
            stop.start()
            try:
                while True:
                    found = commits(self.read(query="&limit=1")[2])
                    if not found:
                        break
                    taken += found
                    if self.put({"token": found[-1]})[0] == 200:
                        acknowledged[0] = found[-1]
            except (OSError, http.client.HTTPException):
                pass
            stop.join()
            self.server.stop(signal.SIGKILL)
            self.server.start()
            stored = self.server.json("GET", f"{PATH}/consumers/billing")[2].get("token")
            if acknowledged[0] is not None:
                self.assertGreaterEqual(ends.index(stored), ends.index(acknowledged[0]))
        while found := commits(self.read(query="&limit=1")[2]):
            taken += found
            self.put({"token": found[-1]})
        self.assertEqual(list(dict.fromkeys(taken)), ends)


class SharedStateTest(Rig):
    """Two servers on one PostgreSQL state: what one stores wakes who waits at the other."""

    def setUp(self):
        self.postgres = PostgresServer()
        self.addCleanup(self.postgres.cleanup)
        self.count = 0
        self.server = DponeServer(state=self.postgres.dsn())
        self.other = DponeServer(state=self.postgres.dsn())
        for server in (self.server, self.other):
            server.start()
            self.addCleanup(server._own_directory.cleanup)
            self.addCleanup(server.stop)

    def test_events_stored_through_another_server_are_noticed(self):
        self.put({"token": self.write(self.other)})
        answers = self.begin(3)
        self.until(lambda: self.metric("dpone_waiting_readers") == 3)
        time.sleep(0.5)
        self.assertEqual(self.metric("dpone_readers_suspended_total"), 3, "looking in vain wakes nobody")
        end = self.write(self.other)
        self.until(lambda: len(answers) == 3)
        self.assertEqual({tuple(commits(body)) for _, body, _ in answers}, {(end,)})

    def test_consumers_at_both_servers_share_one_offset(self):
        ends = [self.write() for _ in range(3)]
        self.assertEqual(self.put({"token": ends[0]}, server=self.other)[0], 200)
        self.assertEqual(commits(self.read()[2]), ends[1:])
        results = []
        threads = [threading.Thread(target=lambda s=s: results.append(self.put({"token": ends[2]}, server=s)[0]))
                   for s in (self.server, self.other) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [200] * 8)


if __name__ == "__main__":
    unittest.main()
