"""Runs the program under test, and reads its own lists of commands and options.

    done = dpone("cdc", "plan", "--help")
    done.returncode, done.stdout, done.stderr

The lists come from --help, so that a test which walks them cannot miss a command that was added later.
"""

import os
import re
import subprocess

BINARY = os.environ.get("DPONE_BINARY", "dpone")
SOURCE_DIR = os.environ.get("DPONE_SOURCE_DIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))


def clean_environment(**changes):
    """The caller's environment without anything that configures dpone, and with `changes`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DPONE_", "SERVER_"))}
    clean.update(changes)
    return clean


def dpone(*arguments, input=None, env=None, cwd="/", timeout=60):
    """Runs to the end. Standard input is empty unless given. cwd is one without a .env."""
    return subprocess.run([BINARY, *arguments], input="" if input is None else input, capture_output=True, text=True,
                          timeout=timeout, cwd=cwd, env=clean_environment() if env is None else env)


def _rows(text, heading):
    """The left column of the rows under a heading such as "Commands:"."""
    lines = text.split("\n")
    at = lines.index(heading) + 1
    while at < len(lines) and lines[at].strip():
        row = re.match(r"^  (\S.*?)(?:  |$)", lines[at])
        if row:
            yield row.group(1)
        at += 1


def commands():
    """Every command as a list of words."""
    return [row.split(" ") for row in _rows(dpone("--help").stdout, "Commands:")]


def options(command):
    """The names of a command's options, without dashes, and whether each takes a value."""
    rows = _rows(dpone(*command, "--help").stdout, "Options:")
    return {row.split(" ")[0].removeprefix("--"): " " in row for row in rows}
