-- The journal, its receipts, offsets, quarantine and audit. Documented in docs/state-postgres.md.
-- Runs inside one transaction with search_path set to the state's schema. :"offset_table" is replaced by the
-- quoted name of the offset table, as psql does it with -v offset_table=etl_cdc_offset.
-- Times named *_us are microseconds since 1970-01-01T00:00:00Z. Positions are ten bytes, big-endian, so that
-- their bytes sort as the stream does.

-- The row is locked for as long as a batch of its stream is written: that lock is what keeps batches which
-- arrive through different servers in order. Room is left in each page, since every batch updates the row.
CREATE TABLE dpone_stream (
    stream_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    source text NOT NULL,
    backend text NOT NULL,
    identity text NOT NULL,
    next_event_number bigint NOT NULL,
    high_position bytea,
    pruned_position bytea,
    passed_position bytea,
    has_staged boolean NOT NULL DEFAULT false,
    staged_transaction_id text,
    staged_first_number bigint NOT NULL DEFAULT 0,
    staged_count bigint NOT NULL DEFAULT 0,
    transaction_count bigint NOT NULL DEFAULT 0,
    event_count bigint NOT NULL DEFAULT 0,
    settings text,
    created_at_us bigint NOT NULL,
    updated_at_us bigint NOT NULL,
    commit_marker text, -- of the transaction that saved the row last; tells whether a COMMIT was done
    UNIQUE (pipeline, source, backend)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- One row makes the transaction's events visible: those numbered first_number to first_number + event_count - 1.
CREATE TABLE dpone_transaction (
    stream_id bigint NOT NULL,
    end_position bytea NOT NULL,
    transaction_id text,
    committed_at_us bigint,
    stored_at_us bigint NOT NULL,
    first_number bigint NOT NULL,
    event_count bigint NOT NULL,
    PRIMARY KEY (stream_id, end_position)
);

-- Numbers count within the stream, so rows are appended at the right edge of each stream's part of the key.
-- operation: 0 insert, 1 update, 2 delete, 3 update_before, 4 truncate.
CREATE TABLE dpone_event (
    stream_id bigint NOT NULL,
    event_number bigint NOT NULL,
    sequence bigint,
    operation smallint NOT NULL,
    event_id bytea NOT NULL,
    source_schema text NOT NULL,
    source_table text NOT NULL,
    position text NOT NULL,
    data text NOT NULL,
    before text,
    unchanged text,
    metadata text,
    PRIMARY KEY (stream_id, event_number)
);

CREATE TABLE dpone_receipt (
    receipt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    source text NOT NULL,
    identity text NOT NULL,
    idempotency_key text NOT NULL,
    stream_id bigint NOT NULL,
    batch_id bytea NOT NULL,
    staged boolean NOT NULL,
    http_status integer NOT NULL,
    body text NOT NULL,
    created_at_us bigint NOT NULL,
    UNIQUE (pipeline, source, identity, idempotency_key)
);

CREATE INDEX dpone_receipt_stream ON dpone_receipt (stream_id, created_at_us, receipt_id);
CREATE INDEX dpone_receipt_staged ON dpone_receipt (stream_id) WHERE staged;

CREATE TABLE dpone_quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    source text NOT NULL,
    backend text NOT NULL,
    source_schema text NOT NULL,
    source_table text NOT NULL,
    position text,
    transaction_id text,
    end_position text,
    reason text NOT NULL,
    detail text NOT NULL,
    event text NOT NULL,
    state text NOT NULL,
    created_at_us bigint NOT NULL,
    resolved_at_us bigint NOT NULL DEFAULT 0,
    resolved_by text,
    resolution text
);

CREATE INDEX dpone_quarantine_pipeline ON dpone_quarantine (pipeline, quarantine_id);

CREATE TABLE dpone_audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    pipeline text,
    subject text NOT NULL,
    reason text,
    old_value text,
    new_value text
);

-- Shared with the Python tool of the same name, hence its names and types, and hence IF NOT EXISTS.
CREATE TABLE IF NOT EXISTS :"offset_table" (
    pipeline_name text NOT NULL,
    source_schema text NOT NULL,
    source_table text NOT NULL,
    backend text NOT NULL,
    token text NOT NULL,
    snapshot_complete boolean NOT NULL,
    "__dpone__loaded_at" timestamp without time zone NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    "__dpone__updated_at" timestamp without time zone NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (pipeline_name, source_schema, source_table, backend)
);
