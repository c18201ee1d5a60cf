#!/usr/bin/env python3
"""Fails when a file includes what its folder may not use (docs/architecture.md), or a library outside its adapter."""

import fnmatch
import re
import subprocess
import sys

PURE = {"base", "cdc", "replay"}
MAY_USE = {
    "base": set(),
    "cdc": {"base"},
    "replay": {"base", "cdc"},
    "state": {"base", "cdc"},
    "client": {"base"},
    "services": PURE | {"state", "client"},
    "server": {"base", "services"},
    "cli": PURE | {"services", "server"},
}
# What a folder uses beyond that, by name.
ALSO = {
    "cli/client_*": {"client/client.h"},  # the resilient client is what these commands offer
    "cli/cmd_client.c": {"client/client.h"},
    "cli/state_options.h": {"state/store.h"},  # the form of a DSN
}
LIBRARIES = {
    "libpq-fe.h": ["cdc/postgres_session.c", "state/postgres_*"],
    "sqlite3.h": ["state/sqlite_*"],
    "microhttpd.h": ["server/*microhttpd*"],
    "curl/*": ["client/http_curl*"],
    "zstd.h": ["services/zstd_codec.c"],
    "openssl/*": ["base/sha256.c", "server/access.c", "server/tls_files.c"],
    "jansson.h": ["services/*", "server/*", "cli/*"],
}
INCLUDE = re.compile(r'^#include ["<]([^">]+)[">]', re.MULTILINE)


def matches(name, patterns):
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def fault(file, header):
    folder, target = file.split("/")[0], header.split("/")[0]
    for library, homes in LIBRARIES.items():
        if fnmatch.fnmatch(header, library) and not matches(file, homes):
            return f"only {' and '.join(homes)} may include it"
    if target not in MAY_USE or target == folder or target in MAY_USE[folder]:
        return None
    if any(fnmatch.fnmatch(file, pattern) and header in headers for pattern, headers in ALSO.items()):
        return None
    return f"{folder}/ may use {', '.join(sorted(MAY_USE[folder])) or 'no other folder'}"


def main():
    files = subprocess.run(["git", "ls-files", "*.c", "*.h"], check=True, capture_output=True, text=True).stdout
    faults = []
    for file in files.split():
        if file.split("/")[0] not in MAY_USE:
            continue
        with open(file, encoding="utf-8") as text:
            faults += [f"{file}: #include {header}: {why}"
                       for header in INCLUDE.findall(text.read()) if (why := fault(file, header))]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
