"""Settings, logs, reloading, TLS and CORS of `dpone serve`; `dpone config-info`."""
import http.client
import json
import os
import pty
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

from support.dpone_server import DponeServer
from support.patience import wait_until

BINARY = os.environ["DPONE_BINARY"]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def config_info(*flags, environment=None, dotenv=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SERVER_", "MAX_CONC"))}
    clean.update(environment or {})
    with tempfile.TemporaryDirectory() as directory:
        if dotenv is not None:
            with open(os.path.join(directory, ".env"), "w", encoding="utf-8") as file:
                file.write(dotenv)
        return subprocess.run([BINARY, "config-info", *flags], cwd=directory, env=clean, capture_output=True,
                              text=True, check=False)


class ConfigInfo(unittest.TestCase):
    def concurrency(self, *flags, **sources):
        result = config_info("--format", "json", *flags, **sources)
        self.assertEqual(result.returncode, 0, result.stderr)
        setting = json.loads(result.stdout)["SERVER_MAX_CONCURRENCY"]
        return setting["value"], setting["origin"], setting["given_as"]

    def test_precedence_and_origin(self):
        dotenv = "MAX_CONCURRENCY=11\n"
        self.assertEqual(self.concurrency(), ("50", "default", None))
        self.assertEqual(self.concurrency(dotenv=dotenv), ("11", ".env", "MAX_CONCURRENCY"))
        self.assertEqual(self.concurrency(dotenv=dotenv + "SERVER_MAX_CONCURRENCY=12\n"),
                         ("12", ".env", "SERVER_MAX_CONCURRENCY"))
        environment = {"MAX_CONCURRENCY": "13"}
        self.assertEqual(self.concurrency(dotenv=dotenv, environment=environment),
                         ("13", "environment", "MAX_CONCURRENCY"))
        environment["SERVER_MAX_CONCURRENCY"] = "14"
        self.assertEqual(self.concurrency(dotenv=dotenv, environment=environment),
                         ("14", "environment", "SERVER_MAX_CONCURRENCY"))
        self.assertEqual(self.concurrency("--max-concurrency", "15", dotenv=dotenv, environment=environment),
                         ("15", "flag", "max-concurrency"))

    def test_defaults_are_the_specifications(self):
        values = {name: setting["value"] for name, setting in json.loads(config_info("--format", "json").stdout).items()}
        for name, value in {"SERVER_HOST": "0.0.0.0", "SERVER_PORT": "8000", "SERVER_MAX_CONCURRENCY": "50",
                            "SERVER_REQUEST_TIMEOUT": "30", "SERVER_CACHE_MAX_SIZE": "1000",
                            "SERVER_CACHE_TTL_SECONDS": "300", "SERVER_LOG_LEVEL": "INFO",
                            "SERVER_LOG_FORMAT": "json", "SERVER_ENABLE_DOCS": "true",
                            "SERVER_CORS_ENABLED": "false", "SERVER_CORS_ORIGINS": None}.items():
            self.assertEqual(values[name], value, name)

    def test_what_is_out_of_range_is_refused_by_name(self):
        for command in ("config-info", "serve"):
            result = subprocess.run([BINARY, command, "--max-concurrency", "1001"], capture_output=True, text=True,
                                    check=False)
            self.assertEqual(result.returncode, 2)
            self.assertEqual(result.stdout, "")
            for part in ("--max-concurrency", "1001", "1 to 1000"):
                self.assertIn(part, result.stderr)
        result = config_info(dotenv="SERVER_MAX_CONCURENCY=9\nOTHER=1\nexport SERVER_PORTS=1\nSERVER_PORT=2\n")
        self.assertEqual((result.returncode, result.stderr),
                         (0, "dpone: warning: .env has what is no setting: SERVER_MAX_CONCURENCY, SERVER_PORTS\n"))
        result = config_info(dotenv="SERVER_LOG_LEVEL=loud\n")
        self.assertEqual(result.returncode, 2)
        self.assertIn("SERVER_LOG_LEVEL: 'loud' is not one of DEBUG|INFO|WARNING|ERROR", result.stderr)
        self.assertIn(".env", result.stderr)

    def test_no_password_is_shown(self):
        result = config_info("--state", "postgresql://user:secret@host/db")
        self.assertNotIn("secret", result.stdout)
        self.assertIn("postgresql://user:***@host/db", result.stdout)
        for dsn in ("postgresql://host/db?user=a&password=secret&sslmode=require", "host=h Password=secret x"):
            for form in ("text", "json"):
                result = config_info("--state", dsn, "--format", form)
                self.assertNotIn("secret", result.stdout)
                self.assertIn("password=***", result.stdout.lower())
        encoded = config_info("--state", "postgresql://host/db?user=a&%70assword=secret&sslmode=require").stdout
        self.assertIn("user=a&%70assword=***&sslmode=require", encoded)

    def test_a_value_cannot_forge_a_line(self):
        result = config_info(dotenv='SERVER_HOST="a\\nSERVER_PORT 1 \x1b[2J"\n')
        self.assertIn("a?SERVER_PORT 1 ?[2J", result.stdout)


class Start(unittest.TestCase):
    def test_a_port_in_use_is_named(self):
        with DponeServer() as server:
            result = subprocess.run([BINARY, "serve", "--host", "127.0.0.1", "--port", str(server.port), "--state", "none"],
                                    capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 3)
            self.assertIn(f"unable to listen on 127.0.0.1 port {server.port}", result.stderr)

    def test_host_and_port_of_the_environment_count(self):
        with DponeServer() as taken:
            environment = dict(os.environ, SERVER_HOST="127.0.0.1", SERVER_PORT=str(taken.port), DPONE_STATE="none")
            result = subprocess.run([BINARY, "serve"], env=environment, capture_output=True, text=True, check=False)
            self.assertIn(f"127.0.0.1 port {taken.port}", result.stderr)

    @unittest.skipUnless(has_ipv6(), "this machine has no ::1 (containers often have not)")
    def test_ipv6(self):
        with DponeServer(host="::1") as server:
            self.assertEqual(server.request("GET", "/health")[0], 200)
            self.assertIn("[::1]", server.url)

    def test_sigint_ends_it_too(self):
        server = DponeServer()
        server.start()
        self.assertEqual(server.stop(signal.SIGINT), 0)

    def test_a_service_manager_is_told(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(path)
                manager.settimeout(60)
                with DponeServer(environment={"NOTIFY_SOCKET": path}):
                    self.assertEqual(manager.recv(100), b"READY=1")
                self.assertEqual(manager.recv(100), b"STOPPING=1")


class Unit(unittest.TestCase):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_systemd_understands_the_unit(self):
        with open(os.path.join(os.environ["DPONE_SOURCE_DIR"], "packaging/systemd/dpone.service"), encoding="ascii") as unit:
            text = unit.read()
        # The program and its manual are not installed where tests run.
        self.assertIn("ExecStart=dpone ", text)
        text = re.sub(r"^Documentation=.*\n", "", text, flags=re.M).replace("ExecStart=dpone ", f"ExecStart={os.path.abspath(BINARY)} ")
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "dpone.service")
            with open(path, "w", encoding="ascii") as unit:
                unit.write(text)
            result = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True,
                                    timeout=60, check=False)
        if "Failed to create directory '/run/systemd" in result.stderr:
            self.skipTest("systemd does not run here, and only root can make its folder")
        self.assertEqual((result.returncode, [line for line in result.stderr.splitlines() if "dpone.service" in line]),
                         (0, []))


class Reload(unittest.TestCase):
    def wait_for(self, server, concurrency):
        give_up = time.monotonic() + 60
        while f"\ndpone_max_concurrency {concurrency}\n" not in server.request("GET", "/metrics")[2].decode():
            self.assertLess(time.monotonic(), give_up, server.log_text())
            time.sleep(0.05)

    def write(self, directory, text):
        with open(os.path.join(directory, ".env.new"), "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(os.path.join(directory, ".env.new"), os.path.join(directory, ".env"))

    def test_sighup_reads_dotenv_again_and_lets_waiting_requests_in(self):
        with tempfile.TemporaryDirectory() as directory:
            self.write(directory, "MAX_CONCURRENCY=1\n")
            with DponeServer(directory=directory) as server:
                def ask(index):
                    if index == 5:
                        time.sleep(0.5)
                        self.write(directory, "MAX_CONCURRENCY=9\nSERVER_WORKERS=2\nSERVER_LOG_LEVEL=DEBUG\nSERVER_PROT=1\n")
                        server.process.send_signal(signal.SIGHUP)
                        return None
                    started = time.monotonic()
                    server.request("GET", "/msg?delay=3000")
                    return time.monotonic() - started
                took = [one for one in server.concurrently(6, ask) if one is not None]
                self.assertLess(max(took), 13, "with one slot the last would have waited 15 s")
                self.wait_for(server, 9)
                for message in ("settings reloaded", "a changed setting needs a restart", ".env has what is no setting"):
                    wait_until(lambda: message in [entry["message"] for entry in server.log_entries()], message)

    def test_a_bad_file_changes_nothing(self):
        with tempfile.TemporaryDirectory() as directory:
            self.write(directory, "MAX_CONCURRENCY=7\n")
            with DponeServer(directory=directory) as server:
                self.write(directory, "MAX_CONCURRENCY=0\n")
                server.process.send_signal(signal.SIGHUP)
                give_up = time.monotonic() + 60
                while "settings not reloaded" not in server.log_text():
                    self.assertLess(time.monotonic(), give_up)
                    time.sleep(0.05)
                self.wait_for(server, 7)

    def test_reload_watches(self):
        with tempfile.TemporaryDirectory() as directory:
            with DponeServer("--reload", directory=directory) as server:
                self.wait_for(server, 50)
                self.write(directory, "MAX_CONCURRENCY=8\n")
                self.wait_for(server, 8)

    def test_a_flag_stays_above_dotenv(self):
        with tempfile.TemporaryDirectory() as directory:
            with DponeServer("--max-concurrency", "5", "--reload", directory=directory) as server:
                self.write(directory, "MAX_CONCURRENCY=8\n")
                time.sleep(1)
                self.wait_for(server, 5)


class Logs(unittest.TestCase):
    def test_info_has_start_activation_reset_and_stop(self):
        with tempfile.TemporaryDirectory() as directory:
            with DponeServer(directory=directory) as server:
                server.request("POST", "/fail/count/3")
                server.request("POST", "/fail/duration/4")
                server.request("POST", "/fail/reset")
                server.request("GET", "/msg")
            entries = server.log_entries()
            self.assertEqual([entry["message"] for entry in entries],
                             ["dpone server started", "failure mode activated", "failure mode activated",
                              "failure modes reset", "dpone server stopping", "dpone server stopped"])
            self.assertEqual((entries[1]["mode"], entries[1]["count"]), ("count", 3))
            self.assertEqual((entries[2]["mode"], entries[2]["seconds"]), ("duration", 4))
            self.assertEqual(entries[0]["max_concurrency"], 50)
            for entry in entries:
                self.assertLessEqual({"timestamp", "level", "logger", "message"}, set(entry))

    def test_debug_has_requests_waiting_cache_and_failures(self):
        with tempfile.TemporaryDirectory() as directory:
            flags = ("--log-level", "DEBUG", "--max-concurrency", "1", "--cache-max-size", "1")
            with DponeServer(*flags, directory=directory) as server:
                for name in ("a", "a", "b"):
                    server.request("GET", "/msg", {"X-Request-ID": name})
                server.request("POST", "/fail/count/1")
                _, headers, _ = server.request("GET", "/msg?delay=5", {"X-Request-ID": "c"})
                for delay in (300, 3000, 12000):  # the second has to come while the first is at work
                    server.concurrently(2, lambda _: server.request("GET", f"/msg?delay={delay}"))
                    if "waiting for a slot" in server.log_text():
                        break
            entries = server.log_entries()
            messages = [entry["message"] for entry in entries]
            for message in ("idempotency cache miss", "idempotency cache hit", "idempotency cache eviction",
                            "injected a failure", "waiting for a slot", "acquired a slot", "request"):
                self.assertIn(message, messages)
            request = [entry for entry in entries if entry["message"] == "request" and entry["status"] == 500][0]
            self.assertEqual((request["method"], request["path"], request["request_id"], request["correlation_id"]),
                             ("GET", "/msg", "c", headers["X-Correlation-ID"]))
            self.assertIn("duration_ms", request)

    def test_console_is_coloured_on_a_terminal_only(self):
        with tempfile.TemporaryDirectory() as directory:
            with DponeServer("--log-format", "console", "--max-connections", "50", directory=directory) as server:
                pass
            self.assertIn("INFO    server.startup: dpone server started", server.log_text())
            self.assertIn("WARNING server.startup: requests at work may take every connection", server.log_text())
            self.assertNotIn("\033", server.log_text())

    def test_no_colour_for_those_who_want_none(self):
        for environment in ({"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}):
            master, slave = pty.openpty()
            process = subprocess.Popen([BINARY, "serve", "--host", "127.0.0.1", "--port", "0", "--state", "none",
                                        "--log-format", "console"], stdout=subprocess.PIPE, stderr=slave,
                                       env={**os.environ, **environment})
            os.close(slave)
            process.stdout.readline()
            process.terminate()
            self.assertEqual(process.wait(30), 0)
            text = os.read(master, 4000)
            self.assertIn(b"INFO", text)
            self.assertNotIn(b"\033", text)
            process.stdout.close()
            os.close(master)

    def test_a_blocked_terminal_never_slows_a_request(self):
        master, slave = pty.openpty()
        process = subprocess.Popen([BINARY, "serve", "--host", "127.0.0.1", "--port", "0", "--state", "none",
                                    "--log-level", "DEBUG", "--log-format", "console"],
                                   stdout=subprocess.PIPE, stderr=slave,
                                   env={**os.environ, "TERM": "xterm", "NO_COLOR": ""})
        os.close(slave)
        try:
            port = int(process.stdout.readline().decode().rsplit(":", 1)[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            for index in range(3000):  # far more than a terminal holds; nobody reads it
                connection.request("GET", "/msg", headers={"X-Request-ID": "x" * 1000 + str(index)})
                self.assertEqual(connection.getresponse().read()[:14], b'{"message_id":')
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            dropped = [line for line in text.splitlines() if line.startswith("dpone_log_lines_dropped_total ")]
            self.assertGreater(int(dropped[0].split()[1]), 0)
            connection.close()
            first = os.read(master, 1000)
            self.assertIn(b"\033[32m", first)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            os.close(master)


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.certificate = os.path.join(cls.directory.name, "cert.pem")
        cls.key = os.path.join(cls.directory.name, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", cls.key, "-out", cls.certificate], check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def test_https(self):
        with DponeServer("--tls-cert", self.certificate, "--tls-key", self.key, tls=True,
                         state="sqlite:" + os.path.join(self.directory.name, "state.db")) as server:
            self.assertTrue(server.url.startswith("https://"))
            result = subprocess.run(["curl", "-sS", "--cacert", self.certificate, server.url + "/msg?delay=50"],
                                    capture_output=True, text=True, check=False)
            self.assertIn("message_id", result.stdout, result.stderr)
            result = subprocess.run(["curl", "-sS", server.url + "/msg"], capture_output=True, check=False)
            self.assertEqual(result.returncode, 60, "a client that does not know the certificate refuses")
            capture = os.path.join(os.environ["DPONE_SOURCE_DIR"], "examples/captures/orders.pgoutput.csv")
            trusting = ["--server", server.url, "--pipeline", "orders", "--ca-file", self.certificate]
            result = subprocess.run([BINARY, "cdc", "run", *trusting, "--source", "file:" + capture, "--until-end",
                                     "--unique-key", "public.orders=id"], capture_output=True, text=True, check=False,
                                    timeout=60)
            self.assertEqual(result.returncode, 0, result.stderr)
            stored = json.loads(result.stdout)["events"]
            result = subprocess.run([BINARY, "cdc", "follow", *trusting, "--consumer", "reader", "--until-end"],
                                    capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(result.stdout.count('"event_id"'), stored)
            context = ssl.create_default_context(cafile=self.certificate)
            old = subprocess.run(["curl", "-sS", "-k", "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "ALL:@SECLEVEL=0",
                                  server.url + "/msg"], capture_output=True, check=False)
            self.assertEqual(old.returncode, 35, "TLS 1.1 is refused")
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=20)
            for _ in range(3):
                connection.request("GET", "/msg")
                self.assertEqual(connection.getresponse().read()[:14], b'{"message_id":')
            connection.close()

    def test_both_or_neither(self):
        for flags in (["--tls-cert", self.certificate], ["--tls-key", self.key],
                      ["--tls-cert", "/nowhere", "--tls-key", self.key]):
            result = subprocess.run([BINARY, "serve", "--port", "0", "--state", "none", *flags], capture_output=True,
                                    text=True, check=False)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn("--tls-", result.stderr)

    def test_unusable_files_are_named(self):
        def make(name, *command):
            path = os.path.join(self.directory.name, name)
            subprocess.run(["openssl", *command, "-out", path], check=True, capture_output=True)
            return path
        cut = os.path.join(self.directory.name, "cut.pem")
        with open(self.certificate, "rb") as whole, open(cut, "wb") as file:
            file.write(whole.read() + b"-----BEGIN CERTIFICATE-----\nMIIB\n")
        other = make("other.pem", "ecparam", "-genkey", "-noout", "-name", "prime256v1")
        protected = make("protected.pem", "pkcs8", "-topk8", "-in", self.key, "-passout", "pass:x")
        cases = [(self.certificate, other, "is not the key of the first certificate"),
                 (self.certificate, protected, "needs a passphrase"),
                 (self.certificate, self.certificate, "is not a PEM file with a private key"),
                 (self.certificate, "/dev/zero", "is larger than"),
                 (cut, self.key, "is not a PEM file with whole certificates"),
                 (self.key, self.key, "is not a PEM file with whole certificates"),
                 (self.directory.name, self.key, "Is a directory")]
        for certificate, key, message in cases:
            result = subprocess.run([BINARY, "serve", "--port", "0", "--state", "none", "--tls-cert", certificate,
                                     "--tls-key", key], capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(message, result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)


class Cors(unittest.TestCase):
    PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET",
                 "Access-Control-Request-Headers": "x-request-id"}

    def test_off_by_default(self):
        with DponeServer() as server:
            self.assertEqual(server.request("OPTIONS", "/msg", self.PREFLIGHT)[0], 405)
            self.assertNotIn("Access-Control-Allow-Origin", server.request("GET", "/msg", {"Origin": "https://a.b"})[1])

    def test_any_origin(self):
        with DponeServer("--cors-enabled", "true") as server:
            status, headers, body = server.request("OPTIONS", "/msg", self.PREFLIGHT)
            self.assertEqual((status, body), (204, b""))
            self.assertEqual(headers["Access-Control-Allow-Origin"], "https://app.example")
            self.assertIn("GET", headers["Access-Control-Allow-Methods"])
            self.assertIn("X-Request-ID", headers["Access-Control-Allow-Headers"])
            for path in ("/msg", "/msg?delay=x", "/nowhere"):
                _, headers, _ = server.request("GET", path, {"Origin": "https://app.example"})
                self.assertEqual(headers["Access-Control-Allow-Origin"], "https://app.example", path)
                self.assertEqual(headers["Vary"], "Origin")
                self.assertEqual(server.request("OPTIONS", path, self.PREFLIGHT)[0], 204, "or the 404 stays unseen")
                self.assertIn("X-Correlation-ID", headers["Access-Control-Expose-Headers"])
            self.assertNotIn("Access-Control-Allow-Origin", server.request("GET", "/msg")[1])

    def test_listed_origins_only(self):
        with DponeServer("--cors-enabled", "true", "--cors-origins", "https://one.example, https://app.example") as server:
            self.assertEqual(server.request("OPTIONS", "/msg", self.PREFLIGHT)[0], 204)
            other = dict(self.PREFLIGHT, Origin="https://app.example.evil")
            self.assertEqual(server.request("OPTIONS", "/msg", other)[0], 405)
            _, headers, _ = server.request("GET", "/msg", {"Origin": other["Origin"]})
            self.assertNotIn("Access-Control-Allow-Origin", headers)


if __name__ == "__main__":
    unittest.main()
