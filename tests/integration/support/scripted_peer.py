"""A real socket peer that answers HTTP requests with exactly the bytes a script says, whole, cut or garbled.

    with ScriptedPeer([Reply(b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"), OK]) as peer:
        ... peer.url; peer.requests

The n-th request on the peer, whatever its connection, gets the n-th entry; the last entry answers all that follow.
An entry may also be a function of (number, request) that returns a Reply.
"""

import dataclasses
import select
import socket
import struct
import threading
import time

from support.listener import Listener, close_now


@dataclasses.dataclass
class Reply:
    data: bytes = b""
    delay: float = 0.0      # before the first byte
    pause_at: int = None    # after so many bytes ...
    pause: float = 0.0      # ... wait so long
    close: bool = False     # close the connection after the data
    reset: bool = False     # end the connection with a TCP reset after the data
    stall: bool = False     # keep the connection open after the data and never send more
    late: bytes = b""       # sent a moment after the data, unasked for; see ScriptedPeer.late_in_time


@dataclasses.dataclass
class Request:
    line: str
    headers: list
    body: bytes
    connection: int
    at: float

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[0] if values else None

    @property
    def method(self):
        return self.line.split(" ")[0]

    @property
    def path(self):
        return self.line.split(" ")[1]


def reply(status=200, body=b"", *fields, reason="Some", **options):
    """A well-formed reply."""
    head = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(body)}", *fields]
    return Reply("\r\n".join(head).encode() + b"\r\n\r\n" + body, **options)


OK = reply(200, b'{"ok":true}', "Content-Type: application/json")


class ScriptedPeer:
    def __init__(self, script, read_limit=None, tls=None, gather=0):
        self.script = list(script)
        self.gather = gather          # nobody is answered before so many have asked at the same time
        self.read_limit = read_limit  # stop reading a request's body after so many bytes, for ever
        self.tls = tls                # an ssl.SSLContext
        self.requests = []
        self.connections = 0
        self.busy = 0
        self.most_busy = 0
        self._lock = threading.Lock()
        self._gathered = threading.Condition(self._lock)
        self._sockets = []
        # The late bytes lay before the client a tenth of a second, at least, before it said anything more.
        self.late_in_time = False
        self._stopping = threading.Event()

    def __enter__(self):
        self._listener = Listener(self._take, backlog=512)
        self.port = self._listener.port
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._listener.close()
        with self._lock:
            for connection in self._sockets:
                close_now(connection)

    def _take(self, connection):
        with self._lock:
            number = self.connections
            self.connections += 1
            self._sockets.append(connection)
        threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._sockets.append(connection)
            stream = connection.makefile("rb")
            while True:
                request = self._read(stream, connection, number)
                if request is None or not self._answer(connection, request):
                    return
        except OSError:
            pass

    def _read(self, stream, connection, number):
        line = stream.readline()
        if not line:
            return None
        headers = []
        while True:
            field = stream.readline()
            if field in (b"\r\n", b""):
                break
            name, _, value = field.decode("latin-1").rstrip("\r\n").partition(":")
            headers.append((name, value.strip()))
        request = Request(line.decode("latin-1").rstrip(), headers, b"", number, time.monotonic())
        length = int(request.header("Content-Length") or 0)
        if self.read_limit is not None and length > self.read_limit:
            with self._lock:
                self.requests.append(request)
            self._stopping.wait()
            return None
        if (request.header("Transfer-Encoding") or "").lower() == "chunked":
            while True:
                size = int(stream.readline().split(b";")[0], 16)
                request.body += stream.read(size)
                stream.readline()
                if size == 0:
                    break
        else:
            request.body = stream.read(length)
        return request

    def _answer(self, connection, request):
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            self._gathered.notify_all()
            self._gathered.wait_for(lambda: self.most_busy >= self.gather, 60)
        try:
            entry = self.script[min(number, len(self.script) - 1)]
            answer = entry(number, request) if callable(entry) else entry
            if answer.delay:
                self._stopping.wait(answer.delay)
        finally:
            with self._lock:
                self.busy -= 1
        if answer.pause_at is None:
            connection.sendall(answer.data)
        else:
            connection.sendall(answer.data[:answer.pause_at])
            self._stopping.wait(answer.pause)
            connection.sendall(answer.data[answer.pause_at:])
        if answer.late:
            time.sleep(0.02)
            connection.sendall(answer.late)
            self.late_in_time = not select.select([connection], [], [], 0.1)[0]
        if answer.stall:
            self._stopping.wait()
        if answer.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return False
        if answer.close:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            return False
        return not answer.stall
