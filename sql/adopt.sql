-- stream_adopt: the rows of the catalog from the tables alone.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('a', 2, 'text', '{"segment_messages": 3, "partitioner": "explicit"}');
SELECT sum(count) FROM stream_publish_batch('a', '{0,1,2,3,4,5,6}'::text[], partition => 0);
SELECT sum(count) FROM stream_publish_batch('a', '{x}'::text[], partition => 1);
CREATE TABLE rows_before AS
	SELECT 'stream' AS kind, s::text AS row FROM weir.stream s
	UNION ALL SELECT 'partition', (p.partition, p.stream, p.number, p.start_offset, p.state)::text FROM weir.partition p
	UNION ALL SELECT 'segment', g::text FROM weir.segment g;

-- What a dump of one schema or table brings: the tables, with their guards, and no rows.
CREATE PROCEDURE forget(stream regclass) LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM weir.verified WHERE segment IN (SELECT g.segment FROM weir.segment g JOIN weir.partition p USING (partition) WHERE p.stream = forget.stream);
	DELETE FROM weir.segment g USING weir.partition p WHERE g.partition = p.partition AND p.stream = forget.stream;
	DELETE FROM weir.partition p WHERE p.stream = forget.stream;
	DELETE FROM weir.stream s WHERE s.stream = forget.stream;
	-- So that caches look again.
	EXECUTE format('GRANT SELECT ON %s TO CURRENT_USER', stream);
END $$;
CALL forget('a');
SELECT * FROM stream_publish('a', 'y'::text, partition => 1);
SELECT * FROM stream_read('a', 0);
SELECT count(*) FROM a;
-- Still nobody writes past publishing.
\set VERBOSITY sqlstate
INSERT INTO a VALUES (0, 100, now(), NULL, 'z', NULL);
\set VERBOSITY default

SELECT stream_adopt('a');
SELECT kind, count(*) AS differ FROM (
	(SELECT 'stream' AS kind, s::text AS row FROM weir.stream s
	 UNION ALL SELECT 'partition', (p.partition, p.stream, p.number, p.start_offset, p.state)::text FROM weir.partition p
	 UNION ALL SELECT 'segment', g::text FROM weir.segment g) EXCEPT TABLE rows_before) x GROUP BY 1;
SELECT options FROM weir.streams WHERE stream = 'a'::regclass;
-- Order is unknown at first, reading works at once, publishing goes on where it was.
SELECT partition, lower_offset, verified FROM weir.segments WHERE stream = 'a'::regclass ORDER BY 1, 2;
SELECT array_agg(value) FROM stream_read('a', 0);
SELECT * FROM stream_publish('a', '7'::text, partition => 0);
SELECT * FROM stream_publish('a', 'y'::text, 'key', partition => 1);
SELECT * FROM stream_check('a');
SELECT partition, lower_offset, verified FROM weir.segments WHERE stream = 'a'::regclass ORDER BY 1, 2;
SELECT * FROM stream_repair('a');
SELECT bool_and(verified) FROM weir.segments WHERE stream = 'a'::regclass;

-- Adopting what has its rows changes nothing.
SELECT stream_adopt('a');
SELECT * FROM stream_check('a');
SELECT * FROM stream_publish('a', '8'::text, partition => 0);
SELECT array_agg("offset") FROM stream_read('a', 0);

-- What was dropped before is not known any more: the start is the first bound.
SELECT stream_trim('a', 0, 5);
SELECT start_offset FROM weir.partitions WHERE stream = 'a'::regclass AND partition = 0;
CALL forget('a');
SELECT stream_adopt('a');
SELECT start_offset FROM weir.partitions WHERE stream = 'a'::regclass AND partition = 0;
SELECT array_agg("offset") FROM stream_read('a', 0);

-- A rolled-back adoption leaves no row.
CALL forget('a');
BEGIN;
SELECT stream_adopt('a');
SELECT * FROM stream_publish('a', '9'::text, partition => 0);
ROLLBACK;
SELECT count(*) FROM weir.stream WHERE stream <> 'weir.activity'::regclass;
SELECT stream_adopt('a');
SELECT array_agg(value) FROM stream_read('a', 0);
SELECT * FROM stream_publish('a', '9'::text, partition => 0);
SELECT * FROM stream_check('a');

-- What is no stream: another table, a part, one that lacks a partition, one of somebody else.
CREATE TABLE plain (partition int, "offset" bigint, ts timestamptz, key text, value text, headers jsonb) PARTITION BY LIST (partition);
CREATE ROLE regress_weir_other;
CALL forget('a');
ALTER TABLE a DETACH PARTITION a_p0;
SELECT stream_adopt('a');
ALTER TABLE a ATTACH PARTITION a_p0 FOR VALUES IN (0);
ALTER TABLE a_p1 DETACH PARTITION a_p1_s0;
SELECT stream_adopt('a');
ALTER TABLE a_p1 ATTACH PARTITION a_p1_s0 FOR VALUES FROM (0) TO (3);
\set VERBOSITY sqlstate
SELECT stream_adopt('plain');
SELECT stream_adopt('a_p0');
SELECT stream_adopt('a_p0_s2');
SELECT stream_adopt('pg_class');
ALTER TABLE a ADD COLUMN more int;
SELECT stream_adopt('a');
ALTER TABLE a DROP COLUMN more;
SET ROLE regress_weir_other;
SELECT stream_adopt('a');
RESET ROLE;
\set VERBOSITY default
SELECT count(*) FROM weir.stream WHERE stream <> 'weir.activity'::regclass;
DROP TABLE a, plain;
SELECT (SELECT count(*) FROM weir.stream WHERE stream <> 'weir.activity'::regclass) + (SELECT count(*) FROM weir.partition WHERE stream <> 'weir.activity'::regclass)
	   + (SELECT count(*) FROM weir.segment WHERE segment::text NOT LIKE 'weir.activity%') AS rows_left;

DROP ROLE regress_weir_other;
DROP TABLE rows_before;
DROP PROCEDURE forget;
