"""dpone cdc quarantine: poison is kept with its reason, mended, delivered with the id it should have had, or discarded."""
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.batch import event_id  # noqa: E402
from support.downstream import Downstream  # noqa: E402
from support.dpone import dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402
from support.legacy import check_legacy_poison, legacy_poison  # noqa: E402
from support.scripted_peer import Reply, ScriptedPeer  # noqa: E402

ORDERS = os.path.join(os.environ["DPONE_SOURCE_DIR"], "examples", "captures", "orders.pgoutput.csv")


class QuarantineTest(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory(prefix="dpone-quarantine-"))
        self.server = self.enterContext(DponeServer(state=f"sqlite:{self.directory}/journal.db"))
        code, summary, errors = pipeline.run(self.server.url, ORDERS, "--unique-key", "public.customers=nowhere",
                                             "--on-poison", "quarantine")
        self.assertEqual((code, summary["quarantined"]), (0, 3), errors)
        self.entries = self.list()

    def quarantine(self, *words):
        return dpone("cdc", "quarantine", words[0], "--pipeline", "orders", "--server", self.server.url, *words[1:])

    def list(self, *options):
        done = self.quarantine("list", "--format", "json", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def id_of(self, index):
        return str(self.entries[index]["quarantine_id"])

    def test_entries_hold_reason_place_and_the_event(self):
        self.assertEqual([entry["reason"] for entry in self.entries], ["key_missing"] * 3)
        self.assertEqual({entry["source_table"] for entry in self.entries}, {"customers"})
        self.assertEqual({(entry["source"], entry["backend"]) for entry in self.entries},
                         {("file:orders.pgoutput.csv", "postgres_logical")})
        self.assertEqual(self.entries[0]["event"]["event_id"], None)
        self.assertIn("Ada Lovelace", json.dumps(self.entries[0]["event"]))
        shown = json.loads(self.quarantine("show", "--id", self.id_of(0)).stdout)
        self.assertEqual(shown, self.entries[0])
        self.assertIn("nowhere", self.quarantine("list").stdout)

    def test_poison_that_is_read_again_is_kept_once_also_when_it_was_discarded(self):
        self.assertEqual(self.quarantine("discard", "--id", self.id_of(0), "--why", "x").returncode, 0)
        before = self.list("--entries", "all")
        code, summary, errors = pipeline.run(self.server.url, ORDERS, "--unique-key", "public.customers=nowhere",
                                             "--on-poison", "quarantine", "--from-start", "--strict")
        self.assertEqual((code, summary["quarantined"], summary["quarantined_before"]), (4, 0, 3), errors)
        self.assertEqual(self.list("--entries", "all"), before)

    def test_a_run_that_keeps_its_own_offset_leaves_poison_with_the_server(self):
        code, summary, errors = pipeline.run(self.server.url, ORDERS, "--unique-key", "public.customers=nowhere",
                                             "--on-poison", "quarantine", "--state", f"sqlite:{self.directory}/own.db")
        self.assertEqual((code, summary["quarantined"], summary["quarantined_before"]), (0, 0, 3), errors)
        self.assertEqual(self.list(), self.entries)

    def test_the_state_tells_what_is_open_and_takes_no_copy(self):
        self.assertEqual(self.quarantine("discard", "--id", self.id_of(0), "--why", "x").returncode, 0)
        self.server.stop()
        state = f"sqlite:{self.directory}/journal.db"
        status = json.loads(dpone("state", "status", "--state", state, "--format", "json").stdout)
        self.assertEqual((status["open_quarantine_count"], len(status["streams"])), (2, 1))
        stream = status["streams"][0]
        self.assertEqual((stream["pipeline"], stream["source"]), ("orders", "file:orders.pgoutput.csv"))
        self.assertIn("quarantine: 2 open", dpone("state", "status", "--state", state).stdout)
        copied = dpone("state", "copy", "--from", state, "--to", f"sqlite:{self.directory}/copy.db")
        self.assertEqual((copied.returncode, copied.stderr), (0, ""))
        again = dpone("state", "copy", "--from", state, "--to", f"sqlite:{self.directory}/copy.db")
        self.assertEqual(again.returncode, 1)
        self.assertIn("holds streams, offsets, quarantine or audit already", again.stderr)

    def test_with_another_key_a_change_gets_the_id_that_it_should_have_had_and_arrives_once(self):
        expected = event_id(self.entries[0]["event"], ["id"])
        with Downstream() as downstream:
            for name in ("first", "second"):
                options = ["--id", self.id_of(0), "--unique-key", "public.customers=id", "--endpoint", downstream.url,
                           "--why", "the right key", "--who", "tester"]
                done = self.quarantine("replay", *options)
                if name == "first":
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual(json.loads(done.stdout), {"replayed": int(self.id_of(0)), "duplicate": False})
                else:
                    self.assertEqual(done.returncode, 1, "an entry is replayed once")
            self.assertEqual(downstream.event_ids(), [expected])
        entry = self.list("--entries", "replayed")[0]
        self.assertEqual((entry["resolved_by"], entry["resolution"]), ("tester", "the right key"))
        audit = self.server.json("GET", "/v1/pipelines/orders/audit")[2]["audit"]
        self.assertEqual((audit[0]["action"], audit[0]["who"]), ("quarantine.replayed", "tester"))

    def test_without_a_key_the_row_is_hashed_as_everywhere(self):
        done = self.quarantine("replay", "--id", self.id_of(1), "--why", "no key")
        self.assertEqual(done.returncode, 0, done.stderr)
        status, _, body = self.server.request(
            "GET", f"/v1/pipelines/orders/events?source=file%3Aorders.pgoutput.csv%23quarantine-{self.id_of(1)}")
        self.assertEqual(status, 200, body)
        self.assertEqual(json.loads(body.split(b"\n")[0])["event_id"], event_id(self.entries[1]["event"]))

    def test_a_mended_event_is_taken_from_a_file(self):
        event = dict(self.entries[2]["event"])
        event["data"] = {**event["data"], "nowhere": "mended \u00e9 \u0001\n\u2028"}
        path = f"{self.directory}/mended.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(event, file)
        options = ["--id", self.id_of(2), "--unique-key", "public.customers=nowhere", "--why", "added"]
        with Downstream() as downstream:
            still = self.quarantine("replay", *options, "--endpoint", downstream.url)
            self.assertEqual(still.returncode, 4)
            self.assertIn("nowhere", still.stderr)
            done = self.quarantine("replay", *options, "--event", path, "--endpoint", downstream.url)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(downstream.event_ids(), [event_id(event, ["nowhere"])])

    def test_more_entries_than_fit_into_a_page_are_all_listed_shown_and_replayed(self):
        record = {"code": "key_missing", "reason": "r", "context": {}}
        for start in (0, 1000, 2000):
            records = [{**record, "event": {**self.entries[0]["event"], "ordinal": 10 + start + n}} for n in range(1000 if start < 2000 else 500)]
            status, _, reply = self.server.json("POST", "/v1/pipelines/orders/quarantine", {"Content-Type": "application/json"},
                                                json.dumps({"records": records}))
            self.assertEqual((status, reply["added"]), (200, len(records)), reply)
        listed = self.list()
        self.assertEqual(len(listed), 2503)
        self.assertEqual(len({entry["quarantine_id"] for entry in listed}), 2503)
        last = str(listed[-1]["quarantine_id"])
        self.assertEqual(json.loads(self.quarantine("show", "--id", last).stdout), listed[-1])
        self.assertEqual(self.quarantine("replay", "--id", last, "--why", "x").returncode, 0)
        status, _, page = self.server.json("GET", f"/v1/pipelines/orders/quarantine?after={listed[0]['quarantine_id']}")
        self.assertEqual((len(page["quarantine"]), page["quarantine"][0], page["next_after"]),
                         (1000, {**listed[1], "event": page["quarantine"][0]["event"]}, listed[1000]["quarantine_id"]))

    def test_more_of_the_audit_than_fits_into_a_page_is_read_page_by_page(self):
        with contextlib.closing(sqlite3.connect(f"{self.directory}/journal.db")) as state, state:
            state.executemany("INSERT INTO dpone_audit (at_us, actor, action, pipeline, subject, reason) VALUES (1, 'a', 'b', ?, ?, 'c')",
                              [(name, str(n)) for n in range(2000) for name in ("orders", "another")])
        seen, before, sizes = [], "", []
        while before is not None:
            status, _, page = self.server.json("GET", f"/v1/pipelines/orders/audit{before}")
            self.assertEqual(status, 200, page)
            sizes.append(len(page["audit"]))
            seen += [row["subject"] for row in page["audit"]]
            before = None if page["next_before"] is None else f"?before={page['next_before']}"
        self.assertEqual(sizes, [1000, 1000, 0])
        self.assertEqual(seen, [str(n) for n in reversed(range(2000))])

    def test_a_delivered_entry_does_not_make_the_pipeline_ambiguous(self):
        self.assertEqual(self.quarantine("replay", "--id", self.id_of(1), "--why", "no key").returncode, 0)
        server = ["--pipeline", "orders", "--server", self.server.url]
        follow = dpone("cdc", "follow", *server, "--consumer", "billing", "--until-end")
        self.assertEqual(follow.returncode, 0, follow.stderr)
        self.assertEqual(dpone("cdc", "export", *server, "--output", f"{self.directory}/artifact").returncode, 0)
        prune = dpone("state", "prune", "--pipeline", "orders", "--state", f"sqlite:{self.directory}/journal.db", "--keep-events", "1",
                      "--why", "x", "--dry-run")
        self.assertEqual(prune.returncode, 0, prune.stderr)
        named = dpone("cdc", "follow", *server, "--consumer", "mended", "--until-end",
                      "--source-id", f"file:orders.pgoutput.csv#quarantine-{self.id_of(1)}")
        self.assertEqual((named.returncode, named.stdout.count("event_id")), (0, 1), named.stderr)

    def test_a_stream_of_the_python_tools_identity_keeps_it(self):
        code, summary, errors = pipeline.run(self.server.url, ORDERS, "--unique-key", "public.customers=nowhere", "--on-poison",
                                             "quarantine", "--identity", "dpone-py", "--source-id", "py", pipeline="python")
        self.assertEqual((code, summary["quarantined"]), (0, 3), errors)
        server = ["--pipeline", "python", "--server", self.server.url]
        entry = json.loads(dpone("cdc", "quarantine", "list", *server, "--format", "json").stdout.splitlines()[0])
        options = ["cdc", "quarantine", "replay", *server, "--id", str(entry["quarantine_id"]), "--why", "x"]
        refused = dpone(*options)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--event-id", refused.stderr)
        self.assertEqual(dpone(*options, "--event-id", "xy").returncode, 2)
        self.assertEqual(dpone(*options, "--identity", "v1").returncode, 2, "not the stream's")
        event_id_of_python = hashlib.sha256(b"as the ledger has it").hexdigest()
        done = dpone(*options, "--event-id", event_id_of_python)
        self.assertEqual(done.returncode, 0, done.stderr)
        _, _, page = self.server.json("GET", "/v1/pipelines/python")
        streams = {stream["source"]: stream["identity"] for stream in page["streams"]}
        self.assertEqual(streams, {"py": "dpone-py", f"py#quarantine-{entry['quarantine_id']}": "dpone-py"})
        self.assertEqual(self.quarantine("replay", "--id", self.id_of(0), "--event-id", event_id_of_python, "--why", "x").returncode, 2)

    def test_an_endpoint_that_refuses_leaves_the_entry_open(self):
        with Downstream() as downstream:
            downstream.refuse_with = 422
            done = self.quarantine("replay", "--id", self.id_of(0), "--endpoint", downstream.url, "--why", "x")
            self.assertEqual(done.returncode, 1)
        self.assertEqual(len(self.list()), 3)

    def test_discarding_takes_all_or_none_and_says_who_and_why(self):
        done = self.quarantine("discard", "--id", self.id_of(0), "--id", "999999", "--why", "test rows")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(self.list()), 3)
        done = self.quarantine("discard", "--id", self.id_of(0), "--id", self.id_of(2), "--why", "test rows", "--who", "tester")
        self.assertEqual(done.returncode, 0, done.stderr)
        again = ["discard", "--id", self.id_of(2), "--who", "tester", "--why"]
        self.assertEqual(self.quarantine(*again, "test rows").returncode, 0, "the answer may have been lost")
        self.assertEqual(self.quarantine(*again, "other rows").returncode, 1)
        self.assertEqual([entry["quarantine_id"] for entry in self.list()], [self.entries[1]["quarantine_id"]])
        self.assertEqual(len(self.list("--entries", "all")), 3)
        audit = self.server.json("GET", "/v1/pipelines/orders/audit")[2]["audit"]
        self.assertEqual([row["action"] for row in audit], ["quarantine.discarded"] * 2)
        self.assertEqual({row["why"] for row in audit}, {"test rows"})

    def test_an_entry_of_another_pipeline_is_not_touched(self):
        done = dpone("cdc", "quarantine", "discard", "--pipeline", "other", "--server", self.server.url, "--id", self.id_of(0),
                     "--why", "x")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(self.list()), 3)

    def test_export_writes_what_list_shows(self):
        path = f"{self.directory}/poison.ndjson"
        done = self.quarantine("export", "--output", path)
        self.assertEqual(json.loads(done.stdout), {"exported": 3})
        with open(path, encoding="utf-8") as file:
            self.assertEqual([json.loads(line) for line in file], self.entries)
        self.assertEqual(self.quarantine("export", "--output", path).returncode, 2)
        os.unlink(path)
        with open(f"{path}.partial", "w", encoding="utf-8") as rest:
            rest.write("what a killed export left")
            rest.flush()
            fcntl.flock(rest, fcntl.LOCK_EX)
            self.assertIn("another export writes", self.quarantine("export", "--output", path).stderr)
            self.assertEqual(os.path.getsize(rest.name), 25)
        self.assertEqual(self.quarantine("export", "--output", path).returncode, 0)
        with open(path, encoding="utf-8") as file:
            self.assertEqual([json.loads(line) for line in file], self.entries)

    def test_an_answer_that_is_no_dpone_servers_is_no_empty_list(self):
        with ScriptedPeer([Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")]) as peer:
            for words in (["quarantine", "list"], ["quarantine", "discard", "--id", "1", "--why", "x"], ["audit"]):
                done = dpone("cdc", *words, "--pipeline", "orders", "--server", peer.url)
                self.assertEqual((done.returncode, done.stdout), (4, ""), done.stderr)
                self.assertIn("is it a dpone server's?", done.stderr)


class UpgradeTest(unittest.TestCase):
    def test_poison_that_was_kept_twice_stays_and_is_not_kept_a_third_time(self):
        directory = tempfile.mkdtemp(prefix="dpone-quarantine-")
        self.addCleanup(shutil.rmtree, directory)
        with open(os.path.join(os.environ["DPONE_SOURCE_DIR"], "migrations", "sqlite", "0001_journal.sql"),
                  encoding="utf-8") as file:
            script = file.read()
        checksum = hashlib.sha256(script.encode()).hexdigest()
        with sqlite3.connect(f"{directory}/old.db") as connection:
            connection.executescript(script + """CREATE TABLE dpone_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL,
                checksum TEXT NOT NULL, applied_at_us INTEGER NOT NULL) STRICT;""")
            connection.execute("INSERT INTO dpone_migration VALUES (1, '0001_journal', ?, 1)", (checksum,))
            for _ in range(2):
                connection.execute("""INSERT INTO dpone_quarantine (pipeline, source, backend, source_schema, source_table, position,
                    reason, detail, event, state, created_at_us)
                    VALUES ('orders', '', '', 'public', 't', '0/1', 'key_missing', 'no key', ?, 'open', 1)""", (legacy_poison(),))
        connection.close()
        server = DponeServer(state=f"sqlite:{directory}/old.db")
        server.start()
        self.addCleanup(server.stop)
        check_legacy_poison(self, server)
        copied = dpone("state", "copy", "--from", f"sqlite:{directory}/old.db", "--to", f"sqlite:{directory}/new.db")
        self.assertEqual(copied.returncode, 0, copied.stderr)
        self.assertIn("quarantine 3", copied.stdout)


if __name__ == "__main__":
    unittest.main()
