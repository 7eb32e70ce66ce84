-- Streams and their life: create, alter, rename, move, hand over, drop.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

-- Sums up the catalog, but for the activity log; rows of tables that are gone would be counted too.
CREATE VIEW rows_left AS
	WITH log AS (SELECT p.stream, p.partition, g.segment FROM weir.partition p JOIN weir.segment g USING (partition)
				  WHERE p.stream = to_regclass('weir.activity'))
	SELECT (SELECT count(*) FROM weir.stream WHERE stream NOT IN (SELECT stream FROM log)) AS streams,
		   (SELECT count(*) FROM weir.partition WHERE stream NOT IN (SELECT stream FROM log)) AS partitions,
		   (SELECT count(*) FROM weir.segment WHERE partition NOT IN (SELECT partition FROM log)) AS segments,
		   (SELECT count(*) FROM weir.verified WHERE segment NOT IN (SELECT segment FROM log)) AS verified;
TABLE rows_left;

-- A stream is a partitioned table.
SELECT stream_create('orders', 3);
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull
  FROM pg_attribute a WHERE a.attrelid = 'orders'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT c.relname, c.relkind, pg_get_partkeydef(c.oid) AS key, pg_get_expr(c.relpartbound, c.oid) AS bound,
	   (SELECT string_agg(pg_get_constraintdef(k.oid), '; ') FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c') AS checks,
	   (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnotnull AND a.attnum > 0) AS not_null,
	   (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid) AS indexes
  FROM pg_class c WHERE c.relname LIKE 'orders%' AND c.relkind IN ('r', 'p') ORDER BY c.relname COLLATE "C";
SELECT stream, partitions, value_type, options, owner = current_user::regrole AS mine FROM weir.streams WHERE stream = 'orders'::regclass;
SELECT stream, partition, "table", segments, start_offset, next_offset, bytes FROM weir.partitions WHERE stream = 'orders'::regclass ORDER BY 1, 2;
SELECT * FROM weir.segments WHERE stream = 'orders'::regclass ORDER BY 1, 2, 4;
TABLE rows_left;

-- Every table has its guard, always on; the parts have the stream's owner.
SELECT c.relname, t.tgname, t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relname LIKE 'orders%' ORDER BY c.relname COLLATE "C", t.tgname COLLATE "C";

-- Tables are no members of the extension.
SELECT count(*) AS members FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass
 WHERE d.deptype = 'e' AND c.relname LIKE 'orders%';

-- Rename and SET SCHEMA: the stream is its regclass; parts go along into the schema, and their names do not matter.
SELECT * FROM stream_publish('orders', '"a"'::jsonb, partition => 1);
ALTER TABLE orders RENAME TO bestellungen;
SELECT * FROM stream_publish('bestellungen', '"b"'::jsonb, partition => 1);
CREATE SCHEMA shop;
ALTER TABLE bestellungen SET SCHEMA shop;
SELECT * FROM stream_publish('shop.bestellungen', '"c"'::jsonb, partition => 1);
ALTER TABLE shop.orders_p1 RENAME TO something_else;
ALTER TABLE shop.orders_p1_s0 SET SCHEMA public;
ALTER TABLE orders_p1_s0 RENAME TO another;
SELECT * FROM stream_publish('shop.bestellungen', '"d"'::jsonb, partition => 1);
SELECT "offset", value FROM stream_read('shop.bestellungen', 1);
SELECT stream, partition, segment FROM weir.segments WHERE stream = 'shop.bestellungen'::regclass ORDER BY 2;
SELECT * FROM stream_check('shop.bestellungen');

-- DROP TABLE leaves no row behind, nor does stream_drop, nor a rolled-back drop take one.
BEGIN;
DROP TABLE shop.bestellungen;
TABLE rows_left;
ROLLBACK;
TABLE rows_left;
DROP TABLE shop.bestellungen;
TABLE rows_left;
SELECT stream_create('orders', 2);
SELECT stream_drop('orders');
TABLE rows_left;

-- DROP SCHEMA CASCADE.
SET client_min_messages = warning;
SELECT stream_create('shop.a', 2);
SELECT stream_create('shop.b', 1, 'text');
DROP SCHEMA shop CASCADE;
RESET client_min_messages;
TABLE rows_left;

-- DROP OWNED.
CREATE ROLE regress_weir_owner;
GRANT CREATE ON SCHEMA public TO regress_weir_owner;
SET ROLE regress_weir_owner;
SELECT stream_create('owned', 2);
RESET ROLE;
DROP OWNED BY regress_weir_owner;
TABLE rows_left;

-- A new owner gets the parts too, and segments made later are his.
CREATE ROLE regress_weir_heir;
SELECT stream_create('estate', 2, 'text', '{"segment_messages": 2}');
ALTER TABLE estate OWNER TO regress_weir_heir;
SELECT * FROM stream_publish_batch('estate', '{a,b,c}'::text[], partition => 1);
SELECT relname, relowner::regrole FROM pg_class
 WHERE relname LIKE 'estate%' AND relkind IN ('r', 'p') ORDER BY relname COLLATE "C";
REASSIGN OWNED BY regress_weir_heir TO regress_weir_owner;
SELECT relowner::regrole, count(*) FROM pg_class
 WHERE relname LIKE 'estate%' AND relkind IN ('r', 'p') GROUP BY 1;
SELECT stream_drop('estate');
TABLE rows_left;

-- A create that is rolled back leaves nothing, one in a subtransaction neither.
BEGIN;
SELECT stream_create('never', 2);
SELECT * FROM stream_publish('never', '1'::jsonb, partition => 0);
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT stream_create('never', 2);
ROLLBACK TO a;
SELECT stream_create('never', 1, 'text');
SELECT * FROM stream_publish('never', 'x'::text);
COMMIT;
SELECT partition, "offset", value FROM never;
-- Dropped and made again in one transaction: another stream.
BEGIN;
SELECT stream_drop('never');
SELECT stream_create('never', 2, 'int');
SELECT * FROM stream_publish('never', '7'::text, partition => 1);
COMMIT;
SELECT partition, "offset", value FROM never;
SELECT stream_drop('never');
TABLE rows_left;

-- Names: quoted, qualified, as long as they can be; parts give way to what is there.
SELECT stream_create('"Größer, ""schöner"""', 1, 'text');
SELECT * FROM stream_publish('"Größer, ""schöner"""', 'x'::text);
SELECT stream_drop('"Größer, ""schöner"""');
SELECT stream_create(repeat('n', 63), 2);
SELECT count(*) AS tables, count(DISTINCT relname) AS names, max(length(relname)) AS longest
  FROM pg_class WHERE relname LIKE 'nnn%' AND relkind IN ('r', 'p');
SELECT stream_drop(repeat('n', 63)::regclass);
CREATE TABLE taken_p0 (i int);
SELECT stream_create('taken', 2);
SELECT partition, "table" FROM weir.partitions WHERE stream = 'taken'::regclass ORDER BY 1;
SELECT stream_drop('taken');
DROP TABLE taken_p0;
TABLE rows_left;

-- Options: what is set, in any spelling; null takes the default again.
SELECT stream_create('o', 1, 'jsonb', '{"segment_bytes": "64MB", "segment_age": "1 day", "partitioner": "explicit", "segment_messages": 10, "max_message_bytes": null}');
SELECT options FROM weir.streams WHERE stream = 'o'::regclass;
SELECT stream_alter('o', '{"segment_messages": 20, "segment_age": null}');
SELECT stream_alter('o', '{"retention_age": "7 days", "retention_bytes": "10GB", "retention_messages": 1000000}');
SELECT stream_alter('o', '{"auto_pause_after": "1 hour", "auto_pause_detach": true, "auto_pause_with_subscribers": "off"}');
SELECT stream_alter('o', '{"retention_age": null, "retention_bytes": null, "retention_messages": null, "auto_pause_after": null, "auto_pause_detach": null, "auto_pause_with_subscribers": null}');
SELECT stream_alter('o', '{"max_message_bytes": 100}');
SELECT stream_alter('o', '{}');
SELECT options FROM weir.streams WHERE stream = 'o'::regclass;
-- The guard carries them, for dumps without rows.
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'o'::regclass AND NOT tgisinternal;
-- An option works at once; a segment that is there keeps its bounds.
SELECT count(*) FROM stream_publish_batch('o', array_fill('1'::jsonb, ARRAY[35]));
SELECT lower_offset, upper_offset FROM weir.segments WHERE stream = 'o'::regclass ORDER BY 1;
BEGIN;
SELECT stream_alter('o', '{"segment_messages": 1}');
ROLLBACK;
SELECT options->'segment_messages' AS segment_messages FROM weir.streams WHERE stream = 'o'::regclass;
SELECT stream_drop('o');

-- COMMENT, GRANT, tablespace clause of the table, views on it: as for any table.
SELECT stream_create('c');
COMMENT ON TABLE c IS 'a stream';
CREATE VIEW v AS SELECT value FROM c;
DROP TABLE c;
DROP VIEW v;
SELECT stream_drop('c');
TABLE rows_left;

DROP VIEW rows_left;
REVOKE ALL ON SCHEMA public FROM regress_weir_owner;
DROP ROLE regress_weir_heir, regress_weir_owner;
