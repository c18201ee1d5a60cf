"""Mixed load with flat memory. Ten seconds here; an hour with DPONE_SOAK_SECONDS=3600."""
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


class Soak(unittest.TestCase):
    def ask_forever(self, server, index, stop, statuses):
        chance = random.Random(index)
        connection = server.connect()
        number = 0
        while not stop.is_set():
            number += 1
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

    def test_memory_stays_flat(self):
        with tempfile.TemporaryDirectory() as directory:
            flags = ("--cache-max-size", "500", "--cache-ttl-seconds", "5", "--workers", "2")
            with DponeServer(*flags, directory=directory, state="sqlite:journal.db") as server:
                stop = threading.Event()
                statuses = []
                threads = [threading.Thread(target=self.ask_forever, args=(server, index, stop, statuses))
                           for index in range(8)]
                for thread in threads:
                    thread.start()
                time.sleep(SECONDS * 0.4)
                warm = server.resident_bytes()
                time.sleep(SECONDS * 0.6)
                end = server.resident_bytes()
                sanitized = server.is_sanitized
                stop.set()
                for thread in threads:
                    thread.join()
                self.assertEqual([one for one in statuses if not isinstance(one, int)], [])
                self.assertLessEqual(set(statuses), {200, 404, 414, 500, 503})
                self.assertGreater(statuses.count(200), 100)
                if not sanitized:
                    self.assertLess(end - warm, 4 << 20, f"{warm} bytes after warming up, {end} at the end")
                    self.assertLess(end, 64 << 20)


if __name__ == "__main__":
    unittest.main()
