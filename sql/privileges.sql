-- Privileges: those of the table; row-level security is refused, never ignored.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

CREATE ROLE regress_weir_owner;
CREATE ROLE regress_weir_publisher;
CREATE ROLE regress_weir_reader;
CREATE ROLE regress_weir_nobody;
CREATE SCHEMA house AUTHORIZATION regress_weir_owner;
GRANT USAGE ON SCHEMA house TO PUBLIC;

SET ROLE regress_weir_owner;
SELECT stream_create('house.s', 1, 'text', '{"segment_messages": 3}');
GRANT INSERT ON house.s TO regress_weir_publisher;
GRANT SELECT ON house.s TO regress_weir_reader;
SELECT * FROM stream_publish('house.s', 'owner'::text);
-- Not in a schema in which he may not create.
\set VERBOSITY sqlstate
CREATE SCHEMA another;
SELECT stream_create('pg_catalog.x');
SELECT stream_create('public.x');
\set VERBOSITY default

-- INSERT to publish, and nothing else.
SET ROLE regress_weir_publisher;
SELECT * FROM stream_publish('house.s', 'publisher'::text);
SELECT * FROM stream_publish_batch('house.s', '{a}'::text[]);
SELECT stream_partition_for('house.s', 'k');
SELECT * FROM stream_read('house.s');
\set VERBOSITY sqlstate
SELECT * FROM stream_read('house.s');
SELECT * FROM stream_read('house.s'::regclass);
SELECT * FROM stream_read(NULL::house.s);
SELECT stream_high_watermark('house.s');
SELECT stream_earliest_offset('house.s');
SELECT stream_next_offset('house.s');
SELECT stream_offset_at('house.s', 0, now());
SELECT * FROM stream_check('house.s');
SELECT * FROM stream_repair('house.s');
SELECT stream_trim('house.s', 0, 0);
SELECT stream_alter('house.s', '{}');
SELECT stream_drop('house.s');
SELECT stream_adopt('house.s');
SELECT * FROM house.s;
SELECT weir.longest_append_hold();
INSERT INTO house.s VALUES (0, 9, now(), NULL, 'x', NULL);
INSERT INTO weir.stream VALUES ('house.s', 1, '{}');
DELETE FROM weir.segment;
UPDATE weir.partition SET start_offset = 1;
\set VERBOSITY default
-- Over a segment's end: the segment is made for the owner, with his rights.
SELECT * FROM stream_publish_batch('house.s', '{b,c,d,e}'::text[]);
RESET ROLE;
SELECT relname, relowner::regrole, relacl IS NULL AS as_owner FROM pg_class WHERE relnamespace = 'house'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname COLLATE "C";
-- And inline, in one transaction with the lock that a maker would wait for.
SET ROLE regress_weir_publisher;
BEGIN;
SELECT * FROM stream_publish_batch('house.s', '{f,g,h,i}'::text[]);
SELECT current_user;
COMMIT;

-- SELECT to read, and nothing else.
SET ROLE regress_weir_reader;
SELECT "offset", value FROM stream_read('house.s');
SELECT "offset", value FROM stream_read(NULL::house.s, 0, 0, 1);
SELECT stream_high_watermark('house.s'), stream_earliest_offset('house.s'), stream_next_offset('house.s'), stream_offset_at('house.s', 0, '-infinity');
SELECT * FROM stream_check('house.s');
SELECT stream, partitions, options FROM weir.streams;
SELECT stream, partition, segments, next_offset FROM weir.partitions;
SELECT segment, lower_offset, blocks FROM weir.segments ORDER BY 2;
SELECT * FROM stream_publish('house.s', 'reader'::text);
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('house.s', 'reader'::text);
SELECT * FROM stream_publish_batch('house.s', '{a}'::text[]);
SELECT stream_trim('house.s', 0, 0);
SELECT stream_alter('house.s', '{}');
SELECT stream_drop('house.s');
SELECT * FROM stream_repair('house.s');
DELETE FROM house.s;
\set VERBOSITY default

-- Nothing: not even numbers.
SET ROLE regress_weir_nobody;
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('house.s', 'nobody'::text);
SELECT * FROM stream_read('house.s');
SELECT stream_high_watermark('house.s');
SELECT * FROM stream_check('house.s');
\set VERBOSITY default
SELECT count(*) FROM weir.streams;
SELECT count(*) FROM weir.partitions;
SELECT count(*) FROM weir.segments;
SELECT * FROM weir.partition_info('house.s', 0);
SELECT * FROM weir.segment_info('house.s_p0_s0');

-- The error comes before any lock: somebody without rights blocks nobody.
BEGIN;
SAVEPOINT a;
SELECT * FROM stream_publish('house.s', 'nobody'::text);
ROLLBACK TO a;
SELECT count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'house.s'::regclass;
COMMIT;
RESET ROLE;

-- Columns do not count: the right is that of the whole table.
GRANT INSERT (key, value), SELECT (value) ON house.s TO regress_weir_nobody;
SET ROLE regress_weir_nobody;
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('house.s', 'nobody'::text);
SELECT * FROM stream_read('house.s');
\set VERBOSITY default
RESET ROLE;
REVOKE ALL ON house.s FROM regress_weir_nobody;

-- A function of the owner lends his rights, as everywhere.
SET ROLE regress_weir_owner;
CREATE FUNCTION house.say(v text) RETURNS bigint SECURITY DEFINER LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
	$$SELECT "offset" FROM public.stream_publish('house.s'::regclass, v)$$;
SET ROLE regress_weir_nobody;
SELECT house.say('through a function') > 0 AS published;
RESET ROLE;
DROP FUNCTION house.say;

-- Row-level security.
ALTER TABLE house.s ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON house.s USING (key = current_user);
SET ROLE regress_weir_publisher;
SELECT * FROM stream_publish('house.s', 'hidden'::text);
SET ROLE regress_weir_reader;
SELECT * FROM stream_read('house.s');
\set VERBOSITY sqlstate
SELECT stream_high_watermark('house.s');
SELECT * FROM stream_read(NULL::house.s);
SELECT count(*) FROM stream_fetch('house.s', 'g', wait => '1 s');
SELECT count(*) FROM stream_seek('house.s', 'g', start => 'latest');
SELECT count(*) FROM stream_join('house.s', 'g', 'm');
SELECT stream_channel('house.s');
SELECT stream_subscribe('house.s');
CALL stream_wait('house.s', '1 s');
\set VERBOSITY default
SELECT count(*) FROM house.s;
SELECT count(*) AS numbers_shown FROM weir.partitions;
-- The owner is above it, unless it is forced.
SET ROLE regress_weir_owner;
SELECT count(*) > 0 AS sees FROM stream_read('house.s');
ALTER TABLE house.s FORCE ROW LEVEL SECURITY;
\set VERBOSITY sqlstate
SELECT count(*) > 0 AS sees FROM stream_read('house.s');
SELECT * FROM stream_publish('house.s', 'owner'::text);
\set VERBOSITY default
ALTER TABLE house.s NO FORCE ROW LEVEL SECURITY;
ALTER TABLE house.s DISABLE ROW LEVEL SECURITY;
DROP POLICY own_rows ON house.s;
SET ROLE regress_weir_reader;
SELECT count(*) > 0 AS sees FROM stream_read('house.s');

-- Revoked is revoked, also for a plan that is there.
SET ROLE regress_weir_publisher;
PREPARE p AS SELECT "offset" > 0 AS published FROM stream_publish('house.s', 'p'::text);
EXECUTE p;
RESET ROLE;
REVOKE INSERT ON house.s FROM regress_weir_publisher;
SET ROLE regress_weir_publisher;
EXECUTE p;
RESET ROLE;
DEALLOCATE p;

-- The schema is closed: the names cannot be reached.
REVOKE USAGE ON SCHEMA house FROM PUBLIC;
SET ROLE regress_weir_reader;
\set VERBOSITY sqlstate
SELECT * FROM stream_read('house.s');
SELECT * FROM stream_read('house.s'::regclass);
\set VERBOSITY default
RESET ROLE;

-- A role that owns the stream but may no longer create in its schema: the stream goes on.
ALTER SCHEMA house OWNER TO CURRENT_USER;
SET ROLE regress_weir_owner;
SELECT has_schema_privilege('house', 'CREATE');
RESET ROLE;
SELECT count(*) FROM stream_publish_batch('house.s', '{1,2,3,4,5,6,7,8}'::text[]);
SELECT * FROM stream_check('house.s');

SET client_min_messages = warning;
DROP SCHEMA house CASCADE;
RESET client_min_messages;
SELECT count(*) FROM weir.stream WHERE stream <> 'weir.activity'::regclass;
DROP ROLE regress_weir_owner, regress_weir_publisher, regress_weir_reader, regress_weir_nobody;
