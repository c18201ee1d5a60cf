-- The journal, its receipts, offsets, quarantine and audit. Documented in docs/state.md.
-- Times named *_us are microseconds since 1970-01-01T00:00:00Z. Positions are ten bytes, big-endian, so that
-- their bytes sort as the stream does.

CREATE TABLE dpone_stream (
    stream_id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL,
    source TEXT NOT NULL,
    backend TEXT NOT NULL,
    identity TEXT NOT NULL,
    next_event_number INTEGER NOT NULL,
    high_position BLOB,
    pruned_position BLOB,
    passed_position BLOB,
    has_staged INTEGER NOT NULL DEFAULT 0,
    staged_transaction_id TEXT,
    staged_first_number INTEGER NOT NULL DEFAULT 0,
    staged_count INTEGER NOT NULL DEFAULT 0,
    transaction_count INTEGER NOT NULL DEFAULT 0,
    event_count INTEGER NOT NULL DEFAULT 0,
    settings TEXT,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    UNIQUE (pipeline, source, backend)
) STRICT;

-- Event numbers are shared by all streams of a SQLite store: the next one is the largest of this column.
CREATE INDEX dpone_stream_next_number ON dpone_stream (next_event_number);

-- One row makes the transaction's events visible: those numbered first_number to first_number + event_count - 1.
CREATE TABLE dpone_transaction (
    stream_id INTEGER NOT NULL,
    end_position BLOB NOT NULL,
    transaction_id TEXT,
    committed_at_us INTEGER,
    stored_at_us INTEGER NOT NULL,
    first_number INTEGER NOT NULL,
    event_count INTEGER NOT NULL,
    PRIMARY KEY (stream_id, end_position)
) STRICT, WITHOUT ROWID;

-- The number is the row's key, so rows are appended and the tree never grows in the middle.
-- operation: 0 insert, 1 update, 2 delete, 3 update_before, 4 truncate.
CREATE TABLE dpone_event (
    event_number INTEGER PRIMARY KEY,
    event_id BLOB NOT NULL,
    operation INTEGER NOT NULL,
    source_schema TEXT NOT NULL,
    source_table TEXT NOT NULL,
    position TEXT NOT NULL,
    sequence INTEGER,
    data TEXT NOT NULL,
    before TEXT,
    unchanged TEXT,
    metadata TEXT
) STRICT;

CREATE TABLE dpone_receipt (
    receipt_id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL,
    source TEXT NOT NULL,
    identity TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    stream_id INTEGER NOT NULL,
    batch_id BLOB NOT NULL,
    staged INTEGER NOT NULL,
    http_status INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    UNIQUE (pipeline, source, identity, idempotency_key)
) STRICT;

CREATE INDEX dpone_receipt_stream ON dpone_receipt (stream_id, created_at_us);
CREATE INDEX dpone_receipt_staged ON dpone_receipt (stream_id) WHERE staged = 1;

CREATE TABLE dpone_quarantine (
    quarantine_id INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline TEXT NOT NULL,
    source TEXT NOT NULL,
    backend TEXT NOT NULL,
    source_schema TEXT NOT NULL,
    source_table TEXT NOT NULL,
    position TEXT,
    transaction_id TEXT,
    end_position TEXT,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    event TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    resolved_at_us INTEGER NOT NULL DEFAULT 0,
    resolved_by TEXT,
    resolution TEXT
) STRICT;

CREATE INDEX dpone_quarantine_pipeline ON dpone_quarantine (pipeline, quarantine_id);

CREATE TABLE dpone_audit (
    audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    pipeline TEXT,
    subject TEXT NOT NULL,
    reason TEXT,
    old_value TEXT,
    new_value TEXT
) STRICT;

-- Shared with the Python tool of the same name, hence its names and types, and hence IF NOT EXISTS.
CREATE TABLE IF NOT EXISTS etl_cdc_offset (
    pipeline_name TEXT NOT NULL,
    source_schema TEXT NOT NULL,
    source_table TEXT NOT NULL,
    backend TEXT NOT NULL,
    token TEXT NOT NULL,
    snapshot_complete BOOLEAN NOT NULL,
    "__dpone__loaded_at" TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "__dpone__updated_at" TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (pipeline_name, source_schema, source_table, backend)
);
