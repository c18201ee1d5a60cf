"""Every command: its help, its man page, its completion, and how it refuses what it does not know."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support.dpone import BINARY, commands, dpone, options

COMMANDS = commands()


class Help(unittest.TestCase):
    def test_there_are_commands(self):
        self.assertIn(["cdc", "replay-plan"], COMMANDS)
        self.assertGreater(len(COMMANDS), 4)

    def test_every_command_explains_itself(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                done = dpone(*command, "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("Usage: dpone " + " ".join(command), done.stdout)
                self.assertIn("\nExit codes: ", done.stdout)
                self.assertIn("\nExamples:\n", done.stdout, "help teaches by example")
                self.assertIn("dpone " + " ".join(command), done.stdout.split("\nExamples:\n")[1])
                for line in done.stdout.split("\n"):
                    self.assertLessEqual(len(line), 120, line)
                self.assertEqual(done.stdout.count("--help  "), 1)

    def test_help_wins_over_missing_options_and_ends_at_two_dashes(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                self.assertEqual(dpone(*command, "-h").stdout, dpone(*command, "--help").stdout)

    def test_an_unknown_option_is_one_clear_line(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                done = dpone(*command, "--no-such-option")
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                first, second = done.stderr.splitlines()
                self.assertEqual(first, f"dpone: unknown option '--no-such-option' for 'dpone {' '.join(command)}'")
                self.assertEqual(second, f"hint: see 'dpone {' '.join(command)} --help'")

    def test_near_misses_are_guessed(self):
        for words, guess in [(["cdc", "replay-plna"], "dpone cdc replay-plan"), (["replay-plan"], "dpone cdc replay-plan"),
                             (["sevre"], "dpone serve"), (["ccd", "plan"], "dpone cdc plan"),
                             (["cdc", "plan", "--tabel", "a.b"], "--table"),
                             (["cdc", "replay-plan", "--reply-from=0/1"], "--replay-from")]:
            with self.subTest(words=words):
                done = dpone(*words)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn("did you mean", done.stderr.splitlines()[1])
                self.assertIn(guess, done.stderr.splitlines()[1])
        self.assertNotIn("did you mean", dpone("cdc", "plan", "--zzz").stderr)

    def test_an_option_without_its_value_is_refused(self):
        for command in COMMANDS:
            for name, takes_value in options(command).items():
                if takes_value:
                    with self.subTest(command=command, option=name):
                        done = dpone(*command, "--" + name)
                        self.assertEqual((done.returncode, done.stdout), (2, ""))
                        self.assertIn(f"--{name} needs a value", done.stderr)

    def test_the_program_and_its_groups(self):
        self.assertEqual(dpone().returncode, 2)
        self.assertEqual(dpone("--help").returncode, 0)
        self.assertRegex(dpone("--version").stdout, r"^dpone \d+\.\d+\.\d+\n$")
        for group in sorted({command[0] for command in COMMANDS if len(command) > 1}):
            with self.subTest(group=group):
                self.assertEqual(dpone(group, "--help").returncode, 0)
                self.assertEqual(dpone(group).returncode, 2)
                done = dpone(group, "no-such-command")
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(f"unknown command '{group} no-such-command'", done.stderr)
        done = dpone("no-such-command")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("unknown command 'no-such-command'", done.stderr)

    def test_hostile_words_cannot_forge_a_line(self):
        done = dpone("cdc", "replay-plan", "--x\ndpone: all is well\x1b[0m")
        self.assertEqual(len(done.stderr.splitlines()), 2)
        self.assertNotIn("\x1b", done.stderr)

    def test_a_closed_standard_output_is_an_error_with_a_message(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BINARY, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 3)
        self.assertIn("unable to write to standard output: No space left on device", done.stderr)


class ManPages(unittest.TestCase):
    def pages(self):
        yield "", dpone("man").stdout
        for command in COMMANDS:
            yield "-".join(command), dpone("man", "-".join(command)).stdout

    def test_every_page_is_well_formed(self):
        if shutil.which("mandoc") is None:
            self.fail("mandoc is missing: install the Debian package mandoc")
        for name, page in self.pages():
            with self.subTest(page=name):
                # The date is left empty on purpose: a page made from the same program is the same page.
                done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=page, capture_output=True,
                                      text=True, timeout=60)
                complaints = [line for line in done.stdout.splitlines() if "missing date" not in line]
                self.assertEqual(complaints, [])

    def test_every_page_shows_every_option(self):
        for command in COMMANDS:
            page = dpone("man", "-".join(command)).stdout
            shown = subprocess.run(["mandoc", "-T", "utf8"], input=page, capture_output=True, text=True,
                                   timeout=60).stdout
            plain = re.sub(".\b", "", shown)
            for name in options(command):
                if name != "help":
                    with self.subTest(command=command, option=name):
                        self.assertIn("--" + name, plain)

    def test_an_unknown_page_is_refused(self):
        done = dpone("man", "cdc-nothing")
        self.assertEqual((done.returncode, done.stdout), (2, ""))


class Completion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="dpone-completion-")
        cls.script = os.path.join(cls.directory.name, "dpone.bash")
        with open(cls.script, "w") as file:
            file.write(dpone("completion", "bash").stdout)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def complete(self, *words):
        """What bash offers after these words, the last of them being typed. bash itself splits at '='."""
        code = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=(); _dpone; '
                'for reply in "${COMPREPLY[@]}"; do echo "$reply"; done')
        done = subprocess.run(["bash", "--norc", "-c", code, "bash", self.script, "dpone", *words],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def test_scripts_parse(self):
        for shell, check in (("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])):
            script = dpone("completion", shell)
            self.assertEqual((script.returncode, script.stderr), (0, ""))
            self.assertGreater(len(script.stdout), 500)
            if shell == "bash" or shutil.which(check[0]):
                path = os.path.join(self.directory.name, shell)
                with open(path, "w") as file:
                    file.write(script.stdout)
                done = subprocess.run([*check, path], capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(dpone("completion", "tcsh").returncode, 2)

    def test_bash_completes_every_command_and_option(self):
        self.assertEqual(self.complete("--v"), ["--version"])
        for command in COMMANDS:
            for length in range(len(command)):
                with self.subTest(command=command, length=length):
                    offered = self.complete(*command[:length], command[length][:2])
                    self.assertIn(command[length], offered)
                    self.assertEqual(len(offered), len(set(offered)), offered)
            offered = self.complete(*command, "--")
            self.assertEqual(sorted(offered), sorted("--" + name for name in options(command)))

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed")
    def test_fish_completes_every_command_and_option(self):
        path = os.path.join(self.directory.name, "dpone.fish")
        with open(path, "w") as file:
            file.write(dpone("completion", "fish").stdout)
        lines = [" ".join(["dpone", *command[:length], ""]) for command in COMMANDS for length in range(len(command))]
        lines += [" ".join(["dpone", *command, "--"]) for command in COMMANDS]
        code = "source $argv[1]; for line in $argv[2..-1]; echo '>'$line; complete -C$line; end"
        done = subprocess.run(["fish", "--no-config", "-c", code, path, *lines], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "HOME": self.directory.name})
        offered = {}
        for line in done.stdout.splitlines():
            if line.startswith(">"):
                words = offered.setdefault(line[1:], [])
            else:
                words.append(line.split("\t")[0])
        for command in COMMANDS:
            for length in range(len(command)):
                self.assertIn(command[length], offered[" ".join(["dpone", *command[:length], ""])])
            self.assertLessEqual({"--" + name for name in options(command)} - {"--help"},
                                 set(offered[" ".join(["dpone", *command, "--"])]))
        self.assertEqual(len(set(offered["dpone offsets "])), 4, "only what comes next")

    def test_bash_completes_choices(self):
        self.assertEqual(self.complete("cdc", "replay-plan", "--backend", "m"), ["mssql_cdc", "mssql_change_tracking"])
        self.assertEqual(self.complete("cdc", "replay-plan", "--format", ""), ["md", "json"])
        self.assertEqual(self.complete("cdc", "replay-plan", "--format", "="), ["md", "json"])
        self.assertEqual(self.complete("cdc", "replay-plan", "--format", "=", "j"), ["json"])
        self.assertEqual(self.complete("completion", "f"), ["fish"])

    def test_bash_leaves_files_to_readline(self):
        self.assertEqual(self.complete("cdc", "commit-gate", "--receipt", ""), [])
        self.assertEqual(self.complete("cdc", "commit-gate", "--receipt", "a", "--n"), ["--next-offset"])


if __name__ == "__main__":
    unittest.main()
