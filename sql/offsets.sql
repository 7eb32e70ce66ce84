-- Offsets: of ends, of times, after rollbacks and VACUUM.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('s', 2, 'text', '{"segment_messages": 10}');

-- Nothing there: 0 is the end, the beginning and the next.
SELECT stream_earliest_offset('s', 0), stream_high_watermark('s', 0), stream_next_offset('s', 0);
SELECT stream_offset_at('s', 0, '2000-01-01'), stream_offset_at('s', 0, 'infinity'), stream_offset_at('s', 0, '-infinity');
SELECT stream_offset_at('s', 0, 'infinity', 'last');

-- Messages with times that we know: what was loaded keeps its time.
SELECT stream_create('t', 1, 'text', '{"segment_messages": 10}');
COPY t_p0_s0 FROM stdin;
0	0	2020-01-01 00:00:00+00	\N	zero	\N
0	1	2020-01-01 00:00:10+00	\N	one	\N
0	2	2020-01-01 00:00:10+00	\N	two	\N
0	3	2020-01-01 00:00:20+00	\N	three	\N
0	5	2020-01-01 00:00:30+00	\N	five	\N
\.
CREATE FUNCTION at(seconds numeric, find text DEFAULT 'first') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN stream_offset_at('t', 0, timestamptz '2020-01-01 00:00:00+00' + seconds * interval '1 second', find);
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate;
END $$;
-- First at or after: before all the first; between, the next; after all, the next to come.
SELECT s AS seconds, at(s) AS first, at(s, 'last') AS last
  FROM unnest('{-1, 0, 0.000001, 9.999999, 10, 10.000001, 19, 20, 29, 30, 30.000001, 1000}'::numeric[]) s;
SELECT stream_offset_at('t', 0, '-infinity'), stream_offset_at('t', 0, 'infinity'), stream_offset_at('t', 0, 'infinity', 'last');
SELECT stream_offset_at('t', 0, '-infinity', 'last');
-- Over many segments; times of today come after those.
SELECT count(*) FROM generate_series(1, 55) i, stream_publish('t', i::text);
SELECT lower_offset, blocks > 0 AS used, verified FROM weir.segments WHERE stream = 't'::regclass ORDER BY 1;
SELECT s AS seconds, at(s) AS first, at(s, 'last') AS last FROM unnest('{-1, 10, 20, 25, 30, 31}'::numeric[]) s;
SELECT count(*) AS messages,
	   count(*) FILTER (WHERE stream_offset_at('t', 0, ts) <> (SELECT min("offset") FROM t x WHERE x.ts >= t.ts)) AS first_wrong,
	   count(*) FILTER (WHERE stream_offset_at('t', 0, ts, 'last') <> (SELECT max("offset") FROM t x WHERE x.ts <= t.ts)) AS last_wrong,
	   count(*) FILTER (WHERE stream_offset_at('t', 0, ts + interval '1 us') <> coalesce((SELECT min("offset") FROM t x WHERE x.ts > t.ts), stream_high_watermark('t'))) AS after_wrong
  FROM t;
-- ts never goes back within a partition.
SELECT count(*) AS fell FROM (SELECT ts < lag(ts) OVER (ORDER BY "offset") AS fell FROM t) x WHERE fell;
-- Rolled-back messages have no time.
BEGIN;
SELECT count(*) FROM generate_series(1, 25) i, stream_publish('t', i::text);
ROLLBACK;
SELECT stream_offset_at('t', 0, now() + interval '1 day') = stream_high_watermark('t') AS first_after_all,
	   stream_offset_at('t', 0, now() + interval '1 day', 'last') = stream_high_watermark('t') - 1 AS last_of_all;
SELECT stream_offset_at('t', 0, (SELECT max(ts) + interval '1 us' FROM t)) = stream_high_watermark('t') AS rolled_back_passed;
SELECT count(*) FROM stream_check('t');
\set VERBOSITY sqlstate
SELECT stream_offset_at('t', 0, NULL);
SELECT stream_offset_at('t', 0, now(), NULL);
SELECT stream_offset_at('t', 0, now(), 'nearest');
SELECT stream_offset_at('t', 1, now());
SELECT stream_offset_at('s', NULL, now());
SELECT stream_offset_at(NULL, 0, now());
SELECT stream_high_watermark('s');
SELECT stream_high_watermark('s', 2);
SELECT stream_high_watermark('s', -1);
SELECT stream_high_watermark(NULL);
SELECT stream_next_offset('s');
SELECT stream_next_offset('s', 2);
SELECT stream_earliest_offset('s');
SELECT stream_earliest_offset('s', 2);
SELECT stream_high_watermark('pg_class');
\set VERBOSITY default

-- Also where the clock is behind: what was loaded is from times to come.
SELECT stream_create('f', 1, 'text', '{"segment_messages": 3}');
COPY f_p0_s0 FROM stdin;
0	0	2100-01-01 00:00:00+00	\N	zero	\N
\.
SELECT first_offset, last_offset FROM stream_publish_batch('f', '{1,2,3,4,5,6,7}'::text[]);
SELECT count(*) AS messages, count(DISTINCT ts) AS times, min(ts) = max(ts) AS same FROM f;
SELECT * FROM stream_check('f');
SELECT stream_offset_at('f', 0, now()), stream_offset_at('f', 0, now() + interval '1000 years'), stream_offset_at('f', 0, 'infinity', 'last');
-- And where the segment that was left is not in order.
SELECT stream_create('f2', 1, 'text', '{"segment_messages": 3}');
COPY f2_p0_s0 FROM stdin;
0	1	2100-01-02 00:00:00+00	\N	one	\N
0	0	2100-01-01 00:00:00+00	\N	zero	\N
\.
SELECT "offset" FROM stream_publish('f2', '3'::text);
SELECT count(*) AS fell FROM (SELECT ts < lag(ts) OVER (ORDER BY "offset") AS fell FROM f2) x WHERE fell;
SELECT stream_drop('f'), stream_drop('f2');

-- The dead tail: publish 10, roll back 10, VACUUM, publish.  Nobody may stand above 10 in between.
SELECT stream_create('d', 1, 'text');
CREATE VIEW ends AS SELECT stream_earliest_offset('d'), stream_high_watermark('d'), stream_next_offset('d'), stream_offset_at('d', 0, 'infinity') AS at_infinity;
SELECT * FROM stream_publish_batch('d', '{0,1,2,3,4,5,6,7,8,9}'::text[]);
TABLE ends;
BEGIN;
SELECT * FROM stream_publish_batch('d', '{a,b,c,d,e,f,g,h,i,j}'::text[]);
ROLLBACK;
TABLE ends;
SELECT count(*) FROM stream_read('d', 0, stream_high_watermark('d'));
-- Twice: a reader keeps notes of what it has passed.
SELECT count(*) FROM stream_read('d', 0, stream_high_watermark('d'));
VACUUM d;
TABLE ends;
SELECT count(*) FROM stream_read('d', 0, stream_high_watermark('d'));
SELECT * FROM stream_publish_batch('d', '{10,11,12}'::text[]);
TABLE ends;
SELECT "offset", value FROM stream_read('d', 0, 10);
SELECT "offset", value FROM d WHERE "offset" >= 9;
SELECT * FROM stream_check('d');

-- The same with a tail of many pages, so that VACUUM cuts the file.
SELECT count(*) FROM stream_publish_batch('d', array_fill('x'::text, ARRAY[1000]));
BEGIN;
SELECT count(*) FROM stream_publish_batch('d', array_fill('y'::text, ARRAY[50000]));
ROLLBACK;
TABLE ends;
SELECT count(*) FROM stream_read('d', 0, 1013);
SELECT count(*) FROM stream_read('d', 0, 1013);
VACUUM d;
TABLE ends;
SELECT count(*) FROM stream_publish_batch('d', array_fill('z'::text, ARRAY[50000]));
SELECT count(*), min("offset"), max("offset"), min(value), max(value) FROM stream_read('d', 0, 1013, max_messages => NULL);
TABLE ends;
SELECT * FROM stream_check('d');

-- A partition in which everything was rolled back starts again at 0.
SELECT stream_create('z', 1, 'text');
BEGIN;
SELECT count(*) FROM stream_publish_batch('z', array_fill('x'::text, ARRAY[1000]));
ROLLBACK;
SELECT stream_earliest_offset('z'), stream_high_watermark('z'), stream_next_offset('z');
VACUUM z;
SELECT stream_earliest_offset('z'), stream_high_watermark('z'), stream_next_offset('z');
SELECT * FROM stream_publish('z', 'a'::text, expected_offset => 0);
SELECT stream_earliest_offset('z'), stream_high_watermark('z'), stream_next_offset('z');

-- Empty pages before and between: a search must not end on one.
SELECT stream_create('h', 1, 'text');
BEGIN; SELECT count(*) FROM stream_publish_batch('h', array_fill('x'::text, ARRAY[1000])); ROLLBACK;
SELECT "offset" FROM stream_publish('h', 'a'::text);
BEGIN; SELECT count(*) FROM stream_publish_batch('h', array_fill('x'::text, ARRAY[1000])); ROLLBACK;
SELECT "offset" FROM stream_publish('h', 'b'::text);
VACUUM h;
SELECT count(*) AS messages,
	   count(*) FILTER (WHERE stream_offset_at('h', 0, ts) = "offset") AS first,
	   count(*) FILTER (WHERE stream_offset_at('h', 0, ts, 'last') = "offset") AS last
  FROM h;
SELECT stream_offset_at('h', 0, '2000-01-01') AS first, stream_offset_at('h', 0, 'infinity', 'last') AS last;
SELECT array_agg("offset") FROM stream_read('h');
SELECT array_agg("offset") FROM stream_read('h', reverse => true);
SELECT o, (SELECT array_agg("offset") FROM stream_read('h', 0, o, reverse => true)) AS backward
  FROM unnest('{0, 999, 1000, 1001, 2000, 2001, 2002}'::bigint[]) o;
SELECT stream_earliest_offset('h'), stream_high_watermark('h');

-- Line pointers are never used again (a page with a hole gets nothing), so VACUUM FULL keeps the order.
SELECT stream_create('o', 1, 'text');
SELECT count(*) FROM stream_publish_batch('o', array_fill(repeat('o', 20), ARRAY[30]));
BEGIN; SELECT count(*) FROM stream_publish_batch('o', array_fill(repeat('x', 20), ARRAY[35])); ROLLBACK;
SELECT count(*) FROM stream_publish_batch('o', array_fill(repeat('o', 20), ARRAY[40]));
BEGIN; SELECT count(*) FROM stream_publish_batch('o', array_fill(repeat('x', 20), ARRAY[25])); ROLLBACK;
SELECT count(*) FROM stream_publish_batch('o', array_fill(repeat('o', 20), ARRAY[10]));
VACUUM o;
SELECT count(*) FROM stream_publish_batch('o', array_fill(repeat('o', 20), ARRAY[60]));
SELECT count(*) AS messages, count(*) FILTER (WHERE fell) AS inversions FROM (
	SELECT "offset" < lag("offset") OVER (ORDER BY ctid) AS fell FROM o_p0_s0) x;
VACUUM FULL o_p0_s0;
SELECT count(*) AS messages, count(*) FILTER (WHERE fell) AS inversions FROM (
	SELECT "offset" < lag("offset") OVER (ORDER BY ctid) AS fell FROM o_p0_s0) x;
SELECT count(*) FROM stream_read('o');
SELECT "offset" - stream_high_watermark('o') AS next FROM stream_publish('o', 'x'::text);
SELECT * FROM stream_check('o');

DROP VIEW ends;
DROP FUNCTION at;
SELECT stream_drop('s'), stream_drop('t'), stream_drop('d'), stream_drop('z'), stream_drop('h'), stream_drop('o');
