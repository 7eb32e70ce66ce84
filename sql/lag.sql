-- weir.ends and weir.lag: how far readers are behind, and who holds them up.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
SELECT stream_create('l', 2, 'text', '{"partitioner": "explicit", "segment_messages": 4}');
CREATE VIEW ends AS SELECT partition, stable_end, next_offset, held_by_pid = pg_backend_pid() AS me, held_by_gid, held_since IS NOT NULL AS held FROM weir.ends WHERE stream = 'l'::regclass ORDER BY 1;
CREATE VIEW lag AS SELECT "group", partition, "position", stable_end, next_offset, messages, seconds > 0 AS some_seconds, seconds < 60 AS not_many, held_by_pid, held_by_gid FROM weir.lag WHERE stream = 'l'::regclass ORDER BY 1, 2;
-- Nothing at all; no group.
SELECT * FROM ends;
SELECT * FROM lag;
SELECT count(*) FROM stream_seek('l', 'a', start => 'earliest');
SELECT * FROM lag;
-- Messages, one group has read some.
SELECT count(*) FROM generate_series(0, 9) i, stream_publish('l', 'x' || i, partition => 0);
SELECT count(*) FROM stream_fetch('l', 'a', 6, 0);
SELECT count(*) FROM stream_seek('l', 'b', 0, start => 'latest');
SELECT * FROM ends;
SELECT * FROM lag;
-- The age is that of the oldest unread one.
SELECT abs(extract(epoch FROM clock_timestamp() - m.ts) - seconds) < 5 AS age FROM weir.lag, stream_read('l', 0, 6, 1) m WHERE stream = 'l'::regclass AND "group" = 'a' AND weir.lag.partition = 0;
SELECT weir.oldest_unread('l', 0, 6) = m.ts AS that_one FROM stream_read('l', 0, 6, 1) m;
SELECT weir.oldest_unread('l', 0, 10);
-- Rolled back: nothing is held, and no position is behind.
BEGIN;
SELECT count(*) FROM generate_series(1, 3) i, stream_publish('l', 'no' || i, partition => 0);
ROLLBACK;
SELECT count(*) FROM stream_fetch('l', 'a', partition => 0);
SELECT * FROM ends;
SELECT * FROM lag;
-- One's own are not undecided, but for what a statement does not see yet.
BEGIN;
SELECT count(*) FROM stream_publish('l', 'own', partition => 1);
SELECT * FROM ends;
SELECT * FROM lag;
DECLARE c CURSOR FOR SELECT stable_end, held_by_pid = pg_backend_pid() AS me FROM weir.ends WHERE stream = 'l'::regclass AND partition = 1;
SELECT count(*) FROM stream_publish('l', 'later', partition => 1);
FETCH c;
ROLLBACK;
-- Retention overtook a position: behind as many offsets, the oldest that can be read.
SELECT count(*) FROM stream_seek('l', 'a', 0, 1);
SELECT stream_trim('l', 0, 8);
SELECT "position", messages, weir.oldest_unread('l', 0, "position") = (SELECT min(ts) FROM l WHERE partition = 0) AS first_left FROM weir.lag WHERE stream = 'l'::regclass AND "group" = 'a' AND partition = 0;
-- Only what one may read; nulls, no such partition.
CREATE ROLE weir_nobody;
SET ROLE weir_nobody;
SELECT count(*) FROM weir.ends WHERE stream = 'l'::regclass;
SELECT count(*) FROM weir.lag WHERE stream = 'l'::regclass;
SELECT * FROM weir.end_info('l', 0);
SELECT weir.oldest_unread('l', 0, 0);
RESET ROLE;
GRANT SELECT ON l TO weir_nobody;
SET ROLE weir_nobody;
SELECT count(*) FROM weir.ends WHERE stream = 'l'::regclass;
SELECT count(*) FROM weir.lag WHERE stream = 'l'::regclass;
RESET ROLE;
-- Nothing of a single message where row-level security applies.
ALTER TABLE l ENABLE ROW LEVEL SECURITY;
SELECT messages > 0 AS behind, seconds IS NULL AS unknown, weir.oldest_unread('l', 0, 0) IS NULL AS none FROM weir.lag WHERE stream = 'l'::regclass AND "group" = 'a' AND partition = 0;
SET ROLE weir_nobody;
SELECT messages > 0 AS behind, seconds IS NULL AS unknown, weir.oldest_unread('l', 0, 0) IS NULL AS none FROM weir.lag WHERE stream = 'l'::regclass AND "group" = 'a' AND partition = 0;
RESET ROLE;
SELECT * FROM weir.end_info(NULL, 0);
SELECT * FROM weir.end_info('l', 2);
DROP VIEW ends, lag;
DROP TABLE l;
DROP ROLE weir_nobody;
