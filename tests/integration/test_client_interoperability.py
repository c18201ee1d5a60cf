"""The client against servers that are not ours: Python's http.server, nginx with TLS and HTTP/2, and a proxy."""

import http.server
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, __file__.rsplit("/", 1)[0])

from support.client import client, get  # noqa: E402
from support.dpone import dpone  # noqa: E402
from support.ports import ReservedPort  # noqa: E402
from support.scripted_peer import OK, ScriptedPeer  # noqa: E402


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def make_authority(directory):
    """ca.pem, and server.pem/server.key signed by it for localhost and 127.0.0.1; client.pem/client.key."""
    openssl(directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "2", "-subj", "/CN=Test authority")
    with open(os.path.join(directory, "names"), "w", encoding="ascii") as file:
        file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(directory, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")
        openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", "names")
    os.chmod(directory, 0o755)


# Debian puts it where an ordinary user's PATH does not lead.
NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or "nginx"


class Nginx:
    CONFIGURATION = """
        daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
        events {{ worker_connections 256; }}
        http {{
            access_log {dir}/access.log; keepalive_requests 50; client_max_body_size 64m;
            client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
            uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
            server {{
                listen 127.0.0.1:{plain};
                listen 127.0.0.1:{tls} ssl http2;
                listen 127.0.0.2:{tls} ssl http2;
                ssl_certificate {dir}/server.pem; ssl_certificate_key {dir}/server.key;
                ssl_client_certificate {dir}/ca.pem; ssl_verify_client optional;
                location / {{ return 200 "$server_protocol $request_method $http_x_request_id $ssl_client_verify\\n"; }}
                location /unavailable {{ return 503; }}
                location /moved {{ return 301 https://localhost:{tls}/there; }}
                location /down {{ return 302 http://127.0.0.1:{plain}/there; }}
                location /big {{ alias {dir}/big; }}
                location /upload {{ client_body_in_file_only clean; proxy_pass http://127.0.0.1:{plain}/; }}
            }}
        }}"""

    def __init__(self, directory):
        self.directory = directory
        self._ports = [ReservedPort("0.0.0.0"), ReservedPort("0.0.0.0")]
        self.plain, self.tls = [port.number for port in self._ports]

    def __enter__(self):
        path = os.path.join(self.directory, "nginx.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(self.CONFIGURATION.format(dir=self.directory, plain=self.plain, tls=self.tls))
        with open(os.path.join(self.directory, "big"), "wb") as file:
            file.write(os.urandom(1 << 20) * 8)
        self.process = subprocess.Popen([NGINX, "-p", self.directory, "-c", path], stderr=subprocess.DEVNULL)
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            try:
                socket.create_connection(("127.0.0.1", self.tls), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("nginx did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


class WithNginx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="dpone-nginx-")
        make_authority(cls.directory)
        cls.nginx = Nginx(cls.directory)
        cls.nginx.__enter__()
        cls.plain = f"http://127.0.0.1:{cls.nginx.plain}"
        cls.tls = f"https://localhost:{cls.nginx.tls}"
        cls.trust = ("--ca-file", os.path.join(cls.directory, "ca.pem"))

    @classmethod
    def tearDownClass(cls):
        cls.nginx.__exit__()
        shutil.rmtree(cls.directory)

    def test_plain_http(self):
        code, result, _ = get(self.plain + "/x")
        self.assertEqual((code, result["body"], result["http_version"]),
                         (0, f"HTTP/1.1 GET {result['request_id']} \n", "1.1"))

    def test_tls_negotiates_http_2(self):
        code, result, _ = get(self.tls + "/x", *self.trust)
        self.assertEqual((code, result["http_version"]), (0, "2"))
        self.assertTrue(result["body"].startswith("HTTP/2.0 GET"))

    def test_http_1_1_over_tls_when_asked_for(self):
        code, result, _ = get(self.tls + "/x", "--http", "1.1", *self.trust)
        self.assertEqual((code, result["http_version"]), (0, "1.1"))

    def test_an_unknown_authority_is_refused_and_not_tried_again(self):
        code, result, _ = get(self.tls)
        self.assertEqual((code, result["kind"], result["retryable"], result["attempts"]),
                         (3, "APIConnectionError", False, 1))
        self.assertIn("certificate", result["error"])

    def test_another_host_name_is_refused(self):
        code, result, _ = get(self.tls.replace("localhost", "127.0.0.1"), *self.trust)
        self.assertEqual(code, 0)  # this address is among the certificate's names ...
        code, result, _ = get(self.tls.replace("localhost", "127.0.0.2"), *self.trust)
        self.assertEqual((code, result["kind"], result["attempts"]), (3, "APIConnectionError", 1))  # ... this is not
        self.assertIn("127.0.0.2", result["error"])

    def test_without_verification_when_asked_for(self):
        self.assertEqual(get(self.tls, "--insecure")[0], 0)

    def test_a_missing_authority_file_is_a_configuration_error(self):
        code, result, _ = get(self.tls, "--ca-file", "/nonexistent.pem")
        self.assertEqual((code, result["kind"], result["attempts"]), (2, "RequestError", 1))

    def test_a_client_certificate(self):
        pem, key = (os.path.join(self.directory, name) for name in ("client.pem", "client.key"))
        code, result, _ = get(self.tls, "--cert", pem, "--key", key, *self.trust)
        self.assertTrue(result["body"].endswith("SUCCESS\n"), result)

    def test_a_redirect_from_http_to_https_is_followed_and_the_way_back_is_not(self):
        code, result, _ = get(self.plain + "/moved", *self.trust)
        self.assertEqual((code, result["http_version"]), (0, "2"))
        code, result, _ = get(self.tls + "/down", *self.trust)
        self.assertEqual((code, result["kind"], result["status"]), (1, "APIStatusError", 302))

    def test_503_of_nginx_is_service_unavailable(self):
        code, result, _ = get(self.tls + "/unavailable", *self.trust)
        self.assertEqual((code, result["kind"], result["attempts"]), (3, "ServiceUnavailableError", 3))

    def test_a_large_reply_and_a_large_request(self):
        for base in (self.plain, self.tls):
            done = subprocess.run([os.environ["DPONE_BINARY"], "client", "get", base + "/big", *self.trust],
                                  capture_output=True, timeout=60, check=True, cwd="/")
            with open(os.path.join(self.directory, "big"), "rb") as file:
                self.assertEqual(done.stdout, file.read())
            done = dpone("client", "post", base + "/upload", "--data", "@-", *self.trust, input="y" * 5_000_000)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_load_over_both_protocols_with_connections_that_nginx_closes_now_and_then(self):
        for url in (self.plain, self.tls):
            done = dpone("client", "get", url + "/x", "--repeat", "600", "--concurrency", "16", *self.trust)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout, r"200 +600\n")

    def test_a_server_that_is_restarted_is_found_again(self):
        process = subprocess.Popen([os.environ["DPONE_BINARY"], "client", "get", self.plain + "/x", "--repeat", "3000",
                                    "--retries", "99", "--retry-min-wait", "0.2", "--retry-max-wait", "0.4",
                                    "--no-breaker", "--no-retry-budget", "--concurrency", "4"], stdout=subprocess.PIPE, cwd="/", text=True)
        self.nginx.__exit__()
        time.sleep(0.2)
        self.nginx.__enter__()
        stdout = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, 0, stdout)


class WithPython(unittest.TestCase):
    def test_http_server_of_python_in_both_versions(self):
        for version in ("HTTP/1.0", "HTTP/1.1"):
            class Handler(http.server.BaseHTTPRequestHandler):
                protocol_version = version

                def answer(self):
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    text = f"{self.command} {self.path} {self.headers['X-Request-ID']} {len(body)}".encode()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

                do_GET = do_POST = answer

                def log_message(self, *_):
                    pass

            with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                base = f"http://127.0.0.1:{server.server_port}"
                code, result, _ = get(base + "/a?b=c")
                self.assertEqual((code, result["body"]), (0, f"GET /a?b=c {result['request_id']} 0"))
                code, result, _ = client("post", base + "/a", "--data", "12345")
                self.assertEqual((code, result["body"]), (0, f"POST /a {result['request_id']} 5"))
                server.shutdown()

    def test_a_reply_that_ends_with_the_connection(self):
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            code, result, _ = get(f"http://127.0.0.1:{server.server_address[1]}/")
            self.assertEqual((code, result["body"]), (0, "until the end"))
            server.shutdown()

    def test_tls_that_breaks_off_is_a_connection_error(self):
        with tempfile.TemporaryDirectory() as directory:
            make_authority(directory)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(os.path.join(directory, "server.pem"), os.path.join(directory, "server.key"))
            from support.scripted_peer import Reply
            cut = Reply(OK.data[:-3], close=True)
            with ScriptedPeer([cut, cut, OK], tls=context) as peer:
                code, result, _ = get(peer.url, "--ca-file", os.path.join(directory, "ca.pem"))
                self.assertEqual((code, result["attempts"], result["events"][0]["kind"]), (0, 3, "APIConnectionError"))

    def test_a_tunnel_through_a_proxy(self):
        with tempfile.TemporaryDirectory() as directory:
            make_authority(directory)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(os.path.join(directory, "server.pem"), os.path.join(directory, "server.key"))

            class Tunnel(socketserver.StreamRequestHandler):
                asked = []

                def handle(self):
                    self.asked.append(self.rfile.readline().decode().strip())
                    while self.rfile.readline().strip():
                        pass
                    host, port = self.asked[-1].split(" ")[1].rsplit(":", 1)
                    with socket.create_connection((host, int(port))) as far:
                        self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                        back = threading.Thread(target=self.copy, args=(far, self.connection), daemon=True)
                        back.start()
                        self.copy(self.connection, far)
                        back.join(5)

                @staticmethod
                def copy(source, target):
                    try:
                        while True:
                            part = source.recv(65536)
                            if not part:
                                target.shutdown(socket.SHUT_WR)
                                return
                            target.sendall(part)
                    except OSError:
                        pass

            with ScriptedPeer([OK], tls=context) as peer, \
                    socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
                threading.Thread(target=proxy.serve_forever, daemon=True).start()
                done = dpone("client", "get", peer.url, "--ca-file", os.path.join(directory, "ca.pem"),
                             "--proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
                self.assertEqual((done.returncode, done.stdout), (0, '{"ok":true}'), done.stderr)
                self.assertEqual(Tunnel.asked, [f"CONNECT 127.0.0.1:{peer.port} HTTP/1.1"])
                proxy.shutdown()


if __name__ == "__main__":
    unittest.main()
