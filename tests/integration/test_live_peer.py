"""`dpone cdc run` against a scripted PostgreSQL: servers of versions that cannot be run here, keepalives that ask, bytes that
no server sends, and connections that break at every step of the protocol. What is shown here was never measured on a real
server of those versions; docs/postgres.md says so."""
import os
import re
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import live  # noqa: E402
from support.dpone import BINARY as DPONE, clean_environment  # noqa: E402
from support.patience import wait_until  # noqa: E402
from support.scripted_postgres import ScriptedPostgres, begin, insert, lsn_text, relation  # noqa: E402

END = 0x1000100
ROWS = [(1, "a"), (2, None), (3, "c")]


class PeerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.journal = live.Journal()
        cls.addClassCleanup(cls.journal.cleanup)

    def pipeline(self):
        return re.sub("[^a-z0-9_]", "", self.id().rsplit(".", 1)[1].removeprefix("test_"))

    def command(self, peer, *options, name=None):
        return [DPONE, "cdc", "run", "--pipeline", name or self.pipeline(), "--source", peer.dsn, "--slot", "slot", "--publication",
                "dpone", "--unique-key", "auto", "--server", self.journal.url, "--batch-wait-ms", "20", "--offset-interval-ms", "0",
                *options]

    def run_once(self, peer, *options, name=None, until_end=True):
        done = subprocess.run(self.command(peer, *options, *(["--until-end"] if until_end else []), name=name), capture_output=True,
                              text=True, timeout=120, env=clean_environment())
        return done.returncode, done.stderr

    def rows(self, name=None):
        return [change[4] for transaction in live.journal(self.journal.url, name or self.pipeline()) for change in transaction[2]]

    def assert_delivered_once(self, name=None):
        self.assertEqual([row["id"] for row in self.rows(name)], ["1", "2", "3"])

    @staticmethod
    def one_transaction(stream):
        """Sends what the reader has not confirmed, and then says that there is no more."""
        if stream.peer.slot["confirmed"] < END:
            stream.transaction(900, END, ROWS)
        stream.peer.end = END
        stream.hold(END)

    def peer(self, script=None, **more):
        peer = ScriptedPostgres(script or self.one_transaction, **more)
        peer.end = END
        peer.__enter__()
        self.addCleanup(peer.__exit__)
        return peer

    # --- other versions ----------------------------------------------------------------------------------------------

    def test_servers_of_other_versions_are_read_the_same(self):
        for version in ("13.20", "16.9", "17.5 (Debian 17.5-1)", "18.0", "19beta1"):
            with self.subTest(version=version):
                name = "v" + re.sub(r"\W", "_", version)
                peer = self.peer(version=version)
                code, errors = self.run_once(peer, name=name)
                self.assertEqual(code, 0, errors)
                self.assert_delivered_once(name)
                self.assertEqual(peer.starts(), [f'START_REPLICATION SLOT "slot" LOGICAL {lsn_text(0x1000000)} '
                                                 '("proto_version" \'1\', "publication_names" \'"dpone"\')'])

    def test_every_reason_of_an_invalidation_is_told(self):
        for version, reason in (("17.5", "wal_removed"), ("17.5", "rows_removed"), ("16.9", "wal_level_insufficient"),
                                ("18.0", "idle_timeout")):
            with self.subTest(reason=reason):
                peer = self.peer(version=version)
                peer.slot["invalidation_reason"] = reason
                code, errors = self.run_once(peer)
                self.assertEqual(code, 1, errors)
                self.assertIn(f"source.slot_invalidated: slot 'slot' ({reason})", errors)

    def test_a_conflicting_slot_of_version_16_is_invalidated(self):
        peer = self.peer(version="16.9")
        peer.slot["conflicting"] = "t"
        code, errors = self.run_once(peer)
        self.assertEqual(code, 1, errors)
        self.assertIn("source.slot_invalidated", errors)

    def test_an_invalidation_told_by_start_replication_is_one(self):
        for message in ('can no longer get changes from replication slot "slot"', 'can no longer access replication slot "slot"'):
            peer = self.peer(lambda stream: stream.error("55000", message), version="18.0")
            code, errors = self.run_once(peer)
            self.assertEqual(code, 1, errors)
            self.assertIn("source.slot_invalidated", errors)

    def test_a_standbys_copy_of_a_failover_slot_is_refused_and_the_primarys_is_read(self):
        peer = self.peer(version="17.5")
        peer.slot["synced"] = "t"
        code, errors = self.run_once(peer)
        self.assertEqual(code, 1, errors)
        self.assertIn("source.slot_unusable", errors)
        self.assertIn("until it is promoted", errors)
        peer.slot["synced"] = "f"
        self.assertEqual(self.run_once(peer)[0], 0)
        self.assert_delivered_once()

    def test_generated_columns_that_are_published_later_change_the_stream(self):
        peer = self.peer(version="18.0")
        self.assertEqual(self.run_once(peer)[0], 0)
        peer.publication = '{"tables" : {}, "via_root" : false, "generated_columns" : "stored"}'
        code, errors = self.run_once(peer)
        self.assertEqual(code, 1, errors)
        self.assertIn("source.publication_options_changed", errors)

    def test_a_two_phase_slot_is_refused(self):
        peer = self.peer(version="18.0")
        peer.slot["two_phase"] = "t"
        code, errors = self.run_once(peer)
        self.assertEqual(code, 1, errors)
        self.assertIn("source.slot_two_phase", errors)

    def test_messages_of_later_protocols_are_refused_by_name(self):
        for kind in b"SEcAbPKrp":
            with self.subTest(kind=chr(kind)):
                peer = self.peer(lambda stream, kind=kind: (stream.wal(END, bytes([kind]) + bytes(40)), stream.hold()))
                code, errors = self.run_once(peer)
                self.assertEqual(code, 4, errors)
        self.assertEqual(live.journal(self.journal.url, self.pipeline()), [])

    # --- keepalives --------------------------------------------------------------------------------------------------

    def test_a_keepalive_that_asks_is_answered_at_once(self):
        waits = []

        def script(stream):
            for _ in range(5):
                time.sleep(0.3)
                asked = time.monotonic()
                stream.keepalive(END, reply=True)
                stream.wait(lambda: any(at >= asked for at, _, _, _ in stream.peer.feedback), 30)
                waits.append(max(at for at, _, _, _ in stream.peer.feedback) - asked)
            stream.error("57P01", "terminating connection due to administrator command")

        peer = self.peer(script)
        process = subprocess.Popen(self.command(peer), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
        deadline = time.monotonic() + 60
        while len(waits) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        process.wait()
        self.assertEqual(len(waits), 5)
        self.assertLess(sorted(waits)[2], 5)  # the timer alone would answer after ten seconds

    def test_nothing_is_flushed_by_a_keepalive_inside_a_transaction(self):
        far, seen = 0x1900000, []

        def script(stream):
            stream.wal(END - 0x60, begin(900, END - 0x30))
            stream.wal(0, relation())
            stream.wal(END - 0x50, insert(1, "a"))
            for _ in range(4):
                stream.keepalive(far, reply=True)
                time.sleep(0.3)
            stream.wait(lambda: any(written == far for _, written, _, _ in stream.peer.feedback))
            seen.extend(stream.peer.feedback)
            stream.cut()

        peer = self.peer(script)
        process = subprocess.Popen(self.command(peer), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
        deadline = time.monotonic() + 60
        while not seen and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        process.wait()
        self.assertEqual({flushed for _, _, flushed, _ in seen} - {0, 0x1000000}, set())
        self.assertEqual(max(written for _, written, _, _ in seen), far)

    def test_what_is_reported_as_flushed_never_goes_back(self):
        def script(stream):
            for number in range(6):
                stream.transaction(900 + number, END + 0x200 * number, [(number, "x")])
                stream.keepalive(END + 0x200 * number + 0x10, reply=True)
                time.sleep(0.1)
            stream.peer.end = END + 0x200 * 5
            stream.hold(END + 0x200 * 5)

        peer = self.peer(script)
        self.assertEqual(self.run_once(peer)[0], 0)
        wait_until(lambda: any(entry[2] >= END for entry in peer.feedback), "what was said last")
        flushed = [entry[2] for entry in peer.feedback]
        self.assertEqual(flushed, sorted(flushed))
        self.assertGreaterEqual(flushed[-1], END)

    # --- bytes that no server sends ----------------------------------------------------------------------------------

    def test_garbage_ends_the_run_and_stores_nothing(self):
        whole = insert(1, "abc")
        cases = {
            "an unknown message of the stream": lambda s: s.copy_data(b"z" + bytes(24)),
            "a cut header": lambda s: s.copy_data(b"w" + bytes(10)),
            "a cut keepalive": lambda s: s.copy_data(b"k" + bytes(8)),
            "an unknown message of the plugin": lambda s: s.wal(END, b"?" + bytes(8)),
            "a row outside a transaction": lambda s: (s.wal(0, relation()), s.wal(END, whole)),
            "a row of an unknown table": lambda s: (s.wal(END - 96, begin(900, END - 48)), s.wal(END - 80, whole)),
            "a value longer than its message": lambda s: self.inside(s, whole[:-7] + struct.pack("!I", 1 << 20) + b"abc"),
            "a value of negative length": lambda s: self.inside(s, whole[:-7] + struct.pack("!i", -5) + b"abc"),
            "more bytes than the message says": lambda s: self.inside(s, whole + b"more"),
            "a row cut in the middle": lambda s: self.inside(s, whole[:-2]),
            "a binary value": lambda s: self.inside(s, whole.replace(b"t", b"b", 1)),
            "more columns than the table has": lambda s: self.inside(s, insert(1, 2, 3, 4)),
            "text that is not UTF-8": lambda s: self.inside(s, insert(1, "abc").replace(b"abc", b"\xff\xfe\xfd")),
        }
        for title, send in cases.items():
            with self.subTest(title):
                name = re.sub(r"\W", "_", title)
                peer = self.peer(lambda stream, send=send: (send(stream), stream.hold(END)))
                code, errors = self.run_once(peer, name=name)
                self.assertEqual(code, 4, errors)
                self.assertEqual(live.journal(self.journal.url, name), [])
                self.assertIn("slot 'slot'", errors)

    @staticmethod
    def inside(stream, row):
        stream.wal(END - 0x60, begin(900, END - 0x30))
        stream.wal(0, relation())
        stream.wal(END - 0x50, row)

    def test_a_stream_that_loses_its_framing_is_left_and_read_again(self):
        breaks = {
            "an unknown message type": lambda s: s.raw(b"\x01" + struct.pack("!I", 8) + b"abcd"),
            "a length below four": lambda s: s.raw(b"d" + struct.pack("!I", 2)),
            "a length beyond all memory": lambda s: s.raw(b"d" + struct.pack("!I", 0x7FFFFFF0) + b"w" + bytes(100)),
            "a message longer than what follows": lambda s: s.raw(b"d" + struct.pack("!I", 5000) + b"w" + bytes(100)),
        }
        for title, send in breaks.items():
            with self.subTest(title):
                name = "framing_" + re.sub(r"\W", "_", title)

                def script(stream, send=send):
                    if stream.attempt > 0:
                        return self.one_transaction(stream)
                    stream.transaction(900, END, ROWS, committed=False)
                    send(stream)
                    time.sleep(0.3)
                    return stream.cut()

                peer = self.peer(script)
                code, errors = self.run_once(peer, name=name)
                self.assertEqual(code, 0, errors)
                self.assertGreaterEqual(len(peer.starts()), 2)
                self.assert_delivered_once(name)

    # --- breaking off ------------------------------------------------------------------------------------------------

    def test_a_connection_cut_at_any_step_costs_nothing(self):
        for step in ("startup", "authenticated", "identify", "slot", "publication", "setting", "identify_sql", "keys", "start",
                     "copying"):
            with self.subTest(step=step):
                peer = self.peer(steps={step: 1})
                name = "cut_" + step
                for attempt in range(3):
                    code, errors = self.run_once(peer, name=name)
                    if code == 0:
                        break
                    self.assertEqual(code, 3, errors)  # the first connection is not tried again
                self.assertEqual(code, 0, errors)
                self.assertLessEqual(peer.steps[step], 0, "never came there")
                self.assert_delivered_once(name)

    def test_a_stream_cut_at_any_byte_costs_nothing(self):
        def script(limit):
            def run(stream):
                if stream.attempt == 0:
                    stream.cut_after(limit)
                self.one_transaction(stream)
            return run

        for limit in (1, 3, 5, 6, 20, 29, 30, 31, 60, 90, 130, 170, 200, 230, 250, 262, 263, 264, 300):
            with self.subTest(limit=limit):
                peer = self.peer(script(limit))
                code, errors = self.run_once(peer, name=f"byte_{limit}")
                self.assertEqual(code, 0, errors)
                self.assert_delivered_once(f"byte_{limit}")

    def test_an_error_in_the_stream_is_waited_out(self):
        for sqlstate, message in (("57P01", "terminating connection due to administrator command"), ("53200", "out of memory"),
                                  ("XX000", "could not read from log segment"), ("58030", "could not open file")):
            with self.subTest(sqlstate=sqlstate):
                def script(stream, sqlstate=sqlstate, message=message):
                    if stream.attempt > 0:
                        return self.one_transaction(stream)
                    stream.transaction(900, END, ROWS, committed=False)
                    stream.error(sqlstate, message)
                    return stream.cut()

                peer = self.peer(script)
                code, errors = self.run_once(peer, name=f"error_{sqlstate.lower()}")
                self.assertEqual(code, 0, errors)
                self.assertIn(message, errors)
                self.assert_delivered_once(f"error_{sqlstate.lower()}")

    def test_a_transaction_that_was_confirmed_and_comes_again_is_left_out(self):
        passed_again = threading.Event()

        def script(stream):
            stream.transaction(900, END, ROWS)
            stream.peer.end = END
            if stream.attempt == 0:
                return stream.wait_flushed(END)
            asked = time.monotonic()
            stream.keepalive(END, reply=True)  # is answered when the transaction has been read
            stream.wait(lambda: any(at >= asked for at, _, _, _ in stream.peer.feedback))
            passed_again.set()
            return stream.hold(END)

        peer = self.peer(script)
        process = subprocess.Popen(self.command(peer, "--stall-seconds", "0"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   env=clean_environment())
        self.assertTrue(passed_again.wait(120))
        time.sleep(0.5)
        process.terminate()
        out = process.communicate()[0].decode()
        self.assertIn('"skipped_transactions":1', out)
        self.assert_delivered_once()

    # --- stalls that need a server that says nothing -----------------------------------------------------------------

    def follow_until(self, peer, pattern):
        process = subprocess.Popen(self.command(peer, "--stall-seconds", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   env=clean_environment(), text=True)
        lines = []
        too_long = threading.Timer(120, process.terminate)
        too_long.start()
        for line in process.stderr:
            lines.append(line)
            if re.search(pattern, line):
                break
        too_long.cancel()
        process.terminate()
        process.communicate()
        self.assertRegex("".join(lines), re.compile(pattern, re.M))

    def test_a_transaction_that_does_not_end_is_told(self):
        def script(stream):
            stream.transaction(900, END, ROWS, committed=False)
            stream.hold(END)

        self.follow_until(self.peer(script), r"^dpone: stalled: one transaction open since ([2-9]|\d\d+) s, 3 rows so far$")

    def test_a_source_that_sends_nothing_though_the_slot_is_behind_is_told(self):
        peer = self.peer(lambda stream: stream.hold())
        peer.slot["lag"] = "4711"
        self.follow_until(peer, r"^dpone: stalled: the source sends nothing since [1-9]\d s though the slot is 4711 bytes behind$")


if __name__ == "__main__":
    unittest.main()
