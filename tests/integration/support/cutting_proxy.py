"""A TCP proxy in front of PostgreSQL that understands where messages begin, and cuts connections when told.

    with CuttingProxy(server.port) as proxy:
        proxy.cut_at(7, "after")        # the seventh message a client sends from now on is the last one
        ...
        proxy.messages                   # how many were sent since then

"before" cuts without handing the message on; "after" hands it on and drops whatever the server answers.
"""
import socket
import threading

from support.listener import Listener, close_now


class CuttingProxy:
    def __init__(self, port, host="127.0.0.1"):
        self._target = (host, port)
        self._lock = threading.Lock()
        self._pairs = []
        self._cut_number = None
        self._cut_mode = None
        self.messages = 0
        self.types = []
        self.cuts = 0
        self.refusing = False
        self._listener = Listener(self._take)
        self.port = self._listener.port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        self.cut_all()

    def dsn(self, database="postgres", user="postgres", query=""):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}{query}"

    def cut_at(self, number, mode):
        with self._lock:
            self._cut_number, self._cut_mode = number, mode
            self.messages, self.types, self.cuts = 0, [], 0

    def heal(self):
        with self._lock:
            self._cut_number = None

    def cut_all(self):
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self._close(pair)

    # Inner workings

    def _take(self, client):
        try:
            if self.refusing:
                raise OSError("refusing")
            pair = (client, socket.create_connection(self._target))
        except OSError:
            client.close()
            return
        for end in pair:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs.append(pair)
        threading.Thread(target=self._forward_messages, args=(pair,), daemon=True).start()
        threading.Thread(target=self._forward_bytes, args=(pair,), daemon=True).start()

    @staticmethod
    def _close(pair):
        for end in pair:
            close_now(end)

    def _forward_bytes(self, pair):
        client, server = pair
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            pass
        self._close(pair)

    def _count(self, kind):
        """None, or how this message is to be cut."""
        with self._lock:
            self.messages += 1
            self.types.append(kind)
            if self._cut_number is None or self.messages != self._cut_number:
                return None
            self.cuts += 1
            return self._cut_mode

    def _forward_messages(self, pair):
        """The first message has no type; a request for encryption (8 bytes) is one of its own."""
        client, server = pair
        reader = client.makefile("rb")
        typed = False
        try:
            while True:
                kind = reader.read(1) if typed else b""
                head = reader.read(4)
                if len(head) < 4:
                    break
                body = reader.read(int.from_bytes(head, "big") - 4)
                mode = self._count(kind.decode() or "startup")
                if mode == "before":
                    break
                if mode == "after":
                    client.shutdown(socket.SHUT_RDWR)
                    server.sendall(kind + head + body)
                    break
                server.sendall(kind + head + body)
                typed = typed or len(body) != 4
        except (OSError, ValueError):
            pass
        self._close(pair)
