-- What a hostile or unlucky user tries.
SET client_min_messages = warning;
\set VERBOSITY sqlstate
CREATE ROLE hostile;
GRANT CREATE ON SCHEMA public TO hostile;
SET ROLE hostile;
-- A table that looks like a stream but has other types under its columns.
CREATE TABLE forged (partition int NOT NULL, "offset" int8 NOT NULL, ts timestamptz NOT NULL, key int8, value int8, headers int8) PARTITION BY LIST (partition);
CREATE TABLE forged_p0 (LIKE forged) PARTITION BY RANGE ("offset");
CREATE TABLE forged_p0_s0 (LIKE forged);
INSERT INTO forged_p0_s0 VALUES (0, 0, now(), 1234567, 5, 77);
ALTER TABLE forged_p0 ATTACH PARTITION forged_p0_s0 FOR VALUES FROM (0) TO (10);
ALTER TABLE forged ATTACH PARTITION forged_p0 FOR VALUES IN (0);
CREATE TRIGGER weir_guard BEFORE INSERT ON forged FOR EACH STATEMENT EXECUTE FUNCTION weir.guard('stream');
SELECT stream_adopt('forged');
SELECT * FROM stream_read('forged');
SELECT * FROM stream_read(NULL::forged);
DROP TABLE forged;
-- The right columns in another order in a segment.
CREATE TABLE forged (partition int NOT NULL, "offset" int8 NOT NULL, ts timestamptz NOT NULL, key text, value text, headers jsonb) PARTITION BY LIST (partition);
CREATE TABLE forged_p0 (LIKE forged) PARTITION BY RANGE ("offset");
CREATE TABLE forged_p0_s0 (headers jsonb, value text, key text, partition int NOT NULL, "offset" int8 NOT NULL, ts timestamptz NOT NULL);
ALTER TABLE forged_p0 ATTACH PARTITION forged_p0_s0 FOR VALUES FROM (0) TO (10);
ALTER TABLE forged ATTACH PARTITION forged_p0 FOR VALUES IN (0);
SELECT stream_adopt('forged');
DROP TABLE forged;
RESET ROLE;
-- A stream under another table would get rows that its guard does not see.
SELECT stream_create('o', 1, 'text', '{"segment_messages": 10}');
SELECT * FROM stream_publish('o', 'a'::text);
CREATE TABLE other (LIKE o) PARTITION BY LIST (partition);
ALTER TABLE other ATTACH PARTITION o FOR VALUES IN (0);
DROP TABLE other;
-- By commands of another tag.
CREATE SCHEMA foo CREATE TABLE x PARTITION OF public.o_p0 FOR VALUES FROM (100) TO (200);
ALTER VIEW o RENAME COLUMN key TO k;
-- The type of the value goes.
CREATE DOMAIN dd AS text;
SELECT stream_create('od', 1, 'dd');
DROP DOMAIN dd CASCADE;
SELECT * FROM stream_publish('od', 'still there'::text);
SELECT stream_drop('od');
DROP DOMAIN dd;
-- The guard goes, or is another function: the file's order is not known then.
DROP TRIGGER weir_guard ON o_p0_s0;
SELECT verified FROM weir.segments WHERE segment = 'o_p0_s0'::regclass;
INSERT INTO o_p0_s0 VALUES (0, 7, now(), NULL, 'x', NULL), (0, 5, now(), NULL, 'x', NULL);
SELECT problem FROM stream_check('o');
SELECT array_agg("offset") FROM stream_read('o');
SELECT * FROM stream_publish('o', 'b'::text);
SELECT array_agg("offset") FROM stream_read('o');
SELECT stream_adopt('o');
SELECT segment, action FROM stream_repair('o');
SELECT problem FROM stream_check('o');
SELECT array_agg("offset") FROM stream_read('o');
-- A value out of line in a table whose TOAST somebody has locked: fetched before the append lock.
CREATE TABLE source (v text);
ALTER TABLE source ALTER v SET STORAGE EXTERNAL;
ALTER TABLE source SET (toast_tuple_target = 128);
INSERT INTO source VALUES (repeat('0123456789abcdef', 56)), (repeat('fedcba9876543210', 600));
SELECT stream_publish('o', v, v) FROM source;
SELECT o.value = source.v AS same, o.key = source.v AS same_key FROM o JOIN source ON o.key = source.v ORDER BY o."offset";
DROP TABLE source;
-- Types that are one character long unless told otherwise.
SELECT stream_create('c1', 1, 'bpchar');
SELECT stream_create('c2', 1, 'bit');
SELECT stream_publish('c1', 'abc'::text), stream_publish('c2', '101'::text);
SELECT stream_drop('c1'), stream_drop('c2');
-- An owner who may not create tables here still gets segments, and owns all parts.
REVOKE CREATE ON SCHEMA public FROM hostile;
ALTER TABLE o REPLICA IDENTITY FULL, OWNER TO hostile;
SELECT count(*) AS foreign_parts FROM pg_partition_tree('o') t JOIN pg_class c ON c.oid = t.relid WHERE c.relowner <> 'hostile'::regrole;
SET ROLE hostile;
SELECT * FROM stream_publish_batch('o', array_fill('x'::text, ARRAY[25]));
RESET ROLE;
SELECT count(*) AS foreign_parts FROM pg_partition_tree('o') t JOIN pg_class c ON c.oid = t.relid WHERE c.relowner <> 'hostile'::regrole;
SELECT problem FROM stream_check('o');
-- Adopting a stream that has its rows keeps its start.
SELECT stream_trim('o', 0, 12);
SELECT stream_adopt('o');
SELECT start_offset FROM weir.partitions WHERE stream = 'o'::regclass;
-- A session's default tablespace or access method is none of a segment's business.
SET default_tablespace = pg_global;
SELECT * FROM stream_publish_batch('o', array_fill('x'::text, ARRAY[15]));
RESET default_tablespace;
-- The guard of the stream itself is off for a while: rows come through it unseen.
SELECT stream_create('g', 1, 'text', '{"segment_messages": 10}');
SELECT * FROM stream_publish_batch('g', ARRAY['a', 'b', 'c']);
ALTER TABLE g DISABLE TRIGGER weir_guard;
INSERT INTO g VALUES (0, 1, now(), 'k', 'evil', NULL);
ALTER TABLE g ENABLE ALWAYS TRIGGER weir_guard;
SELECT verified FROM weir.segments WHERE stream = 'g'::regclass;
SELECT * FROM stream_publish('g', 'x'::text);
SELECT segment, problem FROM stream_check('g');
SELECT * FROM stream_read('g', 0, 0);
SELECT segment, action FROM stream_repair('g');
SELECT value FROM stream_read('g', 0, 10);
-- A segment that is not WAL-logged is named.
ALTER TABLE g_p0_s1 SET UNLOGGED;
SELECT segment, problem FROM stream_check('g') WHERE problem = 'unlogged';
-- A mark is not believed by stream_repair.
SELECT stream_create('m', 1, 'text', '{"segment_messages": 10}');
SELECT * FROM stream_publish_batch('m', ARRAY['a', 'b', 'c']);
ALTER TABLE m_p0_s0 DISABLE TRIGGER ALL;
INSERT INTO m_p0_s0 VALUES (0, 8, now(), 'k', 'late', NULL), (0, 6, now(), 'k', 'early', NULL);
ALTER TABLE m_p0_s0 ENABLE TRIGGER ALL;
INSERT INTO weir.verified SELECT 'm_p0_s0'::regclass, pg_relation_filenode('m_p0_s0');
SELECT segment, problem FROM stream_check('m');
SELECT segment, action FROM stream_repair('m');
SELECT problem FROM stream_check('m');
SELECT array_agg(value) FROM stream_read('m');
SELECT stream_drop('g'), stream_drop('m');
-- A row without its table is an error, not an endless search.
SELECT stream_create('lost', 1, 'text');
BEGIN;
INSERT INTO weir.segment VALUES (4294967295, 'lost_p0'::regclass, 1048576, 2097152);
SELECT * FROM stream_publish('lost', 'x'::text);
ROLLBACK;
SELECT * FROM stream_publish('lost', 'x'::text);
SELECT stream_drop('lost');
-- Who may not read or publish learns nothing.
SELECT stream_create('secret', 2, 'text');
SET ROLE hostile;
SELECT stream_partition_for('secret', 'a');
SELECT count(*) FROM weir.partitions WHERE stream = 'secret'::regclass;
SELECT * FROM weir.partition_info('secret', 0);
SELECT * FROM weir.segment_info('secret_p0_s0');
SELECT * FROM stream_check('secret');
SELECT * FROM stream_repair('secret');
SELECT stream_adopt('secret');
SELECT stream_trim('secret', 0, 0);
SELECT weir.on_drop();
SELECT weir.guard();
RESET ROLE;
SELECT stream_drop('secret'), stream_drop('o');
REVOKE ALL ON SCHEMA public FROM hostile;
DROP ROLE hostile;
