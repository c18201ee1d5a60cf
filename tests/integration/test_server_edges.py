"""Hostile and odd requests over raw sockets. docs/http-edges.md is the same list in words."""
import json
import os
import random
import re
import resource
import socket
import time
import unittest

from support.dpone_server import DponeServer

HOST = b"Host: localhost\r\n"
GET = b"GET /msg HTTP/1.1\r\n" + HOST
POST = b"POST /fail/reset HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
OK, BAD, CLOSED = 200, 400, None

# Whether some calls of libmicrohttpd lead to our own code (cmake/microhttpd.cmake), or the shared library is used.
with open(os.environ["DPONE_BINARY"], "rb") as binary:
    REDIRECTED = b"libmicrohttpd.so" not in binary.read()

# name, bytes, expected status (None: closed without an answer), whether the connection must be closed after it
SHAPES = [
    ("header block of 33 KiB", GET + b"X-A: " + b"a" * 33000 + b"\r\n\r\n", 431, True),
    ("header block of 31 KiB", GET + b"X-A: " + b"a" * 31000 + b"\r\n\r\n", OK, False),
    ("101 header fields", GET + b"".join(b"X-%d: a\r\n" % i for i in range(101)) + b"\r\n", 431, True),
    ("2000 header fields", GET + b"".join(b"X-%d: a\r\n" % i for i in range(2000)) + b"\r\n", 431, True),
    ("target of 8193 bytes", b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, True),
    ("target of 40,000 bytes", b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, True),
    ("target of 8000 bytes", b"GET /msg?" + b"a" * 7991 + b" HTTP/1.1\r\n" + HOST + b"\r\n", OK, False),
    ("two equal Content-Length", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", BAD, True),
    ("two different Content-Length", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", BAD, True),
    ("Content-Length as a list", POST + b"Content-Length: 3, 3\r\n\r\nabc", BAD, True),
    ("Content-Length with a plus", POST + b"Content-Length: +3\r\n\r\nabc", BAD, True),
    ("Content-Length negative", POST + b"Content-Length: -1\r\n\r\nabc", BAD, True),
    ("Content-Length hexadecimal", POST + b"Content-Length: 0x3\r\n\r\nabc", BAD, True),
    ("Content-Length beyond 64 bits", POST + b"Content-Length: 99999999999999999999\r\n\r\nabc", 413, True),
    ("Content-Length empty", POST + b"Content-Length: \r\n\r\n", BAD, True),
    ("Content-Length and Transfer-Encoding", POST + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n0\r\n\r\n", BAD, True),
    ("Transfer-Encoding and Content-Length", POST + CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n", BAD, True),
    ("chunked, well-formed", POST + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n", OK, False),
    ("chunked with an extension", POST + CHUNKED + b"\r\n3;a=b\r\nabc\r\n0\r\n\r\n", OK, False),
    ("Transfer-Encoding gzip", POST + b"Transfer-Encoding: gzip\r\n\r\n", BAD, True),
    ("Transfer-Encoding gzip, chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", BAD, True),
    ("Transfer-Encoding xchunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", BAD, True),
    ("Transfer-Encoding twice", POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n", BAD, True),
    ("Transfer-Encoding in HTTP/1.0", POST.replace(b"/1.1", b"/1.0") + CHUNKED + b"\r\n0\r\n\r\n", BAD, True),
    ("chunk size that is no number", POST + CHUNKED + b"\r\nZZ\r\nabc\r\n0\r\n\r\n", BAD, True),
    ("chunk size beyond 64 bits", POST + CHUNKED + b"\r\nFFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n", 413, True),
    ("chunk without its line end", POST + CHUNKED + b"\r\n3\r\nabcX0\r\n\r\n", BAD, True),
    ("NUL in a header name", GET + b"X-\0A: a\r\n\r\n", BAD, True),
    ("bare CR in a header value", GET + b"X-A: a\rb\r\n\r\n", BAD, True),
    ("control character in a header value", GET + b"X-A: a\x01b\r\n\r\n", BAD, True),
    ("Host missing", b"GET /msg HTTP/1.1\r\n\r\n", BAD, True),
    ("Host missing in HTTP/1.0", b"GET /msg HTTP/1.0\r\n\r\n", OK, True),
    ("Host twice", GET + HOST + b"\r\n", BAD, True),
    ("space before the colon", GET + b"X-A : b\r\n\r\n", BAD, True),
    ("space before the colon of Content-Length", POST + b"Content-Length : 3\r\n\r\nabc", BAD, True),
    ("folded first header", b"GET /msg HTTP/1.1\r\n X-A: b\r\n" + HOST + b"\r\n", BAD, True),
    ("header without a colon", GET + b"garbage\r\n\r\n", BAD, True),
    ("HTTP/2.0", b"GET /msg HTTP/2.0\r\n" + HOST + b"\r\n", 505, True),
    ("HTTP/1.2", b"GET /msg HTTP/1.2\r\n" + HOST + b"\r\n", BAD, True),
    ("HTTP/0.9", b"GET /msg\r\n\r\n", BAD, True),
    ("another protocol's name", b"GET /msg FOO/1.1\r\n" + HOST + b"\r\n", BAD, True),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100 + b"\r\n\r\n", CLOSED, True),
    ("tabs in the request line", b"GET\t/msg\tHTTP/1.1\r\n" + HOST + b"\r\n", CLOSED, True),
    ("space in the target", b"GET /msg x HTTP/1.1\r\n" + HOST + b"\r\n", BAD, True),
    ("method with an odd character", b"G@T /msg HTTP/1.1\r\n" + HOST + b"\r\n", BAD, True),
    ("asterisk form", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", BAD, True),
    ("authority form", b"CONNECT localhost:1 HTTP/1.1\r\n" + HOST + b"\r\n", BAD, True),
    ("absolute form", b"GET http://localhost/msg HTTP/1.1\r\n" + HOST + b"\r\n", OK, False),
    ("body over the limit, announced", POST + b"Content-Length: 70000\r\n\r\n" + b"x" * 1000, 413, True),
    ("body over the limit, chunked", POST + CHUNKED + b"\r\n11170\r\n" + b"x" * 70000 + b"\r\n0\r\n\r\n", 413, True),
    ("body far over the limit, chunked",
     POST + CHUNKED + b"\r\n" + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 40 + b"0\r\n\r\n", CLOSED, True),
    # libmicrohttpd hides these; the adapter sees them by where the texts lie.
    ("NUL in a header value", GET + b"X-A: a\0b\r\n\r\n", BAD, True),
    ("NUL as a header value", GET + b"X-A: \0\r\n\r\n", BAD, True),
    ("NUL at the end of a header value", GET + b"X-A: a\0\r\nX-B: c\r\n\r\n", BAD, True),
    ("NUL after chunked", POST + b"Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", BAD, True),
    ("NUL in the target", b"GET /msg\0x HTTP/1.1\r\n" + HOST + b"\r\n", BAD, True),
    ("NUL in the query", b"GET /msg?delay=1\0x HTTP/1.1\r\n" + HOST + b"\r\n", BAD, True),
    ("NUL in the method", b"GET\0X /msg HTTP/1.1\r\n" + HOST + b"\r\n", BAD, True),
    ("bare LF as every line end", b"GET /msg HTTP/1.1\nHost: localhost\n\n", BAD, True),
    ("bare LF after the request line", b"GET /msg HTTP/1.1\n" + HOST + b"\r\n", BAD, True),
    ("bare LF after a header", GET + b"X-A: b\nX-C: d\r\n\r\n", BAD, True),
    ("bare LF after the last header", GET + b"X-A: b\n\r\n", BAD, True),
    ("bare LF as the empty line", GET + b"X-A: b\r\n\n", BAD, True),
    ("bare CR before the line end", GET + b"X-A: b\r\r\n\r\n", BAD, True),
    ("folded header", GET + b"X-A: b\r\n c\r\n\r\n", BAD, True),
    ("folded last header", GET + b"X-A: b\r\nX-C: d\r\n\te\r\n\r\n", BAD, True),
    ("empty header name", GET + b": b\r\nX-C: d\r\n\r\n", BAD, True),
    ("two blanks before the target", b"GET  /msg HTTP/1.1\r\n" + HOST + b"\r\n", BAD, True),
    ("blanks and tabs around values", GET + b"X-A: \t b \t\r\nX-B:c\r\nX-C:\r\nX-D: \r\n\r\n", OK, False),
    ("an empty line before the request line", b"\r\n" + GET + b"\r\n", OK, False),
    ("cookies", GET + b"Cookie: a=b; c=d\r\nX-B: c\r\n\r\n", OK, False),
    ("20,000 cookies", GET + b"Cookie: " + b";" * 20000 + b"\r\n\r\n", 431, True),
    # The library does not show how a chunked body ends: nothing behind it is read, unless it was seen to end well.
    ("a trailer", POST + CHUNKED + b"\r\n3\r\nabc\r\n0\r\nX-A: a\r\n\r\n", OK, REDIRECTED),
    ("NUL in a trailer", POST + CHUNKED + b"\r\n3\r\nabc\r\n0\r\nX-A: a\0b\r\n\r\n", OK, REDIRECTED),
    ("bare LF in a trailer", POST + CHUNKED + b"\r\n3\r\nabc\r\n0\r\nX-A: a\n\r\n", OK, REDIRECTED),
    ("bare LF in chunked framing", POST + CHUNKED + b"\r\n3\nabc\n0\n\n", OK, REDIRECTED),
    ("a header of many pieces", GET + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 100) for i in range(90)) + b"\r\n", OK, False),
]

if REDIRECTED:
    SHAPES.append(("NUL before a bare LF", GET + b"X-A: a\0\nX-B: c\r\n\r\n", BAD, True))
    SHAPES.append(("a colon before a bare LF", POST + b":\nabc\r\n\r\n", BAD, True))
    SHAPES.append(("a body with NUL and LF", POST + b"Content-Length: 3\r\n\r\n\0\n\0", OK, False))
    SHAPES.append(("3500 arguments", b"GET /msg?" + b"&a" * 3500 + b" HTTP/1.1\r\n" + HOST + b"\r\n", OK, False))

# Answered by the shared library itself, bare and without X-Correlation-ID; every other answer has one.
LIBRARY_ANSWERS = set() if REDIRECTED else {
    "2000 header fields", "Content-Length as a list",
    "Content-Length with a plus", "Content-Length negative", "Content-Length hexadecimal", "Content-Length empty",
    "Content-Length beyond 64 bits", "chunk size that is no number", "chunk size beyond 64 bits",
    "chunk without its line end", "NUL in a header name", "header without a colon", "20,000 cookies", "HTTP/2.0",
    "HTTP/0.9", "another protocol's name",
}
CORRELATION_ID = rb"X-Correlation-ID: [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\r\n"


class Shapes(unittest.TestCase):
    def test_every_shape(self):
        with DponeServer() as server:
            for name, data, expected, closes in SHAPES:
                with self.subTest(shape=name):
                    follow_up = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    received = server.raw(data + (b"" if closes else follow_up), seconds=15)
                    statuses = [int(text) for text in re.findall(rb"^HTTP/1\.[01] (\d+)", received, re.M)]
                    self.assertEqual(statuses[0] if statuses else None, expected, received[:300])
                    if expected is not CLOSED:
                        head, body = received.split(b"\r\n\r\n", 1)
                        self.assertEqual(re.search(CORRELATION_ID, head + b"\r\n") is None, name in LIBRARY_ANSWERS, head)
                        if closes and name not in LIBRARY_ANSWERS:
                            self.assertEqual(len(statuses), 1)
                            self.assertIn("detail" if expected != OK else "m", "".join(json.loads(body)))
                    if closes:
                        self.assertNotIn(b'"uptime_seconds"', received)
                    else:
                        self.assertIn(b'"uptime_seconds"', received, "the connection is in step after it")
            self.assertEqual(server.request("GET", "/health")[0], 200)
            metrics = server.request("GET", "/metrics")[2].decode()
            # Each is counted: what the shared library answers is not seen.
            refused = sum(1 for name, _, expected, _ in SHAPES
                          if expected in (400, 413, 414, 431, 505) and name not in LIBRARY_ANSWERS)
            self.assertIn("dpone_malformed_requests_total %d\n" % refused, metrics)

    @unittest.skipUnless(REDIRECTED, "the shared library")
    def test_what_the_library_refuses_is_logged_with_the_id_of_the_answer(self):
        cases = [(GET + b"X-Request-ID: abc\r\ngarbage\r\n\r\n", "", "/msg", "abc", 400),
                 (POST + b"X-Request-ID: abc\r\n" + CHUNKED + b"\r\nZZ\r\n", "POST", "/fail/reset", "abc", 400),
                 (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", "", "", 505)]
        with DponeServer("--log-level", "DEBUG") as server:
            ids = [re.search(rb"X-Correlation-ID: (.*)\r", server.raw(case[0]))[1].decode() for case in cases]
            server.stop()
            logged = [(entry["correlation_id"], entry["method"], entry["path"], entry["request_id"], entry["status"])
                      for entry in server.log_entries() if entry.get("correlation_id") in ids]
        self.assertEqual(logged, [(one,) + case[1:] for one, case in zip(ids, cases)])

    @unittest.skipUnless(REDIRECTED, "the shared library")
    def test_a_line_end_that_is_none_hides_no_request_wherever_the_pieces_are_cut(self):
        behind = b"POST /fail/count/5 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
        with DponeServer() as server:
            for body, may_stay_open in [(b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", True),
                                        (b"3;a=b\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", True),
                                        (b"3\nabc\r\n1\r\nd\r\n0\r\n\r\n", False),
                                        (b"3;a=b\nabc\r\n1\r\nd\r\n0\r\n\r\n", False),
                                        (b"3\r\nabc\n1\r\nd\r\n0\r\n\r\n", False),
                                        (b"3\r\nab\r\n1\r\nd\r\n0\r\n\r\n", False),
                                        (b"3\r\nabc\r\n1\nd\r\n0\r\n\r\n", False),
                                        (b"3\r\nabc\r\n1\r\nd\r\n0\n\r\n", False),
                                        (b"3\r\nabc\r\n1\r\nd\r\n0\r\n\n", False),
                                        (b"3\r\nabc\r\n1\r\nd\r\n0\r\nA: b\n\r\n", False)]:
                head = POST + CHUNKED + b"\r\n"
                whole = head + body
                for cut in [len(whole + behind)] + list(range(len(head), len(whole) + 1)):
                    received = server.raw([(whole + behind)[:cut], (whole + behind)[cut:]], pause=0.001)
                    self.assertTrue(received.startswith(b"HTTP/1.1 200"), (body, cut))
                    if not may_stay_open:
                        self.assertEqual(received.count(b"HTTP/1.1"), 1, (body, cut))
                    elif cut > len(whole):
                        self.assertEqual(received.count(b"HTTP/1.1"), 2, (body, cut))
                        # As programs send it: a chunk at a time.
                        pieces = re.findall(rb".*?\r\n.*?\r\n", body, re.S) + [behind]
                        self.assertEqual(server.raw([head] + pieces, pause=0.001).count(b"HTTP/1.1"), 2, pieces)
            nul = [GET + b"X-A: a\0", b"\nX-B: c\r\n", b"\r\n"]
            self.assertTrue(server.raw(nul, pause=0.001).startswith(b"HTTP/1.1 400"))
            # What an earlier request has left in the buffer is not taken for a line end that has yet to come.
            before = POST + b"Content-Length: 99\r\n\r\n"
            before += (b"a" * (len(head + b"0\r\n") - len(before)) + b"\r\n").ljust(99, b"a")
            received = server.raw([before, head, b"0\r\n", b"\n" + behind], pause=0.02)
            self.assertEqual(received.count(b"HTTP/1.1"), 2, received)

    def test_the_largest_header_can_be_set_up_to_32_kib(self):
        with DponeServer("--max-header-bytes", "32768") as server:
            for size, expected in ((30000, b"200"), (33000, b"431"), (200000, b"431")):
                reply = server.raw(GET + b"Connection: close\r\nX-A: " + b"a" * size + b"\r\n\r\n")
                self.assertTrue(reply.startswith(b"HTTP/1.1 " + expected), (size, reply[:100]))

    def test_a_smuggled_request_is_never_answered(self):
        with DponeServer() as server:
            inner = b"POST /fail/count/5 HTTP/1.1\r\n" + HOST + b"\r\n"
            for data in (POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + inner,
                         POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner,
                         POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + inner):
                server.raw(data)
            state = server.json("GET", "/fail/status")[2]
            self.assertEqual(state["failure_status"]["fail_requests_count"], 0)

    def test_no_header_forges_a_log_line(self):
        with DponeServer("--log-level", "DEBUG") as server:
            server.raw(GET + b'X-Request-ID: x"}\x80\x9b31m\xff{"level":"error"\r\nConnection: close\r\n\r\n')
            server.request("GET", "/%0a%22forged")
            server.stop()
            for line in server.log_text().splitlines():
                self.assertTrue(line.startswith("{") and line.isascii(), line)
            self.assertFalse([entry for entry in server.log_entries() if entry["level"] == "error"])


def is_framed_well(body):
    """Whether a chunked body ends every line of its framing with CR LF, and has no trailer."""
    while line := re.match(rb"([0-9a-fA-F]+)(;[^\n]*)?\r\n", body):
        data, size = body[line.end():], int(line[1], 16)
        if data[size:size + 2] != b"\r\n" or size == 0:
            return size == 0 and data.startswith(b"\r\n")
        body = data[size + 2:]
    return False


class Mutations(unittest.TestCase):
    """Well-formed requests with bytes changed at random. DPONE_FUZZ_REQUESTS sets how many (400)."""

    SEEDS = [GET + b"X-Request-ID: a\r\nAccept: */*\r\n\r\n", POST + b"Content-Length: 3\r\n\r\nabc",
             POST + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n", b"GET /msg?delay=0&a=%41 HTTP/1.1\r\n" + HOST + b"\r\n"]
    PIECES = [b"\0", b"\n", b"\r", b"\r\n", b" ", b"\t", b":", b"\x7f", b"\xff", b"\r\n ", b"Content-Length: 3\r\n", CHUNKED, HOST]

    def mutate(self, chance, data):
        for _ in range(chance.choice([1, 1, 2, 5])):
            at = chance.randrange(len(data))
            end = at + chance.choice([0, 0, 1, 4])
            data = data[:at] + chance.choice([chance.choice(self.PIECES), chance.randbytes(1), b""]) + data[end:]
        return data

    def test_what_is_served_is_well_formed(self):
        with DponeServer("--header-timeout", "1", "--body-timeout", "1") as server:
            for seconds in (0.05, 1):  # so long an answer may take; most have none
                served = self.send_mutations(server, seconds)
                if served > 20:
                    break
            self.assertEqual(server.request("GET", "/health")[0], 200)
        self.assertGreater(served, 20)

    def send_mutations(self, server, seconds):
        chance = random.Random(4711)
        served = 0
        for _ in range(int(os.environ.get("DPONE_FUZZ_REQUESTS", "400"))):
            data = self.mutate(chance, chance.choice(self.SEEDS))
            received = server.raw([data, b"\r\n\r\n"], seconds=seconds, pause=0)
            if REDIRECTED and received:
                self.assertRegex(received.split(b"\r\n\r\n")[0] + b"\r\n", CORRELATION_ID, data)
            if not received.startswith(b"HTTP/1.1 2"):
                self.assertTrue(received == b"" or re.match(rb"HTTP/1\.[01] [345]\d\d ", received), (data, received))
                continue
            served += 1
            head = (data + b"\r\n\r\n").lstrip(b"\r\n").split(b"\r\n\r\n")[0]
            self.assertNotRegex(head.replace(b"\r\n", b""), rb"[\x00-\x08\x0a-\x1f\x7f]", data)
            self.assertNotRegex(head, rb"\r\n[ \t]", data)
            names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
            self.assertEqual(names.count(b"host"), 1, data)
            self.assertLessEqual(names.count(b"content-length") + names.count(b"transfer-encoding"), 1, data)
            if REDIRECTED and b"transfer-encoding" in names and b"\r\nConnection: close\r\n" not in received:
                self.assertTrue(is_framed_well((data + b"\r\n\r\n").split(head + b"\r\n\r\n", 1)[1]), data)
        return served


class Slow(unittest.TestCase):
    """Trickles of one byte at a time are closed within ten seconds of the phase's deadline."""

    def trickle(self, server, head, trickled):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(head)
            started = time.monotonic()
            connection.settimeout(0.25)
            for byte in trickled:
                try:
                    connection.send(bytes([byte]))
                    if connection.recv(1000) == b"":
                        return time.monotonic() - started
                except socket.timeout:
                    pass
                except OSError:
                    return time.monotonic() - started
                if time.monotonic() - started > 14:
                    break
        return None

    def test_request_line_header_and_body(self):
        with DponeServer("--header-timeout", "2", "--body-timeout", "2") as server:
            for name, head, rest in [("request line", b"", b"GET /" + b"a" * 1000),
                                     ("header", GET, b"X-A: " + b"a" * 1000),
                                     ("body", POST + b"Content-Length: 1000\r\n\r\n", b"a" * 999),
                                     ("chunked body", POST + CHUNKED + b"\r\n3e8\r\n", b"a" * 999)]:
                with self.subTest(phase=name):
                    took = self.trickle(server, head, rest)
                    self.assertIsNotNone(took, "still open")
                    self.assertGreaterEqual(took, 1)
            metrics = server.request("GET", "/metrics")[2].decode()
            self.assertIn("dpone_connections_timed_out_total 4\n", metrics)

    def test_a_slow_request_in_time_is_answered(self):
        with DponeServer("--header-timeout", "20") as server:
            text = GET + b"Connection: close\r\n\r\n"
            received = server.raw([text[i:i + 9] for i in range(0, len(text), 9)], pause=0.02)
            self.assertTrue(received.startswith(b"HTTP/1.1 200"))

    def test_a_running_request_is_not_idle(self):
        with DponeServer("--header-timeout", "1") as server:
            self.assertEqual(server.request("GET", "/msg?delay=2500")[0], 200)


class Crowds(unittest.TestCase):
    def test_ten_thousand_idle_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(10000, hard - 500)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with DponeServer() as server:
            idle = []
            try:
                for _ in range(count):
                    idle.append(socket.create_connection(("127.0.0.1", server.port), timeout=20))
                for connection in idle[:3000]:  # used once, then idle
                    connection.sendall(GET + b"\r\n")
                for connection in idle[:3000]:
                    self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 200"))
                times = []
                for _ in range(21):
                    started = time.monotonic()
                    self.assertEqual(server.request("GET", "/health")[0], 200)
                    times.append(time.monotonic() - started)
                self.assertLess(sorted(times)[10], 0.5)
                if not server.is_sanitized:
                    self.assertLess(server.resident_bytes(), 100 << 20)
            finally:
                for connection in idle:
                    connection.close()

    def test_no_number_of_busy_connections_stalls(self):
        """One libmicrohttpd epoll thread of its own stalls at 128 and 256."""
        with DponeServer("--max-concurrency", "1000") as server:
            for count in (64, 128, 256):
                connections = [socket.create_connection(("127.0.0.1", server.port), timeout=60)  # a stall has no end
                               for _ in range(count)]
                for _ in range(30):
                    for connection in connections:
                        connection.sendall(GET + b"\r\n")
                    for connection in connections:
                        self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 200"))
                for connection in connections:
                    connection.close()


if __name__ == "__main__":
    unittest.main()
