-- The extension goes and comes back: streams are tables of their own.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

-- The tests before left nothing but the activity log.
WITH log AS (SELECT p.stream, p.partition, g.segment FROM weir.partition p JOIN weir.segment g USING (partition)
			  WHERE p.stream = to_regclass('weir.activity'))
SELECT (SELECT count(*) FROM weir.stream WHERE stream NOT IN (SELECT stream FROM log)) AS streams,
	   (SELECT count(*) FROM weir.partition WHERE stream NOT IN (SELECT stream FROM log)) AS partitions,
	   (SELECT count(*) FROM weir.segment WHERE partition NOT IN (SELECT partition FROM log)) AS segments,
	   (SELECT count(*) FROM weir.verified WHERE segment NOT IN (SELECT segment FROM log)) AS verified,
	   (SELECT count(*) FROM weir.resume_request) AS requests;

SELECT stream_create('kept', 2, 'text', '{"segment_messages": 3}');
CREATE INDEX kept_key ON kept (key);
SELECT sum(count) FROM stream_publish_batch('kept', '{0,1,2,3,4}'::text[], partition => 0);
SELECT "offset" FROM stream_publish('kept', 'x'::text, partition => 1);

-- Tables are no members; all that ties them to the extension is the trigger's function.
SELECT d.deptype, count(*) FROM pg_depend d
 WHERE d.classid = 'pg_class'::regclass AND d.objid IN (SELECT oid FROM pg_class WHERE relname LIKE 'kept%') AND d.refclassid = 'pg_extension'::regclass GROUP BY 1;
SELECT pg_describe_object(d.refclassid, d.refobjid, 0) AS needs, d.deptype, count(*) FROM pg_depend d
 WHERE d.classid = 'pg_trigger'::regclass AND d.refclassid = 'pg_proc'::regclass
   AND d.objid IN (SELECT oid FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relname LIKE 'kept%')) GROUP BY 1, 2;
-- Every row of the catalog has its table, every table its row.
SELECT count(*) AS without_table FROM (SELECT stream::oid AS o FROM weir.stream UNION ALL SELECT partition FROM weir.partition UNION ALL SELECT segment FROM weir.segment) x
 WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = o);
SELECT count(*) AS without_row FROM pg_partition_tree('kept') t
 WHERE t.relid NOT IN (SELECT stream FROM weir.stream UNION ALL SELECT partition FROM weir.partition UNION ALL SELECT segment FROM weir.segment);

\set VERBOSITY sqlstate
DROP EXTENSION weir;
\set VERBOSITY default
SET client_min_messages = warning;
DROP EXTENSION weir CASCADE;
RESET client_min_messages;

-- Plain tables, with everything in them.
SELECT partition, "offset", key, value FROM kept ORDER BY 1, 2;
SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid IN (SELECT relid FROM pg_partition_tree('kept')) AND NOT tgisinternal;
INSERT INTO kept VALUES (0, 5, now(), 'k', '5', NULL);
SELECT partition, "offset", value FROM kept WHERE key = 'k';

-- With the extension back, the tables can be adopted: the guards are put on again, the options are the defaults.
CREATE EXTENSION weir;
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('kept', 'y'::text, partition => 0);
\set VERBOSITY default
SELECT stream_adopt('kept');
SELECT options FROM weir.streams WHERE stream = 'kept'::regclass;
SELECT * FROM stream_publish('kept', 'y'::text, partition => 0);
SELECT "offset", value FROM stream_read('kept', 0);
\set VERBOSITY sqlstate
INSERT INTO kept VALUES (0, 7, now(), 'k', '7', NULL);
\set VERBOSITY default
SELECT * FROM stream_check('kept');
DROP TABLE kept;

-- A database without streams: the extension goes without CASCADE, and nothing of it stays, not the activity log either.
SELECT stream FROM weir.streams;
DROP EXTENSION weir;
SELECT count(*) FROM pg_namespace WHERE nspname = 'weir';
SELECT count(*) FROM pg_class WHERE relname LIKE 'activity%';
SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE 'weir%';
SELECT count(*) FROM pg_proc WHERE probin LIKE '%weir%';
