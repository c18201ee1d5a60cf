"""A peer that speaks PostgreSQL's wire protocol as far as `dpone cdc run` needs it, and says what a script says: for servers
that cannot be run here, for bytes that no server sends, and for a connection that breaks at a chosen place.

    def script(stream):
        stream.transaction(900, 0x1000100, [(1, "a")])
        stream.keepalive(0x1000200)
        stream.wait_flushed(0x1000100)

    with ScriptedPostgres(script, version="17.2") as peer:
        ... peer.dsn; peer.commands; peer.feedback

`script` runs for each START_REPLICATION, with stream.attempt counting from 0. What it does not know it answers with no rows.
PostgreSQL manual, "Message Formats", "Streaming Replication Protocol", "Logical Replication Message Formats".
"""
import re
import socket
import struct
import threading
import time

from support.listener import Listener, close_now

EPOCH_US = 946684800 * 1000000
TABLE = 16400


class Cut(Exception):
    """Ends a connection at once."""


def lsn_text(value):
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


def _text(value):
    return value.encode() + b"\0"


def begin(xid, commit):
    return b"B" + struct.pack("!QqI", commit, 0, xid)


def commit(at, end):
    return b"C" + struct.pack("!BQQq", 0, at, end, 0)


def relation(columns=(("id", 23, 1), ("v", 25, 0)), name="t", schema="public", identity=b"d"):
    head = b"R" + struct.pack("!I", TABLE) + _text(schema) + _text(name) + identity + struct.pack("!h", len(columns))
    return head + b"".join(bytes([key]) + _text(column) + struct.pack("!Ii", kind, -1) for column, kind, key in columns)


def insert(*values):
    row = b"".join(b"n" if value is None else b"t" + struct.pack("!I", len(str(value).encode())) + str(value).encode()
                   for value in values)
    return b"I" + struct.pack("!I", TABLE) + b"N" + struct.pack("!h", len(values)) + row


class Stream:
    """The server's side of a COPY BOTH. The script and the listener both send: one at a time, and nobody after a cut."""

    def __init__(self, peer, connection, command, attempt):
        self.peer, self.connection, self.command, self.attempt = peer, connection, command, attempt
        self._sending, self._bytes_left, self._is_cut = threading.Lock(), None, False

    def cut_after(self, byte_count):
        """Ends the connection when so many more bytes were sent, wherever in a message that is."""
        self._bytes_left = byte_count

    def raw(self, data):
        """Bytes below any framing."""
        with self._sending:
            if self._is_cut:
                raise Cut
            if self._bytes_left is None:
                return self.connection.sendall(data)
            sent, self._bytes_left = data[:self._bytes_left], max(0, self._bytes_left - len(data))
            self._is_cut = self._bytes_left == 0
            self.connection.sendall(sent)
            if self._is_cut:
                raise Cut

    def copy_data(self, data):
        self.raw(b"d" + struct.pack("!I", len(data) + 4) + data)

    def wal(self, position, data):
        self.copy_data(b"w" + struct.pack("!QQq", position, position, 0) + data)

    def keepalive(self, end, reply=False):
        """Says that everything below `end` has been sent."""
        self.peer.sent = max(self.peer.sent, end)
        self.copy_data(b"k" + struct.pack("!QqB", end, 0, 1 if reply else 0))

    def transaction(self, xid, end, rows, committed=True):
        """BEGIN, RELATION, rows and (unless told otherwise) COMMIT; the commit record begins 0x30 before its end."""
        at = end - 0x30
        first = at - 0x10 * (len(rows) + 1)
        self.wal(first, begin(xid, at))
        self.wal(0, relation())
        for number, row in enumerate(rows):
            self.wal(first + 0x10 * number, insert(*row))
        if committed:
            self.wal(end, commit(at, end))
            self.peer.sent = max(self.peer.sent, end)

    def error(self, sqlstate, message):
        self.raw(self.peer.error_message(sqlstate, message))

    def cut(self):
        with self._sending:
            self._is_cut = True
        raise Cut

    def wait_flushed(self, position, seconds=60):
        """Until the reader has reported so much as flushed."""
        self.wait(lambda: any(flushed >= position for _, _, flushed, _ in self.peer.feedback), seconds)

    def wait(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition() and not self.peer.stopping.is_set():
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)

    def hold(self, end=None):
        """Keeps the stream open, with a keepalive now and then, until the peer ends or the reader goes."""
        while not self.peer.stopping.wait(0.3):
            if end is not None:
                self.keepalive(end)


class ScriptedPostgres:
    """One server with one logical slot, `slot`, and one publication, `dpone`."""

    def __init__(self, script=None, version="15.6", steps=None):
        self.script = script or (lambda stream: stream.hold(self.end))
        self.version = version
        self.steps = steps or {}  # {"startup": n}: cut the n-th connection there; see _at
        self.system_identifier, self.timeline = "7300000000000000001", 1
        self.end = self.sent = 0x1000000  # where the log ends, and up to where it was sent
        self.slot = {"logical": "t", "temporary": "f", "active": "f", "active_pid": None, "plugin": "pgoutput",
                     "database": "postgres", "wal_status": "reserved", "invalidation_reason": None, "conflicting": "f",
                     "confirmed": 0x1000000, "restart": 0x1000000, "retained": "0", "lag": "0", "two_phase": "f", "synced": "f"}
        self.settings = {"wal_level": "logical", "wal_sender_timeout": "60000"}
        self.publication = '{"tables" : {}, "via_root" : false}'
        self.commands, self.feedback, self.startups = [], [], []
        self.stopping = threading.Event()
        self._lock, self._sockets, self._streaming = threading.Lock(), [], 0

    def __enter__(self):
        self._listener = Listener(self._take)
        self.port = self._listener.port
        self.dsn = f"postgresql://reader@127.0.0.1:{self.port}/postgres?sslmode=disable&gssencmode=disable"
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self._listener.close()
        for connection in self._sockets:
            close_now(connection)

    def starts(self):
        return [command for command in self.commands if command.startswith("START_REPLICATION")]

    # --- the protocol ------------------------------------------------------------------------------------------------

    def _take(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets.append(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _at(self, step):
        """Cuts here when the test says so: steps maps a step's name to how many times in a row."""
        with self._lock:
            left = self.steps.get(step, 0)
            self.steps[step] = left - 1
        if left > 0:
            raise Cut

    def _serve(self, connection):
        try:
            stream = connection.makefile("rb")
            self._startup(connection, stream)
            while True:
                kind = stream.read(1)
                if kind in (b"", b"X"):
                    return
                body = stream.read(struct.unpack("!I", stream.read(4))[0] - 4)
                if kind == b"Q":
                    self._query(connection, stream, body.rstrip(b"\0").decode())
        except (Cut, OSError, struct.error, ValueError):
            pass
        finally:
            close_now(connection)

    def _startup(self, connection, stream):
        while True:
            body = stream.read(struct.unpack("!I", stream.read(4))[0] - 4)
            if struct.unpack("!I", body[:4])[0] == 196608:
                break
            connection.sendall(b"N")  # neither TLS nor GSSAPI
        words = body[4:].rstrip(b"\0").decode().split("\0")
        self.startups.append(dict(zip(words[::2], words[1::2])))
        self._at("startup")
        connection.sendall(b"R" + struct.pack("!II", 8, 0))
        self._at("authenticated")
        for name, value in (("server_version", self.version), ("client_encoding", "UTF8"), ("integer_datetimes", "on"),
                            ("standard_conforming_strings", "on")):
            data = _text(name) + _text(value)
            connection.sendall(b"S" + struct.pack("!I", len(data) + 4) + data)
        connection.sendall(b"K" + struct.pack("!III", 12, 4242, 1))
        self._ready(connection)

    @staticmethod
    def _ready(connection):
        connection.sendall(b"Z" + struct.pack("!I", 5) + b"I")

    @staticmethod
    def error_message(sqlstate, message, severity="ERROR"):
        data = b"S" + _text(severity) + b"V" + _text(severity) + b"C" + _text(sqlstate) + b"M" + _text(message) + b"\0"
        return b"E" + struct.pack("!I", len(data) + 4) + data

    def _rows(self, connection, rows, step):
        width = len(rows[0]) if rows else 2
        data = struct.pack("!h", width) + b"".join(_text(f"c{i}") + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0) for i in range(width))
        connection.sendall(b"T" + struct.pack("!I", len(data) + 4) + data)
        self._at(step)
        for row in rows:
            data = struct.pack("!h", len(row))
            for value in row:
                data += struct.pack("!i", -1) if value is None else struct.pack("!i", len(str(value).encode())) + str(value).encode()
            connection.sendall(b"D" + struct.pack("!I", len(data) + 4) + data)
        data = _text(f"SELECT {len(rows)}")
        connection.sendall(b"C" + struct.pack("!I", len(data) + 4) + data)
        self._ready(connection)

    def _query(self, connection, stream, text):
        with self._lock:
            self.commands.append(text)
        if text.startswith("START_REPLICATION"):
            return self._replicate(connection, stream, text)
        for pattern, step, answer in (
                ("^IDENTIFY_SYSTEM", "identify", lambda: [(self.system_identifier, self.timeline, lsn_text(self.end), "postgres")]),
                ("pg_control_system", "identify_sql", lambda: [(self.system_identifier, self.timeline, lsn_text(self.end), "postgres")]),
                ("s.slot_type = 'logical'", "slot", self._slot_row),
                ("FROM pg_publication p WHERE", "publication", lambda: [(self.publication,)]),
                ("FROM pg_settings WHERE name = '", "setting", lambda: self._setting(text)),
                ("pg_prepared_xacts", "age", lambda: [("0.000",)]),
                ("pg_index x", "keys", lambda: [('"public"."t"="id"',)])):
            if re.search(pattern, text):
                return self._rows(connection, answer(), step)
        return self._rows(connection, [], "other")

    def _setting(self, text):
        name = re.search(r"pg_settings WHERE name = '(\w+)'", text).group(1)
        return [(self.settings[name],)] if name in self.settings else []

    def _slot_row(self):
        slot = self.slot
        if slot is None:
            return []
        active, pid = ("t", 4242) if self._streaming > 0 else (slot["active"], slot["active_pid"])
        return [(slot["logical"], slot["temporary"], active, pid, slot["plugin"], slot["database"],
                 slot["wal_status"], slot["invalidation_reason"], slot["conflicting"], lsn_text(slot["confirmed"]),
                 lsn_text(slot["restart"]), slot["retained"], slot["lag"], slot["two_phase"], slot["synced"])]

    def _replicate(self, connection, stream, command):
        with self._lock:
            attempt = len(self.starts()) - 1
        self._at("start")
        connection.sendall(b"W" + struct.pack("!IbH", 7, 0, 0))
        self._at("copying")
        outgoing = Stream(self, connection, command, attempt)
        self._streaming += 1
        self.sent = self.slot["confirmed"]
        threading.Thread(target=self._listen, args=(outgoing, stream), daemon=True).start()
        try:
            self.script(outgoing)
        finally:
            self._streaming -= 1
        raise Cut

    def _listen(self, outgoing, stream):
        try:
            while True:
                kind = stream.read(1)
                if kind == b"":
                    break
                body = stream.read(struct.unpack("!I", stream.read(4))[0] - 4)
                if kind == b"d" and body[:1] == b"r":
                    written, flushed, applied, _, reply = struct.unpack("!QQQqB", body[1:])
                    self.feedback.append((time.monotonic(), written, flushed, applied))
                    self.slot["confirmed"] = max(self.slot["confirmed"], flushed)
                    if reply:
                        outgoing.keepalive(self.sent)
                elif kind == b"c":
                    break
        except (Cut, OSError, struct.error):
            pass
        try:
            outgoing.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
