-- Guards: nobody writes past publishing, nobody changes what it leans on.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('g', 2, 'int', '{"segment_messages": 100}');
SELECT * FROM stream_publish_batch('g', '{1,2,3}'::text[], partition => 0);

-- Direct writes, at each level, and through a view.
INSERT INTO g VALUES (0, 5, now(), NULL, 1, NULL);
INSERT INTO g_p0 VALUES (0, 5, now(), NULL, 1, NULL);
INSERT INTO g_p0_s0 VALUES (0, 5, now(), NULL, 1, NULL);
UPDATE g SET value = 2;
DELETE FROM g_p0;
TRUNCATE g_p0_s0;
\set VERBOSITY sqlstate
INSERT INTO g SELECT * FROM g WHERE false;
INSERT INTO g_p1_s0 VALUES (1, 0, now(), NULL, 1, NULL);
UPDATE g SET value = 2 WHERE false;
UPDATE g_p0 SET value = 2;
UPDATE g_p0_s0 SET value = 2;
UPDATE g_p1_s0 SET value = 2;
DELETE FROM g;
DELETE FROM g_p0_s0;
DELETE FROM g_p1_s0;
TRUNCATE g;
TRUNCATE g_p0;
TRUNCATE g_p1_s0;
TRUNCATE g_p1_s0, g_p0_s0;
CREATE VIEW gv AS SELECT * FROM g;
INSERT INTO gv VALUES (0, 5, now(), NULL, 1, NULL);
DELETE FROM gv;
DROP VIEW gv;
WITH gone AS (DELETE FROM g RETURNING *) SELECT count(*) FROM gone;
INSERT INTO g VALUES (0, 0, now(), NULL, 1, NULL) ON CONFLICT DO NOTHING;
MERGE INTO g USING (SELECT 1) x ON false WHEN NOT MATCHED THEN INSERT VALUES (0, 5, now(), NULL, 1, NULL);
SET session_replication_role = replica;
INSERT INTO g VALUES (0, 5, now(), NULL, 1, NULL);
INSERT INTO g_p1_s0 VALUES (1, 0, now(), NULL, 1, NULL);
DELETE FROM g;
TRUNCATE g_p0_s0;
RESET session_replication_role;
COPY g FROM stdin;
0	5	2020-01-01	\N	1	\N
\.
COPY g_p0 FROM stdin;
0	5	2020-01-01	\N	1	\N
\.
COPY g_p0_s0 FROM stdin;
0	5	2020-01-01	\N	1	\N
\.
COPY g_p1 FROM stdin;
1	5	2020-01-01	\N	1	\N
\.
\set VERBOSITY default
-- COPY out is reading.
COPY (SELECT "offset", value FROM g) TO stdout;

-- The one way in: COPY into a segment without a block; then nobody believes in its order before it was looked at.
BEGIN;
COPY g_p1_s0 FROM stdin;
1	0	2020-01-01 00:00:00+00	a	1	\N
1	2	2020-01-01 00:00:01+00	b	2	{"h": 1}
1	4	2020-01-01 00:00:02+00	c	3	\N
\.
COPY g_p1_s0 FROM stdin;
1	5	2020-01-01 00:00:00+00	d	4	\N
\.
ROLLBACK;
-- The rollback has given the mark back; the block remains, and it is in order.
SELECT verified, blocks FROM weir.segments WHERE segment = 'g_p1_s0'::regclass;
SELECT * FROM stream_check('g');
VACUUM g_p1_s0;
SELECT verified, blocks FROM weir.segments WHERE segment = 'g_p1_s0'::regclass;
COPY g_p1_s0 FROM stdin;
1	0	2020-01-01 00:00:00+00	a	1	\N
1	2	2020-01-01 00:00:01+00	b	2	{"h": 1}
1	4	2020-01-01 00:00:02+00	c	3	\N
\.
SELECT verified, blocks FROM weir.segments WHERE segment = 'g_p1_s0'::regclass;
SELECT "offset", key, value, headers FROM stream_read('g', 1);
SELECT * FROM stream_publish('g', '4'::text, partition => 1);
SELECT "offset", value FROM stream_read('g', 1);
SELECT verified FROM weir.segments WHERE segment = 'g_p1_s0'::regclass;
-- Rows that belong elsewhere are stopped by the bounds themselves.
SELECT stream_create('g2', 2, 'int', '{"segment_messages": 100}');
\set VERBOSITY sqlstate
COPY g2_p0_s0 FROM stdin;
1	0	2020-01-01 00:00:00+00	a	1	\N
\.
COPY g2_p0_s0 FROM stdin;
0	100	2020-01-01 00:00:00+00	a	1	\N
\.
COPY g2_p0_s0 FROM stdin;
0	\N	2020-01-01 00:00:00+00	a	1	\N
\.
\set VERBOSITY default
VACUUM g2;
-- Loaded in any order, with a duplicate: it is not appended to, and the check tells.
COPY g2_p0_s0 FROM stdin;
0	5	2020-01-01 00:00:05+00	e	5	\N
0	1	2020-01-01 00:00:01+00	a	1	\N
0	3	2020-01-01 00:00:03+00	c	3	\N
\.
SELECT "offset", value FROM stream_read('g2', 0);
SELECT "offset", value FROM stream_read('g2', 0, 2);
SELECT "offset", value FROM stream_read('g2', 0, reverse => true);
SELECT stream_offset_at('g2', 0, '2020-01-01 00:00:02+00'), stream_offset_at('g2', 0, '2020-01-01 00:00:02+00', 'last');
SELECT stream_earliest_offset('g2', 0), stream_high_watermark('g2', 0);
SELECT * FROM stream_check('g2');
SELECT * FROM stream_publish('g2', '100'::text, partition => 0);
SELECT "offset", value FROM stream_read('g2', 0);
SELECT action FROM stream_repair('g2');
SELECT "offset", value FROM stream_read('g2', 0);
SELECT * FROM stream_publish('g2', '101'::text, partition => 0);
SELECT * FROM stream_check('g2');
SELECT stream_drop('g2');

-- Columns.
ALTER TABLE g ADD COLUMN more int;
\set VERBOSITY sqlstate
ALTER TABLE g DROP COLUMN headers;
ALTER TABLE g ALTER value TYPE bigint;
ALTER TABLE g ALTER value TYPE int USING value + 1;
ALTER TABLE g ALTER COLUMN key TYPE varchar(10);
ALTER TABLE g ALTER partition TYPE bigint;
ALTER TABLE g RENAME COLUMN value TO val;
ALTER TABLE g RENAME COLUMN "offset" TO o;
ALTER TABLE g ALTER ts DROP NOT NULL;
ALTER TABLE g ALTER value SET DEFAULT 5;
ALTER TABLE g ALTER "offset" ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE g ADD COLUMN doubled int GENERATED ALWAYS AS (value * 2) STORED;
ALTER TABLE g_p0 ADD COLUMN more int;
ALTER TABLE g_p0_s0 ALTER value SET DEFAULT 5;
ALTER TABLE g_p0_s0 DROP COLUMN key;
ALTER TABLE g_p0_s0 RENAME COLUMN key TO k;
SELECT stream_create('empty', 1, 'int');
ALTER TABLE empty ALTER key SET NOT NULL;
ALTER TABLE empty_p0 ALTER key SET NOT NULL;
ALTER TABLE empty_p0_s0 ALTER key SET NOT NULL;
ALTER TABLE empty ADD CHECK (value > 0) NOT VALID;
SELECT * FROM stream_publish('empty', '1'::text);
SELECT stream_drop('empty');

-- Parts.
ALTER TABLE g DETACH PARTITION g_p0;
ALTER TABLE g DETACH PARTITION g_p0 CONCURRENTLY;
ALTER TABLE g_p0 DETACH PARTITION g_p0_s0;
CREATE TABLE other (LIKE g);
ALTER TABLE g ATTACH PARTITION other FOR VALUES IN (2);
ALTER TABLE g ATTACH PARTITION other DEFAULT;
ALTER TABLE g_p0 ATTACH PARTITION other FOR VALUES FROM (100) TO (200);
DROP TABLE other;
CREATE TABLE other PARTITION OF g FOR VALUES IN (2);
CREATE TABLE other PARTITION OF g DEFAULT;
CREATE TABLE other PARTITION OF g_p0 FOR VALUES FROM (100) TO (200);
CREATE TABLE other PARTITION OF g FOR VALUES IN (2) PARTITION BY RANGE ("offset");
CREATE TABLE heir () INHERITS (g);
CREATE TABLE heir () INHERITS (g_p0_s0);
DROP TABLE g_p0;
DROP TABLE g_p0 CASCADE;
DROP TABLE g_p0_s0;
DROP TABLE g_p0_s0, g_p1;
\set VERBOSITY default
DROP TABLE IF EXISTS heir;
ALTER TABLE g DETACH PARTITION g_p0;
DROP TABLE g_p0_s0;
CREATE TABLE other PARTITION OF g FOR VALUES IN (2);
-- With the stream they go.
BEGIN;
DROP TABLE g_p0, g;
SELECT count(*) FROM weir.segment WHERE segment::text NOT LIKE 'weir.activity%';
ROLLBACK;
-- After all this, all is as it was.
SELECT * FROM stream_check('g');
SELECT count(*) FROM stream_read('g', 0);
SELECT c.relname FROM pg_class c WHERE relname LIKE 'g\_p%' AND relkind IN ('r', 'p') ORDER BY relname COLLATE "C";
-- What hurts nobody is allowed.
ALTER TABLE g ALTER value SET STATISTICS 50;
ALTER TABLE g_p0_s0 SET (autovacuum_enabled = off);
COMMENT ON COLUMN g.value IS 'a number';
ANALYZE g;
SELECT * FROM stream_publish('g', '4'::text, partition => 0);

-- What publishing would bypass is refused with its name, at publish, until it is gone.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER row_trigger BEFORE INSERT ON g FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT * FROM stream_publish('g', '5'::text, partition => 0);
SELECT * FROM stream_publish_batch('g', '{5}'::text[], partition => 0);
ALTER TABLE g DISABLE TRIGGER row_trigger;
SELECT * FROM stream_publish('g', '5'::text, partition => 0);
ALTER TABLE g ENABLE TRIGGER row_trigger;
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('g', '6'::text, partition => 0);
DROP TRIGGER row_trigger ON g;
SELECT * FROM stream_publish('g', '6'::text, partition => 0);
CREATE TRIGGER after_row AFTER INSERT OR UPDATE ON g FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT * FROM stream_publish('g', '7'::text, partition => 0);
DROP TRIGGER after_row ON g;
CREATE TRIGGER statement BEFORE INSERT ON g FOR EACH STATEMENT EXECUTE FUNCTION nothing();
SELECT * FROM stream_publish('g', '7'::text, partition => 0);
DROP TRIGGER statement ON g;
CREATE TRIGGER on_segment AFTER INSERT ON g_p0_s0 FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT * FROM stream_publish('g', '7'::text, partition => 0);
-- The other partition has none.
SELECT * FROM stream_publish('g', '7'::text, partition => 1);
DROP TRIGGER on_segment ON g_p0_s0;
CREATE TRIGGER on_update AFTER UPDATE ON g FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT * FROM stream_publish('g', '7'::text, partition => 0);
DROP TRIGGER on_update ON g;
ALTER TABLE g ADD CONSTRAINT small CHECK (value < 1000);
SELECT * FROM stream_publish('g', '8'::text, partition => 0);
ALTER TABLE g DROP CONSTRAINT small;
SELECT * FROM stream_publish('g', '8'::text, partition => 0);
ALTER TABLE g_p0 ADD CONSTRAINT small CHECK (value < 1000);
SELECT * FROM stream_publish('g', '9'::text, partition => 0);
ALTER TABLE g_p0 DROP CONSTRAINT small;
ALTER TABLE g_p0_s0 ADD CONSTRAINT small CHECK (value < 1000) NOT VALID;
SELECT * FROM stream_publish('g', '9'::text, partition => 0);
ALTER TABLE g_p0_s0 DROP CONSTRAINT small;
SELECT * FROM stream_publish('g', '9'::text, partition => 0);
CREATE TABLE known (value int PRIMARY KEY);
INSERT INTO known SELECT generate_series(0, 1000);
ALTER TABLE g ADD CONSTRAINT known FOREIGN KEY (value) REFERENCES known;
SELECT * FROM stream_publish('g', '10'::text, partition => 0);
ALTER TABLE g DROP CONSTRAINT known;
SELECT * FROM stream_publish('g', '10'::text, partition => 0);
-- A rule would rewrite an INSERT and so would be ignored: refused.
CREATE RULE quiet AS ON INSERT TO g DO INSTEAD NOTHING;
SELECT * FROM stream_publish('g', '11'::text, partition => 0);
DROP RULE quiet ON g;
\set VERBOSITY default
ALTER TABLE g ADD CONSTRAINT small CHECK (value < 1000);
SELECT * FROM stream_publish('g', '12'::text, partition => 0);
ALTER TABLE g DROP CONSTRAINT small;
ALTER TABLE g ADD CONSTRAINT known FOREIGN KEY (value) REFERENCES known;
SELECT * FROM stream_publish('g', '12'::text, partition => 0);
ALTER TABLE g DROP CONSTRAINT known;
-- A foreign key to a stream is nothing that publishing would bypass.
ALTER TABLE g ADD CONSTRAINT place PRIMARY KEY (partition, "offset");
CREATE TABLE refers (p int, o bigint, FOREIGN KEY (p, o) REFERENCES g (partition, "offset"));
SELECT * FROM stream_publish('g', '13'::text, partition => 1);
INSERT INTO refers SELECT partition, "offset" FROM g WHERE value = 13;
DROP TABLE refers, known;
ALTER TABLE g DROP CONSTRAINT place;
SELECT * FROM stream_publish('g', '14'::text, partition => 1);
-- Refused in the middle of a transaction that has published already: the cache is not what decides.
BEGIN;
SELECT * FROM stream_publish('g', '15'::text, partition => 0);
CREATE TRIGGER row_trigger BEFORE INSERT ON g FOR EACH ROW EXECUTE FUNCTION nothing();
SAVEPOINT a;
SELECT * FROM stream_publish('g', '16'::text, partition => 0);
ROLLBACK TO a;
DROP TRIGGER row_trigger ON g;
SELECT * FROM stream_publish('g', '16'::text, partition => 0);
COMMIT;
SELECT array_agg(value) FROM stream_read('g', 0);
SELECT array_agg(value) FROM stream_read('g', 1);
SELECT * FROM stream_check('g');

SELECT stream_drop('g');
DROP FUNCTION nothing;
