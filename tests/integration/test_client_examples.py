"""The client's examples run against `dpone serve`, and the installed library is found through pkg-config."""

import glob
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, __file__.rsplit("/", 1)[0])

from support.dpone_server import DponeServer  # noqa: E402

BUILD = os.environ["DPONE_BUILD_DIR"]
SOURCE = os.environ["DPONE_SOURCE_DIR"]


def example(name, *arguments):
    return subprocess.run([os.path.join(BUILD, "examples", name), *arguments], capture_output=True, text=True, timeout=60)


def cache_value(name):
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as file:
        match = re.search(rf"^{name}:[^=]*=(.*)$", file.read(), re.MULTILINE)
    return match.group(1) if match else ""


class Examples(unittest.TestCase):
    def test_the_quick_start_prints_a_message(self):
        with DponeServer() as server:
            done = example("client_quick_start", server.url)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertRegex(done.stdout, r'^\{"message_id":"[0-9a-f-]{36}"\}\n$')

    def test_the_quick_start_outlives_two_failures(self):
        with DponeServer() as server:
            server.request("POST", "/fail/count/2")
            self.assertEqual(example("client_quick_start", server.url).returncode, 0)

    def test_the_advanced_example_gets_every_reply(self):
        with DponeServer() as server:
            done = example("client_advanced", server.url)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("20 of 20 replies, 21 attempts, breaker closed", done.stdout)

    def test_the_complete_flow_is_as_specified(self):
        with DponeServer() as server:
            done = example("client_complete_flow", server.url)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout.count(" 500 ServerError"), 4)
            self.assertTrue(done.stdout.endswith("the complete flow is as specified\n"))


class Installed(unittest.TestCase):
    def test_a_program_finds_the_client_through_pkg_config(self):
        with tempfile.TemporaryDirectory() as prefix:
            subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, capture_output=True)
            self.assertTrue(os.path.exists(os.path.join(prefix, "share", "man", "man3", "dpone-client.3")))
            libraries = os.path.dirname(subprocess.run(["find", prefix, "-name", "libdpone-client.a"], check=True,
                                                       capture_output=True, text=True).stdout.strip())
            environment = dict(os.environ, PKG_CONFIG_PATH=os.path.join(libraries, "pkgconfig"), LD_LIBRARY_PATH=libraries)
            flags = subprocess.run(["pkg-config", "--cflags", "--libs", "dpone-client"], check=True, env=environment,
                                   capture_output=True, text=True).stdout.split()
            if cache_value("DPONE_SANITIZE"):
                flags.append("-fsanitize=" + cache_value("DPONE_SANITIZE"))
            if cache_value("DPONE_COVERAGE") == "ON":
                flags.append("--coverage")
            program = os.path.join(prefix, "quick_start")
            built = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror",
                                    os.path.join(SOURCE, "examples", "client_quick_start.c"), *flags, "-o", program],
                                   env=environment, capture_output=True, text=True)
            self.assertEqual(built.returncode, 0, built.stderr)
            headers = glob.glob(os.path.join(prefix, "include", "dpone", "*", "*.h"))
            self.assertGreater(len(headers), 20)
            done = subprocess.run(["cc", "-std=c11", "-fsyntax-only", *flags, "-x", "c", "-"], capture_output=True,
                                  text=True, input="".join(f'#include "{header}"\n' for header in headers))
            self.assertEqual((done.returncode, done.stderr), (0, ""), "every installed header finds what it includes")
            with DponeServer() as server:
                done = subprocess.run([program, server.url], env=environment, capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
