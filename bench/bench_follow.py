"""How long after a commit its line is printed by `dpone cdc follow`, beside an HTTP round trip in the same run.
Usage: DPONE_BINARY=... python3 bench/bench_follow.py [transactions]

One event a transaction, each sent when the one before has been printed. Prints one JSON object; milliseconds.
`after_receipt` is from the receipt at the sender to the line at the reader, below zero when the line came first;
`after_sending` includes the commit itself. `through_another_server` follows at a second server on the same state.
"""
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
os.environ.setdefault("DPONE_SOURCE_DIR", ROOT)
os.environ.setdefault("DPONE_BINARY", os.path.join(ROOT, "build", "release", "cli", "dpone"))
from support.batch import Batch, transaction  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402


def summary(seconds):
    ordered = sorted(seconds)
    pick = lambda share: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)  # noqa: E731
    return {"median": pick(0.5), "p99": pick(0.99), "max": pick(1)}


class Sender:
    def __init__(self, server):
        self.connection = http.client.HTTPConnection(server.host, server.port)
        self.count = 0

    def send(self):
        """(before sending, with the receipt)"""
        self.count += 1
        batch = Batch(transaction(str(self.count), f"0/{self.count * 0x100:X}", 1), pipeline="bench")
        begin = time.monotonic()
        self.connection.request("POST", "/v1/pipelines/bench/batches", batch.body,
                                {"Content-Type": "application/x-ndjson", "Idempotency-Key": batch.batch_id})
        reply = self.connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise SystemExit(body.decode())
        return begin, time.monotonic()

    def round_trip(self):
        begin = time.monotonic()
        self.connection.request("GET", "/health")
        self.connection.getresponse().read()
        return time.monotonic() - begin


def measure(sender, server, consumer, count):
    follower = subprocess.Popen([os.environ["DPONE_BINARY"], "cdc", "follow", "--pipeline", "bench", "--consumer", consumer,
                                 "--server", server.url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while json.loads(follower.stdout.readline()).get("end_position") != f"0/{sender.count * 0x100:X}":
        pass
    time.sleep(0.5)
    after_sending, after_receipt, commits = [], [], []
    for _ in range(count):
        begin, receipt = sender.send()
        follower.stdout.readline()  # the event; its commit line came with it
        printed = time.monotonic()
        follower.stdout.readline()
        after_sending.append(printed - begin)
        after_receipt.append(printed - receipt)
        commits.append(receipt - begin)
        time.sleep(0.002)  # the consumer commits its offset and waits again
    follower.terminate()
    follower.wait()
    return {"after_receipt": summary(after_receipt), "after_sending": summary(after_sending), "receipt": summary(commits)}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory(prefix="dpone-bench-") as directory:
        state = f"sqlite:{directory}/journal.db"
        with DponeServer(state=state) as server, DponeServer(state=state) as other:
            sender = Sender(server)
            sender.send()
            result = {"transactions": count, "http_round_trip": summary([sender.round_trip() for _ in range(count)]),
                      "follow": measure(sender, server, "here", count),
                      "through_another_server": measure(sender, other, "there", max(20, count // 10))}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
