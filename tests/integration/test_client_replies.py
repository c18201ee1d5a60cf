"""What the client makes of good, bad, cut and hostile replies on real sockets."""

import email.utils
import re
import sys
import time
import unittest

sys.path.insert(0, __file__.rsplit("/", 1)[0])

from support.client import client, get  # noqa: E402
from support.dpone import dpone  # noqa: E402
from support.patience import wait_until  # noqa: E402
from support.ports import ReservedPort  # noqa: E402
from support.scripted_peer import OK, Reply, ScriptedPeer, reply  # noqa: E402

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


class Statuses(unittest.TestCase):
    """Each status: its kind, exit code, and how often it was tried."""

    TABLE = [
        (200, None, 0, 1), (201, None, 0, 1), (204, None, 0, 1),
        (300, "APIStatusError", 1, 1), (304, "APIStatusError", 1, 1),
        (400, "InvalidRequestError", 1, 1), (422, "InvalidRequestError", 1, 1),
        (401, "AuthenticationError", 1, 1), (403, "AuthenticationError", 1, 1),
        (404, "NotFoundError", 1, 1), (405, "APIStatusError", 1, 1), (409, "APIStatusError", 1, 1),
        (413, "APIStatusError", 1, 1), (418, "APIStatusError", 1, 1),
        (408, "ServerTimeoutError", 3, 3), (425, "APIStatusError", 3, 3), (429, "APIStatusError", 3, 3),
        (500, "ServerError", 3, 3), (502, "ServiceUnavailableError", 3, 3),
        (503, "ServiceUnavailableError", 3, 3), (504, "ServiceUnavailableError", 3, 3),
        (501, "ServerError", 3, 1), (505, "ServerError", 3, 1), (507, "ServerError", 3, 3), (599, "ServerError", 3, 3),
    ]

    def test_every_status_has_its_kind_exit_code_and_attempts(self):
        for status, kind, code, attempts in self.TABLE:
            with self.subTest(status=status):
                answer = Reply(f"HTTP/1.1 {status} X\r\n\r\n".encode()) if status in (204, 304) else reply(status)
                with ScriptedPeer([answer]) as peer:
                    returned, result, _ = get(peer.url)
                    self.assertEqual((returned, result["kind"], result["status"], result["attempts"]),
                                     (code, kind, status, attempts))
                    self.assertEqual(len(peer.requests), attempts)
                    self.assertEqual(result["ok"], kind is None)
                    self.assertEqual({request.header("X-Request-ID") for request in peer.requests},
                                     {result["request_id"]})
                    self.assertRegex(result["request_id"], UUID)

    def test_409_is_retried_only_when_the_request_is_in_flight(self):
        busy = reply(409, b'{"detail":"x","code":"request_in_flight"}', "Retry-After: 0")
        with ScriptedPeer([busy, busy, OK]) as peer:
            returned, result, _ = get(peer.url)
            self.assertEqual((returned, result["attempts"]), (0, 3))
        with ScriptedPeer([reply(409, b'{"detail":"x","code":"event_conflict"}'), OK]) as peer:
            returned, result, _ = get(peer.url)
            self.assertEqual((returned, result["attempts"]), (1, 1))

    def test_the_callers_request_id_is_kept_on_every_attempt(self):
        for option in (("--request-id", "mine"), ("--header", "x-request-id: mine")):
            with ScriptedPeer([reply(500), reply(500), OK]) as peer:
                returned, result, _ = get(peer.url, *option)
                self.assertEqual((returned, result["request_id"]), (0, "mine"))
                self.assertEqual([[value for name, value in request.headers if name.lower() == "x-request-id"]
                                  for request in peer.requests], [["mine"]] * 3)

    def test_a_post_sends_body_headers_and_the_same_again_on_a_retry(self):
        with ScriptedPeer([reply(503), OK]) as peer:
            returned, _, _ = client("post", peer.url + "/x?y=1", "--data", '{"a":1}', "--header", "X-A: b")
            self.assertEqual(returned, 0)
            for request in peer.requests:
                self.assertEqual((request.line, request.body, request.header("X-A"), request.header("Content-Type")),
                                 ("POST /x?y=1 HTTP/1.1", b'{"a":1}', "b", "application/json"))
                self.assertIsNone(request.header("Expect"))

    def test_a_large_body_arrives_whole_on_every_attempt(self):
        body = "x" * 3_000_000
        with ScriptedPeer([reply(503), OK]) as peer:
            done = dpone("client", "post", peer.url, "--data", "@-", "--retry-min-wait", "0", "--retry-max-wait", "0",
                         "--proxy", "", input=body)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual([len(request.body) for request in peer.requests], [3_000_000] * 2)


class BrokenReplies(unittest.TestCase):
    """What is not a complete, well-formed reply is a connection error, and is tried again."""

    def assert_mended(self, broken):
        with ScriptedPeer([broken, broken, OK]) as peer:
            returned, result, _ = get(peer.url)
            self.assertEqual((returned, result["attempts"], result["body"]), (0, 3, '{"ok":true}'))

    def assert_reported(self, broken, kind="APIConnectionError"):
        with ScriptedPeer([broken]) as peer:
            returned, result, _ = get(peer.url)
            self.assertEqual((returned, result["kind"], result["attempts"], result["status"], result["body"]),
                             (3, kind, 3, None, ""))

    def test_a_reply_cut_at_every_byte(self):
        for fields in ((b"Content-Length: 11",), (b"Transfer-Encoding: chunked",)):
            body = b'{"ok":true}' if fields[0].startswith(b"C") else b'5\r\n{"ok"\r\n6\r\n:true}\r\n0\r\n\r\n'
            whole = b"HTTP/1.1 200 OK\r\nX-A: b\r\n" + b"\r\n".join(fields) + b"\r\n\r\n" + body
            # Of the last chunk's final CR LF the LF alone may be missing: everything has been said.
            for length in range(len(whole) - (fields[0].startswith(b"T"))):
                with self.subTest(fields=fields, length=length, tail=whole[max(0, length - 20):length]):
                    cuts = [Reply(whole[:length], close=True), OK]
                    with ScriptedPeer(cuts) as peer:
                        returned, result, _ = get(peer.url)
                        self.assertEqual((returned, result["attempts"], result["events"][0]["kind"]),
                                         (0, 2, "APIConnectionError"))

    def test_a_pooled_connection_cut_at_every_byte(self):
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b'{"ok":true}'
        for length in range(1, len(whole)):
            with ScriptedPeer([reply(429), Reply(whole[:length], close=True), OK]) as peer:
                returned, result, _ = get(peer.url)
                # Cut inside the status line the transport takes the connection for a dead one of the pool, and
                # repeats the request within the attempt.
                self.assertEqual((returned, result["body"], len(peer.requests)), (0, '{"ok":true}', 3), length)
                self.assertEqual(result["attempts"], 2 if b"\r\n" not in whole[:length] else 3, length)

    def test_no_reply_at_all(self):
        self.assert_reported(Reply(b"", close=True))
        self.assert_mended(Reply(b"", close=True))

    def test_a_reset(self):
        for data in (b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"):
            with self.subTest(data=data):
                self.assert_reported(Reply(data, reset=True))
                self.assert_mended(Reply(data, reset=True))

    def test_garbage(self):
        for garbage in (b"garbage\r\n\r\n", b"\x00\xff\xfe" * 40, b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/9.9 200 OK\r\n\r\n",
                        b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
                        b"HTTP/1.1 700 X\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1\r\n\r\n",
                        b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n{}",
                        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
                        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n"):
            with self.subTest(garbage=garbage[:60]):
                self.assert_reported(Reply(garbage, close=True))
                self.assert_mended(Reply(garbage, close=True))

    def test_endless_header_fields(self):
        flood = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(600))
        self.assert_reported(Reply(flood + b"\r\n", close=True))

    def test_interim_replies_are_skipped(self):
        with ScriptedPeer([Reply(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK.data)]) as peer:
            returned, result, _ = get(peer.url)
            self.assertEqual((returned, result["status"], result["attempts"]), (0, 200, 1))
            self.assertNotIn("Link", [field["name"] for field in result["headers"]])

    def test_a_second_reply_nobody_asked_for_is_not_taken_for_the_next_ones(self):
        stale = reply(200, b'{"stale":true}')
        with ScriptedPeer([Reply(reply(429).data + stale.data), OK]) as peer:
            returned, result, _ = get(peer.url)
            self.assertEqual((returned, result["body"], result["attempts"]), (0, '{"ok":true}', 2))
        for wait in ("0.3", "3", "15"):  # lets the unasked bytes arrive while the connection is in the pool
            with ScriptedPeer([reply(429, late=stale.data), OK]) as peer:
                returned, result, _ = get(peer.url, "--retry-min-wait", wait, "--retry-max-wait", wait)
            if peer.late_in_time:
                break
        self.assertTrue(peer.late_in_time)
        self.assertEqual((returned, result["body"], result["attempts"]), (0, '{"ok":true}', 2))

    def test_a_connection_closed_while_pooled_costs_no_attempt(self):
        with ScriptedPeer([reply(429, close=True), OK]) as peer:
            returned, result, _ = get(peer.url, "--retry-min-wait", "0.2", "--retry-max-wait", "0.2")
            self.assertEqual((returned, result["attempts"], peer.connections), (0, 2, 2))

    def test_a_refused_connection(self):
        with ReservedPort() as port:
            returned, result, _ = get(f"http://127.0.0.1:{port.number}")
        self.assertEqual((returned, result["kind"], result["attempts"], result["status"]),
                         (3, "APIConnectionError", 3, None))

    def test_a_name_that_does_not_exist(self):
        # A label of 64 bytes is one too many: no resolver needs to be asked to know.
        returned, result, _ = get(f"http://{'x' * 64}.invalid/", "--retries", "0")
        self.assertEqual((returned, result["kind"]), (3, "APIConnectionError"))


class Timeouts(unittest.TestCase):
    def assert_timeout(self, script, *options, method="get", says, **peer_options):
        peer = self.enterContext(ScriptedPeer(script, **peer_options))
        returned, result, _ = client(method, peer.url, *options)
        self.assertEqual((returned, result["kind"]), (3, "APITimeoutError"))
        self.assertIn(says, result["error"])
        return result, peer

    def test_no_byte_of_the_reply(self):
        result, peer = self.assert_timeout([Reply(stall=True)], "--read-timeout", "0.1", says="read timeout")
        self.assertEqual(result["attempts"], 3)
        wait_until(lambda: len(peer.requests) == 3, "three requests")  # the peer may read the last when the client has gone

    def test_a_reply_that_stops_in_the_middle(self):
        for cut in (20, len(OK.data) - 3):
            self.assert_timeout([Reply(OK.data[:cut], stall=True)], "--read-timeout", "0.1", says="read timeout")

    def test_a_slow_reply_that_keeps_moving_is_no_timeout(self):
        drip = Reply(OK.data, pause_at=len(OK.data) - 4, pause=0.4)
        with ScriptedPeer([drip]) as peer:
            self.assertEqual(get(peer.url, "--read-timeout", "30")[0], 0)

    def test_a_server_that_stops_reading(self):
        done_by_peer = [Reply(stall=True)]
        with ScriptedPeer(done_by_peer, read_limit=1000) as peer:
            done = dpone("client", "post", peer.url, "--data", "@-", "--write-timeout", "0.2", "--read-timeout", "30",
                         "--retries", "0", "--proxy", "", input="x" * 30_000_000)
            self.assertEqual(done.returncode, 3)
            self.assertIn("APITimeoutError", done.stderr)
            self.assertIn("write timeout", done.stderr)

    def test_the_whole_operation(self):
        result, peer = self.assert_timeout([Reply(stall=True)], "--timeout", "0.3", says="total timeout")
        self.assertEqual(result["attempts"], 1)
        self.assertLessEqual(len(peer.requests), 1)

    def test_a_deadline_is_never_slept_past(self):
        with ScriptedPeer([reply(503, b"", "Retry-After: 30"), OK]) as peer:
            begun = time.monotonic()
            returned, result, _ = get(peer.url, "--timeout", "20")
            self.assertLess(time.monotonic() - begun, 18)
            self.assertEqual((returned, result["kind"], result["attempts"]), (3, "ServiceUnavailableError", 1))

    def test_connecting(self):
        # Nothing accepts: the backlog of a listener that is never served fills up, and further SYNs are dropped.
        import socket
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        time.sleep(0.1)
        returned, result, _ = get(f"http://127.0.0.1:{listener.getsockname()[1]}/", "--connect-timeout", "0.2",
                                  "--read-timeout", "30", "--retries", "0")
        self.assertEqual((returned, result["kind"]), (3, "APITimeoutError"))
        for opened in [listener, *fillers]:
            opened.close()


class Waits(unittest.TestCase):
    def waits(self, peer, *options):
        returned, result, _ = get(peer.url, *options)
        return returned, [event["wait_seconds"] for event in result["events"] if event["event"] == "retry"], result

    def test_without_jitter_the_ceiling_doubles_up_to_the_maximum(self):
        with ScriptedPeer([reply(500)]) as peer:
            _, waits, result = self.waits(peer, "--no-jitter", "--retries", "4", "--retry-min-wait", "0.01",
                                          "--retry-multiplier", "0.02", "--retry-max-wait", "0.1")
            self.assertEqual(waits, [0.02, 0.04, 0.08, 0.1])
            gaps = [later.at - earlier.at for earlier, later in zip(peer.requests, peer.requests[1:])]
            for gap, wait in zip(gaps, waits):
                self.assertGreaterEqual(gap, wait - 0.002)
            self.assertGreaterEqual(result["timing_seconds"]["backoff"], 0.24)

    def test_jitter_keeps_between_minimum_and_ceiling(self):
        with ScriptedPeer([reply(500)]) as peer:
            _, waits, _ = self.waits(peer, "--retries", "30", "--retry-min-wait", "0.001", "--retry-multiplier", "0.004",
                                     "--retry-max-wait", "0.004")
            self.assertEqual(len(waits), 30)
            self.assertTrue(all(0.001 <= wait <= 0.004 for wait in waits), waits)
            self.assertGreater(len(set(waits)), 10)

    def test_retry_after_in_seconds_is_a_lower_bound(self):
        with ScriptedPeer([reply(503, b"", "Retry-After: 1"), OK]) as peer:
            returned, waits, _ = self.waits(peer)
            self.assertEqual((returned, waits), (0, [1.0]))
            self.assertGreaterEqual(peer.requests[1].at - peer.requests[0].at, 0.99)

    def test_retry_after_as_a_date_is_a_lower_bound(self):
        asked_for, came_again = [], []

        def answer(number, _):
            if number > 0:
                came_again.append(time.time())
                return OK
            asked_for.append(int(time.time()) + 2)
            return reply(429, b"", f"Retry-After: {email.utils.formatdate(asked_for[0], usegmt=True)}")

        with ScriptedPeer([answer]) as peer:
            returned, waits, _ = self.waits(peer)
        self.assertEqual((returned, len(waits)), (0, 1))
        self.assertLessEqual(waits[0], 2)
        self.assertGreaterEqual(came_again[0], asked_for[0] - 0.01)

    def test_a_retry_after_that_asks_for_too_much_ends_the_operation(self):
        far = email.utils.formatdate(time.time() + 3600, usegmt=True)
        for value in ("301", "99999999999999999999", far):
            with ScriptedPeer([reply(503, b"", f"Retry-After: {value}"), OK]) as peer:
                returned, waits, result = self.waits(peer)
                self.assertEqual((returned, waits, result["attempts"], result["kind"]),
                                 (3, [], 1, "ServiceUnavailableError"))
                self.assertIn("Retry-After", result["error"])

    def test_a_malformed_retry_after_is_ignored(self):
        for value in ("soon", "-1", "1.5", "", "Thu, 99 Foo 2026 00:00:00 GMT"):
            with ScriptedPeer([reply(503, b"", f"Retry-After: {value}"), OK]) as peer:
                self.assertEqual(self.waits(peer)[0], 0)

    def test_the_defaults_are_three_attempts_and_a_wait_of_one_to_two_seconds(self):
        with ScriptedPeer([reply(500), OK]) as peer:
            returned, result, _ = get(peer.url, quick=False)
            waits = [event["wait_seconds"] for event in result["events"] if event["event"] == "retry"]
            self.assertEqual((returned, len(waits)), (0, 1))
            self.assertTrue(1 <= waits[0] <= 2, waits)


class Redirects(unittest.TestCase):
    def test_a_redirect_is_followed_and_keeps_the_request_id(self):
        with ScriptedPeer([reply(307, b"", "Location: /there"), OK]) as peer:
            returned, result, _ = client("post", peer.url + "/here", "--data", "{}")
            self.assertEqual((returned, result["attempts"]), (0, 1))
            self.assertEqual([(request.line, request.body) for request in peer.requests],
                             [("POST /here HTTP/1.1", b"{}"), ("POST /there HTTP/1.1", b"{}")])
            self.assertEqual(len({request.header("X-Request-ID") for request in peer.requests}), 1)

    def test_a_redirect_is_returned_when_asked_for(self):
        with ScriptedPeer([reply(307, b"", "Location: /there"), OK]) as peer:
            returned, result, _ = get(peer.url, "--no-redirects")
            self.assertEqual((returned, result["kind"], result["status"], len(peer.requests)),
                             (1, "APIStatusError", 307, 1))

    def test_a_loop_ends(self):
        with ScriptedPeer([reply(302, b"", "Location: /again")]) as peer:
            returned, result, _ = get(peer.url)
            self.assertEqual((returned, result["kind"], result["status"], len(peer.requests)),
                             (1, "APIStatusError", 302, 11))

    def test_another_scheme_is_not_followed(self):
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"):
            with ScriptedPeer([reply(302, b"", f"Location: {target}")]) as peer:
                returned, result, _ = get(peer.url)
                self.assertEqual((returned, result["kind"], result["status"], len(peer.requests)),
                                 (1, "APIStatusError", 302, 1))

    def test_credentials_do_not_go_to_another_host(self):
        with ScriptedPeer([OK]) as other:
            with ScriptedPeer([reply(307, b"", f"Location: {other.url}/x")]) as peer:
                returned, _, _ = get(peer.url, "--header", "Authorization: Bearer secret")
                self.assertEqual(returned, 0)
                self.assertEqual(peer.requests[0].header("Authorization"), "Bearer secret")
                self.assertIsNone(other.requests[0].header("Authorization"))


class Proxies(unittest.TestCase):
    def test_requests_go_through_the_proxy(self):
        with ScriptedPeer([OK]) as proxy:
            done = dpone("client", "get", "http://nobody.invalid/x", "--proxy", proxy.url)
            self.assertEqual((done.returncode, done.stdout), (0, '{"ok":true}'))
            self.assertEqual(proxy.requests[0].line, "GET http://nobody.invalid/x HTTP/1.1")


class Usage(unittest.TestCase):
    def test_what_cannot_be_used_is_exit_2_and_sends_nothing(self):
        with ScriptedPeer([OK]) as peer:
            for arguments in (("/path",), ("ftp://127.0.0.1/",), (peer.url, "--header", "no colon"),
                              (peer.url, "--header", "X A: b"), (peer.url, "--header", "X: a\nY: b"),
                              (peer.url, "--timeout", "-1"), (peer.url, "--timeout", "1e3"), (peer.url, "--timeout", "x"),
                              (peer.url, "--retries", "100"), (peer.url, "--retries", "-1"), (peer.url, "--retries", ""),
                              (peer.url, "--retry-min-wait", "70"), (peer.url, "--breaker-threshold", "0"),
                              (peer.url, "--bulkhead-slots", "0"), (peer.url, "--read-timeout", "0"),
                              (peer.url, "--repeat", "0"), (peer.url, "--concurrency", "0"), (peer.url, "--http", "3"),
                              ("/x", "--base-url", "localhost"), (peer.url, "--key", "k.pem")):
                done = dpone("client", "get", *arguments)
                self.assertEqual(done.returncode, 2, (arguments, done))
                self.assertEqual(len(done.stderr.strip().split("\n")), 2 if "hint" in done.stderr else 1, done.stderr)
            self.assertEqual(peer.requests, [])

    def test_base_url_and_path_are_joined(self):
        with ScriptedPeer([OK]) as peer:
            for base, path, expected in (("", "/a", "/a"), ("/", "/a", "/a"), ("/v1", "a", "/v1/a"), ("/v1/", "/a", "/v1/a"),
                                         ("/v1", "?q=1", "/v1?q=1"), ("/v1", "", "/v1")):
                self.assertEqual(get(path, "--base-url", peer.url + base)[0], 0)
                self.assertEqual(peer.requests[-1].path, expected)

    def test_user_info_and_query_are_not_printed(self):
        with ScriptedPeer([reply(500)]) as peer:
            url = peer.url.replace("http://", "http://user:hunter2@") + "/x?token=hunter3"
            done = dpone("client", "get", url, "--retries", "1", "--retry-min-wait", "0", "--retry-max-wait", "0",
                         "--proxy", "", "--log-level", "DEBUG")
            self.assertEqual(done.returncode, 3)
            self.assertIn("ServerError", done.stderr)
            self.assertNotIn("hunter", done.stderr)
            self.assertTrue(peer.requests[0].header("Authorization").startswith("Basic "))

    def test_a_hostile_reply_forges_no_line(self):
        with ScriptedPeer([reply(500, b"\x1b[2J\nERROR forged", "X: \x1b[31m")]) as peer:
            returned, result, stderr = get(peer.url, "--log-level", "DEBUG")
            self.assertEqual(returned, 3)
            self.assertNotIn("forged", stderr)
            self.assertNotIn("\x1b", stderr)


if __name__ == "__main__":
    unittest.main()
