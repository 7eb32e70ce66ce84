-- Batches: atomic, in order, over several partitions and segments.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('b', 3, 'text');

-- One row for each contiguous run, which are merged.
SELECT * FROM stream_publish_batch('b', '{a,b,c}'::text[], partition => 2);
SELECT * FROM stream_publish_batch('b', '{d}'::text[], partition => 2);
SELECT * FROM stream_publish_batch('b', (SELECT array_agg(i::text) FROM generate_series(1, 5000) i), partition => 2);
SELECT "offset", value FROM stream_read('b', 2, 0, 6);
SELECT count(*), count(*) FILTER (WHERE value = ("offset" - 3)::text) AS in_order FROM b WHERE partition = 2 AND "offset" >= 4;

-- Keys: each message in its key's partition, the order within a partition kept.
SELECT * FROM stream_publish_batch('b', '{1,2,3,4,5,6,7}'::text[], '{k,a,k,b,k,c,k}');
SELECT partition, "offset", key, value FROM b WHERE key IS NOT NULL ORDER BY 1, 2;
SELECT count(*) AS astray FROM b WHERE key IS NOT NULL AND partition <> stream_partition_for('b', key);

SELECT stream_create('bk', 3, 'text');
-- Null keys among keys stay together, nulls among values are tombstones, headers each its own.
SELECT sum(count), count(*) BETWEEN 1 AND 3 AS runs
  FROM stream_publish_batch('bk', ARRAY['x1', NULL, 'x3', NULL], ARRAY['xk', 'xk', NULL, NULL],
							ARRAY['{"n": 1}', NULL, '{"n": 3}', 'null']::jsonb[]);
SELECT key, value, headers, count(*) FROM bk WHERE value LIKE 'x%' OR headers IS NOT NULL OR (value IS NULL AND headers IS NULL)
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT count(DISTINCT partition) AS keyless FROM bk WHERE value = 'x3' OR headers = 'null';
-- In a named partition they follow one another.
SELECT * FROM stream_publish_batch('b', ARRAY['y1', NULL, 'y3'], headers => ARRAY[NULL, '{"n": 2}', NULL]::jsonb[], partition => 0);
SELECT "offset" - first_value("offset") OVER (ORDER BY "offset") AS nr, value, headers
  FROM stream_read('b', 0, stream_high_watermark('b', 0) - 3);

-- All null, empty, of dimension 0: nothing to do is no error, but an unknown partition is.
SELECT * FROM stream_publish_batch('b', ARRAY[NULL, NULL]::text[], ARRAY[NULL, NULL]::text[], ARRAY[NULL, NULL]::jsonb[], partition => 1);
SELECT * FROM stream_publish_batch('b', '{}'::text[]);
SELECT * FROM stream_publish_batch('b', '{}'::bytea[], '{}', '{}');
SELECT * FROM stream_publish_batch('b', '{}'::jsonb[], partition => 1);
-- A lower bound other than 1 is nothing special.
SELECT * FROM stream_publish_batch('b', '[5:6]={l,m}'::text[], partition => 1);
SELECT value FROM stream_read('b', 1) ORDER BY "offset" DESC LIMIT 2;

\set VERBOSITY sqlstate
SELECT * FROM stream_publish_batch('b', '{}'::text[], partition => 3);
SELECT * FROM stream_publish_batch('b', '{a,b}'::text[], '{k}');
SELECT * FROM stream_publish_batch('b', '{a,b}'::text[], '{}');
SELECT * FROM stream_publish_batch('b', '{a,b}'::text[], NULL, ARRAY['{}', '{}', '{}']::jsonb[]);
SELECT * FROM stream_publish_batch('b', '{}'::text[], '{k}');
SELECT * FROM stream_publish_batch('b', '{{a,b},{c,d}}'::text[]);
SELECT * FROM stream_publish_batch('b', '{a,b}'::text[], '{{k,l},{m,n}}');
SELECT * FROM stream_publish_batch('b', '{a,b}'::text[], '{k,l}', ARRAY[ARRAY['{}', '{}']]::jsonb[]);
SELECT * FROM stream_publish_batch('b', NULL::text[]);
\set VERBOSITY default
SELECT * FROM stream_publish_batch('b', '{a,b}'::text[], '{k}');
SELECT * FROM stream_publish_batch('b', '{{a,b},{c,d}}'::text[]);

-- The other forms of values.
SELECT stream_create('bj');
SELECT * FROM stream_publish_batch('bj', '{1,"{\"a\": 2}"}'::text[]);
SELECT * FROM stream_publish_batch('bj', ARRAY['3', NULL]::bytea[]);
SELECT * FROM stream_publish_batch('bj', ARRAY['5', 'null', NULL]::jsonb[]);
SELECT "offset", value FROM bj;

-- One bad message and there is none of them, in whichever partition.
CREATE TEMP TABLE ends AS SELECT p, stream_high_watermark('b', p) FROM generate_series(0, 2) p;
SELECT stream_alter('b', '{"max_message_bytes": 10}');
SELECT * FROM stream_publish_batch('b', ARRAY['a', 'b', 'c', repeat('d', 20)], '{a,b,c,d}');
SELECT stream_alter('b', '{"max_message_bytes": null}');
SELECT p, stream_high_watermark('b', p) FROM generate_series(0, 2) p EXCEPT TABLE ends;
DROP TABLE ends;

-- Rolling inside a batch: every segment is filled, the run goes on without a gap.
SELECT stream_create('r', 1, 'int', '{"segment_messages": 100}');
SELECT * FROM stream_publish_batch('r', (SELECT array_agg(i::text) FROM generate_series(0, 1049) i));
SELECT count(*) AS segments, count(*) FILTER (WHERE blocks > 0) AS used, bool_and(verified) AS verified FROM weir.segments WHERE stream = 'r'::regclass;
SELECT count(*), count(*) FILTER (WHERE value = "offset") AS in_order FROM stream_read(NULL::r, max_messages => NULL);
-- Rolled back with the transaction; the segments that a worker made stay, empty.
BEGIN;
SELECT * FROM stream_publish_batch('r', (SELECT array_agg(i::text) FROM generate_series(1050, 1320) i));
ROLLBACK;
SELECT stream_high_watermark('r');
VACUUM r;
SELECT * FROM stream_publish_batch('r', (SELECT array_agg(i::text) FROM generate_series(1050, 1320) i));
SELECT count(*), count(*) FILTER (WHERE value = "offset") AS in_order FROM stream_read('r', max_messages => NULL) r(p, "offset", t, k, v, h), LATERAL (SELECT v::int AS value) x;
-- A segment of one message each.
SELECT stream_create('r1', 1, 'int', '{"segment_messages": 1}');
SELECT * FROM stream_publish_batch('r1', '{0,1,2,3}'::text[]);
SELECT "offset", value FROM stream_read('r1');
SELECT "offset", value FROM stream_read('r1', reverse => true);

-- 100,000 messages, in one partition and in many.
SELECT stream_create('big', 4, 'text', '{"segment_messages": 20000}');
SELECT * FROM stream_publish_batch('big', (SELECT array_agg(i::text ORDER BY i) FROM generate_series(0, 99999) i), partition => 3);
SELECT count(*), sum("offset"), count(*) FILTER (WHERE value = "offset"::text) AS in_order FROM stream_read(NULL::big, 3, max_messages => 1000000);
SELECT sum(count) FROM stream_publish_batch('big', (SELECT array_agg(i::text ORDER BY i) FROM generate_series(0, 99999) i),
	(SELECT array_agg((i % 1000)::text ORDER BY i) FROM generate_series(0, 99999) i));
SELECT count(*) AS messages, count(*) FILTER (WHERE fell) AS fell, count(DISTINCT key) AS keys
  FROM (SELECT key, value::int <= lag(value::int) OVER (PARTITION BY key ORDER BY partition, "offset") AS fell FROM big WHERE key IS NOT NULL) x;
-- Offsets are dense and in physical order.
SELECT partition, count(*) = max("offset") + 1 AS dense FROM big GROUP BY 1 ORDER BY 1;
SELECT count(*) AS inversions FROM (
	SELECT "offset" < lag("offset") OVER (PARTITION BY tableoid ORDER BY ctid) AS fell FROM big) x WHERE fell;

SELECT s.stream, c.* FROM weir.stream s, LATERAL stream_check(s.stream) c;
SELECT stream_drop('b'), stream_drop('bk'), stream_drop('bj'), stream_drop('r'), stream_drop('r1'), stream_drop('big');
