"""One workload, read through every plugin, gives the same events: the same ids, the same data, the same order.

The ids are computed again here from the printed events alone, by the rules of docs, and the changes are applied in
commit order to give what the database itself holds at the end.
"""

import hashlib
import json
import os
import re
import unittest

from support.captures import CAPTURES, read_bytes
from support.dpone import dpone

PLUGINS = ("main/pgoutput.csv", "main/test_decoding.csv", "main/wal2json-2.csv", "main/wal2json-1-chunks.csv")
PGOUTPUT, TEST_DECODING, WAL2JSON_2, WAL2JSON_1 = PLUGINS

# Which captures lack what is said in tests/captures/README.md.
WITHOUT_TRUNCATE = (WAL2JSON_1,)
WITHOUT_PARTITION_ROOT = (PGOUTPUT,)


def load(name):
    return json.loads(read_bytes(name).decode("utf-8"))


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def unique_keys(tables):
    """Options that configure a key for every table that has one: its primary key, else its replica identity."""
    options = []
    for table in tables:
        columns = key_columns(table)
        if columns:
            name = f'{quoted(table["schema"])}.{quoted(table["table"])}'
            options += ["--unique-key", f'{name}={",".join(map(quoted, columns))}']
    return options


def key_columns(table):
    """The replica identity's columns, because a deleted row has no others; under FULL the primary key."""
    return table["identity_columns"] or table["primary_key"] or []


def decode(capture, *options):
    """The transactions of a capture: pairs of events and commit line."""
    done = dpone("cdc", "decode", os.path.join(CAPTURES, capture), *options)
    if done.returncode != 0:
        raise AssertionError(f"{capture}: {done.returncode}: {done.stderr}")
    transactions, events = [], []
    # Not splitlines: values hold characters that it takes for line ends.
    for line in done.stdout.split("\n")[:-1]:
        item = json.loads(line)
        if item.get("type") == "commit":
            transactions.append((events, item))
            events = []
        else:
            events.append(item)
    if events:
        raise AssertionError(f"{capture}: events after the last commit line")
    return transactions


def identity_of(event, keys):
    """The canonical object that an event's id is the SHA-256 of."""
    fields = {name: event[name] for name in
              ("operation", "position", "sequence", "source_schema", "source_table", "transaction_id")}
    key = keys.get((event["source_schema"], event["source_table"]))
    if not key:
        fields["row"] = {"data": event["data"], "before": event["before"] or {}}
    elif event["operation"] == "truncate":
        fields["key"] = None
    else:
        before = event["before"] or {}
        fields["key"] = {column: event["data"].get(column, before.get(column)) for column in key}
    return fields


# Only '"', '\\' and control characters are escaped, DEL is not one of them.
def canonical(value):
    if isinstance(value, dict):
        return "{" + ",".join(canonical(name) + ":" + canonical(value[name]) for name in sorted(value)) + "}"
    if isinstance(value, str):
        short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
        return '"' + re.sub(r'["\\\x00-\x1f]', lambda m: short.get(m[0], f"\\u{ord(m[0]):04x}"), value) + '"'
    return json.dumps(value)


def event_id(event, keys):
    return hashlib.sha256(canonical(identity_of(event, keys)).encode("utf-8")).hexdigest()


def database_text(value):
    """A value of an event as the server prints it."""
    if value is True or value is False:
        return "t" if value else "f"
    return str(value) if isinstance(value, int) else value


class State:
    """Tables built from events alone, rows found by what the event says of the old row."""

    def __init__(self, keys):
        self._keys = keys
        self._tables = {}

    def apply(self, event):
        name = event["source_schema"], event["source_table"]
        if name not in self._keys:
            return  # dropped or renamed later
        rows = self._tables.setdefault(name, [])
        if event["operation"] == "truncate":
            rows.clear()
        elif event["operation"] == "insert":
            rows.append(dict(event["data"]))
        else:
            index = self._find(rows, event)
            if event["operation"] == "delete":
                del rows[index]
            else:
                kept = {column: rows[index][column] for column in event["unchanged"]}
                rows[index] = {**event["data"], **kept}

    def _find(self, rows, event):
        name = event["source_schema"], event["source_table"]
        old = event["data"] if event["operation"] == "delete" else event["before"]
        if old is None:
            old = {column: event["data"][column] for column in self._keys[name]}
        matches = [index for index, row in enumerate(rows)
                   if all(column in row and row[column] == value for column, value in old.items())]
        if not matches:
            raise AssertionError(f"{name} has no row {old}")
        # test_decoding leaves NULLs out of old rows: of several, the one whose other columns are NULL is meant.
        return min(matches, key=lambda index: sum(value is not None for column, value in rows[index].items()
                                                  if column not in old))

    def content(self, name, columns):
        """The rows as the server prints them, in no order."""
        return sorted(json.dumps({column: database_text(row[column]) for column in columns if column in row},
                                 sort_keys=True, ensure_ascii=False) for row in self._tables.get(name, []))


class CaptureAgreement(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.tables = load("main/tables.json")
        cls.keys = {(table["schema"], table["table"]): key_columns(table) for table in cls.tables}
        cls.options = unique_keys(cls.tables)
        cls.decoded = {capture: decode(capture, *cls.options, "--trust-nulls") for capture in PLUGINS}

    def events(self, capture):
        return [event for events, _ in self.decoded[capture] for event in events]

    def comparable(self, capture, other):
        """The events of `capture` that `other` has too."""
        partitioned = {(table["schema"], table["table"]) for table in self.tables if table["partitioned"]}
        for event in self.events(capture):
            is_root = (event["source_schema"], event["source_table"]) in partitioned
            if event["operation"] == "truncate" and (other in WITHOUT_TRUNCATE or capture in WITHOUT_TRUNCATE):
                continue
            if event["operation"] == "truncate" and is_root and other in WITHOUT_PARTITION_ROOT:
                continue
            yield event

    def is_keyed(self, event):
        return bool(self.keys.get((event["source_schema"], event["source_table"])))

    def test_every_plugin_gives_the_same_ids_in_the_same_order_where_a_key_is_configured(self):
        for capture in PLUGINS[1:]:
            with self.subTest(capture=capture):
                expected = [event["event_id"] for event in self.comparable(PGOUTPUT, capture) if self.is_keyed(event)]
                found = [event["event_id"] for event in self.comparable(capture, PGOUTPUT) if self.is_keyed(event)]
                self.assertGreater(len(expected), 200)
                self.assertEqual(found, expected)

    def test_without_a_key_the_ids_agree_where_the_rendered_rows_do(self):
        for capture in PLUGINS[1:]:
            found = {(event["source_schema"], event["source_table"], event["position"], event["sequence"]): event
                     for event in self.comparable(capture, PGOUTPUT) if not self.is_keyed(event)}
            compared = 0
            for event in self.comparable(PGOUTPUT, capture):
                if self.is_keyed(event):
                    continue
                other = found.pop((event["source_schema"], event["source_table"], event["position"],
                                   event["sequence"]))
                same_rows = (event["data"], event["before"]) == (other["data"], other["before"])
                self.assertEqual(event["event_id"] == other["event_id"], same_rows, event)
                compared += same_rows
            with self.subTest(capture=capture):
                self.assertGreater(compared, 5)
                self.assertEqual(found, {})

    def test_the_rows_agree_but_for_what_a_plugin_leaves_out(self):
        generated = {(table["schema"], table["table"], column["name"]) for table in self.tables
                     for column in table["columns"] if column["generated"]}
        for capture in PLUGINS[1:]:
            others = {event["event_id"]: event for event in self.events(capture)}
            for event in self.comparable(PGOUTPUT, capture):
                other = others.get(event["event_id"])
                if other is None:
                    continue
                with self.subTest(capture=capture, event=event["event_id"]):
                    self.assert_rows_agree(capture, event, other, generated)

    def assert_rows_agree(self, capture, event, other, generated):
        name = event["source_schema"], event["source_table"]
        data = {column: value for column, value in other["data"].items() if (*name, column) not in generated}
        is_wal2json = capture in (WAL2JSON_2, WAL2JSON_1)
        if is_wal2json:
            # NaN and Infinity are null in wal2json.
            for column, value in event["data"].items():
                if value in ("NaN", "Infinity", "-Infinity") and data.get(column, "") is None:
                    data[column] = value
        self.assertEqual(data, event["data"])
        self.assertLessEqual(set(other["unchanged"]), set(event["unchanged"]))
        if not is_wal2json:
            self.assertEqual(other["unchanged"], event["unchanged"])
        if other["before"] is None:
            self.assertTrue(event["before"] is None or is_wal2json, event)
        elif event["before"] is not None:
            sent = {column: value for column, value in event["before"].items() if value is not None}
            kept = {column: value for column, value in other["before"].items()
                    if value is not None and (*name, column) not in generated}
            if not is_wal2json or sent.keys() <= kept.keys():
                self.assertEqual(kept, sent)

    def test_transactions_end_at_the_same_positions(self):
        # Transactions without events have no commit line.
        expected = {commit["end_position"]: commit["transaction_id"] for _, commit in self.decoded[PGOUTPUT]}
        for capture in PLUGINS[1:]:
            found = {commit["end_position"]: commit["transaction_id"] for _, commit in self.decoded[capture]}
            missing = set() if capture not in WITHOUT_TRUNCATE else {
                commit["end_position"] for events, commit in self.decoded[PGOUTPUT]
                if all(event["operation"] == "truncate" for event in events)}
            with self.subTest(capture=capture):
                self.assertEqual(found, {end: xid for end, xid in expected.items() if end not in missing})

    def test_wal2json_tells_the_commit_time_that_pgoutput_tells(self):
        times = {commit["end_position"]: commit["committed_at"] for _, commit in self.decoded[PGOUTPUT]}
        for _, commit in self.decoded[WAL2JSON_2]:
            self.assertEqual(commit["committed_at"], times[commit["end_position"]])

    def test_every_id_can_be_computed_from_the_printed_event(self):
        for capture in PLUGINS:
            for event in self.events(capture):
                self.assertEqual(event["event_id"], event_id(event, self.keys), event)
        for capture in ("messages/test_decoding.csv", "messages/wal2json-2.csv", "bytes/test_decoding.copy.txt"):
            for events, _ in decode(capture):
                for event in events:
                    self.assertEqual(event["event_id"], event_id(event, {}), event)

    def test_the_changes_in_commit_order_give_what_the_database_holds(self):
        generated = {(table["schema"], table["table"], column["name"]) for table in self.tables
                     for column in table["columns"] if column["generated"]}
        for capture in (PGOUTPUT, TEST_DECODING):
            state = State(self.keys)
            for event in self.events(capture):
                state.apply(event)
            for table in load("main/expected_state.json"):
                name = table["schema"], table["table"]
                columns = sorted({column for row in table["rows"] for column in row})
                columns = [column for column in columns if (*name, column) not in generated]
                expected = sorted(json.dumps({column: row[column] for column in columns}, sort_keys=True,
                                             ensure_ascii=False) for row in table["rows"])
                with self.subTest(capture=capture, table=name):
                    self.assertEqual(state.content(name, columns), expected)

    def test_every_form_of_a_capture_gives_the_same_lines(self):
        for capture, forms in {"main/pgoutput": ("at.txt", "copy.csv", "copy.txt"),
                               "main/test_decoding": ("at.txt", "tab.txt", "copy.csv", "copy.txt"),
                               "main/wal2json-2": ("at.txt", "copy.txt"),
                               "main/wal2json-1-chunks": ("at.txt",),
                               "bytes/test_decoding": ("copy.csv",)}.items():
            first = "copy.txt" if capture.startswith("bytes") else "csv"
            expected = dpone("cdc", "decode", os.path.join(CAPTURES, f"{capture}.{first}"), *self.options,
                             "--trust-nulls").stdout
            self.assertTrue(expected)
            for form in forms:
                with self.subTest(capture=f"{capture}.{form}"):
                    done = dpone("cdc", "decode", os.path.join(CAPTURES, f"{capture}.{form}"), *self.options,
                                 "--trust-nulls")
                    self.assertEqual((done.returncode, done.stdout), (0, expected), done.stderr)

    def test_a_null_number_of_wal2json_is_refused_without_a_key_and_told_with_one(self):
        path = os.path.join(CAPTURES, WAL2JSON_2)
        done = dpone("cdc", "decode", path)
        self.assertEqual(done.returncode, 4)
        self.assertIn("which wal2json also prints for NaN and Infinity", done.stderr)
        self.assertIn("numeric-data-types-as-string", done.stderr)
        done = dpone("cdc", "decode", path, *self.options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"warning: \d+ events have a null float or numeric that may have been NaN")
        done = dpone("cdc", "decode", path, *self.options, "--trust-nulls")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_name_wal2json_stands_for_either_format_and_for_nothing_else(self):
        for capture, code in {WAL2JSON_2: 0, WAL2JSON_1: 0, "main/wal2json-2.stream": 0, PGOUTPUT: 4,
                              TEST_DECODING: 4}.items():
            with self.subTest(capture=capture):
                done = dpone("cdc", "decode", os.path.join(CAPTURES, capture), "--plugin", "wal2json", "--trust-nulls")
                self.assertEqual(done.returncode, code, done.stderr)
        done = dpone("cdc", "decode", "--plugin", "wal2json", input="lsn,xid,data\n")
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_no_forged_row_of_a_message_becomes_an_event(self):
        for capture in sorted(os.listdir(os.path.join(CAPTURES, "messages"))):
            if capture.endswith(".json"):
                continue
            done = dpone("cdc", "decode", os.path.join(CAPTURES, "messages", capture))
            with self.subTest(capture=capture):
                self.assertNotIn("forged'", done.stdout)
                self.assertNotIn('"id":66', done.stdout)
                self.assertIn(done.returncode, (0, 4))
                if done.returncode == 0:
                    ids = [json.loads(line)["data"]["id"] for line in done.stdout.split("\n")[:-1] if "event_id" in line]
                    self.assertEqual(ids, [1, 2, 3, 4])
                else:
                    self.assertIn("message", done.stderr)


if __name__ == "__main__":
    unittest.main()
