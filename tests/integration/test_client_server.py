"""The client against `dpone serve`, with failures injected by count and by duration, and the load form."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, __file__.rsplit("/", 1)[0])

from support.client import client, get  # noqa: E402
from support.dpone import BINARY, clean_environment, dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.scripted_peer import OK, Reply, ScriptedPeer, reply  # noqa: E402

FAST = ("--retry-min-wait", "0.001", "--retry-max-wait", "0.005", "--retry-multiplier", "0.002", "--proxy", "")


def load(url, *options):
    done = dpone("client", "get", url, "--json", *FAST, *options)
    return done.returncode, json.loads(done.stdout), done.stderr


def outcomes(result):
    return {(row["kind"], row["status"]): row["count"] for row in result["outcomes"]}


class Interrupted(unittest.TestCase):
    def test_an_interrupted_load_ends_with_its_table_of_what_has_ended(self):
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            for form in ((), ("--json",)):
                with self.subTest(signal=signal_number, form=form), ScriptedPeer([OK]) as peer:
                    process = subprocess.Popen([BINARY, "client", "get", peer.url, "--repeat", "10000000", "--concurrency", "2",
                                                *FAST, *form], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
                    while len(peer.requests) < 20:
                        time.sleep(0.01)
                    process.send_signal(signal_number)
                    out, errors = process.communicate(timeout=30)
                    self.assertEqual(process.returncode, 0, errors)
                    if form:
                        result = json.loads(out)
                        self.assertTrue(result["interrupted"])
                        self.assertGreater(result["operations"], 10)
                    else:
                        self.assertRegex(out.decode(), r"^interrupted after \d+ of 10000000 operations\noperations  ")
                        self.assertIn(b"latency ms", out)

    def test_an_interrupted_load_does_not_wait_for_what_hangs(self):
        with ScriptedPeer([Reply(b"", stall=True)]) as peer:
            process = subprocess.Popen([BINARY, "client", "get", peer.url, "--repeat", "10", *FAST], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=clean_environment())
            while not peer.requests:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=10)
            self.assertIn(b"interrupted after 0 of 10", out, errors)


class InjectedFailures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = DponeServer("--log-level", "ERROR")
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def setUp(self):
        self.assertEqual(client("post", "/fail/reset", "--base-url", self.server.url)[0], 0)

    def inject(self, path):
        self.assertEqual(client("post", path, "--base-url", self.server.url)[0], 0)

    def get(self, *options):
        return get("/msg", "--base-url", self.server.url, *options)

    def test_two_failures_by_count_are_outlived(self):
        self.inject("/fail/count/2")
        code, result, _ = self.get()
        self.assertEqual((code, result["attempts"], result["status"]), (0, 3, 200))
        self.assertIn("message_id", json.loads(result["body"]))

    def test_three_failures_by_count_are_not(self):
        self.inject("/fail/count/3")
        code, result, _ = self.get()
        self.assertEqual((code, result["attempts"], result["kind"]), (3, 3, "ServerError"))
        self.assertEqual(json.loads(result["body"]), {"detail": "Induced server failure"})
        self.assertEqual(self.get()[0], 0)

    def test_failures_by_duration_are_outlived_by_enough_retries(self):
        for seconds in (1, 5, 20):  # a slow machine begins to ask when the first have passed
            self.inject(f"/fail/duration/{seconds}")
            code, result, _ = self.get("--retries", "99", "--retry-min-wait", "0.3", "--retry-max-wait", "0.3")
            self.assertEqual(code, 0)
            if result["attempts"] > 3:
                break
        self.assertGreater(result["attempts"], 3)

    def test_an_operation_that_fails_on_the_way_is_idempotent(self):
        code, first, _ = self.get("--request-id", "twice")
        self.inject("/fail/count/1")
        code, second, _ = self.get("--request-id", "twice")
        self.assertEqual((code, second["attempts"]), (0, 2))
        self.assertEqual(first["body"], second["body"])

    def test_a_server_timeout_is_its_own_kind(self):
        with DponeServer("--request-timeout", "1", "--log-level", "ERROR") as server:
            code, result, _ = get(server.url + "/msg?delay=5000", "--retries", "0")
            self.assertEqual((code, result["kind"], result["status"]), (3, "ServerTimeoutError", 408))

    def test_kinds_of_refusals(self):
        for path, kind in (("/nowhere", "NotFoundError"), ("/msg?delay=x", "InvalidRequestError"),
                           ("/fail/count/1", "APIStatusError")):
            code, result, _ = get(path, "--base-url", self.server.url)
            self.assertEqual((code, result["kind"], result["attempts"]), (1, kind, 1))

    def test_a_redirect_of_the_server_is_followed(self):
        code, result, _ = get("/msg/", "--base-url", self.server.url)
        self.assertEqual((code, result["status"]), (0, 200))

    def test_load_with_failures_by_count_ends_with_every_operation_done(self):
        self.inject("/fail/count/50")
        code, result, _ = load(self.server.url + "/msg", "--repeat", "300", "--concurrency", "20", "--retries", "9",
                               "--no-breaker", "--no-retry-budget")
        self.assertEqual((code, outcomes(result)), (0, {(None, 200): 300}))
        self.assertEqual((result["retries"], result["attempts"]), (50, 350))

    def test_the_breaker_opens_under_failures_by_duration_and_closes_afterwards(self):
        for seconds in (1, 5, 20):  # a slow machine begins to ask when the first have passed
            self.inject(f"/fail/duration/{seconds}")
            code, result, stderr = load(self.server.url + "/msg", "--repeat", "30000", "--timeout", "30",
                                        "--retries", "0", "--breaker-recovery", "0.2", "--log-level", "INFO")
            counts = outcomes(result)
            if counts.get(("CircuitOpenError", None), 0) > 0:
                break
        self.assertEqual(code, 3)
        self.assertGreater(counts[("CircuitOpenError", None)], 0)
        self.assertGreaterEqual(counts[("ServerError", 500)], 5)
        self.assertLessEqual(counts[("ServerError", 500)], 5 + 12 * seconds)  # then one probe in about 0.2 s
        self.assertIn("WARNING circuit breaker opened", stderr)
        self.assertGreaterEqual(result["breaker"]["opened"], 1)

    def test_the_breaker_closes_when_the_server_is_well_again(self):
        self.inject("/fail/count/5")
        code, result, stderr = load(self.server.url + "/msg", "--repeat", "20000", "--retries", "0",
                                    "--breaker-recovery", "0.01", "--log-level", "INFO")
        self.assertEqual(code, 3)
        self.assertEqual(result["breaker"], {"state": "closed", "opened": 1, "half_opened": 1, "closed": 1})
        self.assertIn("INFO circuit breaker closed", stderr)


class Breaker(unittest.TestCase):
    def test_refusals_of_a_healthy_server_never_open_it(self):
        for status in (400, 401, 404, 409, 418, 501):
            with ScriptedPeer([reply(status)]) as peer:
                code, result, _ = load(peer.url, "--repeat", "20", "--breaker-threshold", "1")
                self.assertEqual(result["breaker"]["state"], "closed")
                self.assertEqual(len(peer.requests), 20)

    def test_connection_errors_and_timeouts_open_it(self):
        for answer in (Reply(b"", close=True), Reply(b"", stall=True), Reply(b"junk\r\n\r\n", close=True)):
            with ScriptedPeer([answer]) as peer:
                code, result, _ = load(peer.url, "--repeat", "20", "--retries", "0", "--read-timeout", "0.05")
                self.assertEqual((code, result["breaker"]["state"]), (3, "open"))
                self.assertEqual(result["attempts"], 5)

    def test_a_success_resets_the_count(self):
        with ScriptedPeer([lambda n, _: reply(200 if n % 5 == 4 else 500)]) as peer:
            code, result, _ = load(peer.url, "--repeat", "50", "--retries", "0")
            self.assertEqual((result["breaker"]["opened"], len(peer.requests)), (0, 50))

    def test_an_open_one_fails_at_once_and_sends_nothing(self):
        with ScriptedPeer([reply(500)]) as peer:
            code, result, _ = load(peer.url, "--repeat", "64", "--retries", "0")
            self.assertEqual((len(peer.requests), outcomes(result)[("CircuitOpenError", None)]), (5, 59))
            self.assertEqual((code, result["breaker"]), (3, {"state": "open", "opened": 1, "half_opened": 0, "closed": 0}))


class Bulkhead(unittest.TestCase):
    def test_no_more_than_its_slots_at_once(self):
        with ScriptedPeer([reply(200, b"", delay=0.01)], gather=4) as peer:
            code, result, _ = load(peer.url, "--repeat", "60", "--concurrency", "30", "--bulkhead-slots", "4")
            self.assertEqual((code, peer.most_busy), (0, 4))
            self.assertLessEqual(peer.connections, 4)

    def test_a_full_one_is_a_pool_timeout(self):
        for delay in (0.6, 3, 12):  # the second has to wait while the first is being answered
            with ScriptedPeer([reply(200, b"", delay=delay)]) as peer:
                code, result, _ = load(peer.url, "--repeat", "2", "--concurrency", "2", "--bulkhead-slots", "1",
                                       "--bulkhead-timeout", "0.1")
            if code != 0:
                break
        self.assertEqual((code, outcomes(result)), (3, {(None, 200): 1, ("PoolTimeoutError", None): 1}))

    def test_the_default_is_fifty_slots(self):
        with ScriptedPeer([reply(200, b"", delay=0.2)], gather=50) as peer:
            code, result, _ = load(peer.url, "--repeat", "120", "--concurrency", "120")
            self.assertEqual((code, peer.most_busy), (0, 50))


class RetryBudget(unittest.TestCase):
    def test_retries_stay_within_a_fifth_of_the_requests_and_ten_a_second(self):
        with ScriptedPeer([reply(429)]) as peer:
            code, result, _ = load(peer.url, "--repeat", "1000", "--concurrency", "10")
            allowed = 1000 / 5 + 100 + 10 * result["seconds"] + 20
            self.assertLessEqual(result["retries"], allowed)
            self.assertGreaterEqual(result["retries"], 250)
            code, result, _ = load(peer.url, "--repeat", "300", "--concurrency", "10", "--no-retry-budget")
            self.assertEqual(result["retries"], 600)


class Rendering(unittest.TestCase):
    def test_the_table_names_outcomes_latencies_retries_and_transitions(self):
        with ScriptedPeer([reply(500), OK, reply(404), OK]) as peer:
            done = dpone("client", "get", peer.url, "--repeat", "10", *FAST)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr, "")
            for pattern in (r"operations +10 in ", r"200 +9\n", r"404 NotFoundError +1\n", r"p50 +\d", r"p99\.9 +\d",
                            r"attempts +11, of which 1 retries", r"breaker +closed; opened 0, half-opened 0, closed 0"):
                self.assertRegex(done.stdout, pattern)

    def test_a_pipe_gets_no_progress_and_a_terminal_does(self):
        with ScriptedPeer([reply(200, b"", delay=0.05)]) as peer:
            parent, child = pty.openpty()
            process = subprocess.Popen([BINARY, "client", "get", peer.url, "--repeat", "20", *FAST], stderr=child,
                                       stdout=subprocess.PIPE, env=clean_environment(), cwd="/")
            os.close(child)
            seen = b""
            while True:
                try:
                    part = os.read(parent, 65536) if select.select([parent], [], [], 30)[0] else b""
                except OSError:
                    break
                if not part:
                    break
                seen += part
            stdout = process.communicate()[0]
            os.close(parent)
            self.assertRegex(seen.decode(), r"\r\d+/20 done, 0 failed, 0 retries, breaker closed, \d+/s")
            self.assertIn(b"operations", stdout)
            self.assertNotIn(b"\r", stdout)

    def test_the_body_goes_to_standard_output_and_the_reason_to_standard_error(self):
        with ScriptedPeer([reply(404, b"no such thing")]) as peer:
            done = dpone("client", "get", peer.url)
            self.assertEqual((done.returncode, done.stdout), (1, "no such thing"))
            self.assertRegex(done.stderr, r"^dpone: GET http://127\.0\.0\.1:\d+: NotFoundError: status 404; 1 attempt, "
                                          r"request id [0-9a-f-]{36}\n$")

    def test_json_is_valid_whatever_the_bytes(self):
        with ScriptedPeer([Reply(b"HTTP/1.1 200 OK\r\nX-A: \xff\xfe\"\r\nContent-Length: 4\r\n\r\n\x00\xff\x01\x02")]) as peer:
            code, result, _ = get(peer.url)
            self.assertEqual((code, result["body_hex"]), (0, "00ff0102"))
            self.assertIn({"name": "X-A", "value": '??"'}, result["headers"])

    def test_a_token_file_becomes_a_bearer_header_and_is_not_printed(self):
        import tempfile
        with tempfile.NamedTemporaryFile("w") as file, ScriptedPeer([reply(401)]) as peer:
            file.write("s3cret\n")
            file.flush()
            code, result, stderr = get(peer.url, "--token-file", file.name, "--log-level", "DEBUG")
            self.assertEqual((code, result["kind"]), (1, "AuthenticationError"))
            self.assertEqual(peer.requests[0].header("Authorization"), "Bearer s3cret")
            self.assertNotIn("s3cret", json.dumps(result) + stderr)


if __name__ == "__main__":
    unittest.main()
