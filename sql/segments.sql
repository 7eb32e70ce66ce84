-- Segments: rolling by messages and by bytes; what the views show of it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

-- By messages: bounds are fixed when a segment is made.
SELECT stream_create('m', 2, 'int', '{"segment_messages": 3}');
SELECT "offset" FROM generate_series(0, 7) i, stream_publish('m', i::text, partition => 1);
SELECT partition, lower_offset, upper_offset, blocks, verified, first_ts IS NOT NULL AS has_first FROM weir.segments WHERE stream = 'm'::regclass ORDER BY 1, 2;
SELECT partition, segments, start_offset, next_offset FROM weir.partitions WHERE stream = 'm'::regclass ORDER BY 1;
SELECT array_agg(value) FROM stream_read('m', 1);
SELECT tableoid::regclass AS segment, count(*) FROM m GROUP BY tableoid ORDER BY min("offset");
-- The query planner knows the bounds.
EXPLAIN (COSTS OFF) SELECT * FROM m WHERE partition = 1 AND "offset" = 4;
-- A full segment is left by the next message, not by the last one.
SELECT "offset" FROM stream_publish('m', '8'::text, partition => 1);
SELECT count(*) FROM weir.segments WHERE stream = 'm'::regclass AND partition = 1;

-- In one transaction, with the stream's creation and without; a rollback does not take offsets back.
BEGIN;
SELECT stream_create('own', 1, 'int', '{"segment_messages": 3}');
SELECT "offset" FROM generate_series(0, 7) i, stream_publish('own', i::text);
SELECT array_agg("offset") FROM stream_read('own');
SELECT count(*) FROM weir.segments WHERE stream = 'own'::regclass;
SAVEPOINT a;
SELECT "offset" FROM generate_series(8, 12) i, stream_publish('own', i::text);
ROLLBACK TO a;
SELECT array_agg("offset") FROM stream_read('own');
SELECT "offset" FROM generate_series(8, 12) i, stream_publish('own', i::text);
COMMIT;
SELECT count(*), count(DISTINCT "offset"), array_agg(value) FROM stream_read('own');
SELECT * FROM stream_check('own');
BEGIN;
SELECT count(*) FROM generate_series(1, 20) i, stream_publish('m', i::text, partition => 1);
ROLLBACK;
SELECT stream_high_watermark('m', 1), stream_next_offset('m', 1);
SELECT * FROM stream_check('m');

-- By bytes: the segment is left before it is full, the rest of its range is never used.
SELECT stream_create('b', 1, 'text', '{"segment_bytes": 65536, "segment_messages": 1000}');
SELECT count(*) FROM generate_series(1, 200) i, stream_publish('b', rpad(i::text, 1000, 'x'));
SELECT lower_offset, upper_offset, blocks FROM weir.segments WHERE stream = 'b'::regclass ORDER BY 1;
SELECT count(*), min("offset"), max("offset") FROM stream_read('b');
SELECT min("offset") FROM stream_read('b', 0, 500);
SELECT max("offset") FROM stream_read('b', 0, 500, reverse => true);
-- Batches, too, between their holds of 1,000 messages or 1 MB.
SELECT count(*) > 1 AS runs, sum(count) FROM stream_publish_batch('b', array_fill(repeat('y', 1000), ARRAY[3000]));
SELECT count(*) FILTER (WHERE value LIKE 'y%') AS messages, count(DISTINCT "offset") - count(*) AS twice FROM b;
SELECT * FROM stream_check('b');
-- What lies in TOAST counts.
SELECT stream_create('bt', 1, 'text', '{"segment_bytes": 65536}');
SELECT "offset" FROM generate_series(1, 3) i, stream_publish('bt', (SELECT string_agg(md5((i * j)::text), '') FROM generate_series(1, 3000) j));
SELECT count(*) AS segments FROM weir.segments WHERE stream = 'bt'::regclass;
-- An expected offset is what counts: no early roll for it.
SELECT stream_create('be', 1, 'text', '{"segment_bytes": 65536, "segment_messages": 1000}');
SELECT count(*) FROM generate_series(0, 99) i, stream_publish('be', rpad(i::text, 1000, 'x'), expected_offset => i);
SELECT count(*) AS segments FROM weir.segments WHERE stream = 'be'::regclass;
SELECT "offset" FROM stream_publish('be', 'x'::text);
SELECT lower_offset FROM weir.segments WHERE stream = 'be'::regclass ORDER BY 1;
-- In the transaction that made the stream.
BEGIN;
SELECT stream_create('bo', 1, 'text', '{"segment_bytes": 65536, "segment_messages": 1000}');
SELECT count(*) FROM generate_series(1, 200) i, stream_publish('bo', rpad(i::text, 1000, 'x'));
COMMIT;
SELECT lower_offset, blocks FROM weir.segments WHERE stream = 'bo'::regclass ORDER BY 1;
SELECT * FROM stream_check('bo');

-- A rolled-back start of a segment that VACUUM cuts off: its offsets are given again, in the same segment.
SELECT stream_create('v', 1, 'int', '{"segment_messages": 10}');
SELECT first_offset, last_offset FROM stream_publish_batch('v', array_fill('1'::text, ARRAY[10]));
BEGIN;
SELECT first_offset, last_offset FROM stream_publish_batch('v', array_fill('2'::text, ARRAY[15]));
ROLLBACK;
SELECT stream_high_watermark('v'), stream_next_offset('v');
VACUUM v;
SELECT lower_offset, blocks FROM weir.segments WHERE stream = 'v'::regclass ORDER BY 1;
SELECT stream_high_watermark('v'), stream_next_offset('v');
SELECT first_offset, last_offset FROM stream_publish_batch('v', array_fill('3'::text, ARRAY[15]));
SELECT array_agg(value) FROM stream_read('v');
SELECT * FROM stream_check('v');

-- The open segment is rewritten: CLUSTER in another order, VACUUM FULL.  Publishing goes on behind.
SELECT stream_create('c', 1, 'int', '{"segment_messages": 100}');
CREATE INDEX c_value ON c (value);
SELECT count(*) FROM stream_publish_batch('c', (SELECT array_agg((50 - i)::text) FROM generate_series(0, 49) i));
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'c_p0_s0'::regclass;
CLUSTER c_p0_s0 USING c_p0_s0_value_idx;
SELECT array_agg("offset") = (SELECT array_agg(i::bigint) FROM generate_series(0, 49) i) AS in_order FROM stream_read('c');
SELECT array_agg("offset") = (SELECT array_agg(i::bigint) FROM generate_series(49, 0, -1) i) AS in_order FROM stream_read('c', reverse => true);
SELECT array_agg("offset") FROM stream_read('c', 0, 20, 3);
SELECT stream_high_watermark('c'), stream_next_offset('c');
SELECT "offset" FROM stream_publish('c', '7'::text);
SELECT array_agg("offset") FROM stream_read('c', 0, 48);
SELECT lower_offset, blocks > 0 AS used, verified FROM weir.segments WHERE stream = 'c'::regclass ORDER BY 1;
SELECT * FROM stream_check('c');
SELECT stream_repair('c');
SELECT lower_offset, verified FROM weir.segments WHERE stream = 'c'::regclass ORDER BY 1;
SELECT count(*) FROM stream_read('c');
-- In order, so it is verified by the next publisher and goes on.
VACUUM FULL c;
SELECT lower_offset, blocks > 0 AS used, verified FROM weir.segments WHERE stream = 'c'::regclass ORDER BY 1;
SELECT "offset" FROM stream_publish('c', '8'::text);
SELECT "offset" FROM stream_read('c', 0, 48);
SELECT * FROM stream_check('c');
-- ALTER TABLE that rewrites the file.
ALTER TABLE c_p0_s1 SET UNLOGGED;
ALTER TABLE c_p0_s1 SET LOGGED;
SELECT "offset" FROM stream_publish('c', '9'::text);
SELECT array_agg("offset") FROM stream_read('c', 0, 48);

SELECT count(stream_drop(stream)) FROM weir.stream WHERE stream <> 'weir.activity'::regclass;
