-- Dropping takes about five locks for each partition, and a transaction can hold only so many: a call drops the
-- lowest twenty at most, and whoever has more to drop calls again. As 0003 else; the grants stay.
CREATE OR REPLACE FUNCTION dpone_event_drop_partitions(stream bigint) RETURNS bigint
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
    names := ARRAY(SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'dpone_event_streams'::regclass
        AND c.relname LIKE format('dpone\_event\_%s\_%%', stream)
        AND (split_part(c.relname, '_', 4)::bigint + 1) * 1000000 <= used
        ORDER BY split_part(c.relname, '_', 4)::bigint LIMIT 20);
    IF cardinality(names) > 0 THEN
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
