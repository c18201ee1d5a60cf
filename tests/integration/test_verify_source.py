"""dpone cdc verify against a real slot: what an artifact lacks, invents or changed is named, and the slot never moves."""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import artifact, pipeline  # noqa: E402
from support.batch import Batch, text  # noqa: E402
from support.dpone import clean_environment, dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.postgres import PostgresServer  # noqa: E402

KEY = ("--unique-key", "public.orders=id")


class VerifySourceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="dpone-verify-source-"))
        cls.pg = PostgresServer()
        cls.addClassCleanup(cls.pg.cleanup)
        cls.pg.psql("CREATE TABLE orders (id bigint PRIMARY KEY, note text, amount numeric(10,2));"
                    "CREATE TABLE plain (note text); ALTER TABLE plain REPLICA IDENTITY FULL;"
                    "CREATE PUBLICATION dpone FOR TABLE orders, plain;")
        for slot, plugin in (("dpone", "pgoutput"), ("kept", "pgoutput"), ("text", "test_decoding"), ("json", "wal2json")):
            if not cls.pg.has_plugin(plugin):
                continue
            cls.pg.psql(f"SELECT pg_create_logical_replication_slot('{slot}', '{plugin}')")
        for turn in range(30):
            cls.pg.psql(f"BEGIN; INSERT INTO orders SELECT {turn} * 100 + g, 'n' || g, g FROM generate_series(1, 5) g;"
                        f"UPDATE orders SET amount = 7.50 WHERE id = {turn} * 100 + 2; INSERT INTO plain VALUES ('{turn}');"
                        f"DELETE FROM orders WHERE id = {turn} * 100 + 5; COMMIT;")
        cls.server = cls.enterClassContext(DponeServer(state=f"sqlite:{cls.directory}/journal.db"))
        done = dpone("cdc", "run", "--pipeline", "orders", "--source", cls.pg.dsn(), "--slot", "dpone", "--publication", "dpone",
                     "--unique-key", "auto", "--server", cls.server.url, "--until-end", env=clean_environment(**cls.pg.environment()))
        assert done.returncode == 0, done.stderr
        cls.whole = f"{cls.directory}/whole"
        done = dpone("cdc", "export", "--pipeline", "orders", "--server", cls.server.url, "--output", cls.whole)
        assert done.returncode == 0, done.stderr

    def slots(self):
        return self.pg.query("SELECT slot_name, confirmed_flush_lsn, restart_lsn FROM pg_replication_slots ORDER BY 1")

    def require(self, slot):
        if slot == "json":
            self.pg.require_plugin("wal2json")

    def verify(self, path, slot="kept", *options, publication=("--publication", "dpone")):
        before = self.slots()
        done = dpone("cdc", "verify", "--artifact", path, "--source", self.pg.dsn(), "--slot", slot,
                     *(publication if slot == "kept" else ()), *options, env=clean_environment(**self.pg.environment()))
        give_up = time.monotonic() + 30  # the server ends the session, and with it the copy, a moment after the command
        while self.slots() != before and time.monotonic() < give_up:
            time.sleep(0.05)
        self.assertEqual(self.slots(), before, "slots are as they were, and no copy is left")
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    def tampered(self, change):
        """An artifact of a journal that holds other lines: its manifest fits, only the source can tell."""
        name = f"forged{len(os.listdir(self.directory))}"
        path = f"{self.directory}/{name}"
        lines = [json.loads(line) for line in change([text(json.loads(line)) for line in pipeline.journal(self.server.url)])]
        batch = Batch(lines, pipeline=name, source=artifact.manifest(self.whole)["source"])
        status, _, reply = batch.send(self.server, pipeline=name)
        self.assertEqual(status, 200, reply)
        done = dpone("cdc", "export", "--pipeline", name, "--server", self.server.url, "--output", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(dpone("cdc", "verify", "--artifact", path).returncode, 0, "the manifest fits")
        return path

    def test_what_the_slot_holds_is_what_was_exported_whatever_the_plugin(self):
        code, result, errors = self.verify(self.whole)
        self.assertEqual(code, 0, errors)
        self.assertEqual((result["verified"], result["source"]["compared_transactions"], result["source"]["compared_events"]),
                         (True, 30, 240))
        self.assertEqual(self.verify(self.whole, publication=())[0], 0, "publication and keys come from the manifest")
        for slot in ("text", "json"):
            with self.subTest(slot=slot):
                self.require(slot)
                code, result, errors = self.verify(self.whole, slot)
                self.assertEqual(code, 0, errors)
                self.assertEqual((result["findings"], result["source"]["compared_events"]), ([], 240))

    def test_also_while_a_pipeline_reads_the_slot(self):
        reader = subprocess.Popen([self.pg.binary("pg_recvlogical"), "-d", self.pg.dsn(), "--slot", "text", "--start", "-f", "/dev/null", "--no-loop",
                                   "--status-interval=3600", "--fsync-interval=0"],
                                  env={**os.environ, **self.pg.environment()})
        try:
            give_up = time.monotonic() + 30
            while self.pg.query_value("SELECT active FROM pg_replication_slots WHERE slot_name = 'text'") != "t":
                self.assertLess(time.monotonic(), give_up)
                time.sleep(0.05)
            code, result, errors = self.verify(self.whole, "text")
            self.assertEqual(code, 0, errors)
        finally:
            reader.kill()
            reader.wait()

    def test_a_dropped_an_invented_and_a_changed_event_are_named(self):
        def drop(lines):
            """The first event of the fifth transaction is not there."""
            at = [i for i, line in enumerate(lines) if '"type":"commit"' in line][3] + 1
            end = next(i for i in range(at, len(lines)) if '"type":"commit"' in lines[i])
            kept = [json.loads(line) for line in lines[at + 1:end]]
            for ordinal, line in enumerate(kept):
                line["ordinal"] = ordinal
            commit = json.loads(lines[end])
            commit["count"] -= 1
            return lines[:at] + [text(line) for line in kept + [commit]] + lines[end + 1:]

        def change(lines):
            line = json.loads(lines[2])
            line["data"]["note"] = "tampered"
            return lines[:2] + [text(line)] + lines[3:]

        def invent(lines):
            at = next(i for i, line in enumerate(lines) if '"type":"commit"' in line)
            line, commit = json.loads(lines[at - 1]), json.loads(lines[at])
            line.update(event_id=hashlib.sha256(b"invented").hexdigest(), ordinal=line["ordinal"] + 1)
            commit["count"] += 1
            return lines[:at] + [text(line), text(commit)] + lines[at + 1:]

        for slot, tamper, code, line in (("kept", drop, "missing_from_artifact", None), ("text", change, "differs_from_source", 3),
                                         ("json", invent, "not_in_source", 9)):
            with self.subTest(code=code, slot=slot):
                self.require(slot)
                exit_code, result, errors = self.verify(self.tampered(tamper), slot, *KEY)
                self.assertEqual(exit_code, 4, errors)
                self.assertEqual([(one["code"], one["line"]) for one in result["findings"]], [(code, line)], result)
                self.assertIn("public.", result["findings"][0]["detail"])

    def test_a_whole_transaction_that_is_missing_or_never_was_is_named(self):
        def drop(lines):
            ends = [i for i, line in enumerate(lines) if '"type":"commit"' in line]
            return lines[:ends[1] + 1] + lines[ends[2] + 1:]

        exit_code, result, _ = self.verify(self.tampered(drop), "kept", *KEY)
        self.assertEqual((exit_code, result["finding_count"]), (4, 8))
        self.assertEqual({one["code"] for one in result["findings"]}, {"missing_from_artifact"})

        def invent(lines):
            at = next(i for i, line in enumerate(lines) if '"type":"commit"' in line)
            line, commit = json.loads(lines[0]), json.loads(lines[at])
            line.update(event_id=hashlib.sha256(b"invented").hexdigest(), transaction_id="77")
            high, low = commit["end_position"].split("/")
            commit.update(end_position=f"{high}/{int(low, 16) + 8:X}", transaction_id="77", count=1)
            return lines[:at + 1] + [text(line), text(commit)] + lines[at + 1:]

        exit_code, result, _ = self.verify(self.tampered(invent), "kept", *KEY)
        self.assertEqual((exit_code, [(one["code"], one["line"]) for one in result["findings"]]), (4, [("not_in_source", 10)]))

        def swap(lines):
            first, second = json.loads(lines[0]), json.loads(lines[1])
            first["ordinal"], second["ordinal"] = 1, 0
            return [text(second), text(first)] + lines[2:]

        exit_code, result, _ = self.verify(self.tampered(swap), "kept", *KEY)
        self.assertEqual((exit_code, [(one["code"], one["line"]) for one in result["findings"]]), (4, [("order_broken", 1)]))

    def test_what_has_left_the_slots_window_is_counted_and_not_called_verified(self):
        ends = [json.loads(line)["end_position"] for line in map(bytes.decode, artifact.lines(self.whole)) if '"type":"commit"' in line]
        self.pg.psql("SELECT pg_copy_logical_replication_slot('kept', 'late')")
        self.pg.psql(f"SELECT pg_replication_slot_advance('late', '{ends[9]}')")
        code, result, errors = self.verify(self.whole, "late", "--publication", "dpone")
        self.assertEqual((code, result["verified"], result["finding_count"]), (1, False, 0), errors)
        self.assertEqual((result["source"]["gone_transactions"], result["source"]["compared_transactions"]), (10, 20))
        self.assertIn("left the slot's window", errors)
        code, result, _ = self.verify(self.whole, "dpone", "--publication", "dpone")
        self.assertEqual((code, result["source"]["gone_transactions"], result["source"]["compared_transactions"]), (1, 30, 0))
        self.pg.psql("SELECT pg_drop_replication_slot('late')")

    def test_another_source_and_wrong_options_are_refused(self):
        code, _, errors = self.verify(self.whole, "kept", "--source-id", "another")
        self.assertEqual(code, 1)
        self.assertIn("the artifact is of source", errors)
        code, _, errors = self.verify(self.whole, "nothing")
        self.assertEqual(code, 1, errors)
        self.assertIn("nothing", errors)
        for options in (["--source", "file:x", "--slot", "s"], ["--source", self.pg.dsn()]):
            self.assertEqual(dpone("cdc", "verify", "--artifact", self.whole, *options).returncode, 2)


if __name__ == "__main__":
    unittest.main()
