-- Pausing, resuming, read-only: the state, whatever the tables do meanwhile.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS weir;
CREATE ROLE regress_weir_owner;
CREATE ROLE regress_weir_writer;
GRANT CREATE ON SCHEMA public TO regress_weir_owner;
SET ROLE regress_weir_owner;
SELECT stream_create('ps', 3, 'text', '{"partitioner": "explicit"}');
RESET ROLE;
-- Where the log stands: it outlives streams.
SELECT stream_high_watermark('weir.activity') AS logged \gset
SET ROLE regress_weir_owner;
CREATE TEMP VIEW states AS
	SELECT partition, state, cause, read_only, resume_all, paused_at,
		   first_pause IS NOT NULL AS has_paused, latest_pause > first_pause AS paused_again,
		   first_read_only IS NOT NULL AS was_read_only
	  FROM weir.partitions WHERE stream = 'ps'::regclass ORDER BY partition;
TABLE states;
SELECT count(*) FROM generate_series(0, 2) p, stream_publish('ps', 'first', partition => p);

-- All partitions; twice is fine, and says so.
SELECT * FROM stream_pause('ps');
SELECT * FROM stream_pause('ps');
SELECT * FROM stream_pause('ps', '{}');
TABLE states;

-- A publish resumes its partition and no other; it is readable at once.
SELECT * FROM stream_publish('ps', 'second', partition => 0);
SELECT "offset", value FROM stream_read('ps', 0);
SELECT partition, state, cause, has_paused FROM states;

-- Paused partitions can be read, looked at and asked.
SELECT "offset", value FROM stream_read('ps', 1);
SELECT stream_high_watermark('ps', 1), stream_next_offset('ps', 1), stream_earliest_offset('ps', 1);
SELECT partition, state FROM states;
-- ... and reading resumes only when asked.
SELECT "offset", value FROM stream_read('ps', 1, resume => true);
SELECT partition, state, cause FROM states;

-- An expected offset on a paused partition.
SELECT * FROM stream_publish('ps', 'x', partition => 2, expected_offset => 7);
SELECT partition, state FROM states WHERE partition = 2;
SELECT * FROM stream_publish('ps', 'x', partition => 2, expected_offset => 1);
SELECT partition, state FROM states WHERE partition = 2;

-- Resume; what is active stays so.
SELECT * FROM stream_pause('ps', '{2,0,2}');
SELECT * FROM stream_resume('ps', '{0}', wait => true);
SELECT * FROM stream_resume('ps', wait => true);
SELECT * FROM stream_resume('ps', wait => true);
SELECT partition, state, cause, paused_again FROM states;
-- With wait it is in the table when the statement ends.
SELECT partition, count(*) FROM ps GROUP BY 1 ORDER BY 1;

-- resume_all: a publish to any partition resumes it, also to one that never was paused.
SELECT * FROM stream_pause('ps', '{0}', resume_all => true);
SELECT * FROM stream_pause('ps', '{2}');
SELECT partition, state, resume_all FROM states;
SELECT * FROM stream_publish('ps', 'sibling', partition => 1);
SELECT partition, state, cause, resume_all FROM states;
-- Other options than the standing pause's: these are changed.
SELECT * FROM stream_pause('ps', '{2}', resume_all => true);
SELECT partition, state, resume_all FROM states WHERE partition = 2;
SELECT * FROM stream_resume('ps', wait => true);

-- In a transaction: rolled back is nothing happened.
BEGIN;
SELECT * FROM stream_pause('ps', '{1}');
SELECT partition, state FROM states WHERE partition = 1;
ROLLBACK;
SELECT partition, state FROM states WHERE partition = 1;
SELECT * FROM stream_pause('ps', '{1}');
BEGIN;
SELECT * FROM stream_publish('ps', 'rolled back', partition => 1);
SELECT partition, state FROM states WHERE partition = 1;
ROLLBACK;
SELECT partition, state FROM states WHERE partition = 1;
BEGIN;
SAVEPOINT a;
SELECT * FROM stream_publish('ps', 'rolled back', partition => 1);
ROLLBACK TO a;
SELECT partition, state FROM states WHERE partition = 1;
SELECT * FROM stream_publish('ps', 'kept', partition => 1);
COMMIT;
SELECT partition, state FROM states WHERE partition = 1;
-- Publish, then pause, in one transaction: paused.  Pause, then publish: active.
BEGIN;
SELECT * FROM stream_publish('ps', 'before', partition => 0);
SELECT * FROM stream_pause('ps', '{0}');
COMMIT;
SELECT partition, state FROM states WHERE partition = 0;
BEGIN;
SELECT * FROM stream_pause('ps', '{0,1}');
SELECT * FROM stream_publish('ps', 'after', partition => 0);
COMMIT;
SELECT partition, state FROM states;
-- A batch over paused and active partitions.
SELECT * FROM stream_pause('ps', '{0,1}');
SELECT partition, count FROM stream_publish_batch('ps', '{a,b,c,d}'::text[], keys => '{k1,k2,k3,k4}') ORDER BY 1;
SELECT partition, state FROM states;
SELECT * FROM stream_resume('ps', wait => true);

-- A repeatable read transaction pauses what another resumed after its snapshot.
SELECT * FROM stream_pause('ps', '{0}');
SELECT * FROM stream_publish('ps', 'y', partition => 0);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT 1;
SELECT * FROM stream_pause('ps', '{0}');
COMMIT;
SELECT partition, state FROM states WHERE partition = 0;
SELECT * FROM stream_resume('ps', wait => true);

-- Read-only: publishing fails and does not resume; readers are told the end.
SELECT * FROM stream_set_readonly('ps', '{0}');
SELECT * FROM stream_set_readonly('ps', '{0}');
SELECT * FROM stream_publish('ps', 'no', partition => 0);
SELECT partition, state, read_only, was_read_only FROM states;
SELECT stream_at_end('ps', 0, 0), stream_at_end('ps', 0, stream_high_watermark('ps', 0)), stream_at_end('ps', 1, 1000);
SELECT * FROM stream_pause('ps', '{0}');
SELECT * FROM stream_publish('ps', 'no', partition => 0);
SELECT partition, state, read_only FROM states WHERE partition = 0;
SELECT * FROM stream_resume('ps', wait => true);
SELECT partition, state, read_only FROM states WHERE partition = 0;
-- Keyless messages go round it.
SELECT partition, count(*) FROM generate_series(1, 10) i, stream_publish('ps', 'r' || i || repeat('.', 0 * i)) GROUP BY 1 ORDER BY 1;
SELECT * FROM stream_set_readonly('ps', '{0}', false);
SELECT count(*) FROM stream_publish('ps', 'yes', partition => 0);
SELECT * FROM stream_set_readonly('ps');
SELECT * FROM stream_publish('ps', 'no');
SELECT * FROM stream_set_readonly('ps', read_only => false);

-- Bad input.
SELECT * FROM stream_pause('ps', '{0,99}');
SELECT * FROM stream_pause('ps', '{0,-1}');
SELECT * FROM stream_pause('ps', '{0,NULL}');
SELECT * FROM stream_pause('ps', '{{0},{1}}');
SELECT * FROM stream_pause('ps', '{0}', NULL);
SELECT * FROM stream_pause('ps', '{0}', false, NULL);
SELECT * FROM stream_pause(NULL);
SELECT * FROM stream_pause('pg_class');
SELECT * FROM stream_pause('nonesuch');
SELECT * FROM stream_pause(1::oid::regclass);
SELECT * FROM stream_resume('ps', '{7}');
SELECT * FROM stream_resume('ps', '{0}', NULL);
SELECT * FROM stream_set_readonly('ps', '{7}');
SELECT * FROM stream_set_readonly('ps', '{0}', NULL);
SELECT partition, state, read_only FROM states;
BEGIN READ ONLY;
SELECT * FROM stream_pause('ps');
ROLLBACK;
SELECT stream_alter('ps', '{"auto_pause_after": "-1 s"}');
SELECT stream_alter('ps', '{"auto_pause_after": "0"}');

-- The owner only.
RESET ROLE;
GRANT SELECT, INSERT ON ps TO regress_weir_writer;
SET ROLE regress_weir_writer;
SELECT * FROM stream_pause('ps');
SELECT * FROM stream_resume('ps');
SELECT * FROM stream_set_readonly('ps');
CALL stream_pause_all();
-- ... but who may publish resumes.
RESET ROLE;
SELECT count(*) FROM stream_pause('ps');
SET ROLE regress_weir_writer;
SELECT * FROM stream_publish('ps', 'w', partition => 2);
SELECT partition, state FROM weir.partitions WHERE stream = 'ps'::regclass ORDER BY 1;
RESET ROLE;
REVOKE INSERT ON ps FROM regress_weir_writer;
SET ROLE regress_weir_writer;
SELECT * FROM stream_read('ps', 0, resume => true);
RESET ROLE;

-- All streams of the caller.
SET ROLE regress_weir_owner;
SELECT stream_create('ps2', 2, 'text');
CALL stream_pause_all();
CALL stream_pause_all();
CALL stream_resume_all();
BEGIN;
CALL stream_pause_all(true);
SELECT count(*) FROM weir.partitions WHERE state = 'paused' AND resume_all;
ROLLBACK;
SELECT count(*) FROM weir.partitions WHERE state = 'paused';
SELECT stream, * FROM (VALUES ('ps'::regclass), ('ps2')) v (stream), stream_check(stream);
RESET ROLE;

-- The activity log: what happened, in order, each once; it cannot be taken away itself.
SELECT value::jsonb ->> 'event' AS event, value::jsonb -> 'partitions' AS partitions, value::jsonb ->> 'cause' AS cause,
	   value::jsonb ->> 'by' = session_user AS by_me, value::jsonb ->> 'from' AS "from", value::jsonb ->> 'to' AS "to",
	   value::jsonb -> 'resume_all' AS resume_all
  FROM stream_read('weir.activity', "offset" => :logged, max_messages => NULL)
 WHERE key = 'public.ps2' AND value::jsonb ->> 'event' NOT IN ('attached', 'detached');
SELECT count(*) FROM stream_read('weir.activity', "offset" => :logged, max_messages => NULL) WHERE key = 'public.ps' AND value::jsonb ->> 'event' = 'readonly set';
SELECT * FROM stream_pause('weir.activity');
SELECT * FROM stream_set_readonly('weir.activity');
SELECT stream_alter('weir.activity', '{}');
SELECT stream_drop('weir.activity');
DROP TABLE weir.activity;
SELECT * FROM stream_check('weir.activity');

DROP VIEW states;
DROP TABLE ps2;
SELECT stream_drop('ps');
SELECT count(*) FROM weir.resume_request;
REVOKE CREATE ON SCHEMA public FROM regress_weir_owner;
DROP ROLE regress_weir_owner;
DROP ROLE regress_weir_writer;
