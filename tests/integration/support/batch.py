"""Builds batches as any client would, with json and hashlib only: an independent reading of the wire format."""
import hashlib
import json


def event_id(event, key=None):
    """Identity v1: the configured key columns, or the whole row."""
    payload = {name: event[name] for name in ("operation", "position", "sequence", "source_schema", "source_table", "transaction_id")}
    if key is None:
        payload["row"] = {"before": event["before"] or {}, "data": event["data"]}
    elif event["operation"] == "truncate":
        payload["key"] = None
    else:
        before = event["before"] or {}
        payload["key"] = {name: event["data"].get(name, before.get(name)) for name in key}
    return hashlib.sha256(json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def event(xid, ordinal, position, data, **changes):
    line = {"operation": "insert", "source_schema": "public", "source_table": "orders", "position": position,
            "transaction_id": str(xid), "sequence": 0, "ordinal": ordinal, "data": data, "before": None, "unchanged": []}
    line.update(changes)
    return {"event_id": changes.get("event_id") or event_id(line, ["id"]), **line}


def commit(xid, end, count):
    return {"type": "commit", "transaction_id": str(xid), "end_position": end, "committed_at": "2026-01-02T03:04:05.678901Z",
            "count": count}


def transaction(xid, end, count, first_id=0, **changes):
    """`count` inserts and their commit; positions lie just below the end."""
    number = int(end.split("/")[1], 16)
    lines = [event(xid, i, f"0/{number - 0x100 + i:X}", {"id": first_id + i, "note": f"row {i}"}, **changes) for i in range(count)]
    return lines + [commit(xid, end, count)]


def text(line):
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n"


class Batch:
    """A whole batch; every part can be replaced before it is sent."""

    def __init__(self, lines, next_offset=None, pipeline="orders", source="7/shop", identity="v1"):
        offset = {"backend": "postgres_logical", "token": next_offset, "snapshot_complete": True} if next_offset else None
        self.header = {"type": "batch", "schema": "dpone.cdc.batch.v1", "pipeline": pipeline, "backend": "postgres_logical",
                       "source": source, "identity": identity, "next_offset": offset, "stored_offset": None, "high_watermark": None}
        self.lines = "".join(map(text, lines)).encode()
        self.batch_id = hashlib.sha256(self.lines + (next_offset or "").encode()).hexdigest()
        self.trailer = {"type": "end", "count": sum("event_id" in line for line in lines), "batch_id": self.batch_id}

    @property
    def body(self):
        return text(self.header).encode() + self.lines + text(self.trailer).encode()

    def send(self, server, key=None, body=None, headers=None, pipeline="orders"):
        """(status, headers, parsed body)"""
        fields = {"Content-Type": "application/x-ndjson", "Idempotency-Key": self.batch_id if key is None else key}
        fields.update(headers or {})
        fields = {name: value for name, value in fields.items() if value is not None}
        return server.json("POST", f"/v1/pipelines/{pipeline}/batches", fields, self.body if body is None else body)
