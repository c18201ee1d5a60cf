"""Runs `dpone cdc run` on a capture and reads back what the journal holds."""
import json
import os
import subprocess
import urllib.error
import urllib.request

from support.dpone import BINARY as DPONE, SOURCE_DIR

CAPTURES = os.path.join(SOURCE_DIR, "tests", "captures", "postgres-15")


def capture(name):
    return os.path.join(CAPTURES, name)


def lines(output):
    """Lines as NDJSON ends them: str.splitlines would also split at U+2028 and its kin."""
    return output.decode("utf-8").split("\n")[:-1]


def decode(path, *options):
    """The event and commit lines that `dpone cdc decode` prints of a capture."""
    done = subprocess.run([DPONE, "cdc", "decode", path, *options], stdout=subprocess.PIPE, check=True)
    return lines(done.stdout)


def run_command(url, path, *options, pipeline="orders"):
    return [DPONE, "cdc", "run", "--pipeline", pipeline, "--source", f"file:{path}", "--server", url, *options]


def run(url, path, *options, pipeline="orders", environment=None, until_end=True, timeout=120):
    """One run to its end; (exit code, summary or None, standard error)."""
    command = run_command(url, path, *options, pipeline=pipeline) + (["--until-end"] if until_end else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                          env={**os.environ, **(environment or {})})
    summary = json.loads(done.stdout) if done.stdout.strip() else None
    return done.returncode, summary, done.stderr.decode("utf-8", "replace")


def journal(url, pipeline="orders"):
    """Every line of the pipeline's journal, in order; [] when there is none yet."""
    try:
        with urllib.request.urlopen(f"{url}/v1/pipelines/{pipeline}/events") as reply:
            return lines(reply.read())
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise


def stored_offset(url, pipeline="orders"):
    """The pipeline's stored token as a number, or None."""
    try:
        with urllib.request.urlopen(f"{url}/v1/pipelines/{pipeline}/offsets/postgres_logical/*/*") as reply:
            return lsn(json.load(reply)["token"])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def ends(journal_lines):
    """The end positions of the commit lines."""
    return [lsn(line["end_position"]) for line in map(json.loads, journal_lines) if line.get("type") == "commit"]
