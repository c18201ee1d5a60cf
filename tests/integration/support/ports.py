"""A port that stays one test's own, also while nobody listens on it.

A number that was free a moment ago may be another test's when it is used, or between the end of a server and its next start.
Here a socket keeps it, bound and never listening: the system gives the number to nobody else and refuses connections to it, and
yet a server that sets SO_REUSEADDR (dpone, PostgreSQL and nginx do) can listen there, as often as it is started.
"""
import socket


class ReservedPort:
    def __init__(self, host="127.0.0.1"):
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, 0))
        self.number = self._socket.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    def __del__(self):
        self.release()

    def release(self):
        self._socket.close()
