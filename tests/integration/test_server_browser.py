"""What a browser makes of the server's pages and CORS answers: headless Chromium, where it is installed."""
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
import unittest

from support.dpone_server import DponeServer

# Asks with a header of its own, so that the browser sends a preflight first, and shows what it was allowed to read.
PAGE = """<!doctype html><p id="outcome">waiting</p><script>
(async () => {
  let text;
  try {
    const reply = await fetch("%s/msg?delay=%s", {headers: {"X-Request-ID": "from-a-page"}});
    text = reply.status + " " + (await reply.text()) + " id " + reply.headers.get("X-Correlation-ID");
  } catch (error) { text = "blocked"; }
  document.getElementById("outcome").textContent = text;
})();
</script>"""


class Pages(http.server.ThreadingHTTPServer):
    """Serves one page, which is another origin than the server it asks."""

    def __init__(self):
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                text = pages.page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.page = ""
        self.origin = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
# No sandbox: root has none, and nothing is opened but our own pages. Nothing is looked up on a network.
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--no-default-browser-check", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--disable-extensions", "--virtual-time-budget=10000", "--dump-dom"]


def browse(url):
    """The page as the browser holds it when its scripts have run. A browser that shows nothing is started again."""
    said = ""
    for _ in range(3):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            try:
                shown = subprocess.run([BROWSER, *FLAGS, f"--user-data-dir={profile}", url], capture_output=True,
                                       encoding="utf-8", timeout=60, check=False)
            except subprocess.TimeoutExpired as expired:
                said = str(expired)
                continue
        if "</body>" in shown.stdout:
            return shown.stdout
        said = f"exit code {shown.returncode}: {shown.stdout[-500:]} {shown.stderr[-2000:]}"
    raise AssertionError(f"{BROWSER} showed nothing of {url}: {said}")


@unittest.skipUnless(BROWSER, "neither chromium-headless-shell nor chromium is installed")
class Docs(unittest.TestCase):
    def test_the_page_shows_every_operation_of_the_description(self):
        with DponeServer() as server:
            api = json.loads(server.request("GET", "/openapi.json")[2])
            page = browse(server.url + "/docs")
        self.assertIn('data-ready="true"', page)
        wanted = sorted(operation["operationId"] for item in api["paths"].values() for operation in item.values())
        self.assertEqual(sorted(re.findall(r'<details id="([^"]+)"', page)), wanted)
        self.assertIn(f"{api['info']['title']} {api['info']['version']}</h1>", page)
        self.assertNotIn("Loading openapi.json", page.split("<script>")[0])


@unittest.skipUnless(BROWSER, "neither chromium-headless-shell nor chromium is installed")
class Cors(unittest.TestCase):
    def setUp(self):
        self.pages = Pages()
        self.addCleanup(self.pages.server_close)
        self.addCleanup(self.pages.shutdown)

    def outcome(self, server, delay="0"):
        self.pages.page = PAGE % (server.url, delay)
        return browse(self.pages.origin + "/").split('id="outcome">')[1].split("</p>")[0]

    def test_a_page_of_an_allowed_origin_reads_answers_and_their_id(self):
        with DponeServer("--cors-enabled", "true", "--cors-origins", self.pages.origin) as server:
            self.assertRegex(self.outcome(server), r'^200 \{"message_id":"[0-9a-f-]{36}"\} id [0-9a-f-]{36}$')
            self.assertRegex(self.outcome(server, "x"), r'^422 .* id [0-9a-f-]{36}$')

    def test_other_origins_and_servers_without_cors_are_blocked(self):
        with DponeServer("--cors-enabled", "true", "--cors-origins", "http://localhost:1") as server:
            self.assertEqual(self.outcome(server), "blocked")
        with DponeServer() as server:
            self.assertEqual(self.outcome(server), "blocked")


if __name__ == "__main__":
    unittest.main()
