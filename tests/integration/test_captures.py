"""The captures agree with each other and with what the database itself says. No code of dpone takes part: when this
test fails, the captures or their reader are wrong, not a decoder."""

import json
import unittest

from support.captures import (UNCHANGED, lsn_text, message_bytes, pgoutput_messages, read_bytes, sql_rows)

ROW_CHANGES = "IUD"


def load(name):
    return json.loads(read_bytes(name).decode("utf-8"))


class State:
    """Tables built from changes alone: by key where there is one, else as a list of rows."""

    def __init__(self, tables):
        self._keys = {(table["schema"], table["table"]): table["primary_key"] for table in tables}
        self._rows = {}

    def rows(self, name):
        return list(self._rows.get(name, []))

    def apply(self, message):
        if message["kind"] == "T":
            for relation in message["relations"]:
                self._rows[relation["schema"], relation["table"]] = []
            return
        relation = message["relation"]
        name = relation["schema"], relation["table"]
        rows = self._rows.setdefault(name, [])
        columns = [column["name"] for column in relation["columns"]]
        new = dict(zip(columns, message["new"])) if "new" in message else None
        if message["kind"] == "I":
            rows.append(new)
            return
        index = self._find(rows, name, self._identity(relation, columns, message, new))
        if new is None:
            del rows[index]
            return
        old = rows[index] if index is not None else {}
        row = {column: old[column] if value is UNCHANGED else value for column, value in new.items()}
        if index is None:
            rows.append(row)
        else:
            rows[index] = row

    def _identity(self, relation, columns, message, new):
        if "old" not in message:
            return {column["name"]: new[column["name"]] for column in relation["columns"] if column["key"]}
        old = dict(zip(columns, message["old"]))
        if message["old_kind"] == "K":
            return {column["name"]: old[column["name"]] for column in relation["columns"] if column["key"]}
        return old

    def _find(self, rows, name, identity):
        for index, row in enumerate(rows):
            if all(column in row and row[column] == value for column, value in identity.items()):
                return index
        # A table that was renamed: its rows are known under the other name.
        if name in self._keys:
            raise AssertionError(f"{name} has no row {identity}")
        return None


def canonical(rows):
    return sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)


class Captures(unittest.TestCase):
    def test_pgoutput_applied_change_by_change_gives_the_final_content_of_every_table(self):
        for folder in ("main", "messages"):
            state = State(load(f"{folder}/tables.json"))
            for message in pgoutput_messages(sql_rows(f"{folder}/pgoutput.csv")):
                if message["kind"] in ROW_CHANGES + "T":
                    state.apply(message)
            expected = load(f"{folder}/expected_state.json")
            self.assertGreater(sum(len(table["rows"]) for table in expected), 3)
            for table in expected:
                with self.subTest(table=f'{table["schema"]}.{table["table"]}'):
                    self.assertEqual(canonical(state.rows((table["schema"], table["table"]))),
                                     canonical(table["rows"]))

    def test_commits_are_those_that_the_sql_function_lists(self):
        listed = {commit["end_position"]: commit for commit in load("main/commits.json")["commits"]}
        self.assertEqual(list(listed), sorted(listed, key=lambda text: int(text.split("/")[1], 16)))
        seen, changes, xid = 0, 0, None
        for message in pgoutput_messages(sql_rows("main/pgoutput.csv")):
            if message["kind"] == "B":
                changes, xid = 0, message["top_xid"]
            elif message["kind"] in ROW_CHANGES + "T":
                changes += 1
                self.assertEqual(message["xid"], str(xid), "a change must carry the top-level transaction's id")
            elif message["kind"] == "C":
                commit = listed[lsn_text(message["end_lsn"])]
                self.assertEqual((commit["transaction_id"], commit["rows"]), (str(xid), changes))
                seen += 1
        self.assertEqual(seen, sum(1 for commit in listed.values() if commit["rows"]))

    def test_every_text_form_holds_the_same_rows(self):
        for plugin, forms in {"main/pgoutput": ("at.txt", "copy.csv", "copy.txt"),
                              "main/test_decoding": ("copy.csv", "copy.txt"),
                              "main/wal2json-2": ("at.txt", "copy.txt"),
                              "main/wal2json-1": ("at.txt",),
                              "main/wal2json-1-chunks": ("at.txt",),
                              "messages/test_decoding": ("copy.csv", "copy.txt")}.items():
            rows = sql_rows(f"{plugin}.csv")
            self.assertTrue(rows)
            for form in forms:
                with self.subTest(capture=f"{plugin}.{form}"):
                    self.assertEqual(sql_rows(f"{plugin}.{form}"), rows)

    def test_unaligned_output_is_the_rows_with_a_separator_and_nothing_else(self):
        for folder in ("main", "messages"):
            rows = sql_rows(f"{folder}/test_decoding.csv")
            for name, separator in (("at.txt", b"|"), ("tab.txt", b"\t")):
                joined = b"".join(separator.join([lsn.encode(), xid.encode(), data]) + b"\n" for lsn, xid, data in rows)
                self.assertEqual(joined, read_bytes(f"{folder}/test_decoding.{name}"))

    def test_streams_are_the_same_messages_one_after_another(self):
        for plugin in ("test_decoding", "wal2json-2", "wal2json-1"):
            with self.subTest(plugin=plugin):
                joined = b"".join(data + b"\n" for _, _, data in sql_rows(f"main/{plugin}.csv"))
                self.assertEqual(read_bytes(f"main/{plugin}.stream"), joined)
        joined = b"".join(message_bytes(data) + b"\n" for _, _, data in sql_rows("main/pgoutput.csv"))
        self.assertEqual(read_bytes("main/pgoutput.stream"), joined)

    def test_wal2json_2_is_one_document_a_row(self):
        for name in ("main/wal2json-2.csv", "main/wal2json-2-rich.csv", "main/wal2json-2-plain.csv",
                     "messages/wal2json-2.csv"):
            for _, _, data in sql_rows(name):
                self.assertIn(json.loads(data)["action"], "BCIUDTM")

    def test_an_update_under_full_identity_carries_the_unchanged_value_in_the_old_row(self):
        updates = [message for message in pgoutput_messages(sql_rows("main/pgoutput.csv"))
                   if message["kind"] == "U" and UNCHANGED in message["new"]]
        self.assertEqual({(message["relation"]["table"], message.get("old_kind")) for message in updates},
                         {("customers", None), ("customers", "K"), ("full_identity", "O"), ("toast_key", "K")})


if __name__ == "__main__":
    unittest.main()
