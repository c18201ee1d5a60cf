"""Starts `dpone serve` on a port of its own, waits until it is healthy, stops it, and keeps its log. A later start finds it at the
same address.

    with DponeServer("--max-concurrency", "10") as server:
        status, headers, body = server.request("GET", "/msg")
"""
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

from support.ports import ReservedPort


class DponeServer:
    def __init__(self, *flags, environment=None, directory=None, state="none", host="127.0.0.1", tls=False):
        self.flags = list(flags)
        self.environment = environment or {}
        self.host = host
        self.state = state
        self.tls = tls
        self._own_directory = tempfile.TemporaryDirectory(prefix="dpone-serve-") if directory is None else None
        self.directory = directory or self._own_directory.name
        self._reserved = ReservedPort(host)
        self.process = None
        self.port = None
        self.url = None
        self.exit_code = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        if self._own_directory is not None:
            self._own_directory.cleanup()
        self._reserved.release()

    @property
    def log_path(self):
        return os.path.join(self.directory, "serve.log")

    def start(self):
        command = [os.environ["DPONE_BINARY"], "serve", "--host", self.host, "--port", str(self._reserved.number)]
        if self.state is not None:
            command += ["--state", self.state]
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("SERVER_") and not name.startswith("DPONE_STATE")}
        environment.update(self.environment)
        self._log = open(self.log_path, "ab")
        self.process = subprocess.Popen(command + self.flags, stdout=subprocess.PIPE, stderr=self._log,
                                        cwd=self.directory, env=environment)
        line = self.process.stdout.readline().decode()
        if "listening on " not in line:
            self.process.wait()
            raise RuntimeError(f"dpone serve did not start: {line!r} {self.log_text()}")
        self.url = line.split("listening on ")[1].strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        if not self.tls:
            self.wait_until_healthy()

    def wait_until_healthy(self, seconds=60):
        give_up = time.monotonic() + seconds
        while True:
            try:
                if self.request("GET", "/health")[0] == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > give_up:
                raise RuntimeError("dpone serve is not healthy: " + self.log_text())
            time.sleep(0.05)

    def stop(self, signal_number=signal.SIGTERM, seconds=60):
        if self.process is None:
            return self.exit_code
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            self.exit_code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()
            self._log.close()
            self.process = None
        if "Sanitizer" in self.log_text():
            raise AssertionError("a sanitizer has reported: " + self.log_text()[-8000:])
        return self.exit_code

    def connect(self, timeout=60):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def request(self, method, path, headers=None, body=None, timeout=60):
        """One request on a connection of its own: (status, headers, body bytes)."""
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()
        finally:
            connection.close()

    def json(self, method, path, headers=None, body=None):
        status, reply_headers, text = self.request(method, path, headers, body)
        return status, reply_headers, json.loads(text)

    def metric(self, name):
        """The value of a metric without labels."""
        text = self.request("GET", "/metrics")[2].decode()
        return float(next(line for line in text.splitlines() if line.startswith(name + " ")).split()[1])

    def raw(self, data, seconds=60, pause=None):
        """Sends bytes as they are (in pieces with a pause between them when asked); everything that comes back."""
        with socket.create_connection((self.host, self.port), timeout=seconds) as connection:
            for piece in [data] if pause is None else data:
                connection.sendall(piece)
                if pause is not None:
                    time.sleep(pause)
            received = b""
            try:
                while True:
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    received += piece
            except (socket.timeout, ConnectionResetError):
                pass
            return received

    def concurrently(self, count, action):
        """Runs action(index) in `count` threads that start together; the results in order."""
        results = [None] * count
        gate = threading.Barrier(count)

        def run(index):
            gate.wait()
            try:
                results[index] = action(index)
            except Exception as error:  # the caller compares
                results[index] = error

        threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def log_text(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def log_entries(self):
        entries = []
        for line in self.log_text().split("\n")[:-1]:  # the last one may be under way
            if line.startswith("{"):
                entries.append(json.loads(line))
        return entries

    @property
    def is_sanitized(self):
        """A sanitizer's own memory makes figures of memory meaningless."""
        with open(f"/proc/{self.process.pid}/maps", encoding="utf-8", errors="replace") as maps:
            text = maps.read()
        return "libasan" in text or "libtsan" in text

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as figures:
            return int(figures.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as figures:
            fields = figures.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
