"""Poison as it stood in a state database before migration 0002: without a source, without a key, and twice."""
import json


def legacy_poison(ordinal=0):
    return json.dumps({"event_id": None, "source_table": "t", "position": "0/1", "ordinal": ordinal}, separators=(",", ":"))


def check_legacy_poison(test, server, pipeline="orders"):
    """Two rows of legacy_poison() are both there after the upgrade; the event is not added again, another one once."""
    path = f"/v1/pipelines/{pipeline}/quarantine"
    rows = server.json("GET", path)[2]["quarantine"]
    test.assertEqual([row["event"] for row in rows], [legacy_poison()] * 2)
    for ordinal, added in ((0, 0), (1, 1), (1, 0)):
        body = {"source": "7/shop", "backend": "postgres_logical", "code": "key_missing", "reason": "no key", "context": {},
                "event": json.loads(legacy_poison(ordinal))}
        answer = server.json("POST", path, {"Content-Type": "application/json"}, json.dumps(body))
        test.assertEqual((answer[0], answer[2]), (200, {"added": added, "duplicates": 1 - added}))
    test.assertEqual([row["source"] for row in server.json("GET", path)[2]["quarantine"]], ["", "", "7/shop"])
