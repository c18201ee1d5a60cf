"""The points at which tests kill a process, read from the one list in base/crash_point.h."""
import os
import re

from support.dpone import SOURCE_DIR


def points(process):
    """The names of the points that this command passes: run, serve, offset, export, replay or prune."""
    with open(os.path.join(SOURCE_DIR, "base", "crash_point.h"), encoding="utf-8") as header:
        text = re.sub(r"\\\s*\n\s*", " ", header.read())
    found = [name for name, owner in re.findall(r'X\([A-Z_]+,\s*"([a-z_]+)",\s*"([a-z]+)"', text) if owner == process]
    if not found:
        raise ValueError(f"base/crash_point.h lists no point of {process}")
    return found
