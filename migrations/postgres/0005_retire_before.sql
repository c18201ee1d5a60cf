-- What 0003 made of an unpartitioned journal, dpone_event_before, is dropped by retention as a whole once no stream
-- needs it any more, and its grants are carried over in full. As 0003 else; the grants of the function stay.
CREATE OR REPLACE FUNCTION dpone_event_drop_partitions(stream bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
DECLARE
    used bigint;
    names text[];
    name text;
    boundary bigint;
BEGIN
    SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''?(\d+)''?\)')::bigint INTO boundary
        FROM pg_class c WHERE c.oid = to_regclass('dpone_event_before');
    -- A stream that was inside a transaction then goes on in partitions from now on.
    IF EXISTS (SELECT FROM dpone_stream WHERE stream_id = stream AND NOT has_staged AND next_event_number < boundary) THEN
        BEGIN
            UPDATE dpone_stream SET next_event_number = boundary
                WHERE stream_id = stream AND NOT has_staged AND next_event_number < boundary;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            NULL;
        END;
    END IF;
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
    -- Numbers only grow, so a stream that has left it never comes back.
    IF boundary <= used AND NOT EXISTS (SELECT FROM dpone_stream s WHERE least(s.next_event_number,
            CASE WHEN s.has_staged THEN s.staged_first_number END,
            (SELECT t.first_number FROM dpone_transaction t WHERE t.stream_id = s.stream_id
             ORDER BY t.end_position LIMIT 1)) < boundary) THEN
        BEGIN
            LOCK TABLE ONLY dpone_event_streams, ONLY dpone_event IN ACCESS EXCLUSIVE MODE;
            DROP TABLE IF EXISTS dpone_event_before;
        EXCEPTION WHEN lock_not_available OR deadlock_detected OR insufficient_privilege
            OR dependent_objects_still_exist THEN
            NULL; -- its rows are deleted instead
        END;
    END IF;
    RETURN used;
END $$;

-- 0003 carried over whole-table grants, without GRANT OPTION. The rest can be read from the table that was there, but
-- only now: where 0003 was applied earlier, what an owner has granted or revoked since then counts.
DO $$
DECLARE
    granted record;
BEGIN
    IF NOT EXISTS (SELECT FROM dpone_migration WHERE version = 3 AND xmin = pg_current_xact_id()::xid) THEN
        RETURN;
    END IF;
    FOR granted IN
        SELECT a.privilege_type AS privilege, a.grantee, c.relowner, ' WITH GRANT OPTION' AS option
            FROM pg_class c, aclexplode(c.relacl) a
            WHERE c.oid = to_regclass('dpone_event_before') AND a.is_grantable
        UNION ALL
        SELECT format('%s (%I)', a.privilege_type, t.attname), a.grantee, c.relowner,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
            FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
            WHERE c.oid = to_regclass('dpone_event_before') LOOP
        CONTINUE WHEN granted.grantee = granted.relowner;
        EXECUTE format('GRANT %s ON dpone_event, dpone_event_streams TO %s%s', granted.privilege,
                       coalesce((SELECT quote_ident(rolname) FROM pg_roles WHERE oid = granted.grantee), 'PUBLIC'),
                       granted.option);
    END LOOP;
END $$;
