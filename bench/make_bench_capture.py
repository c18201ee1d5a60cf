#!/usr/bin/env python3
"""Writes a capture of any length to standard output, without PostgreSQL: what psql or COPY would print for
`SELECT lsn, xid, data FROM pg_logical_slot_peek_binary_changes(...)` on one table with about 150 bytes of data a row;
of pgoutput, or with --plugin wal2json of format-version 2.

    bench/make_bench_capture.py --rows 10000000 | dpone cdc decode ...

The same options give the same bytes, and both plugins the same changes. Every row has its own id and LSN.
tests/integration/test_bench_capture.py holds the messages against those of a real server.
"""

import argparse
import datetime
import signal
import sys

RELATION_OID = 16402
SCHEMA, TABLE = "public", "bench_rows"
# name, flags (1: key), type OID, type modifier
COLUMNS = [("id", 1, 20, -1), ("account", 0, 23, -1), ("amount", 0, 1700, 786438), ("active", 0, 16, -1),
           ("created_at", 0, 1184, -1), ("note", 0, 25, -1)]
CREATE_TABLE = ("CREATE TABLE public.bench_rows (id bigint PRIMARY KEY, account integer, amount numeric(12,2), "
                "active boolean, created_at timestamptz, note text)")
# Rows are made in chunks whose text differs only in the chunk's number, so that a chunk is one formatting operation.
CHUNK_ROWS = 1000
FIRST_CHUNK = 10_000_000
FIRST_XID = 1000
FIRST_COMMIT_US = 820_000_000_000_000  # since 2000-01-01, as PostgreSQL counts
LSN_STEP = 0x100
END_AFTER_COMMIT = 0x30
FORMS = {
    # header, separator, start of bytea
    "at": (b"", b"|", b"\\x"),
    "tab": (b"", b"\t", b"\\x"),
    "csv": (b"lsn,xid,data\n", b",", b"\\x"),
    "copy-csv": (b"", b",", b"\\x"),
    "copy-text": (b"", b"\t", b"\\\\x"),
}


def hexadecimal(text):
    return text.encode("utf-8").hex()


def row_values(chunk, index):
    """The text of each column of a row; `chunk` is a number of eight digits."""
    return [f"{chunk:08d}{index:03d}", str(100_000 + index * 811 % 900_000), f"{index * 37 % 100_000}.{index % 100:02d}",
            "t" if index % 3 else "f", f"2026-02-03 04:{index % 60:02d}:05.{index % 1000:03d}789+00",
            f"row {index:03d} of a chunk: some text as a comment field would hold it, neither short nor very long, ok"]


def relation_message():
    columns = "".join(f"{flags:02x}{hexadecimal(name)}00{oid:08x}{modifier & 0xffffffff:08x}"
                      for name, flags, oid, modifier in COLUMNS)
    return (f"52{RELATION_OID:08x}{hexadecimal(SCHEMA)}00{hexadecimal(TABLE)}00{ord('d'):02x}{len(COLUMNS):04x}"
            f"{columns}")


def insert_template(index):
    """An Insert message in hexadecimal with one %s: the eight digits of the chunk, in hexadecimal."""
    values = row_values(0, index)
    parts = [f"49{RELATION_OID:08x}4e{len(values):04x}74{len(values[0]):08x}%s{hexadecimal(values[0][8:])}"]
    parts += [f"74{len(value.encode()):08x}{hexadecimal(value)}" for value in values[1:]]
    return "".join(parts)


class Writer:
    def __init__(self, out, form):
        header, self._separator, self._bytea = FORMS[form]
        self._write = out.write
        self._templates = {}
        self._transactions = {}
        self._pending = [header]
        self._pending_bytes = len(header)

    def _row_template(self, row_count):
        """Rows 0 to row_count - 1 of a chunk; each takes (LSN's upper half, xid, the chunk's digits)."""
        if row_count not in self._templates:
            self._templates[row_count] = b"".join(
                b"%%b/%X%b%%b%b%b%b\n" % (LSN_STEP * (index + 1), self._separator, self._separator, self._bytea,
                                          insert_template(index).replace("%s", "%b").encode())
                for index in range(row_count))
        return self._templates[row_count]

    def record(self, lsn, xid, message):
        line = self._separator.join([b"%X/%X" % (lsn >> 32, lsn & 0xffffffff), xid, self._bytea + message.encode()])
        self._add(line + b"\n")

    def rows(self, chunk, lsn_high, xid, row_count):
        digits = (b"%d" % chunk).hex().encode()
        self._add(self._row_template(row_count) % ((b"%X" % lsn_high, xid, digits) * row_count))

    def transaction(self, chunk, lsn_high, xid, commit_us, row_count):
        """What two calls of record() around rows() write, in one formatting operation."""
        if row_count not in self._transactions:
            commit, end = LSN_STEP * (row_count + 1), LSN_STEP * (row_count + 1) + END_AFTER_COMMIT
            parts = {b"sep": self._separator, b"hex": self._bytea, b"first": LSN_STEP, b"commit": commit, b"end": end}
            self._transactions[row_count] = (
                b"%%b/%(first)X%(sep)b%%b%(sep)b%(hex)b42%%08x%(commit)08x%%016x%%08x\n" % parts,
                b"%%b/%(end)X%(sep)b%%b%(sep)b%(hex)b4300%%08x%(commit)08x%%08x%(end)08x%%016x\n" % parts)
        begin, commit = self._transactions[row_count]
        high, xid_text = b"%X" % lsn_high, b"%d" % xid
        self._add(begin % (high, xid_text, lsn_high, commit_us, xid))
        self.rows(chunk, lsn_high, xid_text, row_count)
        self._add(commit % (high, xid_text, lsn_high, lsn_high, commit_us))

    def flush(self, least_bytes=1 << 18):
        if self._pending_bytes >= least_bytes:
            self._write(b"".join(self._pending))
            self._pending.clear()
            self._pending_bytes = 0

    def _add(self, text):
        self._pending.append(text)
        self._pending_bytes += len(text)


def write_capture(out, form, rows, rows_per_transaction):
    writer = Writer(out, form)
    chunk, written, transaction = 0, 0, 0
    while written < rows:
        count = min(rows_per_transaction, rows - written)
        chunks = -(-count // CHUNK_ROWS)
        last_rows = count - (chunks - 1) * CHUNK_ROWS
        xid_value = (FIRST_XID + transaction) & 0xffffffff
        xid = b"%d" % xid_value
        commit_us = FIRST_COMMIT_US + transaction * 1000
        transaction += 1
        written += count
        if chunks == 1 and transaction > 1:
            writer.transaction(FIRST_CHUNK + chunk, chunk + 1, xid_value, commit_us, count)
            writer.flush()
            chunk += 1
            continue
        commit_lsn = (chunk + chunks) << 32 | LSN_STEP * (last_rows + 1)
        end_lsn = commit_lsn + END_AFTER_COMMIT
        first_lsn = (chunk + 1) << 32 | LSN_STEP
        writer.record(first_lsn, xid, f"42{commit_lsn:016x}{commit_us:016x}{xid_value:08x}")
        if transaction == 1:
            writer.record(first_lsn, xid, relation_message())
        for number in range(chunks):
            row_count = CHUNK_ROWS if number < chunks - 1 else last_rows
            writer.rows(FIRST_CHUNK + chunk, chunk + 1, xid, row_count)
            writer.flush()
            chunk += 1
        writer.record(end_lsn, xid, f"4300{commit_lsn:016x}{end_lsn:016x}{commit_us:016x}")
        writer.flush()
    writer.flush(0)


def wal2json_row(index):
    """The columns of a row with one %b, the chunk's digits, from which the xid, time and position are cut off."""
    values = row_values(0, index)
    types = ("bigint", "integer", "numeric(12,2)", "boolean", "timestamp with time zone", "text")
    texts = ["%b" + values[0][8:], values[1], values[2], "true" if values[3] == "t" else "false", f'"{values[4]}"', f'"{values[5]}"']
    columns = ",".join(f'{{"name":"{column[0]}","type":"{kind}","value":{text}}}'
                       for column, kind, text in zip(COLUMNS, types, texts))
    return f',"schema":"{SCHEMA}","table":"{TABLE}","columns":[{columns}]}}'


def write_wal2json(out, form, rows, rows_per_transaction):
    """The changes that write_capture() writes."""
    header, separator, _ = FORMS[form]
    out.write(header)
    is_csv = form.endswith("csv")

    def quoted(text):
        return ('"' + text.replace('"', '""') + '"').encode() if is_csv else text.encode()

    def head(action, xid, when):
        return f'{{"action":"{action}","xid":{xid},"timestamp":"{when:%Y-%m-%d %H:%M:%S.%f}+00","lsn":"'

    templates = [quoted(wal2json_row(index))[1 if is_csv else 0:] for index in range(min(CHUNK_ROWS, rows_per_transaction))]
    chunk, written, transaction = 0, 0, 0
    while written < rows:
        count = min(rows_per_transaction, rows - written)
        chunks = -(-count // CHUNK_ROWS)
        last_rows = count - (chunks - 1) * CHUNK_ROWS
        xid = (FIRST_XID + transaction) & 0xffffffff
        when = datetime.datetime(2000, 1, 1) + datetime.timedelta(microseconds=FIRST_COMMIT_US + transaction * 1000)
        commit = f"{chunk + chunks:X}/{LSN_STEP * (last_rows + 1):X}"
        end = f"{chunk + chunks:X}/{LSN_STEP * (last_rows + 1) + END_AFTER_COMMIT:X}"
        sep_xid_sep = separator + b"%d" % xid + separator

        def bracket(action, position):
            return position.encode() + sep_xid_sep + quoted(f'{head(action, xid, when)}{commit}","nextlsn":"{end}"}}') + b"\n"

        row_head = quoted(head("I", xid, when))[:-1 if is_csv else None]
        row_end = b'""' if is_csv else b'"'
        lines = [bracket("B", f"{chunk + 1:X}/{LSN_STEP:X}")]
        for number in range(chunks):
            digits = b"%d" % (FIRST_CHUNK + chunk)
            for index in range(CHUNK_ROWS if number < chunks - 1 else last_rows):
                position = b"%X/%X" % (chunk + 1, LSN_STEP * (index + 1))
                lines.append(position + sep_xid_sep + row_head + position + row_end + templates[index] % digits + b"\n")
            chunk += 1
        lines.append(bracket("C", end))
        out.write(b"".join(lines))
        transaction += 1
        written += count


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected a number above 0")
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=positive, default=1_000_000)
    parser.add_argument("--rows-per-transaction", type=positive, default=100)
    parser.add_argument("--form", choices=FORMS, default="at", help="default: at, as psql -At writes")
    parser.add_argument("--plugin", choices=("pgoutput", "wal2json"), default="pgoutput")
    arguments = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    write = write_capture if arguments.plugin == "pgoutput" else write_wal2json
    write(sys.stdout.buffer, arguments.form, arguments.rows, arguments.rows_per_transaction)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
