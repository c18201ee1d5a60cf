-- A change that is read again is kept in quarantine once. event_key is the SHA-256 of the event and its stream, NULL
-- when the event does not say where it stood and in rows from before this migration: those stay as they are, also
-- where a change stands twice, and the second index finds them by their text.
ALTER TABLE dpone_quarantine ADD COLUMN event_key bytea;

CREATE UNIQUE INDEX dpone_quarantine_event ON dpone_quarantine (event_key);
CREATE INDEX dpone_quarantine_unkeyed ON dpone_quarantine (pipeline) WHERE event_key IS NULL;
