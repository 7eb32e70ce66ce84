-- Indexes of users: any kind, made before or after segments, always maintained.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('s', 2, 'jsonb', '{"segment_messages": 50}');
CREATE INDEX s_key ON s (key);
SELECT sum(count) FROM stream_publish_batch('s', (SELECT array_agg(jsonb_build_object('n', i, 'tag', 't' || i % 7)) FROM generate_series(0, 199) i),
	(SELECT array_agg('k' || i % 10) FROM generate_series(0, 199) i));
-- Made when there are segments, and found on those that come.
CREATE INDEX s_n ON s (((value->>'n')::int));
CREATE INDEX s_tag ON s USING gin (value jsonb_path_ops);
CREATE INDEX s_first ON s (ts) WHERE value->>'tag' = 't1';
CREATE INDEX s_brin ON s USING brin (ts);
CREATE INDEX s_hash ON s USING hash (key);
CREATE INDEX s_covering ON s (partition, "offset") INCLUDE (key);
SELECT sum(count) FROM stream_publish_batch('s', (SELECT array_agg(jsonb_build_object('n', i, 'tag', 't' || i % 7)) FROM generate_series(200, 399) i),
	(SELECT array_agg('k' || i % 10) FROM generate_series(200, 399) i));
SELECT count(*) FROM generate_series(400, 449) i, stream_publish('s', jsonb_build_object('n', i, 'tag', 't' || i % 7), 'k' || i % 10);
SELECT partition, count(*) AS segments, min((SELECT count(*) FROM pg_index i WHERE i.indrelid = segment)) AS least_indexes,
	   bool_and((SELECT bool_and(i.indisvalid AND i.indisready) FROM pg_index i WHERE i.indrelid = segment)) AS valid
  FROM weir.segments WHERE stream = 's'::regclass GROUP BY 1 ORDER BY 1;
-- Of a single segment.
CREATE INDEX single ON s_p0_s0 (key, "offset");
DROP INDEX single;

-- What an index scan finds is what reading finds.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) AS keys, count(*) FILTER (WHERE by_index IS DISTINCT FROM by_read) AS differ
  FROM (SELECT (SELECT array_agg("offset" ORDER BY "offset") FROM s WHERE key = 'k' || i AND partition = stream_partition_for('s', 'k' || i)) AS by_index,
			   (SELECT array_agg("offset" ORDER BY "offset") FROM stream_read('s', stream_partition_for('s', 'k' || i)) r WHERE r.key = 'k' || i) AS by_read
		  FROM generate_series(0, 9) i) x;
SELECT count(*) FROM s WHERE (value->>'n')::int BETWEEN 100 AND 420;
SET enable_bitmapscan = on;
SET enable_indexscan = off;
SELECT count(*) FROM s WHERE value @> '{"tag": "t3"}';
SELECT count(*) FROM s WHERE ts <= now() AND value->>'tag' = 't1';
SELECT count(*) = 450 AS all_of_them FROM s WHERE ts <= clock_timestamp();
SET enable_seqscan = on;
SET enable_bitmapscan = off;
SELECT count(*) FROM s WHERE value @> '{"tag": "t3"}';
SELECT count(*) FROM s WHERE ts <= now() AND value->>'tag' = 't1';
RESET ALL;

-- A unique index: a violation takes the whole publish back.
SELECT stream_create('u', 1, 'int');
CREATE UNIQUE INDEX u_value ON u (partition, "offset", value);
CREATE UNIQUE INDEX u_once ON u_p0_s0 (value);
SELECT * FROM stream_publish_batch('u', '{1,2,3}'::text[]);
SELECT * FROM stream_publish('u', '2'::text);
SELECT * FROM stream_publish_batch('u', '{4,1}'::text[]);
SELECT array_agg(value) FROM stream_read('u');
SELECT stream_high_watermark('u');
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('u', '2'::text);
\set VERBOSITY default
-- Caught, and the transaction goes on.
DO $$
BEGIN
	PERFORM stream_publish('u', '1');
EXCEPTION WHEN unique_violation THEN
	RAISE NOTICE 'caught: %', sqlerrm;
END $$;
VACUUM u;
SELECT * FROM stream_publish('u', '7'::text);
SELECT array_agg("offset"), array_agg(value) FROM stream_read('u');
-- A deferrable one leans on a trigger, so it is refused; an exclusion constraint is just an index.
SELECT stream_create('d', 1, 'int');
ALTER TABLE d_p0_s0 ADD CONSTRAINT once UNIQUE (value) DEFERRABLE INITIALLY DEFERRED;
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('d', '1'::text);
SELECT * FROM stream_publish('d', '1'::text);
\set VERBOSITY default
SELECT array_agg(value) FROM stream_read('d');
SELECT stream_create('x', 1, 'int4range');
ALTER TABLE x_p0_s0 ADD CONSTRAINT apart EXCLUDE USING gist (value WITH &&);
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('x', '[1,3]'::text);
SELECT * FROM stream_publish('x', '[3,4]'::text);
SELECT * FROM stream_publish('x', '[4,5]'::text);
\set VERBOSITY default
SELECT array_agg(value) FROM stream_read('x');

-- An index expression that fails, or that publishes itself: no lock of ours is held then.
CREATE FUNCTION inverse(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 100 / i';
SELECT stream_create('e', 1, 'int');
CREATE INDEX e_inverse ON e (inverse(value));
SELECT * FROM stream_publish('e', '5'::text);
SELECT * FROM stream_publish('e', '0'::text);
SELECT * FROM stream_publish_batch('e', '{1,0}'::text[]);
SELECT array_agg(value) FROM stream_read('e');
CREATE FUNCTION tell(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
	$$BEGIN PERFORM stream_publish('e', (i + 1)::text); RETURN i; END$$;
SELECT stream_create('f', 1, 'int');
CREATE INDEX f_tell ON f (tell(value));
SELECT * FROM stream_publish('f', '1'::text);
SELECT array_agg(value) FROM stream_read('e');

-- REINDEX, DROP INDEX, an invalid index.
REINDEX TABLE s;
DROP INDEX s_tag;
SELECT count(*) FROM stream_publish_batch('s', array_fill('{"n": 1000}'::jsonb, ARRAY[60]), partition => 0);
SET enable_seqscan = off;
SELECT count(*) FROM s WHERE (value->>'n')::int = 1000;
RESET enable_seqscan;

SELECT s.stream, c.* FROM weir.stream s, LATERAL stream_check(s.stream) c;
SELECT count(stream_drop(stream)) FROM weir.stream WHERE stream <> 'weir.activity'::regclass;
DROP FUNCTION inverse, tell;
