-- Where the messages of the stream :stream lie, and whether all is well with them.
\echo WHERE IT LIES
\set ECHO queries
SELECT partition, segments, start_offset, next_offset, pg_size_pretty(bytes) AS size
  FROM weir.partitions WHERE stream = :'stream'::regclass ORDER BY partition;
SELECT partition, segment, lower_offset, upper_offset, blocks, pg_size_pretty(bytes) AS size
  FROM weir.segments WHERE stream = :'stream'::regclass ORDER BY partition, lower_offset;
SELECT count(*) AS problems FROM stream_check(:'stream');
\set ECHO none
