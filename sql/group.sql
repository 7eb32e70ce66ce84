-- Consuming in a transaction: positions move with the commit.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
SELECT stream_create('gr', 2, 'text', '{"partitioner": "explicit"}');
SELECT count(*) FROM generate_series(1, 5) i, stream_publish('gr', 'a' || i, partition => 0);
SELECT count(*) FROM generate_series(1, 3) i, stream_publish('gr', 'b' || i, partition => 1);

-- A new group starts at the earliest message.
SELECT "offset", value FROM stream_fetch('gr', 'one', 2, 0);
SELECT stream_position('gr', 'one', 0), stream_position('gr', 'one', 1);
SELECT "offset", value FROM stream_fetch('gr', 'one', 2, 0);
SELECT "offset", value FROM stream_fetch('gr', 'one', 2, 0);
SELECT "offset", value FROM stream_fetch('gr', 'one', 2, 0);
-- Without a partition: one that has something.
SELECT partition, "offset", value FROM stream_fetch('gr', 'one');
SELECT partition, "offset", value FROM stream_fetch('gr', 'one');
-- Groups know nothing of each other; the typed form.
SELECT count(*), count(DISTINCT partition) FROM (SELECT * FROM stream_fetch(NULL::gr, 'two') UNION ALL SELECT * FROM stream_fetch(NULL::gr, 'two')) x;

-- Rollback gives them back, to a savepoint too.
SELECT count(*) FROM stream_publish('gr', 'a6', partition => 0);
BEGIN;
SELECT "offset", value FROM stream_fetch('gr', 'one', partition => 0);
SELECT "offset", value FROM stream_fetch('gr', 'one', partition => 0);
ROLLBACK;
SELECT stream_position('gr', 'one', 0);
BEGIN;
SAVEPOINT s;
SELECT "offset", value FROM stream_fetch('gr', 'one', partition => 0);
ROLLBACK TO s;
SELECT "offset", value FROM stream_fetch('gr', 'one', partition => 0);
COMMIT;
SELECT stream_position('gr', 'one', 0);
-- A rolled-back first fetch makes no group.
BEGIN;
SELECT count(*) FROM stream_fetch('gr', 'three', partition => 0);
ROLLBACK;
SELECT name FROM weir.group WHERE stream = 'gr'::regclass ORDER BY 1;
-- One's own messages can be fetched in the same transaction; both go or stay.
BEGIN;
SELECT count(*) FROM stream_publish('gr', 'own', partition => 0);
SELECT count(*) FROM stream_fetch('gr', 'one', partition => 0);
COMMIT;
SELECT value FROM stream_fetch('gr', 'one', partition => 0);

-- Seek: offset, time, ends; of one partition or all.
SELECT * FROM stream_seek('gr', 'one', 0, 2);
SELECT "offset" FROM stream_fetch('gr', 'one', 1, 0);
SELECT * FROM stream_seek('gr', 'one', start => 'earliest');
SELECT * FROM stream_seek('gr', 'one', start => 'latest');
SELECT * FROM stream_seek('gr', 'one', 1, ts => '2000-01-01');
SELECT * FROM stream_seek('gr', 'one', 1, ts => 'infinity');
SELECT * FROM stream_seek('gr', 'new one', 1, start => 'latest');
SELECT stream_position('gr', 'new one', 0), stream_position('gr', 'new one', 1);
SELECT * FROM stream_seek('gr', 'one', 0, 100);
SELECT * FROM stream_seek('gr', 'one', 0, -1);
SELECT * FROM stream_seek('gr', 'one', "offset" => 1);
SELECT * FROM stream_seek('gr', 'one', 0);
SELECT * FROM stream_seek('gr', 'one', 0, 1, start => 'latest');
SELECT * FROM stream_seek('gr', 'one', 0, start => 'middle');
SELECT * FROM stream_seek('gr', 'one', 9, start => 'latest');

-- Retention overtook a position: an error that names the gap, and consent.
SELECT stream_create('gap', 1, 'text', '{"segment_messages": 3}');
SELECT count(*) FROM generate_series(1, 10) i, stream_publish('gap', 'm' || i);
SELECT count(*) FROM stream_fetch('gap', 'slow', 1);
SELECT stream_trim('gap', 0, 6);
SELECT * FROM stream_fetch('gap', 'slow');
SELECT stream_position('gap', 'slow');
SELECT min("offset"), count(*) FROM stream_fetch('gap', 'slow', skip_gap => true);
SELECT "group", partition, next_offset, skipped FROM weir.groups WHERE stream = 'gap'::regclass;
SELECT count(*) FROM stream_fetch('gap', 'slow');

-- A fetch keeps no lock of partitions in which it found nothing.
SELECT stream_create('wide', 50, 'text', '{"partitioner": "explicit"}');
SELECT count(*) FROM stream_publish('wide', 'm', partition => 7);
SELECT count(*) FROM stream_seek('wide', 'g', start => 'earliest');
BEGIN;
SELECT partition FROM stream_fetch('wide', 'g');
SELECT count(*) FROM stream_fetch('wide', 'g');
SELECT relation::regclass FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text LIKE 'wide%' ORDER BY 1;
COMMIT;

-- Bad input.
SELECT * FROM stream_fetch('gr', '');
SELECT * FROM stream_fetch('gr', repeat('x', 256));
SELECT * FROM stream_fetch('gr', NULL);
SELECT * FROM stream_fetch('gr', 'one', 0);
SELECT * FROM stream_fetch('gr', 'one', -5);
SELECT * FROM stream_fetch('gr', 'one', partition => 7);
SELECT * FROM stream_fetch('gr', 'one', partition => -1);
SELECT * FROM stream_fetch('pg_class', 'one');
SELECT stream_position('gr', 'nobody', 0);
SELECT stream_drop_group('gr', 'nobody');
BEGIN READ ONLY;
SELECT * FROM stream_fetch('gr', 'one');
ROLLBACK;
SELECT stream_drop_group('gr', 'two');
SELECT name FROM weir.group WHERE stream = 'gr'::regclass ORDER BY 1;

-- What is wrong with positions is found.
SELECT * FROM stream_check('gap');
UPDATE weir.position SET next_offset = 11 WHERE group_id = (SELECT id FROM weir.group WHERE stream = 'gap'::regclass);
SELECT * FROM stream_check('gap');
INSERT INTO weir.position SELECT group_id, partition, version + 1, 10, moved, skipped, owner FROM weir.position WHERE group_id = (SELECT id FROM weir.group WHERE stream = 'gap'::regclass);
SELECT * FROM stream_check('gap');
DELETE FROM weir.position WHERE group_id = (SELECT id FROM weir.group WHERE stream = 'gap'::regclass);
SELECT * FROM stream_check('gap');

-- Groups go with their stream.
DROP TABLE gr, gap, wide;
SELECT count(*) FROM weir.group;
SELECT count(*) FROM weir.position;
