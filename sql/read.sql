-- Reading: forms, directions, bounds, gaps, and what one sees of oneself.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('s', 2, 'jsonb', '{"segment_messages": 4}');
SELECT * FROM stream_publish_batch('s', (SELECT array_agg(to_jsonb(i)) FROM generate_series(0, 9) i), partition => 0);
SELECT * FROM stream_publish('s', '{"a": [1, "x"]}'::jsonb, 'key', '{"h": 1}', partition => stream_partition_for('s', 'key'));

-- Three forms.
SELECT partition, "offset", key, value, headers, pg_typeof(value) FROM stream_read('s', stream_partition_for('s', 'key'), start => 'latest', reverse => true, max_messages => 1);
SELECT partition, "offset", key, value, headers, pg_typeof(value) FROM stream_read('s'::regclass, stream_partition_for('s', 'key'), start => 'latest', reverse => true, max_messages => 1);
SELECT partition, "offset", key, value->'a'->1 AS x, headers, pg_typeof(value) FROM stream_read(NULL::s, stream_partition_for('s', 'key'), start => 'latest', reverse => true, max_messages => 1);
SELECT count(*) AS differ FROM stream_read(NULL::s, 0) a FULL JOIN s b USING (partition, "offset") WHERE partition = 0 AND a.* IS DISTINCT FROM b.*;
SELECT count(*) AS rows, count(DISTINCT ts) > 0 AS have_ts FROM stream_read('public.s', 0);
-- With a row of the stream at hand, too: all that counts is the type.
SELECT count(*) FROM (SELECT s FROM s WHERE partition = 0 LIMIT 1) x, LATERAL stream_read(x.s, 0);

-- Forward.
SELECT array_agg("offset") FROM stream_read('s', 0);
SELECT array_agg("offset") FROM stream_read('s', 0, 3);
SELECT array_agg("offset") FROM stream_read('s', 0, 3, 2);
SELECT array_agg("offset") FROM stream_read('s', 0, 9);
SELECT array_agg("offset") FROM stream_read('s', 0, 10);
SELECT array_agg("offset") FROM stream_read('s', 0, 0, 0);
SELECT array_agg("offset") FROM stream_read('s', 0, max_messages => NULL);
SELECT array_agg("offset") FROM stream_read('s', 0, 2, stop_offset => 7);
SELECT array_agg("offset") FROM stream_read('s', 0, 2, stop_offset => 2);
SELECT array_agg("offset") FROM stream_read('s', 0, 2, stop_offset => 1);
SELECT array_agg("offset") FROM stream_read('s', 0, 2, stop_offset => 1000000);
SELECT array_agg("offset") FROM stream_read('s', 0, start => 'earliest');
SELECT array_agg("offset") FROM stream_read('s', 0, start => 'latest');
-- Every start, every length: what SELECT says.
SELECT count(*) AS reads, count(*) FILTER (WHERE
		(SELECT array_agg("offset") FROM stream_read('s', 0, f, m)) IS DISTINCT FROM
		(SELECT array_agg(o ORDER BY o) FROM (SELECT "offset" AS o FROM s WHERE partition = 0 AND "offset" >= f ORDER BY 1 LIMIT m) x)) AS wrong
  FROM generate_series(0, 10) f, generate_series(0, 11) m;

-- Backward, newest first; an offset is included.
SELECT array_agg("offset") FROM stream_read('s', 0, reverse => true);
SELECT array_agg("offset") FROM stream_read('s', 0, 6, reverse => true);
SELECT array_agg("offset") FROM stream_read('s', 0, 6, 2, reverse => true);
SELECT array_agg("offset") FROM stream_read('s', 0, 0, reverse => true);
SELECT array_agg("offset") FROM stream_read('s', 0, 10, reverse => true);
SELECT array_agg("offset") FROM stream_read('s', 0, 8, stop_offset => 5, reverse => true);
SELECT array_agg("offset") FROM stream_read('s', 0, 8, stop_offset => 9, reverse => true);
SELECT array_agg("offset") FROM stream_read('s', 0, start => 'latest', reverse => true, max_messages => 3);
SELECT array_agg("offset") FROM stream_read('s', 0, start => 'earliest', reverse => true);
SELECT count(*) AS reads, count(*) FILTER (WHERE
		(SELECT array_agg("offset") FROM stream_read('s', 0, f, m, reverse => true)) IS DISTINCT FROM
		(SELECT array_agg(o ORDER BY o DESC) FROM (SELECT "offset" AS o FROM s WHERE partition = 0 AND "offset" <= f ORDER BY 1 DESC LIMIT m) x)) AS wrong
  FROM generate_series(0, 10) f, generate_series(0, 11) m;

-- Errors, each with its own code; an offset that can be next is none.
\set VERBOSITY sqlstate
SELECT * FROM stream_read('s', 0, 11);
SELECT * FROM stream_read('s', 0, 11, reverse => true);
SELECT * FROM stream_read('s', 0, 9223372036854775807);
SELECT * FROM stream_read('s', 0, -1);
SELECT * FROM stream_read('s', 0, -1, reverse => true);
SELECT * FROM stream_read('s', 0, stop_offset => -1);
SELECT * FROM stream_read('s', 0, 0, -1);
SELECT * FROM stream_read('s', 0, start => 'middle');
SELECT * FROM stream_read('s', 0, 0, start => 'earliest');
SELECT * FROM stream_read('s');
SELECT * FROM stream_read('s', 2);
SELECT * FROM stream_read('s', -1);
SELECT * FROM stream_read(NULL::text, 0);
SELECT * FROM stream_read(NULL::regclass, 0);
SELECT * FROM stream_read('nothing', 0);
SELECT * FROM stream_read('pg_class', 0);
SELECT * FROM stream_read(NULL::pg_class, 0);
SELECT * FROM stream_read(1, 0);
SELECT * FROM stream_read('s_p0', 0);
\set VERBOSITY default
SELECT * FROM stream_read('s', 0, 11);
SELECT * FROM stream_read('s', 0, 10);

-- An empty stream is pending, not an error.
SELECT stream_create('e', 1, 'text');
SELECT * FROM stream_read('e');
SELECT * FROM stream_read('e', 0, 0);
SELECT * FROM stream_read('e', reverse => true);
SELECT * FROM stream_read('e', start => 'latest');
SELECT * FROM stream_read('e', 0, 0, reverse => true);
SELECT * FROM stream_read('e', 0, 1);

-- Own messages of this transaction are there at once, in the same statement too.
BEGIN;
SELECT "offset" FROM stream_publish('e', 'mine'::text);
SELECT "offset", value FROM stream_read('e');
SELECT stream_high_watermark('e');
SELECT (SELECT "offset" FROM stream_publish('e', 'same statement'::text)) AS published,
	   (SELECT count(*) FROM stream_read('e')) AS seen;
SELECT "offset", value FROM stream_read('e');
-- A savepoint that is rolled back takes its messages along, what comes after does not wait for them.
SAVEPOINT a;
SELECT "offset" FROM stream_publish('e', 'gone'::text);
SELECT array_agg(value) FROM stream_read('e');
ROLLBACK TO a;
SELECT array_agg(value) FROM stream_read('e');
SELECT "offset" FROM stream_publish('e', 'after'::text);
SELECT array_agg("offset"), array_agg(value) FROM stream_read('e');
SELECT array_agg("offset"), array_agg(value) FROM stream_read('e', reverse => true);
SAVEPOINT b;
SELECT "offset" FROM stream_publish('e', 'kept'::text);
RELEASE b;
SELECT array_agg(value) FROM stream_read('e');
COMMIT;
SELECT array_agg("offset"), array_agg(value) FROM stream_read('e');
SELECT stream_high_watermark('e');
BEGIN;
SELECT "offset" FROM stream_publish('e', 'never'::text);
ROLLBACK;
SELECT array_agg("offset"), array_agg(value) FROM stream_read('e');
SELECT stream_high_watermark('e'), stream_next_offset('e');
-- A reader may stand in the gap and beyond all that can be read, up to the next offset.
SELECT array_agg("offset") FROM stream_read('e', 0, 2);
SELECT array_agg("offset") FROM stream_read('e', 0, 5);
SELECT array_agg("offset") FROM stream_read('e', 0, 6);
SELECT array_agg("offset") FROM stream_read('e', 0, 6, reverse => true);
SELECT array_agg("offset") FROM stream_read('e', 0, 7);

-- A cursor sees what was there when it was opened, whatever this transaction does meanwhile.
BEGIN;
DECLARE c CURSOR FOR SELECT value FROM stream_read('e');
FETCH 1 FROM c;
SELECT "offset" FROM stream_publish('e', 'later'::text);
FETCH ALL FROM c;
DECLARE d CURSOR FOR SELECT value FROM stream_read('e', reverse => true);
SELECT "offset" FROM stream_publish('e', 'even later'::text);
FETCH 2 FROM d;
ROLLBACK;

-- A volatile function that publishes while it is being read, row by row: each statement sees its own beginning.
CREATE FUNCTION echo(v text) RETURNS bigint LANGUAGE sql VOLATILE AS $$SELECT "offset" FROM stream_publish('e', 'echo ' || v)$$;
SELECT value, echo(value) - stream_high_watermark('e') AS ahead FROM stream_read('e');
SELECT array_agg(value) FROM stream_read('e');
DROP FUNCTION echo;

-- Wide gaps: whole pages of nothing, before, between and after.
SELECT stream_create('g', 1, 'text', '{"segment_messages": 3000}');
BEGIN;
SELECT count(*) FROM stream_publish_batch('g', array_fill('x'::text, ARRAY[2000]));
ROLLBACK;
SELECT "offset" FROM stream_publish('g', 'first'::text);
BEGIN;
SELECT count(*) FROM stream_publish_batch('g', array_fill('x'::text, ARRAY[5000]));
ROLLBACK;
SELECT "offset" FROM stream_publish('g', 'second'::text);
BEGIN;
SELECT count(*) FROM stream_publish_batch('g', array_fill('x'::text, ARRAY[2000]));
ROLLBACK;
SELECT "offset", value FROM stream_read('g');
SELECT "offset", value FROM stream_read('g', reverse => true);
SELECT "offset", value FROM stream_read('g', 0, 2001);
SELECT "offset", value FROM stream_read('g', 0, 7000, reverse => true);
SELECT stream_earliest_offset('g'), stream_high_watermark('g'), stream_next_offset('g');
VACUUM g;
SELECT "offset", value FROM stream_read('g');
SELECT "offset", value FROM stream_read('g', reverse => true);
SELECT "offset", value FROM stream_read('g', 0, 2001);
SELECT "offset", value FROM stream_read('g', 0, 7000, reverse => true);
SELECT stream_earliest_offset('g'), stream_high_watermark('g'), stream_next_offset('g');
SELECT count(*) AS reads, count(*) FILTER (WHERE
		(SELECT array_agg("offset") FROM stream_read('g', 0, f)) IS DISTINCT FROM
		(SELECT array_agg("offset" ORDER BY "offset") FROM g WHERE "offset" >= f)) AS wrong
  FROM generate_series(0, 7002, 7) f;

-- Reading changes nothing, so it works in a read-only transaction, and in REPEATABLE READ and SERIALIZABLE.
BEGIN READ ONLY;
SELECT count(*) FROM stream_read('s', 0);
SELECT stream_high_watermark('s', 0), stream_next_offset('s', 0), stream_earliest_offset('s', 0);
SELECT count(*) FROM stream_check('s');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM stream_read('s', 0);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM stream_read('s', 0);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
SELECT count(*) FROM stream_read('s', 0);
COMMIT;

-- In a select list, where rows come one by one.
SELECT (stream_read(NULL::s, 0)).value LIMIT 3;
SELECT (r).partition, (r)."offset", (r).value FROM (SELECT stream_read('s', 0, 8) AS r) x;
SELECT p, stream_read('s', p, 0, 0) FROM generate_series(0, 1) p;
SELECT count(*) FROM (SELECT p, stream_read('s', p) FROM generate_series(0, 1) p) x;
\set VERBOSITY sqlstate
SELECT stream_read('s', 0, 1000);
\set VERBOSITY default
-- Given up in the middle: a cursor is closed, a query ends early, an error comes from beside.
BEGIN;
DECLARE c CURSOR FOR SELECT (stream_read(NULL::s, 0)).value;
FETCH 2 FROM c;
SELECT "offset" FROM stream_publish('s', '"new"'::jsonb, partition => 0);
FETCH ALL FROM c;
DECLARE d CURSOR FOR SELECT (stream_read(NULL::s, 0)).value;
FETCH 1 FROM d;
CLOSE d;
ROLLBACK;
SELECT (stream_read('s', 0))."offset" / 0;

-- In joins, as an inner side that is read again and again.
SELECT p, count(*) FROM generate_series(0, 1) p, LATERAL stream_read('s', p) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM stream_read('s', 0) a JOIN stream_read(NULL::s, 0) b USING ("offset");

SELECT stream_drop('s'), stream_drop('e'), stream_drop('g');
