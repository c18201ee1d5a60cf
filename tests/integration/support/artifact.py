"""Reads and tampers with artifacts, knowing nothing but their documented format."""
import hashlib
import json
import os
import re


def manifest(path):
    with open(os.path.join(path, "manifest.json"), encoding="utf-8") as file:
        return json.load(file)


def lines(path, number=1):
    with open(os.path.join(path, f"events-{number:05}.ndjson"), "rb") as file:
        return file.read().splitlines(keepends=True)


def write_lines(path, content, number=1):
    with open(os.path.join(path, f"events-{number:05}.ndjson"), "wb") as file:
        file.writelines(content)


def seal(path, document):
    """Writes a manifest with a digest that fits, as someone would who forges one."""
    text = json.dumps({name: value for name, value in document.items() if name != "manifest_sha256"}, indent=2)
    content = text[:-2]
    digest = hashlib.sha256(content.encode()).hexdigest()
    with open(os.path.join(path, "manifest.json"), "w", encoding="utf-8") as file:
        file.write(f'{content},\n  "manifest_sha256": "{digest}"\n}}\n')


def check_independently(path):
    """Counts and digests of an uncompressed artifact, computed with hashlib and json alone; a list of what differs."""
    document = manifest(path)
    ids = hashlib.sha256()
    events = commits = 0
    wrong = []
    for entry in document["files"]:
        for name, digest in (("name", "sha256"), ("index", "index_sha256")):
            with open(os.path.join(path, entry[name]), "rb") as file:
                if hashlib.sha256(file.read()).hexdigest() != entry[digest]:
                    wrong.append(entry[name])
        with open(os.path.join(path, entry["name"]), encoding="utf-8") as file:
            for line in file:
                line = json.loads(line)
                if "event_id" in line:
                    ids.update(bytes.fromhex(line["event_id"]))
                    events += 1
                else:
                    commits += 1
    found = {"events": events, "transactions": commits, "lines": events + commits, "event_ids_sha256": ids.hexdigest()}
    wrong += [name for name, value in found.items() if document[name] != value]
    with open(os.path.join(path, "manifest.json"), encoding="utf-8") as file:
        content, digest = re.fullmatch(r'(.*),\n  "manifest_sha256": "([0-9a-f]{64})"\n}\n', file.read(), re.DOTALL).groups()
    if hashlib.sha256(content.encode()).hexdigest() != digest:
        wrong.append("manifest_sha256")
    return wrong
