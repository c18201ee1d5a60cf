"""Artifacts: what export writes, that a kill never leaves half of one, and that verify finds and names every tampering."""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import artifact, pipeline  # noqa: E402
from support.dpone import clean_environment, dpone  # noqa: E402
from support.dpone_server import DponeServer  # noqa: E402

POINTS = ["export_transaction", "export_file_done", "export_manifest_written", "export_renamed"]
CAPTURE = pipeline.capture("main/pgoutput.csv")
SEED = int(os.environ.get("DPONE_TEST_SEED", "1"))


class ArtifactsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="dpone-artifacts-"))
        cls.dsn = f"sqlite:{cls.directory}/journal.db"
        cls.server = cls.enterClassContext(DponeServer(state=cls.dsn))
        for name in ("orders", "other"):
            code, _, errors = pipeline.run(cls.server.url, CAPTURE, pipeline=name)
            assert code == 0, errors
        cls.journal = pipeline.journal(cls.server.url)
        cls.whole = cls.export_to(os.path.join(cls.directory, "whole"))
        cls.lines = artifact.lines(cls.whole)

    @classmethod
    def export_to(cls, path, *options, name="orders"):
        done = dpone("cdc", "export", "--pipeline", name, "--server", cls.server.url, "--output", path, *options)
        assert done.returncode == 0, done.stderr
        return path

    def path(self, name):
        directory = tempfile.mkdtemp(dir=self.directory)
        return os.path.join(directory, name)

    def copy(self):
        path = self.path("copy")
        shutil.copytree(self.whole, path)
        return path

    def verify(self, path, *options):
        done = dpone("cdc", "verify", "--artifact", path, *options)
        self.assertIn(done.returncode, (0, 4), done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual(done.returncode == 0, result["verified"])
        return result

    def assert_found(self, path, code, line=None, options=()):
        findings = self.verify(path, *options)["findings"]
        self.assertTrue(findings, "nothing was found")
        self.assertEqual((findings[0]["code"], findings[0]["line"]), (code, line), findings[:3])

    # what is written

    def test_lines_are_those_of_the_journal_and_the_manifest_counts_them(self):
        self.assertEqual([line.decode().rstrip("\n") for line in self.lines], self.journal)
        self.assertEqual(artifact.check_independently(self.whole), [])
        self.assertEqual(self.verify(self.whole)["events"], sum('"event_id"' in line for line in self.journal))

    def test_from_the_state_and_compressed_in_many_files_it_holds_the_same(self):
        path = self.path("compressed")
        done = dpone("cdc", "export", "--pipeline", "orders", "--state", self.dsn, "--output", path,
                     "--compression", "zstd", "--file-bytes", "10000")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(len(artifact.manifest(path)["files"]), 5)
        self.assertTrue(self.verify(path, "--state", self.dsn)["verified"])
        self.assertEqual(artifact.manifest(path)["event_ids_sha256"], artifact.manifest(self.whole)["event_ids_sha256"])

    def test_a_window_is_exclusive_at_its_start_and_inclusive_at_its_end(self):
        commits = [json.loads(line)["end_position"] for line in self.journal if line.startswith('{"type"')]
        path = self.export_to(self.path("window"), "--from", commits[3], "--to", commits[7])
        document = artifact.manifest(path)
        self.assertEqual((document["transactions"], document["first_position"], document["last_position"]),
                         (4, commits[4], commits[7]))
        self.assertTrue(self.verify(path, "--journal", "--server", self.server.url)["verified"])

    def test_a_window_with_nothing_in_it_is_an_artifact_too(self):
        last = json.loads(self.journal[-1])["end_position"]
        path = self.export_to(self.path("empty"), "--from", last)
        self.assertEqual(artifact.manifest(path)["lines"], 0)
        self.assertTrue(self.verify(path, "--state", self.dsn)["verified"])

    def test_a_window_that_the_journal_does_not_hold_is_refused(self):
        done = dpone("cdc", "export", "--pipeline", "orders", "--state", self.dsn, "--output", self.path("x"),
                     "--to", "FFFFFFFF/0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("replay.to_after_high_watermark", done.stderr)

    def test_a_path_that_exists_is_left_alone(self):
        done = dpone("cdc", "export", "--pipeline", "orders", "--state", self.dsn, "--output", self.whole)
        self.assertEqual(done.returncode, 2)
        self.assertTrue(self.verify(self.whole)["verified"])

    # kill -9

    def test_a_kill_leaves_a_whole_artifact_or_none_and_the_next_export_goes_through(self):
        for point in POINTS:
            for nth in (1, 3) if point in POINTS[:2] else (1,):
                with self.subTest(point=point, nth=nth):
                    path = self.path("killed")
                    command = ["cdc", "export", "--pipeline", "orders", "--state", self.dsn, "--output", path,
                               "--file-bytes", "10000"]
                    killed = dpone(*command, env=clean_environment(DPONE_CRASH_AT=f"{point}:{nth}"))
                    self.assertEqual(killed.returncode, -9, "the point was not reached")
                    if point == "export_renamed":
                        self.assertTrue(self.verify(path)["verified"])
                        continue
                    self.assertEqual(dpone("cdc", "verify", "--artifact", path).returncode, 2)
                    self.assertIn(dpone("cdc", "verify", "--artifact", path + ".partial").returncode, (0, 2))
                    self.assertEqual(dpone(*command).returncode, 0)
                    self.assertTrue(self.verify(path)["verified"])
                    self.assertEqual(os.listdir(os.path.dirname(path)), ["killed"])

    # tampering

    def test_a_disk_that_is_full_leaves_nothing_and_the_next_export_goes_through(self):
        small = self.path("small")
        os.mkdir(small)
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], capture_output=True).returncode != 0:
            self.skipTest("a small file system needs root")
        self.addCleanup(subprocess.run, ["umount", small], check=True)
        for blocks in (0, 9, 12, 15):  # full at the lines, at the index, at the manifest
            with open(f"{small}/ballast", "wb") as ballast:
                ballast.write(bytes(4096 * blocks))
            options = ["--output", f"{small}/a", *(["--compression", "zstd"] if blocks else [])]
            done = dpone("cdc", "export", "--pipeline", "orders", "--server", self.server.url, *options)
            if done.returncode == 0:
                self.assertTrue(self.verify(f"{small}/a")["verified"])
                shutil.rmtree(f"{small}/a")
            else:
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn("No space left on device", done.stderr)
            self.assertEqual(os.listdir(small), ["ballast"])
        self.assertNotEqual(done.returncode, 0, "the last had no room at all")
        os.unlink(f"{small}/ballast")
        self.export_to(f"{small}/a", "--compression", "zstd")
        self.assertTrue(self.verify(f"{small}/a")["verified"])

    def test_a_flipped_bit_in_any_line_is_named(self):
        chance = random.Random(SEED)
        for _ in range(20):
            number = chance.randrange(len(self.lines))
            at = chance.randrange(len(self.lines[number]) - 1)
            flipped = bytearray(self.lines[number])
            flipped[at] ^= 1 << chance.randrange(8)
            if flipped[at] == ord("\n"):
                continue
            path = self.copy()
            artifact.write_lines(path, self.lines[:number] + [bytes(flipped)] + self.lines[number + 1:])
            with self.subTest(line=number + 1, at=at):
                self.assert_found(path, "line_changed", number + 1)

    def test_a_flipped_bit_in_a_compressed_file_is_found(self):
        chance = random.Random(SEED)
        whole = self.export_to(self.path("zstd"), "--compression", "zstd")
        with open(os.path.join(whole, "events-00001.ndjson.zst"), "rb") as file:
            content = file.read()
        for _ in range(20):
            at = chance.randrange(len(content))
            flipped = bytearray(content)
            flipped[at] ^= 1 << chance.randrange(8)
            with open(os.path.join(whole, "events-00001.ndjson.zst"), "wb") as file:
                file.write(flipped)
            with self.subTest(at=at):
                self.assertFalse(self.verify(whole)["verified"])

    def test_a_dropped_line_is_named(self):
        for number in (1, 50, len(self.lines)):
            path = self.copy()
            artifact.write_lines(path, self.lines[:number - 1] + self.lines[number:])
            with self.subTest(line=number):
                self.assert_found(path, "line_missing", number)

    def test_a_dropped_transaction_is_named_by_its_lines(self):
        ends = [i for i, line in enumerate(self.lines) if line.startswith(b'{"type"')]
        path = self.copy()
        artifact.write_lines(path, self.lines[:ends[4] + 1] + self.lines[ends[5] + 1:])
        findings = self.verify(path)["findings"]
        self.assertEqual([finding["line"] for finding in findings if finding["code"] == "line_missing"][:20],
                         list(range(ends[4] + 2, ends[5] + 2))[:20])

    def test_a_doubled_line_is_named(self):
        path = self.copy()
        artifact.write_lines(path, self.lines[:30] + [self.lines[29]] + self.lines[30:])
        self.assert_found(path, "line_repeated", 31)

    def test_reordered_lines_are_named(self):
        path = self.copy()
        artifact.write_lines(path, self.lines[:40] + [self.lines[41], self.lines[40]] + self.lines[42:])
        self.assert_found(path, "line_moved", 42)

    def test_an_added_line_is_named(self):
        path = self.copy()
        artifact.write_lines(path, self.lines[:20] + [self.lines[20].replace(b"insert", b"delete", 1) + b""] + self.lines[20:])
        self.assertFalse(self.verify(path)["verified"])

    def test_a_cut_file_is_named(self):
        path = self.copy()
        content = b"".join(self.lines)
        with open(os.path.join(path, "events-00001.ndjson"), "wb") as file:
            file.write(content[:-7])
        self.assert_found(path, "file_cut", len(self.lines))

    def test_a_missing_file_and_a_damaged_index_are_named(self):
        path = self.copy()
        os.unlink(os.path.join(path, "events-00001.ndjson"))
        self.assert_found(path, "file_missing")
        path = self.copy()
        with open(os.path.join(path, "events-00001.index"), "r+b") as file:
            file.seek(-3, os.SEEK_END)
            file.write(b"\xff\xff")
        self.assert_found(path, "index_damaged")
        path = self.copy()
        for name in ("events-00001.ndjson", "events-00001.index", "manifest.json"):
            os.unlink(os.path.join(path, name))
            os.mkfifo(os.path.join(path, name))
            if name != "manifest.json":
                self.assert_found(path, "file_missing")
        self.assertIn("is no regular file", dpone("cdc", "verify", "--artifact", path).stderr)

    def test_the_manifest_of_another_pipeline_is_named(self):
        other = self.export_to(self.path("other"), name="other")
        path = self.copy()
        shutil.copy(os.path.join(other, "manifest.json"), path)
        self.assert_found(path, "manifest_of_another_artifact")
        self.assert_found(other, "manifest_of_another_artifact", options=["--pipeline", "orders"])

    def test_a_changed_manifest_is_refused_and_a_forged_one_found_out(self):
        path = self.copy()
        with open(os.path.join(path, "manifest.json"), encoding="utf-8") as file:
            text = file.read()
        with open(os.path.join(path, "manifest.json"), "w", encoding="utf-8") as file:
            file.write(text.replace('"orders"', '"0rders"', 1))
        done = dpone("cdc", "verify", "--artifact", path)
        self.assertEqual(done.returncode, 4)
        self.assertIn("digest does not match", done.stderr)
        document = artifact.manifest(self.whole)
        document["events"] += 1
        artifact.seal(path, document)
        self.assert_found(path, "count_mismatch")

    def test_a_journal_that_holds_something_else_is_named_by_line(self):
        """The artifact is consistent in itself; the journal that it is compared with is not the one it came from."""
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            with DponeServer(state=f"sqlite:{directory}/other.db") as server:
                code, _, errors = pipeline.run(server.url, CAPTURE, "--unique-key", "public.orders=id")
                self.assertEqual(code, 0, errors)
                differs = next(i for i, (ours, theirs) in enumerate(zip(self.journal, pipeline.journal(server.url)))
                               if ours != theirs)
                self.assert_found(self.whole, "journal_differs", differs + 1,
                                  options=["--server", server.url])


if __name__ == "__main__":
    unittest.main()
