-- Subscribing, and waiting: what can be told within one session.
SELECT stream_create('sub', 2, 'text', '{"partitioner": "explicit"}');
SELECT stream_create('sub_one', 1, 'text');

-- The channel, LISTEN by function.
SELECT stream_channel('sub') ~ ('^weir_' || 'sub'::regclass::oid || '_[0-9a-f]{32}$') AS channel;
SELECT stream_channel('sub') <> stream_channel('sub_one') AS another;
SELECT stream_subscribe('sub') = stream_channel('sub') AS subscribed;
SELECT stream_subscribe('sub') = stream_channel('sub') AS twice;
SELECT count(*) FROM pg_listening_channels() c WHERE c = stream_channel('sub');
BEGIN;
SELECT stream_unsubscribe('sub');
ROLLBACK;
SELECT count(*) FROM pg_listening_channels() c WHERE c = stream_channel('sub');
SELECT stream_unsubscribe('sub');
SELECT stream_unsubscribe('sub_one');
SELECT count(*) FROM pg_listening_channels() c WHERE c = stream_channel('sub');
SELECT count(*) FROM weir.secret;

\set VERBOSITY sqlstate
SELECT stream_channel('pg_class');
SELECT stream_channel(NULL);
SELECT stream_subscribe(0);
SELECT stream_subscribe('nothing');

-- A read that waits: at once if there is something, else when the time is over.
SELECT stream_publish('sub', v, partition => 0) FROM (VALUES ('a'), ('b')) t (v);
SELECT "offset", value FROM stream_read('sub', 0, wait => '1 hour');
SELECT "offset", value FROM stream_read(NULL::sub, 0, 1, wait => '1 hour');
SELECT (stream_read(NULL::sub, 0, 1, wait => '1 hour')).value;
SELECT count(*) FROM stream_read('sub', 1, wait => '10 ms');
SELECT count(*) FROM stream_read('sub', 0, start => 'latest', wait => '10 ms');
-- At an offset that is not there yet it waits; without it is refused.
SELECT count(*) FROM stream_read('sub', 0, 7, wait => '10 ms');
SELECT count(*) FROM stream_read('sub', 0, 7);
-- One's own messages are there.
BEGIN;
SELECT stream_publish('sub', 'own', partition => 1);
SELECT value FROM stream_read('sub', 1, wait => '1 hour');
ROLLBACK;
-- Where nothing new can appear it does not wait.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM stream_read('sub', 1, wait => '1 hour');
SELECT count(*) FROM stream_fetch('sub', 'g', partition => 1, wait => '1 hour');
ROLLBACK;
SET weir.max_wait = '10ms';
SELECT count(*) FROM stream_read('sub', 1, wait => '1 hour');
SELECT count(*) FROM stream_fetch('sub', 'g', partition => 1, wait => '10 years');
RESET weir.max_wait;
SELECT count(*) FROM stream_read('sub', 0, reverse => true, wait => '1 s');
SELECT count(*) FROM stream_read('sub', 0, wait => '-1 s');
SELECT count(*) FROM stream_read('sub', 9, wait => '1 s');
SELECT count(*) FROM stream_read('sub', 0, -1, wait => '1 s');
SELECT count(*) FROM stream_read('sub', wait => '1 s');

-- A fetch that waits.
SELECT "offset", value FROM stream_fetch('sub', 'g', 1, wait => '1 hour');
SELECT "offset", value FROM stream_fetch(NULL::sub, 'g', wait => '1 hour');
SELECT count(*) FROM stream_fetch('sub', 'g', wait => '10 ms');
SELECT count(*) FROM stream_fetch('sub', 'g', wait => '-10 ms');
SELECT count(*) FROM stream_fetch('sub', 'g', partition => -1, wait => '10 ms');
SELECT count(*) FROM stream_fetch('sub', 'g', partition => 2, wait => '10 ms');
-- It makes the group, though there is nothing to read.
SELECT count(*) FROM stream_fetch('sub_one', 'new', wait => '10 ms');
SELECT stream_position('sub_one', 'new');

-- Waiting without a snapshot.
CALL stream_wait('sub', '10 ms');
CALL stream_wait('sub', '1 hour', 'another');
CALL stream_wait('sub', '10 ms', 'g');
CALL stream_wait('sub', '1 hour', partition => 0, "offset" => 1);
CALL stream_wait('sub', '10 ms', partition => 0, "offset" => 2);
CALL stream_wait('sub_one', '10 ms', "offset" => 0);
CALL stream_wait('sub', '1 s', "offset" => 0);
CALL stream_wait('sub', '1 s', partition => 2);
CALL stream_wait('sub', '1 s', 'g', 0, 0);
CALL stream_wait('sub', '1 s', partition => 0, "offset" => -1);
CALL stream_wait('sub', '-1 s');
CALL stream_wait('sub', NULL);
CALL stream_wait(NULL, '1 s');
CALL stream_wait('sub', '1 s', '');
BEGIN;
CALL stream_wait('sub', '1 s');
ROLLBACK;
DO $$ DECLARE r boolean; BEGIN CALL stream_wait('sub', '10 ms', 'g', ready => r); RAISE EXCEPTION USING errcode = CASE WHEN r THEN 'P0003' ELSE 'P0002' END; END $$;

-- It cannot run beside parallel workers: waiting needs subtransactions.
SELECT DISTINCT proparallel FROM pg_proc WHERE proname IN ('stream_read', 'stream_fetch');

-- What a member owns is for that member.
SELECT generation AS mine FROM stream_join('sub', 'team', 'one') \gset
CALL stream_wait('sub', '10 ms', 'team');
CALL stream_wait('sub', '1 hour', 'team', generation => :mine);
CALL stream_wait('sub', '10 ms', 'team', 1, generation => :mine);
CALL stream_wait('sub', '10 ms', 'team', generation => :mine + 1000);
CALL stream_wait('sub', '10 ms', generation => :mine);

-- Where a superuser runs the functions of others, as LISTEN.
CREATE MATERIALIZED VIEW sub_trap AS SELECT stream_subscribe('sub');
CREATE MATERIALIZED VIEW sub_trap AS SELECT stream_unsubscribe('sub') IS NULL AS gone;

-- Privileges.
CREATE ROLE regress_weir_sub;
SET ROLE regress_weir_sub;
SELECT stream_channel('sub');
SELECT stream_subscribe('sub');
SELECT count(*) FROM stream_read('sub', 0, wait => '1 s');
SELECT count(*) FROM stream_fetch('sub', 'g', wait => '1 s');
CALL stream_wait('sub', '1 s');
SELECT * FROM weir.secret;
RESET ROLE;
DROP ROLE regress_weir_sub;
DROP TABLE sub, sub_one;
