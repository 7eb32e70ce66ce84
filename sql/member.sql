-- Members of groups: work outside of transactions, fenced by generations.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
SELECT stream_create('me', 5, 'text', '{"partitioner": "explicit"}');
SELECT count(*) FROM generate_series(0, 19) i, stream_publish('me', 'm' || i, partition => i % 5);

-- Generations are numbers of a sequence: shown by what they are worth.
CREATE TABLE generation (name text PRIMARY KEY, number bigint, former bigint);
CREATE FUNCTION enter("group" text, member text, lease interval DEFAULT '1 hour') RETURNS text LANGUAGE plpgsql AS $$
DECLARE j record;
BEGIN
	SELECT * INTO j FROM stream_join('me', $1, member, lease);
	INSERT INTO generation VALUES (member, j.generation) ON CONFLICT (name) DO UPDATE SET former = generation.number, number = j.generation;
	RETURN format('%s at %s', j.partitions, j.offsets);
END $$;
CREATE FUNCTION beat("group" text, member text, lease interval DEFAULT NULL, busy boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE j record; g bigint;
BEGIN
	SELECT number INTO g FROM generation WHERE name = member;
	SELECT * INTO j FROM stream_join('me', $1, member, lease, g, busy);
	UPDATE generation SET former = number, number = j.generation WHERE name = member AND number <> j.generation;
	RETURN format('%s at %s, %s generation', j.partitions, j.offsets, CASE WHEN j.generation = g THEN 'same' ELSE 'new' END);
END $$;
CREATE FUNCTION done("group" text, member text, partition integer, "offset" bigint) RETURNS void LANGUAGE sql AS
	$$SELECT stream_commit('me', $1, $3, $4, (SELECT number FROM generation WHERE name = $2))$$;
CREATE FUNCTION fails(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE s text; m text; d text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS s = RETURNED_SQLSTATE, m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL;
	RETURN regexp_replace(regexp_replace(s || ': ' || m || CASE WHEN d = '' THEN '' ELSE ' / ' || d END,
		'(generation( is)?) \d+', '\1 N', 'g'), 'until .*', 'until T');
END $$;
-- Waits for the end of a lease.
CREATE FUNCTION silent(member text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM weir.members m WHERE m.stream = 'me'::regclass AND m.member = silent.member AND NOT expired);
	END LOOP;
	RETURN true;
END $$;

-- One member has all; a second gets what the first gives up; a third from both.
SELECT enter('g', 'ann');
SELECT enter('g', 'bob');
SELECT beat('g', 'ann');
SELECT beat('g', 'bob');
SELECT beat('g', 'ann'), beat('g', 'bob');
SELECT enter('g', 'cid', NULL);
SELECT beat('g', 'bob');
SELECT beat('g', 'ann');
SELECT beat('g', 'cid');
SELECT beat('g', 'ann'), beat('g', 'bob'), beat('g', 'cid');
SELECT stream, "group", member, partitions, lease, expired, expires > joined AS runs FROM weir.members ORDER BY member;
SELECT member, generation = number AS current FROM weir.members JOIN generation ON name = member ORDER BY 1;
SELECT * FROM stream_check('me');

-- Commits: forward, up to the stable end, by the owner with his generation.
SELECT "offset", value FROM stream_read('me', 0, 0, 2);
SELECT done('g', 'ann', 0, 2);
SELECT done('g', 'ann', 0, 2);
SELECT stream_position('me', 'g', 0);
SELECT beat('g', 'ann');
SELECT fails($$SELECT done('g', 'ann', 0, 1)$$);
SELECT fails($$SELECT done('g', 'ann', 0, 5)$$);
SELECT fails($$SELECT done('g', 'bob', 0, 3)$$);
SELECT fails($$SELECT stream_commit('me', 'g', 0, 3, former) FROM generation WHERE name = 'ann'$$);
SELECT stream_position('me', 'g', 0);
SELECT done('g', 'ann', 0, 4);
-- Not beyond what was rolled back, or is not committed.
BEGIN;
SELECT count(*) FROM stream_publish('me', 'gone', partition => 0);
ROLLBACK;
SELECT fails($$SELECT done('g', 'ann', 0, 5)$$);
-- A commit is part of its transaction, if it is in one.
BEGIN;
SELECT done('g', 'ann', 1, 3);
ROLLBACK;
SELECT stream_position('me', 'g', 1);

-- Busy: nothing is given up, nothing taken.
SELECT stream_leave('me', 'g', 'cid', number) FROM generation WHERE name = 'cid';
SELECT beat('g', 'bob', busy => true);
SELECT beat('g', 'bob');
SELECT beat('g', 'ann', busy => true), beat('g', 'ann');
SELECT enter('g', 'cid');
SELECT beat('g', 'ann', busy => true);
SELECT beat('g', 'ann');
SELECT beat('g', 'cid');

-- The lease: kept unless another is given.
SELECT lease FROM weir.members WHERE member = 'ann';
SELECT beat('g', 'ann', '20 seconds');
SELECT beat('g', 'ann');
SELECT lease, expires < now() + interval '1 minute' AS until FROM weir.members WHERE member = 'ann';
SELECT beat('g', 'ann', '1 hour', true);
SELECT lease, expires > now() + interval '30 minutes' AS until FROM weir.members WHERE member = 'ann';
-- A commit renews it, once a third of it is over.
SELECT expires AS before FROM weir.members WHERE member = 'ann' \gset
SELECT done('g', 'ann', 0, 4);
SELECT expires = :'before' AS same FROM weir.members WHERE member = 'ann';
UPDATE weir.lease SET expires = now() + interval '30 minutes' WHERE member_id IN (SELECT id FROM weir.member WHERE name = 'ann');
SELECT done('g', 'ann', 0, 4);
SELECT expires > now() + interval '50 minutes' AS renewed FROM weir.members WHERE member = 'ann';

-- A name is taken while its lease lives; over, it is replaced.
SELECT fails($$SELECT enter('g', 'ann')$$);
SELECT beat('g', 'cid', '1 microsecond'), silent('cid');
SELECT member, expired FROM weir.members ORDER BY member;
SELECT number AS old FROM generation WHERE name = 'cid' \gset
SELECT enter('g', 'cid');
SELECT fails(format($$SELECT * FROM stream_join('me', 'g', 'cid', generation => %s)$$, :old));
SELECT fails(format($$SELECT stream_leave('me', 'g', 'cid', %s)$$, :old));
SELECT fails(format($$SELECT stream_commit('me', 'g', 2, 1, %s)$$, :old));
-- Silent, and back before anybody noticed: as if nothing had been.
SELECT done('g', 'cid', 2, 1);
SELECT beat('g', 'cid', '1 microsecond'), silent('cid');
SELECT beat('g', 'cid');
-- Silent and noticed: the partitions go on where they were committed.
SELECT done('g', 'cid', 2, 2);
SELECT beat('g', 'cid', '1 microsecond'), silent('cid');
SELECT beat('g', 'bob');
SELECT beat('g', 'ann');
SELECT fails($$SELECT done('g', 'cid', 2, 3)$$);
SELECT fails($$SELECT beat('g', 'cid')$$);
SELECT member, partitions FROM weir.members ORDER BY member;
-- All are silent: the view says so, the next one to join reports it.
SELECT beat('g', 'ann', '1 microsecond', true), beat('g', 'bob', '1 microsecond', true), silent('ann'), silent('bob');
SELECT member, expired FROM weir.members ORDER BY member;
SELECT enter('g', 'dan');
SELECT value::jsonb->>'event' AS event, value::jsonb->>'group' AS "group", value::jsonb->>'member' AS member, value::jsonb->>'cause' AS cause, value::jsonb->>'partitions' AS partitions
  FROM stream_read('weir.activity', start => 'earliest', max_messages => NULL)
 WHERE key = 'public.me' AND value::jsonb ? 'member';

-- Fetching and members in one group: owned partitions are passed over while
-- the lease lives, and taken after it.
SELECT count(*) FROM stream_fetch('me', 'g');
SELECT count(*) FROM stream_fetch('me', 'g', partition => 2);
SELECT beat('g', 'dan', '1 microsecond'), silent('dan');
SELECT "offset", value FROM stream_fetch('me', 'g', 2, 2);
SELECT fails($$SELECT done('g', 'dan', 2, 1)$$);
SELECT done('g', 'dan', 3, 1);
SELECT beat('g', 'dan', busy => true);
SELECT beat('g', 'dan', '1 hour');
SELECT beat('g', 'dan');
-- A seek takes the partition away: what was read before it does not undo it.
SELECT * FROM stream_seek('me', 'g', 2, 0);
SELECT fails($$SELECT done('g', 'dan', 2, 4)$$);
SELECT beat('g', 'dan');
SELECT done('g', 'dan', 2, 4);

-- A paused partition, also a detached one, is like any other.
SELECT * FROM stream_pause('me', '{2}');
SELECT * FROM stream_pause('me', '{3}', detach => false);
SELECT enter('g', 'eve'), beat('g', 'dan'), beat('g', 'eve');
SELECT done('g', 'eve', 3, 2);
SELECT count(*) FROM stream_publish('me', 'awake', partition => 2);
SELECT done('g', 'dan', 2, 5);
SELECT stream_position('me', 'g', 2), stream_position('me', 'g', 3);
SELECT count(*) FROM stream_resume('me');

-- More members than partitions; what is rolled back did not happen.
SELECT count(*) FROM (SELECT enter('many', 'm' || i) FROM generate_series(1, 8) i) x;
SELECT count(*) FROM (SELECT beat('many', 'm' || i % 8 + 1) FROM generate_series(0, 23) i) x;
SELECT cardinality(partitions) AS has, count(*) FROM weir.members WHERE "group" = 'many' GROUP BY 1 ORDER BY 1;
BEGIN;
SELECT stream_leave('me', 'many', 'm' || i) FROM generate_series(1, 4) i;
SELECT cardinality(partitions) AS has, count(*) FROM weir.members WHERE "group" = 'many' GROUP BY 1 ORDER BY 1;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT enter('many', 'late'), enter('never', 'x');
ROLLBACK TO s;
COMMIT;
SELECT cardinality(partitions) AS has, count(*) FROM weir.members WHERE "group" = 'many' GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM weir.groups WHERE "group" = 'never';
-- Everybody leaves: the group stays where it is.
SELECT stream_leave('me', 'g', 'dan');
SELECT stream_leave('me', 'g', 'eve', number) FROM generation WHERE name = 'eve';
SELECT member FROM weir.members WHERE "group" = 'g';
SELECT enter('g', 'fay');

-- Retention overtook: reading says so, committing is consent.
SELECT stream_create('mg', 1, 'text', '{"segment_messages": 3}');
SELECT count(*) FROM generate_series(1, 10) i, stream_publish('mg', 'm' || i);
SELECT generation AS gap, offsets FROM stream_join('mg', 'slow', 'one') \gset
SELECT stream_commit('mg', 'slow', 0, 1, :gap);
SELECT stream_trim('mg', 0, 6);
SELECT stream_commit('mg', 'slow', 0, 2, :gap);
SELECT fails($$SELECT * FROM stream_read('mg', 0, 2)$$);
SELECT stream_commit('mg', 'slow', 0, stream_earliest_offset('mg'), :gap);
SELECT next_offset, skipped FROM weir.groups WHERE stream = 'mg'::regclass;

-- Bad input.
SELECT statement, fails(statement) FROM regexp_split_to_table($$
SELECT stream_join('me', '', 'a')
SELECT stream_join('me', 'g', '')
SELECT stream_join('me', 'g', repeat('x', 256))
SELECT stream_join('me', repeat('x', 256), 'a')
SELECT stream_join('me', 'g', NULL)
SELECT stream_join('me', NULL, 'a')
SELECT stream_join(NULL, 'g', 'a')
SELECT stream_join('pg_class', 'g', 'a')
SELECT stream_join('me', 'g', 'a', '0')
SELECT stream_join('me', 'g', 'a', '-1 second')
SELECT stream_join('me', 'g', 'a', '1 day 1 microsecond')
SELECT stream_join('me', 'g', 'a', '1 month')
SELECT stream_join('me', 'g', 'a', '2147483647 days')
SELECT stream_join('me', 'g', 'a', '-2147483648 days')
SELECT stream_join('me', 'g', 'a', busy => true)
SELECT stream_join('me', 'g', 'a', generation => 1)
SELECT stream_join('me', 'nobody', 'a', generation => 1)
SELECT stream_commit('me', 'g', 0, 0, 1)
SELECT stream_commit('me', 'g', 0, 0, -1)
SELECT stream_commit('me', 'g', 0, 0, NULL)
SELECT stream_commit('me', 'g', 0, NULL, 1)
SELECT stream_commit('me', 'g', NULL, 0, 1)
SELECT stream_commit('me', 'g', 0, -1, 1)
SELECT stream_commit('me', 'g', 5, 0, 1)
SELECT stream_commit('me', 'g', -1, 0, 1)
SELECT stream_commit('me', 'nobody', 0, 0, 1)
SELECT stream_commit('me', '', 0, 0, 1)
SELECT stream_commit(NULL, 'g', 0, 0, 1)
SELECT stream_commit('pg_class', 'g', 0, 0, 1)
SELECT stream_leave('me', 'g', 'nobody')
SELECT stream_leave('me', 'g', 'nobody', 1)
SELECT stream_leave('me', 'nobody', 'a')
SELECT stream_leave('me', 'g', NULL)
SELECT stream_leave('me', 'g', '')
SELECT stream_leave(NULL, 'g', 'a')$$, E'\n') statement WHERE statement <> '';
-- A day is a lease, also one that is made of odd parts.
SELECT stream_join('me', 'odd', 'a', '1 day') IS NOT NULL AS a, stream_join('me', 'odd', 'b', '1 month -29 days -23 hours') IS NOT NULL AS b;
SELECT member, lease FROM weir.members WHERE "group" = 'odd' ORDER BY 1;
BEGIN READ ONLY;
SAVEPOINT s;
SELECT stream_join('me', 'g', 'a');
ROLLBACK TO s;
SELECT stream_commit('me', 'g', 0, 0, 1);
ROLLBACK TO s;
SELECT stream_leave('me', 'g', 'fay');
ROLLBACK;

-- Privileges are those of reading.
CREATE ROLE regress_weir_member;
SET ROLE regress_weir_member;
\set VERBOSITY sqlstate
SELECT stream_join('me', 'g', 'a');
SELECT stream_commit('me', 'g', 0, 0, 1);
SELECT stream_leave('me', 'g', 'fay');
SELECT * FROM weir.member;
SELECT * FROM weir.lease;
\set VERBOSITY default
SELECT count(*) FROM weir.members;
RESET ROLE;
GRANT SELECT ON mg TO regress_weir_member;
SET ROLE regress_weir_member;
SELECT member, partitions FROM weir.members;
SELECT stream_join('mg', 'own', 'a') IS NOT NULL AS joined;
RESET ROLE;
SELECT value::jsonb->>'event' AS event, value::jsonb->>'group' AS "group" FROM stream_read('weir.activity', reverse => true, max_messages => 1);

-- What never happens is found.
BEGIN;
INSERT INTO weir.lease SELECT id, 1000, now() FROM weir.member WHERE name = 'fay';
DELETE FROM weir.lease WHERE member_id IN (SELECT id FROM weir.member WHERE name = 'm1');
SELECT partition, problem, detail FROM stream_check('me');
ROLLBACK;
SELECT * FROM stream_check('me');

-- All of it goes with the group, and with the stream.
SELECT stream_drop_group('me', 'many');
SELECT count(*) FROM weir.members WHERE "group" = 'many';
DROP TABLE me, mg;
SELECT (SELECT count(*) FROM weir.group), (SELECT count(*) FROM weir.position), (SELECT count(*) FROM weir.member), (SELECT count(*) FROM weir.lease);
DROP ROLE regress_weir_member;
DROP FUNCTION enter, beat, done, fails, silent;
DROP TABLE generation;
