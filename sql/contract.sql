-- The contract of a log: fifteen cases that any log must pass, by their numbers.
-- Those about waiting, groups and concurrent sessions are tested elsewhere; here is what one session shows.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('log', 2, 'text', '{"segment_messages": 4}');

-- 1: a single stream: empty is pending, not an error; items arrive in order; pending again.
SELECT * FROM stream_read('log', 0);
SELECT "offset" FROM stream_publish('log', 'a'::text, partition => 0);
SELECT "offset" FROM stream_publish('log', 'b'::text, partition => 0);
SELECT "offset", value FROM stream_read('log', 0, 0);
SELECT "offset", value FROM stream_read('log', 0, 2);

-- 2: two readers share nothing; one that is opened again goes on after the last delivered; a new one starts at the beginning.
BEGIN;
DECLARE one CURSOR FOR SELECT "offset", value FROM stream_read('log', 0);
DECLARE two CURSOR FOR SELECT "offset", value FROM stream_read('log', 0);
FETCH 1 FROM one;
FETCH 2 FROM two;
FETCH 1 FROM one;
CLOSE one;
DECLARE one CURSOR FOR SELECT "offset", value FROM stream_read('log', 0, 1);
FETCH 2 FROM one;
COMMIT;
SELECT "offset", value FROM stream_read('log', 0);

-- 3: partitions are independent.
SELECT "offset" FROM stream_publish('log', 'x'::text, partition => 1);
SELECT (SELECT array_agg(value) FROM stream_read('log', 0)) AS p0, (SELECT array_agg(value) FROM stream_read('log', 1)) AS p1;
SELECT stream_high_watermark('log', 0), stream_high_watermark('log', 1);

-- 4: many writers, many readers: see the isolation tests.  Here: each of many reads sees all, in order.
SELECT count(*) FROM generate_series(1, 30) i, stream_publish('log', 'm' || i, partition => i % 2);
SELECT p, count(DISTINCT seen) AS different_views, min(cardinality(seen)) AS messages
  FROM generate_series(1, 5) reader, generate_series(0, 1) p, LATERAL (SELECT array_agg("offset") AS seen FROM stream_read('log', p)) r GROUP BY p ORDER BY p;
SELECT count(*) FILTER (WHERE "offset" <= before) AS not_rising FROM (SELECT "offset", lag("offset") OVER () AS before FROM stream_read('log', 0)) x;

-- 5: to seek forward and backward touches only that read; past the end is an error at once, others are unaffected.
SELECT min("offset") FROM stream_read('log', 0, 9);
SELECT min("offset") FROM stream_read('log', 0, 3);
\set VERBOSITY sqlstate
SELECT min("offset") FROM stream_read('log', 0, 1000);
\set VERBOSITY default
SELECT min("offset") FROM stream_read('log', 1, 3);

-- 6: back to the earliest that is retained.
SELECT stream_trim('log', 0, 6);
SELECT min("offset") FROM stream_read('log', 0, start => 'earliest');
SELECT stream_earliest_offset('log', 0);
-- No longer retained is another error than after the end.
\set VERBOSITY sqlstate
SELECT min("offset") FROM stream_read('log', 0, 0);
\set VERBOSITY default

-- 7: the high watermark is the next offset, 0 when empty.
SELECT stream_create('empty');
SELECT stream_high_watermark('empty'), stream_next_offset('empty');
SELECT stream_high_watermark('log', 0) = max("offset") + 1 AS next FROM stream_read('log', 0);
SELECT stream_high_watermark('log', 0) = "offset" AS not_yet_visible FROM stream_publish('log', 'n'::text, partition => 0);

-- 8: timestamps are those of the write, and survive to the reader; they do not fall.
CREATE TEMP TABLE moment AS SELECT clock_timestamp() AS before;
SELECT "offset" FROM stream_publish('log', 'timed'::text, partition => 1);
SELECT ts >= before AND ts <= clock_timestamp() AS written_then FROM moment, stream_read('log', 1, start => 'latest', reverse => true, max_messages => 1);
SELECT count(*) AS differ FROM stream_read('log', 1) r JOIN log USING (partition, "offset") WHERE r.ts <> log.ts;
SELECT count(*) AS fell FROM (SELECT ts < lag(ts) OVER () AS fell FROM stream_read('log', 1)) x WHERE fell;
DROP TABLE moment;

-- 9: in a batch each message keeps its own key and headers.
SELECT stream_create('batch', 1, 'text');
SELECT * FROM stream_publish_batch('batch', ARRAY['1', '2', '3'], ARRAY['k1', NULL, 'k3'], ARRAY['{"h": 1}', '{"h": 2}', NULL]::jsonb[]);
SELECT "offset", key, value, headers FROM stream_read('batch');

-- 10: what does not exist is an error, and is not made by reading or writing.
\set VERBOSITY sqlstate
SELECT * FROM stream_read('missing', 0);
SELECT * FROM stream_publish('missing', 'a'::text);
SELECT * FROM stream_read('log', 2);
\set VERBOSITY default
SELECT count(*) FROM pg_class WHERE relname = 'missing';

-- 11: all agree on the set of partitions.
SELECT s.partitions, (SELECT count(*) FROM weir.partitions p WHERE p.stream = s.stream) AS in_view,
	   (SELECT count(*) FROM pg_inherits WHERE inhparent = s.stream) AS attached, (SELECT count(DISTINCT partition) FROM log) AS written
  FROM weir.streams s WHERE stream = 'log'::regclass;

-- 12: trace headers survive; absent stays absent.
SELECT "offset" FROM stream_publish('batch', 'traced'::text, headers => '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}');
SELECT "offset" FROM stream_publish('batch', 'not traced'::text);
SELECT value, headers, headers IS NULL AS absent FROM stream_read('batch', 0, 3);

-- 13: an unknown partition on write is an error, not a crash, not another partition.
SELECT stream_high_watermark('log', 0) + stream_high_watermark('log', 1) AS before \gset
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('log', 'lost'::text, partition => 2);
SELECT * FROM stream_publish('log', 'lost'::text, partition => -1);
\set VERBOSITY default
SELECT stream_high_watermark('log', 0) + stream_high_watermark('log', 1) - :before AS written;

-- 14: several logical producers share a partition, in the order of their writes.
SELECT stream_create('shared', 1, 'int');
SELECT count(*) FROM generate_series(1, 30) i, stream_publish('shared', i::text, 'producer ' || i % 3);
SELECT key, array_agg(value ORDER BY "offset") = array_agg(value ORDER BY value) AS in_order, count(*) FROM stream_read(NULL::shared) GROUP BY key ORDER BY key COLLATE "C";

-- 15: 20 concurrent writers: see the hammer of the TAP tests.

SELECT s.stream, c.* FROM weir.stream s, LATERAL stream_check(s.stream) c;
SELECT count(stream_drop(stream)) FROM weir.stream WHERE stream <> 'weir.activity'::regclass;
