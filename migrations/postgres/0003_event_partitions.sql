-- Events in partitions, a million numbers of one stream each, so that retention drops whole tables. Documented
-- in docs/state-postgres.md. As 0001: inside one transaction, with search_path set to the state's schema.
-- Nothing is rewritten: the table that was there becomes one partition for the numbers given out so far, and
-- every stream goes on above them. A stream that waits for a commit line keeps its numbers; those below the
-- boundary go where its first rows are.

ALTER TABLE dpone_event RENAME TO dpone_event_before;
ALTER INDEX dpone_event_pkey RENAME TO dpone_event_before_pkey;

CREATE TABLE dpone_event (
    LIKE dpone_event_before,
    PRIMARY KEY (stream_id, event_number)
) PARTITION BY RANGE (event_number);

-- The partitions of all streams. Readers hold it in ACCESS SHARE mode from before their snapshot, so that a
-- partition is dropped before a reader begins or after it has ended.
CREATE TABLE dpone_event_streams (
    LIKE dpone_event_before,
    PRIMARY KEY (stream_id, event_number)
) PARTITION BY RANGE (stream_id, event_number);

-- Numbers below it have a partition to go to, so that not every batch has to ask.
ALTER TABLE dpone_stream ADD COLUMN partitioned_below bigint NOT NULL DEFAULT 0;

-- By these two a role that may do no DDL adds and drops partitions. A new one is attached, not created in
-- place, because that holds up neither readers nor writers.
CREATE FUNCTION dpone_event_add_partition(stream bigint, part bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    name text := format('dpone_event_%s_%s', stream, part);
BEGIN
    IF to_regclass(name) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE dpone_event_streams INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE dpone_event_streams ATTACH PARTITION %I FOR VALUES FROM (%s, %s) TO (%s, %s)',
                       name, stream, part * 1000000, stream, (part + 1) * 1000000);
    END IF;
END $$;

-- Drops what lies below the first number that is still in use and returns that number. While readers are at
-- work nothing is dropped: nobody waits behind this for longer than half a second.
CREATE FUNCTION dpone_event_drop_partitions(stream bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    used bigint;
    names text[];
    name text;
BEGIN
    SELECT least(s.next_event_number, CASE WHEN s.has_staged THEN s.staged_first_number END,
                 (SELECT t.first_number FROM dpone_transaction t WHERE t.stream_id = s.stream_id
                  ORDER BY t.end_position LIMIT 1))
        INTO used FROM dpone_stream s WHERE s.stream_id = stream;
    SELECT array_agg(c.relname::text) INTO names FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'dpone_event_streams'::regclass
        AND c.relname LIKE format('dpone\_event\_%s\_%%', stream)
        AND (split_part(c.relname, '_', 4)::bigint + 1) * 1000000 <= used;
    IF names IS NOT NULL THEN
        BEGIN
            LOCK TABLE ONLY dpone_event_streams IN ACCESS EXCLUSIVE MODE;
            FOREACH name IN ARRAY names LOOP
                EXECUTE format('DROP TABLE IF EXISTS %I', name);
            END LOOP;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            NULL;
        END;
    END IF;
    RETURN used;
END $$;

REVOKE ALL ON FUNCTION dpone_event_add_partition(bigint, bigint), dpone_event_drop_partitions(bigint) FROM PUBLIC;

DO $$
DECLARE
    boundary bigint := 0;
    granted record;
BEGIN
    FOR granted IN SELECT a.privilege_type, coalesce(quote_ident(r.rolname), 'PUBLIC') AS grantee
        FROM pg_class c, aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE c.oid = 'dpone_event_before'::regclass AND a.grantee <> c.relowner LOOP
        EXECUTE format('GRANT %s ON dpone_event, dpone_event_streams TO %s', granted.privilege_type, granted.grantee);
        IF granted.privilege_type = 'INSERT' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION dpone_event_add_partition(bigint, bigint), '
                           'dpone_event_drop_partitions(bigint) TO %s', granted.grantee);
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM dpone_event_before) THEN
        SELECT (max(CASE WHEN has_staged THEN staged_first_number + staged_count ELSE next_event_number END) / 1000000 + 1)
               * 1000000 INTO boundary FROM dpone_stream;
        EXECUTE format('ALTER TABLE dpone_event ATTACH PARTITION dpone_event_before FOR VALUES FROM (MINVALUE) TO (%s)', boundary);
        UPDATE dpone_stream SET next_event_number = boundary WHERE NOT has_staged;
    ELSE
        DROP TABLE dpone_event_before;
    END IF;
    EXECUTE format('ALTER TABLE dpone_event ATTACH PARTITION dpone_event_streams FOR VALUES FROM (%s) TO (MAXVALUE)', boundary);
    UPDATE dpone_stream SET partitioned_below = boundary;
    EXECUTE format('ALTER TABLE dpone_stream ALTER next_event_number SET DEFAULT %s, ALTER partitioned_below SET DEFAULT %s',
                   greatest(boundary, 1), boundary);
END $$;
