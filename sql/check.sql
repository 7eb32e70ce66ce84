-- stream_check finds what is broken, stream_repair puts right what can be.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('c', 2, 'int', '{"segment_messages": 10}');
SELECT sum(count) FROM stream_publish_batch('c', (SELECT array_agg(i::text) FROM generate_series(0, 24) i), partition => 0);
SELECT sum(count) FROM stream_publish_batch('c', (SELECT array_agg(i::text) FROM generate_series(0, 4) i), partition => 1);
SELECT * FROM stream_check('c');
SELECT * FROM stream_repair('c');

-- Makes caches look at a table again.
CREATE PROCEDURE look_again(t regclass) LANGUAGE plpgsql AS
	$$BEGIN EXECUTE format('GRANT SELECT ON %s TO CURRENT_USER', t); END$$;
-- Lets somebody with all rights write past the guard, and claim afterwards that the file is in order.
CREATE PROCEDURE past_guard(segment regclass, statement text, claim bool) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE %s DISABLE TRIGGER weir_guard', segment);
	EXECUTE statement;
	EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER weir_guard', segment);
	IF claim THEN
		INSERT INTO weir.verified VALUES (segment, pg_relation_filenode(segment));
	END IF;
	CALL look_again(segment);
END $$;

-- Switching a guard off is enough for a file not to be believed in.
ALTER TABLE c_p1_s0 DISABLE TRIGGER weir_guard;
SELECT * FROM stream_check('c');
SELECT verified FROM weir.segments WHERE segment = 'c_p1_s0'::regclass;
SELECT * FROM stream_publish('c', '5'::text, partition => 1);
ALTER TABLE c_p1_s0 ENABLE ALWAYS TRIGGER weir_guard;
SELECT * FROM stream_check('c');
ALTER TABLE c_p1_s1 ENABLE TRIGGER weir_guard;
SELECT * FROM stream_check('c');
ALTER TABLE c_p1_s1 ENABLE ALWAYS TRIGGER weir_guard;
ALTER TABLE c_p1 DISABLE TRIGGER weir_guard;
ALTER TABLE c DISABLE TRIGGER weir_guard;
SELECT * FROM stream_check('c');
ALTER TABLE c_p1 ENABLE ALWAYS TRIGGER weir_guard;
ALTER TABLE c ENABLE ALWAYS TRIGGER weir_guard;
DROP TRIGGER weir_guard ON c_p1_s0;
SELECT * FROM stream_check('c');
CREATE TRIGGER weir_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON c_p1_s0 FOR EACH STATEMENT EXECUTE FUNCTION weir.guard('segment');
ALTER TABLE c_p1_s0 ENABLE ALWAYS TRIGGER weir_guard;
SELECT * FROM stream_check('c');
SELECT * FROM stream_repair('c');

-- Out of order, not claimed to be: read in order all the same, put right by a repair.
CALL past_guard('c_p0_s2', $$INSERT INTO c_p0_s2 SELECT 0, o, now(), NULL, o, NULL FROM unnest('{29, 27, 28}'::int[]) o$$, false);
SELECT * FROM stream_check('c');
SELECT array_agg("offset") FROM stream_read('c', 0, 20);
SELECT * FROM stream_publish('c', '30'::text, partition => 0);
SELECT * FROM stream_repair('c');
SELECT * FROM stream_check('c');
SELECT array_agg("offset") FROM stream_read('c', 0, 20);
SELECT array_agg("offset" ORDER BY ctid) FROM c_p0_s2;

-- Out of order, and claimed to be in order: reader and check both tell.
CALL past_guard('c_p0_s3', $$INSERT INTO c_p0_s3 SELECT 0, o, '2100-01-01 00:00:00+00', NULL, o, NULL FROM unnest('{35, 33}'::int[]) o$$, true);
SELECT partition, segment, problem, detail FROM stream_check('c') WHERE problem = 'order';
SELECT array_agg("offset") FROM stream_read('c', 0, 30);
-- Mark gone, repaired.
DELETE FROM weir.verified WHERE segment = 'c_p0_s3'::regclass;
CALL look_again('c_p0_s3');
SELECT * FROM stream_check('c');
SELECT * FROM stream_repair('c');
SELECT * FROM stream_check('c');
SELECT array_agg("offset") FROM stream_read('c', 0, 30);

-- The same offset twice.
CALL past_guard('c_p0_s3', $$INSERT INTO c_p0_s3 VALUES (0, 35, '2100-01-01 00:00:00+00', NULL, 36, NULL)$$, true);
SELECT partition, segment, problem, detail FROM stream_check('c');
DELETE FROM weir.verified WHERE segment = 'c_p0_s3'::regclass;
CALL look_again('c_p0_s3');
SELECT partition, segment, problem, detail FROM stream_check('c');
SELECT array_agg("offset") FROM stream_read('c', 0, 30);
SELECT * FROM stream_repair('c');
CALL past_guard('c_p0_s3', $$DELETE FROM c_p0_s3 WHERE value = 36$$, false);
VACUUM c_p0_s3;
SELECT * FROM stream_repair('c');
SELECT * FROM stream_check('c');

-- Times that fall.  Such a segment cannot be put right, and the check goes on to say so.
CALL past_guard('c_p0_s3', $$INSERT INTO c_p0_s3 VALUES (0, 36, '2000-01-01 00:00:00+00', NULL, 36, NULL)$$, true);
SELECT partition, segment, problem FROM stream_check('c');
DELETE FROM weir.verified WHERE segment = 'c_p0_s3'::regclass;
CALL look_again('c_p0_s3');
SELECT action FROM stream_repair('c');
SELECT count(*) > 0 AS found FROM stream_check('c');
CALL past_guard('c_p0_s3', $$UPDATE c_p0_s3 SET ts = '2100-01-01 00:00:00+00' WHERE "offset" = 36$$, false);
VACUUM c_p0_s3;
SELECT action FROM stream_repair('c');
SELECT * FROM stream_check('c');

-- Rows against tables.
BEGIN;
DELETE FROM weir.segment WHERE segment = 'c_p0_s1'::regclass;
SELECT * FROM stream_check('c');
ROLLBACK;
BEGIN;
UPDATE weir.segment SET upper_offset = 8 WHERE segment = 'c_p0_s0'::regclass;
SELECT * FROM stream_check('c');
ROLLBACK;
BEGIN;
UPDATE weir.segment SET lower_offset = 5 WHERE segment = 'c_p0_s1'::regclass;
SELECT partition, segment, problem FROM stream_check('c');
ROLLBACK;
BEGIN;
INSERT INTO weir.segment VALUES (4294967295, 'c_p0'::regclass, 1000, 1010);
SELECT partition, segment IS NULL AS no_segment, problem, detail FROM stream_check('c');
ROLLBACK;
BEGIN;
UPDATE weir.partition SET start_offset = 1000 WHERE partition = 'c_p1'::regclass;
SELECT * FROM stream_check('c');
ROLLBACK;
BEGIN;
UPDATE weir.partition SET number = 2 WHERE partition = 'c_p1'::regclass;
CALL look_again('c');
\set VERBOSITY sqlstate
SELECT * FROM stream_check('c');
\set VERBOSITY default
ROLLBACK;
BEGIN;
DELETE FROM weir.partition WHERE partition = 'c_p1'::regclass;
CALL look_again('c');
SELECT partition, segment, problem FROM stream_check('c');
ROLLBACK;
SELECT * FROM stream_check('c');

-- A tail outside of the bounds is an error for the publisher, who says what to do.
BEGIN;
UPDATE weir.segment SET lower_offset = 15 WHERE segment = 'c_p1_s1'::regclass;
CALL look_again('c_p1');
SELECT * FROM stream_publish('c', '37'::text, partition => 1);
ROLLBACK;
BEGIN;
UPDATE weir.segment SET lower_offset = 15 WHERE segment = 'c_p1_s1'::regclass;
CALL look_again('c_p1');
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('c', '37'::text, partition => 1);
\set VERBOSITY default
ROLLBACK;
CALL look_again('c_p1');

-- A file that was copied in by somebody: another file number, so not believed in.
BEGIN;
UPDATE weir.verified SET file_number = 1 WHERE segment = 'c_p0_s0'::regclass;
CALL look_again('c_p0_s0');
SELECT verified FROM weir.segments WHERE segment = 'c_p0_s0'::regclass;
SELECT * FROM stream_check('c');
ROLLBACK;
SELECT verified FROM weir.segments WHERE segment = 'c_p0_s0'::regclass;

SELECT stream_drop('c');
DROP PROCEDURE past_guard, look_again;
