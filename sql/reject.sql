-- Poison messages: stream_reject and the dead-letter stream.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
-- Of an error only its SQLSTATE, message, detail and hint.
CREATE FUNCTION tried(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE s text; m text; d text; h text;
BEGIN
	EXECUTE sql;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS s = RETURNED_SQLSTATE, m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', s, m, nullif(d, ''), nullif(h, ''));
END $$;
CREATE VIEW letters AS SELECT "offset", key, value, headers #- '{weir,ts}' #- '{weir,rejected_at}' AS headers FROM stream_read('pay_dead_letters');

SELECT stream_create('pay', 2, 'numeric', '{"partitioner": "explicit"}');
SELECT count(*) FROM generate_series(0, 6) i, stream_publish('pay', (i || '.50')::text, 'k' || i, CASE i WHEN 1 THEN '{"a": 1}' WHEN 2 THEN '[1, 2]' WHEN 3 THEN '"x"' WHEN 4 THEN '{"weir": "mine", "b": 2}' WHEN 5 THEN 'null' END::jsonb, 0);

-- In order: the position goes behind it.  The stream is made by the first one.
SELECT count(*) FROM stream_fetch('pay', 'g', 1, 0);
SELECT * FROM stream_reject('pay', 'g', 0, 1, 'no such account');
SELECT stream_position('pay', 'g', 0);
SELECT * FROM letters;
SELECT headers->'weir'->>'ts' = to_jsonb(ts)#>>'{}' AS same_ts, (headers->'weir'->>'rejected_at')::timestamptz BETWEEN ts AND now() AS rejected_later
  FROM (SELECT m.ts, d.headers FROM stream_read('pay_dead_letters') d, stream_read('pay', 0, 1, 1) m) x;
SELECT obj_description('pay_dead_letters'::regclass), partitions, value_type, options, owner = current_user::regrole AS owner FROM weir.streams WHERE stream = 'pay_dead_letters'::regclass;
SELECT value->>'event' AS event, value->>'cause' AS cause, key FROM stream_read(NULL::weir.activity, start => 'earliest', max_messages => NULL) WHERE key = 'public.pay_dead_letters';

-- The main use: a batch, each message in a savepoint.
BEGIN;
SELECT "offset" FROM stream_fetch('pay', 'g', 3, 0);
SAVEPOINT m;
SELECT 1 / 0;
ROLLBACK TO m;
SELECT * FROM stream_reject('pay', 'g', 0, 2, 'division by zero');
SELECT * FROM stream_reject('pay', 'g', 0, 4, NULL);
COMMIT;
SELECT stream_position('pay', 'g', 0);
-- Read long ago: only the record.
SELECT * FROM stream_reject('pay', 'g', 0, 3, 'found out later');
SELECT stream_position('pay', 'g', 0);
SELECT * FROM letters ORDER BY "offset";
-- Rolled back: neither.
BEGIN;
SELECT * FROM stream_reject('pay', 'g', 0, 5, 'no');
SELECT stream_position('pay', 'g', 0);
ROLLBACK;
SELECT stream_position('pay', 'g', 0);
SELECT count(*) FROM letters;
-- Headers that are a JSON null are kept, too.
SELECT * FROM stream_reject('pay', 'g', 0, 5, 'null headers');
SELECT headers FROM letters ORDER BY "offset" DESC LIMIT 1;

-- Out of order, gaps, ends.
SELECT stream_position('pay', 'other', 0);
SELECT * FROM stream_seek('pay', 'other', start => 'earliest');
SELECT tried($$SELECT stream_reject('pay', 'other', 0, 2, 'x')$$);
SELECT tried($$SELECT stream_reject('pay', 'other', 0, 7, 'x')$$);
SELECT tried($$SELECT stream_reject('pay', 'other', 0, 1000, 'x')$$);
BEGIN;
SELECT count(*) FROM generate_series(1, 3) i, stream_publish('pay', i::text, partition => 1);
ROLLBACK;
SELECT stream_publish('pay', '1', partition => 1);
SELECT tried($$SELECT stream_reject('pay', 'other', 1, 1, 'x')$$);
-- What was rolled back lies between: nothing that could be read.
SELECT * FROM stream_reject('pay', 'other', 1, 3, 'x');
SELECT stream_position('pay', 'other', 1);
-- Nothing of all that failed is there.
SELECT count(*) FROM stream_read('pay_dead_letters');

-- What retention has taken: named, and not passed over.
SELECT stream_create('tr', 1, 'text', '{"segment_messages": 3}');
SELECT count(*) FROM generate_series(0, 9) i, stream_publish('tr', 'm' || i);
SELECT count(*) FROM stream_fetch('tr', 'g', 1);
SELECT stream_trim('tr', 0, 6);
SELECT tried($$SELECT stream_reject('tr', 'g', 0, 4, 'x')$$);
SELECT tried($$SELECT stream_reject('tr', 'g', 0, 6, 'x')$$);
SELECT count(*) FROM stream_seek('tr', 'g', start => 'earliest');
-- The partition may be left out where there is only one.
SELECT * FROM stream_reject('tr', 'g', NULL, 6, 'x');

-- Arguments.
SELECT tried($$SELECT stream_reject(NULL, 'g', 0, 6, 'x')$$);
SELECT tried($$SELECT stream_reject('pay', NULL, 0, 6, 'x')$$);
SELECT tried($$SELECT stream_reject('pay', '', 0, 6, 'x')$$);
SELECT tried($$SELECT stream_reject('pay', 'nobody', 0, 6, 'x')$$);
SELECT tried($$SELECT stream_reject('pay', 'g', NULL, 6, 'x')$$);
SELECT tried($$SELECT stream_reject('pay', 'g', 2, 6, 'x')$$);
SELECT tried($$SELECT stream_reject('pay', 'g', 0, NULL, 'x')$$);
SELECT tried($$SELECT stream_reject('pay', 'g', 0, -1, 'x')$$);
SELECT tried($$SELECT stream_reject('pg_class', 'g', 0, 6, 'x')$$);
SELECT tried($$SELECT stream_reject('weir.activity', 'g', 0, 0, 'x')$$);
BEGIN READ ONLY;
SELECT tried($$SELECT stream_reject('pay', 'g', 0, 6, 'x')$$);
ROLLBACK;

-- What fitted the stream fits; a long reason is cut, at a whole character.
SELECT stream_create('big', 1, 'text', '{"max_message_bytes": 100000}');
SELECT count(*) FROM stream_publish('big', repeat('x', 99990), 'k');
SELECT count(*) FROM stream_seek('big', 'g', start => 'earliest');
SELECT stream, "offset" FROM stream_reject('big', 'g', 0, 0, repeat('ä', 10000));
SELECT length(value), key, length(headers->'weir'->>'reason') FROM stream_read('big_dead_letters');
SELECT stream_alter('big_dead_letters', '{"max_message_bytes": 10}');
SELECT "offset" FROM stream_reject('big', 'g', 0, 0, 'again');
-- A value from a TOAST table, a tombstone, a domain that has become stricter.
CREATE DOMAIN dom AS text;
SELECT stream_create('toasted', 1, 'dom');
SELECT count(*) FROM stream_publish_batch('toasted', ARRAY[(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i), NULL]);
ALTER DOMAIN dom ADD CHECK (value IS NOT NULL AND length(value) < 10) NOT VALID;
SELECT count(*) FROM stream_seek('toasted', 'g', start => 'earliest');
SELECT "offset" FROM stream_reject('toasted', 'g', 0, 0, 'long');
SELECT "offset" FROM stream_reject('toasted', 'g', 0, 1, 'none');
SELECT "offset", value = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i) AS same FROM stream_read('toasted_dead_letters');

-- A dead-letter stream is a stream: it may have poison itself.
SELECT count(*) FROM stream_fetch('pay_dead_letters', 'g', 1);
SELECT * FROM stream_reject('pay_dead_letters', 'g', 0, 1, 'worse');
SELECT headers #- '{weir,ts}' #- '{weir,rejected_at}' #- '{weir,previous,ts}' #- '{weir,previous,rejected_at}' FROM stream_read('pay_dead_letters_dead_letters');
SELECT stream_check('pay_dead_letters');

-- Long names are shortened; one that leaves no room.
SELECT stream_create(repeat('n', 60));
SELECT count(*) FROM stream_publish(repeat('n', 60), '1'), stream_seek(repeat('n', 60), 'g', start => 'earliest');
SELECT stream FROM stream_reject(repeat('n', 60), 'g', 0, 0, 'x');
SELECT stream::regclass AS long FROM weir.streams WHERE stream::text LIKE 'nnn%dead_letters' \gset
SELECT count(*) FROM stream_seek(:'long', 'g', start => 'earliest');
SELECT tried(format('SELECT stream_reject(%L, %L, 0, 0, %L)', :'long', 'g', 'x'));

-- Something else in its place: nothing is moved.
SELECT stream_create('taken', 1, 'text');
SELECT count(*) FROM stream_publish('taken', 'x'), stream_seek('taken', 'g', start => 'earliest');
CREATE TABLE taken_dead_letters (a int);
SELECT tried($$SELECT stream_reject('taken', 'g', 0, 0, 'x')$$);
DROP TABLE taken_dead_letters;
SELECT stream_create('taken_dead_letters', 1, 'bytea');
SELECT tried($$SELECT stream_reject('taken', 'g', 0, 0, 'x')$$);
SELECT stream_drop('taken_dead_letters');
-- Another's stream does not get the messages.
CREATE ROLE weir_foreign;
SELECT stream_create('taken_dead_letters', 1, 'text');
ALTER TABLE taken_dead_letters OWNER TO weir_foreign;
SELECT tried($$SELECT stream_reject('taken', 'g', 0, 0, 'x')$$);
SELECT stream_position('taken', 'g'), stream_high_watermark('taken_dead_letters');
SELECT stream_drop('taken_dead_letters');
-- One's own, made beforehand as one likes: keys have their partition.
SELECT stream_create('taken_dead_letters', 3, 'text');
SELECT count(*) FROM stream_publish('taken', 'y', 'ann');
SELECT partition BETWEEN 0 AND 2 AS somewhere FROM stream_reject('taken', 'g', 0, 0, 'x');
SELECT partition = stream_partition_for('taken_dead_letters', 'ann') AS its_home FROM stream_reject('taken', 'g', 0, 1, 'x');
SELECT * FROM stream_set_readonly('taken_dead_letters', '{0,1,2}');
SELECT tried($$SELECT stream_reject('taken', 'g', 0, 1, 'x')$$);

-- Privileges: SELECT on the stream is enough; the dead letters belong to its owner.
CREATE ROLE weir_owner;
CREATE ROLE weir_consumer;
CREATE ROLE weir_support;
CREATE SCHEMA mine AUTHORIZATION weir_owner;
GRANT USAGE ON SCHEMA mine TO PUBLIC;
SET ROLE weir_owner;
SELECT stream_create('mine.s', 1, 'text');
SELECT count(*) FROM generate_series(1, 5) i, stream_publish('mine.s', 'x' || i);
GRANT SELECT ON mine.s TO weir_consumer;
SET ROLE weir_consumer;
SELECT count(*) FROM stream_fetch('mine.s', 'g', 1);
SELECT * FROM stream_reject('mine.s', 'g', 0, 1, 'x');
SELECT current_user;
SELECT "offset", headers->'weir'->>'stream' AS stream FROM stream_read('mine.s_dead_letters');
SELECT tried($$SELECT stream_publish('mine.s_dead_letters', 'x')$$);
SET ROLE weir_support;
SELECT tried($$SELECT stream_reject('mine.s', 'g', 0, 2, 'x')$$);
RESET ROLE;
CREATE VIEW owners AS SELECT relname, relowner::regrole FROM pg_class WHERE relname LIKE 's\_dead%' AND relkind IN ('r', 'p') ORDER BY relname COLLATE "C";
CREATE VIEW readers AS SELECT r::regrole, has_table_privilege(r, relid, 'SELECT')
  FROM unnest('{weir_consumer,weir_support}'::text[]) r, to_regclass('mine.s_dead_letters') relid ORDER BY r COLLATE "C";
SELECT * FROM owners;
-- Grants follow.
GRANT SELECT ON mine.s TO weir_support;
REVOKE SELECT ON mine.s FROM weir_consumer;
SELECT * FROM readers;
GRANT SELECT ON mine.s TO weir_consumer;
ALTER TABLE mine.s ENABLE ROW LEVEL SECURITY;
SELECT * FROM readers;
SET ROLE weir_consumer;
SELECT tried($$SELECT stream_reject('mine.s', 'g', 0, 2, 'x')$$);
RESET ROLE;
ALTER TABLE mine.s DISABLE ROW LEVEL SECURITY;
SELECT * FROM readers;
-- So do owner and schema.
ALTER TABLE mine.s OWNER TO weir_foreign;
SELECT * FROM owners;
CREATE SCHEMA moved AUTHORIZATION weir_foreign;
GRANT USAGE ON SCHEMA moved TO PUBLIC;
ALTER TABLE mine.s SET SCHEMA moved;
SELECT relname, relnamespace::regnamespace FROM pg_class WHERE relname LIKE 's\_dead%' AND relkind IN ('r', 'p') ORDER BY relname COLLATE "C";
SET ROLE weir_consumer;
SELECT * FROM stream_reject('moved.s', 'g', 0, 2, 'x');
RESET ROLE;
-- An owner who may not make tables in the schema gets his dead letters.
SELECT stream_drop('moved.s_dead_letters');
ALTER SCHEMA moved OWNER TO weir_owner;
SET ROLE weir_consumer;
SET default_tablespace = 'pg_global';
SELECT * FROM stream_reject('moved.s', 'g', 0, 3, 'x');
RESET default_tablespace;
RESET ROLE;
SELECT * FROM owners;
SELECT stream_check('moved.s_dead_letters');

-- Code of others that sees the publishing has the rights of the owner, not of who rejects.
SELECT stream_create('idx', 1, 'text');
SELECT count(*) FROM stream_publish_batch('idx', ARRAY['x', 'y']), stream_seek('idx', 'g', start => 'earliest');
ALTER TABLE idx OWNER TO weir_foreign;
GRANT SELECT ON idx TO weir_consumer;
SET ROLE weir_consumer;
SELECT "offset" FROM stream_reject('idx', 'g', 0, 0, 'x');
RESET ROLE;
CREATE FUNCTION who(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN current_user; END $$;
CREATE INDEX idx_who ON idx_dead_letters (who(value));
SET ROLE weir_consumer;
SELECT "offset" FROM stream_reject('idx', 'g', 0, 1, 'x');
RESET ROLE;
SET enable_seqscan = off;
SELECT value FROM idx_dead_letters WHERE who(value) = 'weir_foreign' ORDER BY 1;
RESET enable_seqscan;

-- A member of the group, who must own the partition.
SELECT stream_create('jobs', 1, 'text');
SELECT count(*) FROM stream_publish_batch('jobs', ARRAY['a', 'b', 'c']);
SELECT generation AS mine, partitions, offsets FROM stream_join('jobs', 'team', 'one') \gset
SELECT "offset" FROM stream_reject('jobs', 'team', 0, 0, 'x', :mine);
SELECT split_part(tried(format($$SELECT stream_reject('jobs', 'team', 0, 1, 'x', %s)$$, :mine + 1000)), ' ', 1);
SELECT stream_commit('jobs', 'team', 0, 2, :mine);
SELECT stream_leave('jobs', 'team', 'one', :mine);
SELECT split_part(tried(format($$SELECT stream_reject('jobs', 'team', 0, 2, 'x', %s)$$, :mine)), ' ', 1);
SELECT stream_position('jobs', 'team');
SELECT value FROM stream_read('jobs_dead_letters');
DROP TABLE jobs, jobs_dead_letters;

-- What was rejected stays when the stream goes.
SELECT stream_drop('tr');
SELECT count(*) FROM stream_read('tr_dead_letters');

DROP VIEW letters, owners, readers;
DROP TABLE idx, idx_dead_letters, tr_dead_letters, pay, pay_dead_letters, pay_dead_letters_dead_letters, big, big_dead_letters, toasted, toasted_dead_letters, taken, taken_dead_letters;
SELECT stream_drop(stream) FROM weir.streams WHERE stream::text LIKE 'nnn%';
DROP FUNCTION who, tried;
DROP DOMAIN dom;
DROP SCHEMA mine, moved CASCADE;
DROP ROLE weir_owner, weir_consumer, weir_support, weir_foreign;
