"""dpone cdc replay-plan: from words on the command line to a plan and an exit code."""

import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support.dpone import clean_environment, dpone

KEYS = ["safe_to_execute", "backend", "pipeline_name", "source_schema", "source_table", "stored_offset", "replay_from",
        "replay_to", "retention_min", "high_watermark", "artifact_uri", "allow_rewind", "steps", "blockers", "warnings"]
STEPS = ["pause_pipeline", "verify_retention", "set_start_offset", "load_idempotent_delta", "compare_target",
         "commit_offset_after_sink_commit"]
REWINDS = ["replay.rewinds_stored_offset"]
ARTIFACT = "replay.artifact_required_for_consumed_postgres_slot"
REWIND = "replay.requires_allow_rewind"
WINDOW = "replay.invalid_window"
RETENTION = "replay.start_before_retention"
WATERMARK = "replay.to_after_high_watermark"

# backend, options, blockers, warnings
CASES = [
    ("postgres_logical", "--replay-from 0/10", [], []),
    ("postgres_logical", "--stored-offset 0/9 --replay-from 0/10", [], []),
    ("postgres_logical", "--stored-offset 0/10 --replay-from 0/9", [REWIND, ARTIFACT], REWINDS),
    ("postgres_logical", "--stored-offset 1/0 --replay-from 0/FFFFFFFF --allow-rewind", [ARTIFACT], REWINDS),
    ("postgres_logical", "--stored-offset 0/10 --replay-from 0/9 --artifact-uri s3://b/o", [REWIND], REWINDS),
    ("postgres_logical", "--stored-offset 0/10 --replay-from 0/9 --artifact-uri s3://b/o --allow-rewind", [], REWINDS),
    ("postgres_logical", "--replay-from 0/10 --replay-to 0/9", [WINDOW], []),
    ("postgres_logical", "--replay-from 0/10 --replay-to 0/10", [], []),
    ("postgres_logical", "--replay-from 0/9 --retention-min 0/10", [RETENTION], []),
    ("postgres_logical", "--replay-from 0/9 --replay-to 1/0 --high-watermark 0/10", [WATERMARK], []),
    ("postgres_logical", "--replay-from mssql_cdc:0x10", ["offset.backend_mismatch.replay_from"], []),
    ("postgres_logical", "--replay-from postgres_logical:0/10", [], []),
    ("postgres_logical", "--stored-offset 1/0 --replay-from 0/9 --replay-to 0/1 --retention-min 0/10"
                         " --high-watermark mssql_change_tracking:3",
     ["offset.backend_mismatch.high_watermark", WINDOW, RETENTION, REWIND, ARTIFACT], REWINDS),
    ("mssql_cdc", "--stored-offset 0x00000027000000AF0005 --replay-from 0x27000000ae0001", [REWIND], REWINDS),
    ("mssql_cdc", "--stored-offset 0x10 --replay-from 0x9 --allow-rewind", [], REWINDS),
    ("mssql_change_tracking", "--stored-offset 10 --replay-from 9 --allow-rewind", [], REWINDS),
    ("mssql_change_tracking", "--stored-offset 9 --replay-from 10", [], []),
]

BAD_TOKENS = [
    ("postgres_logical", "0x10", "expected X/X in hexadecimal, such as 0/16B6D28"),
    ("postgres_logical", "", "expected X/X"),
    ("postgres_logical", "0/100000000", "expected X/X"),
    ("postgres_logical", "oracle:1", "expected postgres_logical, mssql_cdc or mssql_change_tracking"),
    ("postgres_logical", "mssql_cdc:0/1", "'0/1' is not a token of mssql_cdc; expected 0x and 1 to 20"),
    ("mssql_cdc", "0x" + "0" * 21, "expected 0x and 1 to 20 hexadecimal digits"),
    ("mssql_change_tracking", "9223372036854775808", "expected a whole number from 0 to 9223372036854775807"),
    ("mssql_change_tracking", "-1", "expected a whole number"),
]


def plan(backend, *options, pipeline="orders-cdc", schema="public", table="orders"):
    return dpone("cdc", "replay-plan", "--backend", backend, "--pipeline-name", pipeline, "--schema", schema,
                 "--table", table, *options)


class Decisions(unittest.TestCase):
    def test_json_and_exit_code(self):
        for backend, options, blockers, warnings in CASES:
            with self.subTest(backend=backend, options=options):
                done = plan(backend, *options.split(), "--format", "json")
                made = json.loads(done.stdout)
                self.assertEqual(done.stderr, "")
                self.assertEqual(list(made), KEYS)
                self.assertEqual(made["blockers"], blockers)
                self.assertEqual(made["warnings"], warnings)
                self.assertEqual(made["safe_to_execute"], not blockers)
                self.assertEqual(done.returncode, 1 if blockers else 0)
                self.assertEqual([step["name"] for step in made["steps"]], STEPS)
                for step in made["steps"]:
                    self.assertEqual(list(step), ["name", "description", "required"])
                    self.assertIs(step["required"], True)

    def test_markdown_is_the_default_and_says_the_same(self):
        for backend, options, blockers, warnings in CASES:
            with self.subTest(backend=backend, options=options):
                done = plan(backend, *options.split())
                self.assertEqual(done.returncode, 1 if blockers else 0)
                self.assertEqual(done.stdout, plan(backend, *options.split(), "--format", "md").stdout)
                self.assertIn("**Blocked.**" if blockers else "**Safe to execute.**", done.stdout)
                for text in blockers + warnings:
                    self.assertIn(f"- `{text}`: ", done.stdout)

    def test_offsets_are_objects_or_null_and_names_are_kept(self):
        done = plan("postgres_logical", "--replay-from", "0/10", "--stored-offset", "mssql_cdc:0x0A", "--format=json",
                    "--artifact-uri=file:///a b", pipeline='o"\\\n', schema="schéma", table="*")
        made = json.loads(done.stdout)
        self.assertEqual(made["replay_from"], {"backend": "postgres_logical", "token": "0/10", "snapshot_complete": True})
        self.assertEqual(made["stored_offset"]["backend"], "mssql_cdc")
        self.assertIsNone(made["replay_to"])
        self.assertEqual((made["pipeline_name"], made["source_schema"], made["source_table"]), ('o"\\\n', "schéma", "*"))
        self.assertEqual(made["artifact_uri"], "file:///a b")
        self.assertIsNone(json.loads(plan("mssql_cdc", "--replay-from", "0x1", "--format=json").stdout)["artifact_uri"])


class State(unittest.TestCase):
    def test_state_and_stored_offset_exclude_each_other(self):
        done = plan("mssql_cdc", "--replay-from=0x1", "--stored-offset=0x1", "--state=sqlite:x.db")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("--state and --stored-offset were both given", done.stderr)

    def test_a_state_that_is_not_there_is_an_error_and_is_not_made(self):
        with tempfile.TemporaryDirectory(prefix="dpone-plan-") as directory:
            path = os.path.join(directory, "state.db")
            done = plan("mssql_cdc", "--replay-from=0x1", "--state=sqlite:" + path)
            self.assertIn(done.returncode, (2, 3))
            self.assertEqual(done.stdout, "")
            self.assertIn(path, done.stderr)
            self.assertEqual(os.listdir(directory), [])

    def test_the_environment_is_not_looked_at(self):
        environment = clean_environment(DPONE_STATE="sqlite:/nonexistent/state.db")
        done = dpone("cdc", "replay-plan", "--backend=mssql_cdc", "--pipeline-name=p", "--schema=s", "--table=t",
                     "--replay-from=0x1", env=environment)
        self.assertEqual(done.returncode, 0)


class Usage(unittest.TestCase):
    def refuse(self, done, message):
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn(message, done.stderr.splitlines()[0])

    def test_a_malformed_token_names_the_option_and_the_form(self):
        for backend, token, message in BAD_TOKENS:
            for option in ("replay-from", "replay-to", "stored-offset", "retention-min", "high-watermark"):
                with self.subTest(token=token, option=option):
                    given = {"replay-from": {"postgres_logical": "0/1", "mssql_cdc": "0x1"}.get(backend, "1")}
                    given[option] = token
                    done = plan(backend, *(f"--{name}={value}" for name, value in given.items()))
                    self.refuse(done, message)
                    self.assertIn(f"dpone: --{option}: ", done.stderr)

    def test_missing_options_are_named(self):
        words = ["--backend", "mssql_cdc", "--pipeline-name", "p", "--schema", "s", "--table", "t", "--replay-from", "0x1"]
        for at in range(0, len(words), 2):
            with self.subTest(missing=words[at]):
                self.refuse(dpone("cdc", "replay-plan", *words[:at], *words[at + 2:]),
                            f"missing required option {words[at]} ")

    def test_empty_and_broken_names_are_refused(self):
        self.refuse(plan("mssql_cdc", "--replay-from", "0x1", pipeline=""), "--pipeline-name is empty")
        self.refuse(plan("mssql_cdc", "--replay-from", "0x1", table="a\udcff"), "--table is not valid UTF-8")
        self.refuse(plan("mssql_cdc", "--replay-from", "0x1", "--format", "xml"), "--format: 'xml' is not one of md|json")
        self.refuse(plan("mssql_cdc", "--replay-from", "0x1", "extra"), "unexpected argument 'extra'")


if __name__ == "__main__":
    unittest.main()
