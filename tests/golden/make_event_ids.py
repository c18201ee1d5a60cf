#!/usr/bin/env python3
"""Computes the golden event ids of tests/golden/event_ids.txt, independently of dpone: json and hashlib only.

Each line of the output: name, identity, id, canonical JSON, separated by tabs. The unit test
tests/unit/cdc/test_event_identity.c builds the same changes in C and compares both. The output changes only when the
identity is broken on purpose; stored ledgers hold these ids.
"""
import hashlib
import json


def canonical(payload):
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def v1(operation, position, sequence, key=None, row=None, has_key=False):
    payload = {"operation": operation, "position": position, "sequence": sequence, "source_schema": "public",
               "source_table": "orders", "transaction_id": "900"}
    if has_key:
        payload["key"] = key
    else:
        payload["row"] = row
    return "v1", payload


def dpone_py(operation, position, row, key):
    return "dpone-py", {"key": key, "operation": operation, "position": position, "row": row, "sequence": None,
                        "source_schema": "public", "source_table": "orders", "transaction_id": "900"}


NEW = {"id": 10, "note": "a \"b\"\n\u00e9\U0001F600\x01", "paid": True, "price": "1.50", "ratio": "1e+20"}
NEW_PY = {"id": 10, "note": NEW["note"], "paid": True, "price": float("1.50"), "ratio": float("1e+20")}
CASES = {
    "insert_row": v1("insert", "0/16B6C50", 0, row={"before": {}, "data": NEW}),
    "insert_key": v1("insert", "0/16B6C50", 3, key={"id": 10}, has_key=True),
    "insert_two_columns_key": v1("insert", "0/16B6C50", 0, key={"id": 10, "note": NEW["note"]}, has_key=True),
    "update_with_old_row": v1("update", "1A/FF", 0, row={"before": {"id": 9, "note": None, "paid": False, "price": "0.1", "ratio": "NaN"},
                                                          "data": NEW}),
    "update_unchanged": v1("update", "1A/FF", 0, row={"before": {}, "data": {k: v for k, v in NEW.items() if k != "note"}}),
    "key_from_before": v1("update", "1A/FF", 0, key={"id": 10, "note": "old"}, has_key=True),
    "delete_key_only": v1("delete", "FFFFFFFF/FFFFFFFF", 0, row={"before": {}, "data": {"id": 10}}),
    "truncate_row": v1("truncate", "0/1", 0, row={"before": {}, "data": {}}),
    "truncate_key": v1("truncate", "0/1", 0, key=None, has_key=True),
    "python_row": dpone_py("insert", "0/16B6C50", {"before": {}, "data": NEW_PY}, {"before": {}, "data": NEW_PY}),
    "python_key": dpone_py("insert", "0/16B6C50", {"before": {}, "data": NEW_PY}, {"id": 10}),
    "python_delete": dpone_py("delete", "0/16B6C50",
                              {"before": {}, "data": {"id": 10, "note": None, "paid": None, "price": None, "ratio": None}}, {"id": 10}),
}

# Texts as PostgreSQL prints them and what json.dumps(float(text)) makes of them; numeric with an integral value: the integer.
FLOATS = ["0", "-0", "1", "1.5", "-1.5", "0.1", "100", "1e+20", "1e+16", "1e+15", "123456789012345680", "0.0001", "1e-05", "1.2345e-07",
          "1.7976931348623157e+308", "5e-324", "2.2250738585072014e-308", "NaN", "Infinity", "-Infinity", "3.4028235e+38", "0.33333334"]
NUMERICS = ["0", "-0.00", "1", "1.0", "1.50", "-12.000", "99999999999999999999999999", "0.1", "123456789.123456789", "NaN", "Infinity",
            "1" + "0" * 400, "0." + "0" * 20 + "1"]


def python_numeric(text):
    from decimal import Decimal
    value = Decimal(text)
    if value.is_finite() and value == value.to_integral_value():
        return json.dumps(int(value))
    return json.dumps(float(text))


if __name__ == "__main__":
    for name, (identity, payload) in CASES.items():
        text = canonical(payload)
        print("\t".join(["id", name, identity, hashlib.sha256(text.encode()).hexdigest(), text]))
    for text in FLOATS:
        print("\t".join(["float", text, json.dumps(float(text))]))
    for text in NUMERICS:
        print("\t".join(["numeric", text, python_numeric(text)]))
