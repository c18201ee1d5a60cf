"""dpone state and dpone offsets from the outside."""
import json
import os
import sqlite3
import subprocess
import tempfile
import unittest

DPONE = os.environ["DPONE_BINARY"]


class StateCommandsTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = os.path.join(self.directory.name, "state.db")
        self.state = "sqlite:" + self.path

    def run_dpone(self, *words, code=0, text=None):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DPONE_STATE")}
        done = subprocess.run([DPONE, *words], cwd=self.directory.name, env=environment, capture_output=True, text=True,
                              input=text, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def migrate(self):
        return self.run_dpone("state", "migrate", "--state", self.state).stdout

    def offsets(self, verb, *words, code=0):
        return self.run_dpone("offsets", verb, "--state", self.state, *words, code=code)

    def test_migrate_applies_what_is_missing_once(self):
        scripts = os.listdir(os.path.join(os.environ["DPONE_SOURCE_DIR"], "migrations", "sqlite"))
        self.assertIn(f"schema version {len(scripts)}: {len(scripts)} migrations applied", self.migrate())
        self.assertIn("0 migrations applied", self.migrate())

    def test_many_processes_may_migrate_at_once(self):
        processes = [subprocess.Popen([DPONE, "state", "migrate", "--state", self.state], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True) for _ in range(6)]
        texts = [process.communicate(timeout=60)[0] for process in processes]
        self.assertEqual([process.returncode for process in processes], [0] * 6, texts)
        self.assertEqual(sum(": 0 migrations applied" not in text for text in texts), 1, texts)

    def test_a_database_of_another_history_is_refused(self):
        self.migrate()
        with sqlite3.connect(self.path) as connection:
            connection.execute("UPDATE dpone_migration SET checksum = 'x'")
        self.assertIn("is not the one this program has", self.run_dpone("state", "migrate", "--state", self.state, code=2).stderr)
        with sqlite3.connect(self.path) as connection:
            connection.execute("DELETE FROM dpone_migration")
            connection.execute("INSERT INTO dpone_migration SELECT 1, 'later', 'x', 0")
        self.run_dpone("offsets", "list", "--state", self.state, code=2)

    def test_a_newer_schema_is_refused(self):
        self.migrate()
        with sqlite3.connect(self.path) as connection:
            newest = connection.execute("SELECT max(version) FROM dpone_migration").fetchone()[0]
            connection.execute("INSERT INTO dpone_migration VALUES (?, 'later', 'x', 0)", (newest + 1,))
        for words in (["state", "migrate"], ["offsets", "list"]):
            self.assertIn("does not know", self.run_dpone(*words, "--state", self.state, code=2).stderr)

    def test_status_names_an_old_schema(self):
        sqlite3.connect(self.path).execute("CREATE TABLE t (a)").connection.commit()
        self.assertIn("run dpone state migrate", self.run_dpone("state", "status", "--state", self.state, code=1).stdout)

    def test_status_as_json(self):
        self.migrate()
        report = json.loads(self.run_dpone("state", "status", "--state", self.state, "--check", "--format", "json").stdout)
        self.assertEqual(report["schema_version"], report["schema_version_needed"])
        self.assertEqual(report["streams"], [])

    def test_a_database_that_is_not_there_is_named_and_not_made(self):
        for words in (["set", "--pipeline", "p", "--token", "0/1", "--why", "x"], ["list"], ["show", "--pipeline", "p"],
                      ["delete", "--pipeline", "p", "--why", "x"]):
            errors = self.offsets(*words, code=3).stderr
            self.assertIn(f"unable to open the state database ('{self.path}'): No such file or directory", errors)
            self.assertIn("dpone state migrate", errors)
        self.assertEqual(os.listdir(self.directory.name), [])
        self.assertIn("'/nowhere/x.db'): No such file", self.run_dpone("state", "migrate", "--state", "sqlite:/nowhere/x.db", code=3).stderr)
        for words in (["state", "migrate"], ["offsets", "list"], ["serve", "--port", "0"]):
            self.assertIn("is a directory; expected a SQLite file",
                          self.run_dpone(*words, "--state", "sqlite:" + self.directory.name, code=2).stderr)
        os.mkfifo(self.path)
        for words in (["state", "migrate"], ["offsets", "list"]):
            self.assertIn("is no regular file", self.run_dpone(*words, "--state", self.state, code=2).stderr)
        errors = self.run_dpone("cdc", "run", "--pipeline", "p", "--source", "nope://x", code=2).stderr
        self.assertIn("--source: no such kind of source", errors)
        for words in (["run", "--source", "file:x"], ["follow", "--consumer", "c"], ["quarantine", "list"]):
            self.assertIn("--pipeline: '' is empty", self.run_dpone("cdc", *words, "--pipeline", "", code=2).stderr)

    def test_a_file_that_is_no_state_is_refused_as_it_is(self):
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        empty = os.path.join(self.directory.name, "empty.db")
        open(empty, "w").close()
        for path in (self.path, empty):
            with open(path, "rb") as file:
                before = file.read()
            self.run_dpone("offsets", "set", "--pipeline", "p", "--token", "0/1", "--why", "x", "--state", "sqlite:" + path, code=2)
            with open(path, "rb") as file:
                self.assertEqual(file.read(), before)

    def test_offsets_are_set_shown_listed_and_deleted(self):
        self.migrate()
        self.offsets("show", "--pipeline", "p", code=1)
        self.offsets("set", "--pipeline", "p", "--token", "0/100", "--why", "first")
        shown = json.loads(self.offsets("show", "--pipeline", "p", "--table", "public.t", "--format", "json").stdout)
        self.assertEqual((shown[0]["source_schema"], shown[0]["token"]), ("*", "0/100"))
        self.assertIn("0/100", self.offsets("list").stdout)
        self.offsets("delete", "--pipeline", "p", "--why", "done")
        self.offsets("delete", "--pipeline", "p", "--why", "again", code=1)

    def test_a_rewind_is_asked_for_and_audited(self):
        self.migrate()
        self.offsets("set", "--pipeline", "p", "--token", "0/100", "--why", "first", "--who", "ann")
        refused = self.offsets("set", "--pipeline", "p", "--token", "0/20", "--why", "drill", code=1)
        self.assertIn("behind the stored offset", refused.stderr)
        self.assertIn("--allow-rewind", refused.stderr)
        self.offsets("set", "--pipeline", "p", "--token", "0/20", "--why", "drill", "--who", "bob", "--allow-rewind")
        rows = sqlite3.connect(self.path).execute("SELECT actor, action, reason, old_value, new_value FROM dpone_audit").fetchall()
        self.assertEqual(rows, [("ann", "offset.set", "first", None, "0/100"), ("bob", "offset.rewind", "drill", "0/100", "0/20")])

    def test_a_malformed_name_or_token_is_bad_usage(self):
        self.migrate()
        self.offsets("set", "--pipeline", "p", "--token", "zz", "--why", "x", code=2)
        self.offsets("set", "--pipeline", "p", "--table", "orders", "--token", "0/1", "--why", "x", code=2)
        self.offsets("set", "--pipeline", "p", "--table", "*.orders", "--token", "0/1", "--why", "x", code=2)
        self.run_dpone("state", "status", "--state", "mysql://h/d", code=2)
        latin = os.fsdecode(b"zur\xfcck")
        for words in (["--why", latin], ["--why", "x", "--who", latin]):
            errors = self.offsets("set", "--pipeline", "p", "--token", "0/9", *words, code=2).stderr
            self.assertIn("is not valid UTF-8", errors)
        self.offsets("set", "--pipeline", "a\nb", "--token", "0/9", "--why", "x")
        self.assertEqual(self.offsets("list").stdout.count("\n"), 1)

    def test_the_offset_table_may_have_another_name(self):
        self.state += "?dpone_offset_table=my \"offsets\""
        self.migrate()
        self.offsets("set", "--pipeline", "p", "--token", "0/100", "--why", "first")
        self.assertIn("0/100", self.offsets("list").stdout)
        rows = sqlite3.connect(self.path).execute('SELECT token FROM "my ""offsets"""').fetchall()
        self.assertEqual(rows, [("0/100",)])

    def test_the_python_tools_table_is_shared(self):
        with sqlite3.connect(self.path) as connection:
            connection.execute("""CREATE TABLE etl_cdc_offset (pipeline_name TEXT, source_schema TEXT, source_table TEXT,
                backend TEXT, token TEXT, snapshot_complete BOOLEAN, __dpone__loaded_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
                __dpone__updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
                PRIMARY KEY (pipeline_name, source_schema, source_table, backend))""")
            connection.execute("""INSERT INTO etl_cdc_offset (pipeline_name, source_schema, source_table, backend, token,
                snapshot_complete) VALUES ('p', 'public', 't', 'postgres_logical', '0/ABC', 1)""")
        self.migrate()
        shown = json.loads(self.offsets("show", "--pipeline", "p", "--table", "public.t", "--format", "json").stdout)
        self.assertEqual(shown[0]["token"], "0/ABC")
        self.assertRegex(shown[0]["updated_at"], r"^20\d\d-")
        self.offsets("set", "--pipeline", "p", "--table", "public.t", "--token", "0/ABD", "--why", "x")
        row = sqlite3.connect(self.path).execute("SELECT token, snapshot_complete, typeof(__dpone__updated_at) FROM etl_cdc_offset")
        self.assertEqual(row.fetchone(), ("0/ABD", 1, "text"))


if __name__ == "__main__":
    unittest.main()
