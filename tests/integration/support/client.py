"""Runs `dpone client` with short waits and reads what it says in JSON."""

import json

from support.dpone import dpone

QUICK = ("--retry-min-wait", "0.001", "--retry-max-wait", "0.005", "--retry-multiplier", "0.002", "--proxy", "")


def client(method, url, *options, quick=True, timeout=60):
    """(exit code, the JSON object, standard error)."""
    done = dpone("client", method, url, "--json", *(QUICK if quick else ("--proxy", "")), *options, timeout=timeout)
    if not done.stdout:
        raise AssertionError(f"no output; {done.returncode}: {done.stderr}")
    return done.returncode, json.loads(done.stdout), done.stderr


def get(url, *options, **more):
    return client("get", url, *options, **more)
