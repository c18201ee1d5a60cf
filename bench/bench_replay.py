"""How fast a window is exported, verified, replayed, pruned and followed, beside a plain copy of the same bytes and beside
live ingestion. Usage: DPONE_BINARY=... python3 bench/bench_replay.py [rows]

Prints one JSON object. Everything runs on this machine, so server and client share its cores.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
os.environ.setdefault("DPONE_SOURCE_DIR", ROOT)
os.environ.setdefault("DPONE_BINARY", os.path.join(ROOT, "build", "release", "cli", "dpone"))
from support.dpone_server import DponeServer  # noqa: E402

DPONE = os.environ["DPONE_BINARY"]
KEY = ["--unique-key", "public.bench_rows=id"]


def timed(*command, output=subprocess.DEVNULL):
    start = time.monotonic()
    done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return seconds


def folder_bytes(path):
    return sum(os.path.getsize(os.path.join(path, name)) for name in os.listdir(path))


def main():
    rows = sys.argv[1] if len(sys.argv) > 1 else "100000"
    with tempfile.TemporaryDirectory(prefix="dpone-bench-") as directory:
        capture = os.path.join(directory, "capture.csv")
        with open(capture, "wb") as file:
            subprocess.run([sys.executable, os.path.join(ROOT, "bench", "make_bench_capture.py"), "--rows", rows],
                           stdout=file, check=True)
        dsn = f"sqlite:{directory}/journal.db"
        with DponeServer(state=dsn) as server, DponeServer(state=f"sqlite:{directory}/target.db") as target:
            measure(directory, capture, dsn, server.url, target.url)


def measure(directory, capture, dsn, url, target):
    pipeline = ["--pipeline", "bench"]
    seconds = {"ingest": timed(DPONE, "cdc", "run", *pipeline, "--source", f"file:{capture}", "--server", url, "--until-end",
                               *KEY)}
    plain, packed = os.path.join(directory, "plain"), os.path.join(directory, "packed")
    seconds["export"] = timed(DPONE, "cdc", "export", *pipeline, "--state", dsn, "--output", plain)
    seconds["export_over_http"] = timed(DPONE, "cdc", "export", *pipeline, "--server", url, "--output", plain + "2")
    seconds["export_zstd"] = timed(DPONE, "cdc", "export", *pipeline, "--state", dsn, "--output", packed,
                                   "--compression", "zstd")
    seconds["copy"] = timed("sh", "-c", f"cp -r '{plain}' '{plain}3' && sync '{plain}3'/*")
    seconds["sha256sum"] = timed("sha256sum", os.path.join(plain, "events-00001.ndjson"))
    seconds["verify"] = timed(DPONE, "cdc", "verify", "--artifact", plain)
    seconds["verify_zstd"] = timed(DPONE, "cdc", "verify", "--artifact", packed)
    replay = [DPONE, "cdc", "replay", *pipeline, "--endpoint", target, "--replay-from", "0/0", "--pause-check-ms", "0",
              "--record", os.path.join(directory, "record")]
    seconds["replay_new"] = timed(*replay, "--artifact-uri", packed)
    seconds["replay_duplicates"] = timed(*replay, "--server", url, "--allow-rewind")
    seconds["follow"] = timed(DPONE, "cdc", "follow", *pipeline, "--server", url, "--consumer", "bench", "--until-end",
                              "--batch-events", "20000")
    seconds["prune"] = timed(DPONE, "state", "prune", *pipeline, "--state", dsn, "--older-than-hours", "0", "--pause-ms", "0")
    with open(os.path.join(plain, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    size, events = folder_bytes(plain), manifest["events"]
    print(json.dumps({
        "events": events, "transactions": manifest["transactions"], "artifact_bytes": size,
        "artifact_zstd_bytes": folder_bytes(packed), "state_bytes": os.path.getsize(dsn.removeprefix("sqlite:")),
        "rates": {name: {"seconds": round(value, 3), "events_per_second": round(events / value),
                         "mb_per_second": round(size / value / 1e6, 1)} for name, value in seconds.items()},
    }, indent=2))
    shutil.rmtree(plain)


if __name__ == "__main__":
    main()
