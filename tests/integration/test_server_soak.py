"""Mixed load with flat memory. Ten seconds here; an hour with DPONE_SOAK_SECONDS=3600.

DPONE_SOAK_RATE limits the requests/s of all clients together (0: as fast as they can); DPONE_SOAK_LOG names a file
that gets a line a minute: seconds, requests so far, the server's resident bytes and CPU seconds.
"""
import collections
import http.client
import os
import random
import tempfile
import threading
import time
import unittest

from support.dpone_server import DponeServer
from test_server_v1 import make_batch, post_batch

SECONDS = float(os.environ.get("DPONE_SOAK_SECONDS", "10"))
RATE = float(os.environ.get("DPONE_SOAK_RATE", "0"))
LOG = os.environ.get("DPONE_SOAK_LOG")
CLIENTS = 8


class Outcomes:
    """What the clients got, counted: an hour of single ones would be the largest thing in memory."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()

    def append(self, outcome):
        with self.lock:
            self.counts[outcome] += 1


class Soak(unittest.TestCase):
    def ask_forever(self, server, index, stop, statuses):
        chance = random.Random(index)
        connection = server.connect()
        number = 0
        next_time = time.monotonic()
        while not stop.is_set():
            number += 1
            if RATE > 0:
                next_time = max(next_time + CLIENTS / RATE, time.monotonic() - 1)
                stop.wait(max(0, next_time - time.monotonic()))
            kind = chance.randrange(12)
            try:
                if kind < 5:
                    connection.request("GET", f"/msg?delay={chance.choice([0, 0, 1, 20])}",
                                       headers={"X-Request-ID": f"{chance.randrange(5000)}"})
                elif kind == 5:
                    connection.request("POST", "/fail/count/3")
                elif kind == 6:
                    connection.request("GET", "/metrics")
                elif kind == 7:
                    connection.request("GET", f"/v1/pipelines/soak-{chance.randrange(4)}/events?limit=50")
                elif kind == 8:
                    connection.close()  # in the middle of nothing
                    connection = server.connect()
                    continue
                elif kind == 9:
                    connection.request("GET", "/msg?delay=50")
                    connection.close()  # before the answer
                    connection = server.connect()
                    continue
                elif kind == 10:
                    pipeline = f"soak-{index}"
                    statuses.append(post_batch(server, pipeline, make_batch(pipeline, number, 1, 5))[0])
                    continue
                else:
                    connection.request("GET", "/" + "x" * chance.randrange(9000))
                reply = connection.getresponse()
                reply.read()
                statuses.append(reply.status)
                if reply.will_close:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                statuses.append(repr(error))
                connection.close()
                connection = server.connect()
        connection.close()

    def watch(self, server, statuses, seconds):
        """Waits; returns the resident bytes at the end."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 60))
            if LOG:
                with open(LOG, "a", encoding="ascii") as log:
                    print(round(time.monotonic() - self.started), statuses.counts.total(), server.resident_bytes(),
                          server.cpu_seconds(), file=log)
        return server.resident_bytes()

    def test_memory_stays_flat(self):
        with tempfile.TemporaryDirectory() as directory:
            flags = ("--cache-max-size", "500", "--cache-ttl-seconds", "5", "--workers", "2")
            with DponeServer(*flags, directory=directory, state="sqlite:journal.db") as server:
                stop = threading.Event()
                statuses = Outcomes()
                threads = [threading.Thread(target=self.ask_forever, args=(server, index, stop, statuses))
                           for index in range(CLIENTS)]
                self.started = time.monotonic()
                for thread in threads:
                    thread.start()
                warm = self.watch(server, statuses, SECONDS * 0.4)
                while statuses.counts.total() < 2000 and time.monotonic() - self.started < 120:  # on a slow machine
                    warm = self.watch(server, statuses, 1)
                end = self.watch(server, statuses, SECONDS * 0.6)
                sanitized = server.is_sanitized
                stop.set()
                for thread in threads:
                    thread.join()
                self.assertEqual([one for one in statuses.counts if not isinstance(one, int)], [])
                self.assertLessEqual(set(statuses.counts), {200, 404, 414, 500, 503})
                self.assertGreater(statuses.counts[200], 100)
                if not sanitized:
                    self.assertLess(end - warm, 4 << 20, f"{warm} bytes after warming up, {end} at the end")
                    self.assertLess(end, 64 << 20)


if __name__ == "__main__":
    unittest.main()
