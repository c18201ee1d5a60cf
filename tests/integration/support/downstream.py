"""A downstream as a user would write one, with nothing of dpone in it: it takes batches over HTTP, applies each event once
by its id, and answers with a receipt. What it holds lives in memory; a test can make it lose some.

    with Downstream() as downstream:
        ... deliver to downstream.url ...
        downstream.rows()
"""
import hashlib
import http.server
import json
import threading
import time


class Downstream:
    def __init__(self):
        self.ledger = {}  # event id -> (end position, ordinal, event)
        self.batches = 0
        self.refuse_with = None
        self.max_bytes = None  # a larger body is 413
        self.first_answers = []  # (status, Retry-After) given before anything is taken
        self.asked_at = []
        self.offset_delay_s = None  # keeps an offset store that takes so long
        self.offset = None
        self._server = None

    def __enter__(self):
        downstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def _answer(self, status, body, retry_after=None):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                if retry_after is not None:
                    self.send_header("Retry-After", str(retry_after))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                if downstream.offset is not None and "/offsets/" in self.path:
                    return self._answer(200, downstream.offset)
                return self._answer(404, {"detail": "Not Found"})

            def do_PUT(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if downstream.offset_delay_s is None or "/offsets/" not in self.path:
                    return self._answer(404, {"detail": "Not Found"})
                time.sleep(downstream.offset_delay_s)
                downstream.offset = json.loads(body)
                return self._answer(200, downstream.offset)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                downstream.asked_at.append(time.monotonic())
                if downstream.first_answers:
                    status, retry_after = downstream.first_answers.pop(0)
                    self._answer(status, {"detail": "later", "code": "busy"}, retry_after)
                elif downstream.max_bytes is not None and len(body) > downstream.max_bytes:
                    self._answer(413, {"detail": "too large", "code": "too_large"})
                else:
                    self._answer(*downstream.take(body, self.headers.get("Idempotency-Key")))

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def take(self, body, key):
        lines = body.decode().removesuffix("\n").split("\n")
        header, trailer = json.loads(lines[0]), json.loads(lines[-1])
        token = (header["next_offset"] or {}).get("token", "")
        text = "".join(line + "\n" for line in lines[1:-1]) + token
        if hashlib.sha256(text.encode()).hexdigest() != trailer["batch_id"] or key != trailer["batch_id"]:
            return 400, {"detail": "the batch id does not match", "code": "digest_mismatch"}
        if self.refuse_with is not None:
            return self.refuse_with, {"detail": "not now", "code": "busy"}
        accepted, open_events = 0, getattr(self, "_open", [])
        for line in map(json.loads, lines[1:-1]):
            if line.get("type") == "commit":
                for event in open_events:
                    self.ledger[event["event_id"]] = (lsn(line["end_position"]), event["ordinal"], event)
                open_events = []
            else:
                if line["event_id"] not in self.ledger:
                    accepted += 1
                open_events.append(line)
        self._open = open_events
        self.batches += 1
        return 200, {"batch_id": trailer["batch_id"], "sink_status": "success",
                     "load_status": "staged" if open_events else "committed", "accepted": accepted,
                     "duplicates": trailer["count"] - accepted, "idempotency_passed": True,
                     "next_offset": header["next_offset"], "end_position": None}

    def lose(self, after, until):
        """Forgets what ended in (after, until]: a restored backup, a dropped table."""
        lost = [event_id for event_id, (end, _, _) in self.ledger.items() if lsn(after) < end <= lsn(until)]
        for event_id in lost:
            del self.ledger[event_id]
        return len(lost)

    def event_ids(self):
        """In the order of the source's commits."""
        return [event["event_id"] for _, _, event in sorted(self.ledger.values(), key=lambda entry: entry[:2])]


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)
