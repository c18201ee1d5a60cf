"""docs/postgres.md and the program name the same blockers and findings."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_docs_contract import read, table_keys  # noqa: E402


def listed(path, name, pattern):
    """What the pattern finds in each entry of an X-macro list."""
    text = read(*path.split("/"))
    body = re.search(r"#define " + name + r"\(X\)((?:.|\n)*?)\n\n", text).group(1)
    return re.findall(pattern, body)


class PostgresDocument(unittest.TestCase):
    def setUp(self):
        self.text = read("docs", "postgres.md")

    def test_blockers(self):
        program = listed("cdc/source_blockers.h", "DP_SOURCE_BLOCKER_LIST", r'X\([A-Z_]+, "(source\.[a-z_]+)"')
        self.assertGreater(len(program), 10)
        self.assertEqual(table_keys(self.text, "## Blockers"), program)

    def test_blockers_of_the_journal(self):
        settings = set(listed("state/stream_settings.h", "DP_STREAM_SETTING_LIST", r'"(source\.[a-z_]+)"'))
        documented = set(re.findall(r"^\| `(source\.[a-z_]+)` \|", self.text, re.MULTILINE))
        self.assertEqual(settings - documented, set())

    def test_findings(self):
        program = listed("cdc/postgres_checks.h", "DP_SOURCE_FINDING_LIST", r'X\("([a-z_.]+)", (INFO|WARNING|ERROR)')
        rows = re.findall(r"^\| `([a-z_.]+)` \| (info|warning|error) \|", self.text, re.MULTILINE)
        self.assertEqual(rows, [(code, severity.lower()) for code, severity in program])

    def test_what_decoding_does_names_tests_that_exist(self):
        section = self.text.split("## What logical decoding does\n")[1].split("\n## ")[0]
        named = re.findall(r"`(test_\w+)\.(test_\w+)` \|$", section, re.MULTILINE)
        self.assertEqual(len(named), len(re.findall(r"^\| [A-Z]", section, re.MULTILINE)) - 1)
        for file, test in named:
            self.assertIn(f"def {test}(self", read("tests", "integration", file + ".py"), file)


if __name__ == "__main__":
    unittest.main()
