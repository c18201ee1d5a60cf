"""Connections to a free port of 127.0.0.1, each handed to a function on the thread that accepts."""
import socket
import threading


class Listener:
    def __init__(self, take, backlog=128):
        self._take = take
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self._socket.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._take(connection)

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # closing alone does not end an accept()
        except OSError:
            pass
        self._acceptor.join()  # before the close: a number that is free may be another socket's while accept still names it
        self._socket.close()


def close_now(connection):
    """Ends a connection under whoever reads it on another thread."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
