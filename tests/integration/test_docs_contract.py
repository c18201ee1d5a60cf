"""Documentation and program agree: commands, options, blockers and exit codes, in both directions.

Blocks marked `console` are executed: lines that start with "$ " by bash, in a folder of their own in which examples/ is
the repository's; what follows must be the output, "…" standing for any text or any lines. Blocks marked `sh` are not
executed, but every dpone command line in them must parse.
"""

import glob
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support.dpone import BINARY, SOURCE_DIR, clean_environment, commands, dpone, options

COMMANDS = commands()
OPTIONS = {" ".join(command): options(command) for command in COMMANDS}


def read(*path):
    with open(os.path.join(SOURCE_DIR, *path), encoding="utf-8") as file:
        return file.read()


def documents():
    paths = glob.glob(os.path.join(SOURCE_DIR, "docs", "*.md")) + glob.glob(os.path.join(SOURCE_DIR, "README.md"))
    return {os.path.relpath(path, SOURCE_DIR): read(path) for path in sorted(paths)}


def x_macro(path, name):
    """The entries of an X-macro list in a header: tuples of their arguments, strings without quotes."""
    text = read(path).replace("\\\n", "\n")
    body = re.search(r"#define " + name + r"\(X\)((?:.|\n)*?)\n\n", text).group(1)
    body = re.sub(r'"\s*\n\s*"', "", body)
    entries = re.findall(r'X\(((?:[^()"]|"(?:[^"\\]|\\.)*")*)\)', body)
    return [tuple(part.strip().strip('"') for part in re.findall(r'"(?:[^"\\]|\\.)*"|[^,]+', entry)) for entry in entries]


def table_keys(text, heading):
    """The first cells, without backticks, of the first table after a heading, in order."""
    lines = text.split("\n")
    at = lines.index(heading)
    while not lines[at].startswith("|---"):
        at += 1
    keys = []
    for line in lines[at + 1:]:
        if not line.startswith("|"):
            break
        keys.append(line.split("|")[1].strip().strip("`"))
    return keys


def blocks(text, language):
    return re.findall(r"^```" + language + r"\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def command_lines(text):
    """Every dpone command in blocks of shell, as words, with continuation lines joined and pipes cut."""
    for block in blocks(text, "sh") + blocks(text, "console"):
        joined = re.sub(r"\\\n\s*", " ", block)
        for line in joined.split("\n"):
            line = line.removeprefix("$ ")
            for part in re.split(r"\|\|?|&&|;|\$\(|<\(", line):
                words = part.strip()
                if re.match(r"^dpone( |$)", words):
                    lexer = shlex.shlex(words, posix=True, punctuation_chars="<>&)")
                    lexer.whitespace_split = True
                    lexer.commenters = "#"
                    yield words, [word for word in lexer]


def check_command(words):
    """What is wrong with a command line, or None."""
    words = words[1:]
    for cut in ("<", ">", ">>", "&", "2>", ")"):
        if cut in words:
            words = words[:words.index(cut)]
    if not words or words[0] in ("--help", "--version", "COMMAND"):
        return None
    path = max((command for command in COMMANDS if words[:len(command)] == command), key=len, default=None)
    if path is None:
        return f"no such command: {' '.join(words)}"
    known = OPTIONS[" ".join(path)]
    for word in words[len(path):]:
        if word == "--":
            break
        if word.startswith("--") and len(word) > 2 and word[2:].split("=")[0] not in known:
            return f"dpone {' '.join(path)} has no option {word}"
    return None


def matches(expected, actual):
    """Whether lines agree: "…" alone stands for any number of lines, within a line for any text."""
    if not expected:
        return not actual
    if expected[0] == "…":
        return any(matches(expected[1:], actual[at:]) for at in range(len(actual) + 1))
    line = ".*".join(re.escape(part) for part in expected[0].split("…"))
    return bool(actual) and re.fullmatch(line, actual[0]) is not None and matches(expected[1:], actual[1:])


class Links(unittest.TestCase):
    def test_the_readme_leads_to_every_page_and_no_link_is_dead(self):
        pages = {os.path.relpath(path, SOURCE_DIR) for path in glob.glob(os.path.join(SOURCE_DIR, "docs", "*.md"))}
        linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", read("README.md")))
        self.assertEqual(sorted(pages - linked), [])
        for name, text in documents().items():
            for target in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", text):
                path = os.path.join(SOURCE_DIR, os.path.dirname(name), target)
                self.assertTrue(os.path.exists(path), f"{name} links to {target}, which is not there")


class Tables(unittest.TestCase):
    def test_blockers_of_a_plan(self):
        program = [entry[1] for entry in x_macro("replay/replay_planner.h", "DP_REPLAY_BLOCKER_LIST")]
        self.assertEqual(len(program), 10)
        self.assertEqual(table_keys(read("docs/operator-guide.md"), "### Blockers of a plan"), program)
        self.assertEqual(table_keys(read("docs/developer-guide.md"), "## Replay planner"), program)
        for document, text in documents().items():
            named = set(re.findall(r"`((?:replay|offset)\.[a-z_.]+)`", text))
            warnings = {entry[1] for entry in x_macro("replay/replay_planner.h", "DP_REPLAY_WARNING_LIST")}
            self.assertLessEqual(named, set(program) | warnings, document)

    def test_blockers_of_the_gate(self):
        program = [entry[1] for entry in x_macro("replay/commit_gate.h", "DP_GATE_BLOCKER_LIST")]
        self.assertEqual(len(program), 6)
        self.assertEqual(table_keys(read("docs/operator-guide.md"), "## Judge a receipt"), program)
        self.assertEqual(table_keys(read("docs/developer-guide.md"), "## Commit gate"), program)

    def test_the_lists_are_what_the_program_prints(self):
        done = dpone("cdc", "commit-gate", "--backend", "mssql_cdc", "--sink-status", "x")
        program = [entry[1] for entry in x_macro("replay/commit_gate.h", "DP_GATE_BLOCKER_LIST")]
        self.assertEqual([name for name in program if name in json.loads(done.stdout)["blockers"]],
                         json.loads(done.stdout)["blockers"])

    def test_exit_codes(self):
        program = sorted({int(entry[1]) for entry in x_macro("base/status.h", "DP_STATUS_LIST")})
        self.assertEqual([int(code) for code in table_keys(read("docs/operator-guide.md"), "## Exit codes")], program)

    def test_backends(self):
        program = [entry[1] for entry in x_macro("cdc/change.h", "DP_BACKEND_LIST")]
        self.assertEqual(table_keys(read("docs/operator-guide.md"), "## Tokens"), program)

    def test_every_command_is_in_the_operator_guide_and_exists(self):
        listed = table_keys(read("docs/operator-guide.md"), "## Commands")
        self.assertEqual(sorted(listed), sorted("dpone " + " ".join(command) for command in COMMANDS))

    def test_modules_of_the_developer_guide_exist(self):
        for cell in table_keys(read("docs/developer-guide.md"), "## Module map"):
            for path in re.findall(r"[a-z]+/[a-z_*]+\.[ch]", cell):
                self.assertTrue(glob.glob(os.path.join(SOURCE_DIR, path)), path)


class CommandLines(unittest.TestCase):
    def test_command_lines_parse(self):
        count = 0
        for document, text in documents().items():
            for line, words in command_lines(text):
                with self.subTest(document=document, line=line):
                    self.assertIsNone(check_command(words))
                    count += 1
        self.assertGreater(count, 5)

    def test_commands_and_options_named_in_text_exist(self):
        every_option = {name for known in OPTIONS.values() for name in known} | {"version"}
        for document, text in documents().items():
            prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
            for code in re.findall(r"`([^`\n]+)`", prose):
                with self.subTest(document=document, code=code):
                    if code.startswith("dpone "):
                        self.assertIsNone(check_command(code.split(" ")))
                    elif re.match(r"^--[a-z]", code):
                        self.assertIn(re.match(r"--([a-z0-9-]+)", code).group(1), every_option)


class Console(unittest.TestCase):
    def test_console_blocks_give_what_they_show(self):
        for document, text in documents().items():
            with tempfile.TemporaryDirectory(prefix="dpone-docs-") as directory:
                os.symlink(os.path.join(SOURCE_DIR, "examples"), os.path.join(directory, "examples"))
                os.symlink(BINARY, os.path.join(directory, "dpone"))
                environment = clean_environment(PATH=directory + ":" + os.environ["PATH"])
                for block in blocks(text, "console"):
                    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
                        with self.subTest(document=document, command=command):
                            done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, cwd=directory,
                                                  stderr=subprocess.STDOUT, text=True, timeout=60, env=environment)
                            if not matches(expected.splitlines(), done.stdout.splitlines()):
                                self.assertEqual(done.stdout, expected)


class Identity(unittest.TestCase):
    """The developer guide's few lines of Python recompute the id of every event of every capture."""

    @classmethod
    def setUpClass(cls):
        code = [block for block in blocks(read("docs/developer-guide.md"), "python") if "def event_id" in block]
        cls.namespace = {}
        exec(code[0], cls.namespace)

    def test_the_golden_ids(self):
        checked = 0
        for line in read("tests/golden/event_ids.txt").splitlines():
            kind, _, *rest = line.split("\t")
            if kind != "id" or rest[0] != "v1":
                continue
            payload = json.loads(rest[2])
            row = payload.pop("row", None)
            key = payload.pop("key", None)
            event = {**payload, "data": row["data"] if row else key or {}, "before": row["before"] if row else None}
            keys = () if row else list(key) if key else ["id"]
            self.assertEqual(self.namespace["event_id"](event, keys), rest[1], line)
            checked += 1
        self.assertGreater(checked, 5)

    def test_the_events_of_the_examples(self):
        self.assertIn(["cdc", "decode"], COMMANDS)
        keys = {"customers": ["id"], "orders": ["id"]}
        captures = sorted(glob.glob(os.path.join(SOURCE_DIR, "examples", "captures", "orders.*.csv")))
        self.assertGreater(len(captures), 1)
        for capture in captures:
            for with_keys in (False, True):
                flags = [f"--unique-key=public.{table}=id" for table in keys] if with_keys else []
                done = dpone("cdc", "decode", capture, *flags)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                events = [event for event in map(json.loads, done.stdout.splitlines()) if "event_id" in event]
                self.assertGreater(len(events), 5)
                for event in events:
                    with self.subTest(capture=capture, with_keys=with_keys, position=event["position"]):
                        columns = keys[event["source_table"]] if with_keys else ()
                        self.assertEqual(self.namespace["event_id"](event, columns), event["event_id"])


if __name__ == "__main__":
    unittest.main()
