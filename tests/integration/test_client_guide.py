"""docs/client-guide.md: its programs compile, its flags and kinds exist, its commands run."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, __file__.rsplit("/", 1)[0])

from support.dpone import dpone, options  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402

SOURCE = os.environ["DPONE_SOURCE_DIR"]


class Guide(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(SOURCE, "docs", "client-guide.md"), encoding="utf-8") as file:
            cls.text = file.read()

    def blocks(self, language):
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, re.MULTILINE | re.DOTALL)

    def test_its_programs_compile(self):
        self.assertEqual(len(self.blocks("c")), 2)
        for block in self.blocks("c"):
            with tempfile.NamedTemporaryFile("w", suffix=".c") as file:
                file.write(block)
                file.flush()
                done = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", SOURCE,
                                       file.name], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_its_commands_run(self):
        with DponeServer("--log-level", "ERROR") as server:
            ran = 0
            for block in self.blocks("session"):
                for line in re.findall(r"^\$ (dpone .*)$", block, re.MULTILINE):
                    words = shlex.split(line.replace("http://127.0.0.1:8000", server.url))[1:]
                    done = dpone(*words)
                    self.assertIn(done.returncode, (0, 3) if "--repeat" in words else (0,), (words, done.stderr))
                    ran += 1
            self.assertGreaterEqual(ran, 5)

    def test_its_flags_exist_and_every_flag_is_in_it(self):
        known = set(options(["client", "get"])) | set(options(["client", "post"])) | {"host", "port", "state"}
        named = set(re.findall(r"--([a-z][a-z0-9-]+)", re.sub(r"pkg-config --\S+ --\S+", "", self.text)))
        self.assertEqual(named - known, set())
        self.assertEqual(known - named, {"help"})

    def test_the_man_page_is_that_of_the_header(self):
        page_path, header_path = (os.path.join(SOURCE, "client", name) for name in ("dpone-client.3", "client.h"))
        with open(page_path, encoding="utf-8") as file:
            page = file.read()
        with open(header_path, encoding="utf-8") as file:
            header = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
        functions = set(re.findall(r"^[a-z].*?\b(dp_client_\w+)\(", header, re.MULTILINE))
        self.assertGreater(len(functions), 25)
        synopsis = page.split(".Sh DESCRIPTION")[0]
        self.assertEqual(set(re.findall(r"^\.Fn (\w+)", synopsis, re.MULTILINE)), functions)
        kinds = set(re.findall(r'^    X\([A-Z_]+, "([A-Za-z]+)"', header, re.MULTILINE))
        self.assertEqual(set(re.findall(r"^\.It Er (\w+)", page, re.MULTILINE)), kinds)
        shown = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page_path], capture_output=True, text=True)
        self.assertEqual(shown.stdout, "")
        example = page.split(".Bd -literal\n")[1].split(".Ed")[0].replace("\\e", "\\")
        done = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", SOURCE, "-xc", "-"],
                              input=example, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_it_lists_every_kind(self):
        with open(os.path.join(SOURCE, "client", "client.h"), encoding="utf-8") as file:
            kinds = re.findall(r'^    X\([A-Z_]+, "([A-Za-z]+)"', file.read(), re.MULTILINE)
        self.assertEqual(len(kinds), 15)
        for kind in kinds:
            self.assertIn(f"| `{kind}` |", self.text)


if __name__ == "__main__":
    unittest.main()
