-- stream_trim: old segments go, never the last visible message; the start is where a reader stood.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('t', 2, 'int', '{"segment_messages": 10}');
SELECT sum(count) FROM stream_publish_batch('t', (SELECT array_agg(i::text) FROM generate_series(0, 34) i), partition => 0);
SELECT sum(count) FROM stream_publish_batch('t', (SELECT array_agg(i::text) FROM generate_series(0, 34) i), partition => 1);

-- Whole segments only; what is kept begins at or before the offset.
SELECT stream_trim('t', 0, 0);
SELECT stream_trim('t', 0, 9);
SELECT stream_trim('t', 0, 10);
SELECT stream_trim('t', 0, 15);
SELECT stream_earliest_offset('t', 0), stream_high_watermark('t', 0), stream_next_offset('t', 0);
SELECT partition, segments, start_offset, next_offset FROM weir.partitions WHERE stream = 't'::regclass ORDER BY 1;
SELECT lower_offset FROM weir.segments WHERE stream = 't'::regclass AND partition = 0 ORDER BY 1;
SELECT count(*), min("offset") FROM t WHERE partition = 0;

-- Two different errors: no longer retained, and after the end.
SELECT count(*) FROM stream_read('t', 0, 9);
SELECT count(*) FROM stream_read('t', 0, 36);
SELECT count(*), min("offset") FROM stream_read('t', 0, 10);
\set VERBOSITY sqlstate
SELECT * FROM stream_read('t', 0, 0);
SELECT * FROM stream_read('t', 0, 9, reverse => true);
SELECT * FROM stream_read('t', 0, 36);
SELECT stream_trim('t', 0, 36);
SELECT stream_trim('t', 0, -1);
\set VERBOSITY default
SELECT array_agg("offset") FROM stream_read('t', 0, start => 'earliest', max_messages => 3);
SELECT min("offset") FROM stream_read('t', 0, reverse => true);
SELECT stream_offset_at('t', 0, '2000-01-01');
SELECT array_agg("offset") FROM stream_read('t', 0, 12, stop_offset => 0, reverse => true);

-- All of it: the segment of the last message stays.
SELECT stream_trim('t', 0, 35);
SELECT count(*), min("offset") FROM stream_read('t', 0);
SELECT stream_trim('t', 0, 35);
SELECT * FROM stream_publish('t', '35'::text, partition => 0);
SELECT * FROM stream_check('t');
-- The other partition has lost nothing.
SELECT count(*) FROM stream_read('t', 1);

-- Rolled back is not trimmed.
BEGIN;
SELECT stream_trim('t', 1, 25);
SELECT count(*) FROM stream_read('t', 1);
ROLLBACK;
SELECT count(*), min("offset") FROM stream_read('t', 1, 0);
SELECT * FROM stream_check('t');

-- A segment that is left early: the start is the end of what was dropped, not the bound of what follows.
SELECT stream_create('b', 1, 'text', '{"segment_bytes": 65536, "segment_messages": 1000}');
SELECT count(*) FROM generate_series(0, 59) i, stream_publish('b', rpad(i::text, 1000, 'x'));
SELECT lower_offset FROM weir.segments WHERE stream = 'b'::regclass ORDER BY 1;
SELECT max("offset") + 1 AS position FROM b WHERE "offset" < 1000;
SELECT stream_trim('b', 0, 500);
SELECT stream_earliest_offset('b'), start_offset FROM weir.partitions WHERE stream = 'b'::regclass;
-- Who had read all of what was dropped stands exactly there and has lost nothing.
SELECT min("offset") FROM stream_read('b', 0, 50);
\set VERBOSITY sqlstate
SELECT min("offset") FROM stream_read('b', 0, 49);
\set VERBOSITY default

-- The last visible message decides, not the last one that is there.
SELECT stream_create('r', 1, 'int', '{"segment_messages": 10}');
SELECT sum(count) FROM stream_publish_batch('r', array_fill('1'::text, ARRAY[10]));
BEGIN;
SELECT sum(count) FROM stream_publish_batch('r', array_fill('2'::text, ARRAY[25]));
ROLLBACK;
SELECT stream_trim('r', 0, 10);
SELECT count(*), max("offset") FROM stream_read('r');
SELECT stream_high_watermark('r'), count(*) AS segments FROM weir.segments WHERE stream = 'r'::regclass GROUP BY 1;
-- A segment of nothing but rolled-back messages goes with those before it.
SELECT * FROM stream_publish('r', '3'::text);
SELECT stream_trim('r', 0, 20);
SELECT lower_offset FROM weir.segments WHERE stream = 'r'::regclass ORDER BY 1;
SELECT stream_earliest_offset('r'), stream_high_watermark('r'), start_offset FROM weir.partitions WHERE stream = 'r'::regclass;
SELECT count(*) FROM stream_read('r', 0, 10);
SELECT * FROM stream_check('r');

-- A message behind pages that VACUUM has emptied is a message.
SELECT stream_create('v', 1, 'int', '{"segment_messages": 2000}');
BEGIN; SELECT sum(count) FROM stream_publish_batch('v', array_fill('0'::text, ARRAY[1000])); ROLLBACK;
SELECT "offset" FROM stream_publish('v', '1'::text);
BEGIN; SELECT sum(count) FROM stream_publish_batch('v', array_fill('0'::text, ARRAY[999])); ROLLBACK;
SELECT "offset" FROM stream_publish('v', '2'::text);
VACUUM v;
SELECT stream_trim('v', 0, 500);
SELECT "offset", value FROM v ORDER BY 1;
SELECT stream_trim('v', 0, 1001);
SELECT "offset", value FROM v ORDER BY 1;

-- In the transaction that published: its messages are visible to it.
BEGIN;
SELECT sum(count) FROM stream_publish_batch('t', array_fill('1'::text, ARRAY[20]), partition => 1);
SELECT stream_trim('t', 1, 50);
SELECT count(*), min("offset"), max("offset") FROM stream_read('t', 1);
COMMIT;
SELECT count(*), min("offset"), max("offset") FROM stream_read('t', 1);
SELECT * FROM stream_check('t');

-- A stream that is empty.
SELECT stream_create('e');
SELECT stream_trim('e', 0, 0);
\set VERBOSITY sqlstate
SELECT stream_trim('e', 0, 1);
\set VERBOSITY default

SELECT count(stream_drop(stream)) FROM weir.stream WHERE stream <> 'weir.activity'::regclass;
