"""`dpone cdc decode` from the outside: what it prints, what it refuses, and that nothing is lost or left behind."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import pipeline  # noqa: E402
from support.dpone import BINARY, SOURCE_DIR, clean_environment  # noqa: E402

ORDERS = os.path.join(SOURCE_DIR, "examples", "captures", "orders.pgoutput.csv")
KEYS = ["--unique-key", "public.orders=id", "--unique-key", "public.customers=id"]


def decode(*arguments, stdin=b"", **options):
    return subprocess.run([BINARY, "cdc", "decode", *arguments], input=stdin, stdout=options.pop("stdout", subprocess.PIPE),
                          stderr=subprocess.PIPE, env=clean_environment(), cwd="/", timeout=60, **options)


def lines_of(done):
    return [json.loads(line) for line in pipeline.lines(done.stdout)]


class DecodeTest(unittest.TestCase):
    def assert_refused(self, done, code, *words):
        """One clear line, perhaps a hint, the documented exit code."""
        errors = done.stderr.decode("utf-8")
        self.assertEqual(done.returncode, code, errors)
        told = [line for line in errors.splitlines() if not line.startswith(("hint: ", "dpone: warning: "))]
        self.assertEqual(len(told), 1, errors)
        for word in words:
            self.assertIn(word, errors)

    def temporary(self, content, name="capture"):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, name)
        with open(path, "wb") as out:
            out.write(content)
        return path

    # --- what it prints ---

    def test_a_file_a_pipe_and_a_prefixed_path_are_the_same(self):
        with open(ORDERS, "rb") as capture:
            content = capture.read()
        expected = decode(ORDERS).stdout
        self.assertEqual(decode(stdin=content).stdout, expected)
        self.assertEqual(decode("-", stdin=content).stdout, expected)
        self.assertEqual(decode("file:" + ORDERS).stdout, expected)
        self.assertEqual(len(expected.splitlines()), 17)

    def test_the_plugins_agree_on_ids(self):
        ids = []
        for plugin in ("pgoutput", "test_decoding", "wal2json-2"):
            done = decode(ORDERS.replace("pgoutput", plugin), *KEYS, "--require-id")
            self.assertEqual(done.returncode, 0, done.stderr)
            ids.append([line["event_id"] for line in lines_of(done) if "event_id" in line])
        self.assertEqual(ids[0], ids[1])
        self.assertEqual(ids[0], ids[2])

    def test_rows_carry_the_change_beside_the_data(self):
        rows = lines_of(decode(ORDERS, "--format", "rows", "--typed"))
        self.assertEqual(len(rows), 12)
        first = rows[2]
        self.assertEqual((first["id"], first["amount"], first["_dpone_cdc_operation"], first["_dpone_cdc_table"],
                          first["_dpone_cdc_deleted"]), (10, 99.5, "insert", "orders", False))
        self.assertIn(True, [row["_dpone_cdc_deleted"] for row in rows])
        self.assertEqual({name for name in first if name.startswith("_dpone_cdc_")},
                         {"_dpone_cdc_" + name for name in ("operation", "position", "schema", "table", "deleted", "transaction_id",
                                                            "sequence", "before")})

    def test_typed_changes_values_not_ids(self):
        exact, typed = lines_of(decode(ORDERS)), lines_of(decode(ORDERS, "--typed"))
        self.assertEqual([line.get("event_id") for line in exact], [line.get("event_id") for line in typed])
        self.assertEqual((exact[2]["data"]["amount"], typed[2]["data"]["amount"]), ("99.50", 99.5))

    def test_identities_differ_and_are_stable(self):
        v1, python = lines_of(decode(ORDERS)), lines_of(decode(ORDERS, "--identity", "dpone-py"))
        self.assertNotEqual(v1[0]["event_id"], python[0]["event_id"])
        self.assertEqual(decode(ORDERS).stdout, decode(ORDERS).stdout)

    def test_empty_input_is_no_error(self):
        done = decode(stdin=b"")
        self.assertEqual((done.returncode, done.stdout), (0, b""))
        self.assertIn(b"empty", done.stderr)

    def test_a_pipe_gets_no_progress(self):
        self.assertEqual(decode(ORDERS).stderr, b"")

    # --- what it refuses ---

    def test_a_malformed_line_is_named_and_what_stands_before_it_is_printed(self):
        with open(ORDERS, "rb") as capture:
            rows = capture.read().split(b"\n")
        rows[5] = rows[5][:-3] + b"zz"
        done = decode(self.temporary(b"\n".join(rows)))
        self.assert_refused(done, 4, "line 6")
        self.assertGreater(len(lines_of(done)), 0)

    def test_a_message_cut_short_names_line_and_byte(self):
        with open(ORDERS, "rb") as capture:
            rows = capture.read().split(b"\n")
        at = next(i for i, row in enumerate(rows) if b"\\x49" in row)
        rows[at] = rows[at][:-6]
        self.assert_refused(decode(self.temporary(b"\n".join(rows))), 4, f"line {at + 1}", "byte ")

    def test_a_capture_cut_inside_a_transaction(self):
        with open(ORDERS, "rb") as capture:
            rows = capture.read().split(b"\n")
        self.assert_refused(decode(self.temporary(b"\n".join(rows[:5]) + b"\n")), 4, "ends inside a transaction")

    def test_binary_values_are_refused_with_the_option_to_leave_off(self):
        self.assert_refused(decode(pipeline.capture("main/pgoutput-binary.csv")), 4, "binary")

    def test_a_raw_pgoutput_stream_is_refused_with_what_to_use(self):
        done = decode(pipeline.capture("main/pgoutput.stream"))
        self.assert_refused(done, 4, "does not say where messages end")
        self.assertIn(b"hint: ", done.stderr)

    def test_raw_streams_have_no_ids_unless_they_carry_positions(self):
        done = decode(pipeline.capture("messages/test_decoding.stream"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"warning", done.stderr)
        self.assertEqual({line["event_id"] for line in lines_of(done) if "event_id" in line}, {None})
        self.assert_refused(decode(pipeline.capture("messages/test_decoding.stream"), "--require-id"), 4, "no")

    def test_ambiguous_unaligned_text_is_refused(self):
        self.assert_refused(decode(pipeline.capture("messages/test_decoding.at.txt")), 4, "line 14")

    def test_unreadable_inputs(self):
        self.assert_refused(decode("/nowhere/at/all"), 3, "'/nowhere/at/all'")
        self.assert_refused(decode("/tmp"), 2, "'/tmp' is a directory")
        for dsn in ("host=localhost password=secret", "mysql://user:secret@host/shop"):
            refused = decode(dsn)
            self.assert_refused(refused, 2, "no DSN that is known here")
            self.assertNotIn(b"secret", refused.stderr)
        self.assert_refused(decode(stdin=b"\x7fELF\0\0\0"), 4)
        self.assert_refused(decode(stdin=b'{"a": 1}\n'), 4)
        bad = b"0/1,5,BEGIN 5\n0/2,5,\"table public.t: INSERT: a[integer\"\n"
        self.assert_refused(decode(stdin=bad), 4, "line 2, byte 14")

    def test_bad_options(self):
        self.assert_refused(decode("--unique-key", "orders=id"), 2, "--unique-key 'orders=id'", "schema.table=column")
        self.assert_refused(decode("--format", "xml"), 2, "--format", "'xml'", "events|rows")
        self.assert_refused(decode("--on-poison", "ignore"), 2, "--on-poison", "'ignore'")
        self.assert_refused(decode("--max-record-bytes", "12"), 2, "--max-record-bytes", "'12'")
        self.assert_refused(decode("a", "b"), 2, "unexpected argument 'b'")

    def test_a_record_above_the_maximum(self):
        self.assert_refused(decode(pipeline.capture("main/pgoutput.csv"), "--max-record-bytes", "2000"), 4, "2000")

    # --- poison ---

    def test_poison_stops_or_goes_into_quarantine(self):
        key = ["--unique-key", "public.customers=nowhere"]
        self.assert_refused(decode(ORDERS, *key), 4, "key column 'nowhere'", "line ")
        quarantine = self.temporary(b"")
        done = decode(ORDERS, *key, "--on-poison", "quarantine:" + quarantine)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(quarantine, encoding="utf-8") as kept:
            records = [json.loads(line) for line in kept]
        self.assertEqual([record["code"] for record in records], ["key_missing"] * 3)
        self.assertEqual(records[0]["event"]["data"]["name"], "Ada Lovelace")
        self.assertIn(b"3 changes went into quarantine", done.stderr)
        events = [line for line in lines_of(done) if "event_id" in line]
        self.assertEqual(len(events) + len(records), 12)
        self.assertEqual(decode(ORDERS, *key, "--on-poison", "quarantine:" + quarantine, "--strict").returncode, 4)

    def test_a_quarantine_that_cannot_be_written(self):
        self.assert_refused(decode(ORDERS, "--on-poison", "quarantine:/nowhere/poison"), 3, "'/nowhere/poison'")

    # --- faults of the output ---

    def test_a_full_disk(self):
        with open("/dev/full", "wb") as full:
            self.assert_refused(decode(ORDERS, stdout=full), 3, "No space left")

    def test_a_reader_that_went_away(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        done = decode(ORDERS, stdout=write_end)
        os.close(write_end)
        self.assert_refused(done, 3, "Broken pipe")


if __name__ == "__main__":
    unittest.main()
