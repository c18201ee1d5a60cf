"""Reads the captures of tests/captures without any code of dpone: psql's and COPY's text forms, and pgoutput.

Written apart from the decoders on purpose, so that tests can compare the two. It trusts its input: the captures are
ours. Values are str, None for NULL, UNCHANGED for an unchanged TOAST value.
"""

import csv
import io
import os
import re
import struct

csv.field_size_limit(1 << 30)

SOURCE = os.environ.get("DPONE_SOURCE_DIR") or os.path.abspath(os.path.join(os.path.dirname(__file__), *[".."] * 3))
CAPTURES = os.path.join(SOURCE, "tests", "captures", "postgres-15")
UNCHANGED = object()

_COPY_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def read_bytes(name):
    """As in read_bytes("main/pgoutput.csv")."""
    with open(os.path.join(CAPTURES, name), "rb") as file:
        return file.read()


def sql_rows(name):
    """The rows (lsn, xid, data) of a capture, data as bytes. `-At` captures are understood only where no value
    contains a newline followed by something that looks like a row, that is for pgoutput and wal2json."""
    content = read_bytes(name)
    if name.endswith(".copy.txt"):
        return [_copy_row(line) for line in content.split(b"\n")[:-1]]
    if name.endswith(".csv"):
        rows = list(csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")))
        if rows and rows[0] == ["lsn", "xid", "data"]:
            del rows[0]
        return [(lsn, xid, data.encode("utf-8", "surrogateescape")) for lsn, xid, data in rows]
    separator = b"\t" if name.endswith(".tab.txt") else b"|"
    rows = []
    for line in content.split(b"\n")[:-1]:
        lsn, xid, data = line.split(separator, 2)
        rows.append((lsn.decode(), xid.decode(), data))
    return rows


def _copy_row(line):
    lsn, xid, data = (re.sub(rb"\\(.)", lambda m: _COPY_ESCAPES.get(m.group(1), m.group(1)), field, flags=re.DOTALL)
                      for field in line.split(b"\t"))
    return lsn.decode(), xid.decode(), data


def message_bytes(data):
    """The bytes of a bytea in hexadecimal output."""
    if not data.startswith(b"\\x"):
        raise ValueError(f"not a bytea: {data[:20]!r}")
    return bytes.fromhex(data[2:].decode())


def lsn_value(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(value):
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


class _Reader:
    def __init__(self, data):
        self._data = data
        self._offset = 0

    def take(self, form):
        values = struct.unpack_from("!" + form, self._data, self._offset)
        self._offset += struct.calcsize("!" + form)
        return values if len(values) > 1 else values[0]

    def bytes(self, size):
        value = self._data[self._offset:self._offset + size]
        if len(value) != size:
            raise ValueError("message is too short")
        self._offset += size
        return value

    def char(self):
        return self.bytes(1).decode("ascii")

    def string(self):
        end = self._data.index(0, self._offset)
        value = self._data[self._offset:end].decode("utf-8")
        self._offset = end + 1
        return value

    def at_end(self):
        return self._offset == len(self._data)


def pgoutput_messages(rows):
    """Decodes the rows of a pgoutput capture (protocol version 1) into dicts, one a message, with the row's lsn and
    xid. Tuples are lists of values in the order of the relation's columns."""
    relations = {}
    for lsn, xid, data in rows:
        reader = _Reader(message_bytes(data))
        message = {"kind": reader.char(), "lsn": lsn, "xid": xid}
        _MESSAGES[message["kind"]](reader, message, relations)
        if not reader.at_end():
            raise ValueError(f"bytes left over in {message}")
        yield message


def _begin(reader, message, _):
    message["final_lsn"], message["timestamp"], message["top_xid"] = reader.take("QqI")


def _commit(reader, message, _):
    message["flags"], message["commit_lsn"], message["end_lsn"], message["timestamp"] = reader.take("BQQq")


def _origin(reader, message, _):
    message["origin_lsn"] = reader.take("Q")
    message["name"] = reader.string()


def _type(reader, message, _):
    message["oid"] = reader.take("I")
    message["name"] = (reader.string(), reader.string())


def _logical_message(reader, message, _):
    message["flags"], message["message_lsn"] = reader.take("BQ")
    message["prefix"] = reader.string()
    message["content"] = reader.bytes(reader.take("I"))


def _relation(reader, message, relations):
    oid = reader.take("I")
    relation = {"oid": oid, "schema": reader.string(), "table": reader.string(), "identity": reader.char(),
                "columns": []}
    for _ in range(reader.take("H")):
        flags = reader.take("B")
        name = reader.string()
        type_oid, typmod = reader.take("Ii")
        relation["columns"].append({"name": name, "key": flags & 1 == 1, "type": type_oid, "typmod": typmod})
    relations[oid] = message["relation"] = relation


def _tuple(reader):
    values = []
    for _ in range(reader.take("H")):
        kind = reader.char()
        if kind == "n":
            values.append(None)
        elif kind == "u":
            values.append(UNCHANGED)
        elif kind == "t":
            values.append(reader.bytes(reader.take("I")).decode("utf-8"))
        else:
            raise ValueError(f"column kind {kind!r}")
    return values


def _row_change(reader, message, relations):
    message["relation"] = relations[reader.take("I")]
    kind = reader.char()
    if kind in "KO":
        message["old_kind"] = kind
        message["old"] = _tuple(reader)
        kind = reader.char() if message["kind"] == "U" else None
    if kind == "N":
        message["new"] = _tuple(reader)


def _truncate(reader, message, relations):
    count, message["flags"] = reader.take("IB")
    message["relations"] = [relations[reader.take("I")] for _ in range(count)]


_MESSAGES = {"B": _begin, "C": _commit, "O": _origin, "Y": _type, "M": _logical_message, "R": _relation,
             "I": _row_change, "U": _row_change, "D": _row_change, "T": _truncate}
