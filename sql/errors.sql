-- Bad input: each kind with its SQLSTATE, and nothing changed.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

SELECT stream_create('e', 3, 'int', '{"max_message_bytes": 100}');
SELECT * FROM stream_publish('e', '1'::text, partition => 0);
CREATE TABLE no_stream (partition int, "offset" bigint, ts timestamptz, key text, value jsonb, headers jsonb);

-- All that an error could leave behind.
CREATE FUNCTION everything() RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat_ws(' ',
		(SELECT string_agg(s::text, ',' ORDER BY s.stream::oid) FROM weir.stream s),
		(SELECT string_agg(p::text, ',' ORDER BY p.partition::oid) FROM weir.partition p),
		(SELECT string_agg(g::text, ',' ORDER BY g.segment::oid) FROM weir.segment g),
		(SELECT string_agg(v::text, ',' ORDER BY v.segment) FROM weir.verified v),
		(SELECT string_agg(c.oid::text || c.relnatts || c.relfilenode || c.relchecks, ',' ORDER BY c.oid) FROM pg_class c WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace),
		(SELECT string_agg(t.oid::text, ',' ORDER BY t.oid) FROM pg_trigger t),
		(SELECT string_agg(next_offset::text, ',' ORDER BY stream::oid, partition) FROM weir.partitions),
		(SELECT count(*)::text FROM e)))
$$;
CREATE TABLE before AS SELECT everything() AS everything;
-- Runs a statement, returns its error; says so if it left anything.
CREATE FUNCTION fails(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	was text := everything();
	result text := 'no error';
BEGIN
	BEGIN
		EXECUTE statement;
	EXCEPTION WHEN OTHERS THEN
		result := sqlstate || ': ' || sqlerrm;
	END;
	IF everything() <> was THEN result := result || ' AND SOMETHING CHANGED'; END IF;
	RETURN result;
END $$;
CREATE FUNCTION each(statements text) RETURNS SETOF text LANGUAGE sql AS
	$$SELECT s FROM regexp_split_to_table(statements, E'\n') s WHERE s <> ''$$;
\pset format unaligned
\pset tuples_only on
\pset fieldsep '\n   '

-- No such stream; a table that is not one; no relation at all; NULL.
SELECT statement, fails(statement) FROM each($$
SELECT stream_publish('nothing', '1'::text)
SELECT stream_publish('no_stream', '1'::text)
SELECT stream_publish('pg_class', '1'::text)
SELECT stream_publish('e_p0', '1'::text)
SELECT stream_publish('e_p0_s0', '1'::text)
SELECT stream_publish(4294967295::oid, '1'::text)
SELECT stream_publish(NULL, '1'::text)
SELECT stream_publish_batch('nothing', '{1}'::text[])
SELECT stream_publish_batch('no_stream', '{1}'::text[])
SELECT stream_publish_batch(NULL, '{1}'::text[])
SELECT stream_read('nothing'::text, 0)
SELECT stream_read('no_stream'::text, 0)
SELECT stream_read('no_stream'::regclass, 0)
SELECT stream_read(NULL::no_stream, 0)
SELECT stream_read(NULL::text, 0)
SELECT stream_read(1::int, 0)
SELECT stream_high_watermark('no_stream', 0)
SELECT stream_earliest_offset('no_stream', 0)
SELECT stream_next_offset('no_stream', 0)
SELECT stream_next_offset(4294967295::oid, 0)
SELECT stream_offset_at('no_stream', 0, now())
SELECT stream_partition_for('no_stream', 'k')
SELECT stream_alter('no_stream', '{}')
SELECT stream_alter(NULL, '{}')
SELECT stream_alter('e', NULL)
SELECT stream_drop('no_stream')
SELECT stream_drop('nothing')
SELECT stream_drop(NULL)
SELECT stream_drop('e_p0')
SELECT stream_drop(4294967295::oid)
SELECT stream_check('no_stream')
SELECT stream_check(NULL)
SELECT stream_repair('no_stream')
SELECT stream_repair(NULL)
SELECT stream_trim('no_stream', 0, 0)
SELECT stream_trim(NULL, 0, 0)
SELECT stream_adopt('no_stream')
SELECT stream_adopt(NULL)
SELECT stream_adopt('e_p0')
SELECT stream_adopt('e_p0_s0')
SELECT stream_adopt(4294967295::oid)
$$) statement;

-- Unknown partitions, negative ones.
SELECT statement, fails(statement) FROM each($$
SELECT stream_publish('e', '1'::text, partition => 3)
SELECT stream_publish('e', '1'::text, partition => -1)
SELECT stream_publish('e', '1'::text, partition => -2147483648)
SELECT stream_publish('e', '1'::text, 'key', partition => 3)
SELECT stream_publish('e', '1'::text, 'key', partition => -1)
SELECT stream_publish_batch('e', '{1}'::text[], partition => 3)
SELECT stream_publish_batch('e', '{1}'::text[], partition => -1)
SELECT stream_publish_batch('e', '{1}'::text[], '{k}', partition => 3)
SELECT stream_publish_batch('e', '{}'::text[], partition => 2147483647)
SELECT stream_read('e'::text, 3)
SELECT stream_read('e'::text, -1)
SELECT stream_read('e'::text)
SELECT stream_high_watermark('e', 3)
SELECT stream_earliest_offset('e', -1)
SELECT stream_next_offset('e', 3)
SELECT stream_offset_at('e', 3, now())
SELECT stream_trim('e', 3, 0)
SELECT stream_trim('e', -1, 0)
SELECT stream_trim('e', NULL, 0)
SELECT stream_trim('e', 0, NULL)
$$) statement;

-- Creating: partitions, names, types, options.
SELECT statement, fails(statement) FROM each($$
SELECT stream_create('x', 0)
SELECT stream_create('x', -1)
SELECT stream_create('x', 2147483647)
SELECT stream_create('x', NULL)
SELECT stream_create(NULL)
SELECT stream_create('x', 1, NULL)
SELECT stream_create('x', 1, 'nothing')
SELECT stream_create('x', 1, 'anyelement')
SELECT stream_create('x', 1, 'void')
SELECT stream_create('x', 1, 'cstring')
SELECT stream_create('')
SELECT stream_create('a b')
SELECT stream_create('a.b.c')
SELECT stream_create('nowhere.x')
SELECT stream_create('pg_catalog.x')
SELECT stream_create('information_schema.tables')
SELECT stream_create('pg_temp.x')
SELECT stream_create(repeat('n', 64))
SELECT stream_create('"' || repeat('ä', 32) || '"')
SELECT stream_create(repeat('n', 64) || '.x')
SELECT stream_create('e')
SELECT stream_create('public.e')
SELECT stream_create('no_stream')
SELECT stream_create('e_p0')
SELECT stream_create('x', 1, 'jsonb', '[]')
SELECT stream_create('x', 1, 'jsonb', '1')
SELECT stream_create('x', 1, 'jsonb', 'null')
SELECT stream_create('x', 1, 'jsonb', '{"colour": "red"}')
SELECT stream_create('x', 1, 'jsonb', '{"colour": null}')
SELECT stream_create('x', 1, 'jsonb', '{"": 1}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_messages": 0}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_messages": -1}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_messages": 1.5}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_messages": 1e30}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_messages": true}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_messages": "many"}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_messages": [1]}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_messages": {}}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_bytes": 65535}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_bytes": "1 parsec"}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_bytes": "1 kB"}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_age": "1 ms"}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_age": "-1 day"}')
SELECT stream_create('x', 1, 'jsonb', '{"segment_age": "soon"}')
SELECT stream_create('x', 1, 'jsonb', '{"retention_age": "1 ms"}')
SELECT stream_create('x', 1, 'jsonb', '{"retention_age": 0}')
SELECT stream_create('x', 1, 'jsonb', '{"retention_bytes": 0}')
SELECT stream_create('x', 1, 'jsonb', '{"retention_bytes": "-1kB"}')
SELECT stream_create('x', 1, 'jsonb', '{"retention_bytes": "much"}')
SELECT stream_create('x', 1, 'jsonb', '{"retention_messages": 0}')
SELECT stream_create('x', 1, 'jsonb', '{"retention_messages": -1}')
SELECT stream_create('x', 1, 'jsonb', '{"retention_messages": "many"}')
SELECT stream_create('x', 1, 'jsonb', '{"retention_messages": true}')
SELECT stream_create('x', 1, 'jsonb', '{"auto_pause_after": "999 ms"}')
SELECT stream_create('x', 1, 'jsonb', '{"auto_pause_detach": "perhaps"}')
SELECT stream_create('x', 1, 'jsonb', '{"auto_pause_with_subscribers": 2}')
SELECT stream_create('x', 1, 'jsonb', '{"auto_pause_with_subscribers": []}')
SELECT stream_create('x', 1, 'jsonb', '{"partitioner": "random"}')
SELECT stream_create('x', 1, 'jsonb', '{"partitioner": 1}')
SELECT stream_create('x', 1, 'jsonb', '{"max_message_bytes": 0}')
SELECT stream_create('x', 1, 'jsonb', '{"max_message_bytes": "1GB"}')
SELECT stream_alter('e', '{"colour": "red"}')
SELECT stream_alter('e', '{"colour": null}')
SELECT stream_alter('e', '[]')
SELECT stream_alter('e', '"a"')
SELECT stream_alter('e', '{"segment_messages": 0}')
$$) statement;

-- Values, keys, sizes, batches, expected offsets.
SELECT statement, fails(statement) FROM each($$
SELECT stream_publish('e', 'one'::text, partition => 0)
SELECT stream_publish('e', '\xff'::bytea, partition => 0)
SELECT stream_publish('e', '\x3100'::bytea, partition => 0)
SELECT stream_publish('e', '[1]'::jsonb, partition => 0)
SELECT stream_publish('e', '1'::text, repeat('k', 97), partition => stream_partition_for('e', repeat('k', 97)))
SELECT stream_publish('e', '1'::text, NULL, to_jsonb(repeat('h', 97)), partition => 0)
SELECT stream_publish('e', '1'::text, 'key', partition => (stream_partition_for('e', 'key') + 1) % 3)
SELECT stream_publish('e', '1'::text, partition => 0, expected_offset => 0)
SELECT stream_publish('e', '1'::text, partition => 0, expected_offset => 2)
SELECT stream_publish('e', '1'::text, partition => 0, expected_offset => 9223372036854775807)
SELECT stream_publish('e', '1'::text, partition => 0, expected_offset => -1)
SELECT stream_publish('e', '1'::text, expected_offset => 1)
SELECT stream_publish_batch('e', '{1,2}'::text[], partition => 0, expected_offset => 0)
SELECT stream_publish_batch('e', '{1,2}'::text[], expected_offset => 0)
SELECT stream_publish_batch('e', '{1,2}'::text[], '{k}', partition => 0)
SELECT stream_publish_batch('e', '{1,2}'::text[], headers => ARRAY['{}']::jsonb[], partition => 0)
SELECT stream_publish_batch('e', '{{1},{2}}'::text[], partition => 0)
SELECT stream_publish_batch('e', '{1,2,three}'::text[], partition => 0)
SELECT stream_publish_batch('e', NULL::text[], partition => 0)
$$) statement;

-- Offsets and other arguments of reading.
SELECT statement, fails(statement) FROM each($$
SELECT stream_read('e'::text, 0, -1)
SELECT stream_read('e'::text, 0, 2)
SELECT stream_read('e'::text, 1, 1)
SELECT stream_read('e'::text, 0, 2, reverse => true)
SELECT stream_read('e'::text, 0, 0, -1)
SELECT stream_read('e'::text, 0, 0, start => 'latest')
SELECT stream_read('e'::text, 0, start => 'now')
SELECT stream_read('e'::text, 0, stop_offset => -1)
SELECT stream_offset_at('e', 0, NULL)
SELECT stream_offset_at('e', 0, '-infinity', 'last')
SELECT stream_offset_at('e', 0, now(), 'middle')
SELECT stream_trim('e', 0, -1)
SELECT stream_trim('e', 0, 2)
SELECT weir.guard()
SELECT weir.on_drop()
SELECT weir.on_ddl_end()
$$) statement;

-- Columns, and what publishing would not honour, see the test of guards.  Directly written to:
SELECT statement, fails(statement) FROM each($$
INSERT INTO e VALUES (0, 5, now(), NULL, 1, NULL)
INSERT INTO e_p0 VALUES (0, 5, now(), NULL, 1, NULL)
INSERT INTO e_p0_s0 VALUES (0, 5, now(), NULL, 1, NULL)
UPDATE e SET value = 2
DELETE FROM e
TRUNCATE e
ALTER TABLE e ADD COLUMN more int
ALTER TABLE e DROP COLUMN headers
ALTER TABLE e ALTER value TYPE text
ALTER TABLE e RENAME COLUMN value TO val
DROP TABLE e_p0
DROP TABLE e_p0_s0
$$) statement;

\pset format aligned
\pset tuples_only off

-- In a read-only transaction.
\set VERBOSITY sqlstate
BEGIN READ ONLY;
SELECT stream_publish('e', '1'::text);
ROLLBACK;
BEGIN READ ONLY;
SELECT stream_publish_batch('e', '{1}'::text[]);
ROLLBACK;
BEGIN READ ONLY;
SELECT stream_create('x');
ROLLBACK;
BEGIN READ ONLY;
SELECT stream_alter('e', '{}');
ROLLBACK;
BEGIN READ ONLY;
SELECT stream_drop('e');
ROLLBACK;
BEGIN READ ONLY;
SELECT stream_trim('e', 0, 0);
ROLLBACK;
BEGIN READ ONLY;
SELECT stream_repair('e');
ROLLBACK;
BEGIN READ ONLY;
SELECT stream_adopt('e');
ROLLBACK;

-- At the top level, where an error ends the transaction: as COPY.
COPY e FROM stdin;
0	5	2020-01-01	\N	1	\N
\.
COPY e_p0 FROM stdin;
0	5	2020-01-01	\N	1	\N
\.
COPY e_p0_s0 FROM stdin;
0	5	2020-01-01	\N	1	\N
\.
\set VERBOSITY default

-- A few of the texts in full.
SELECT stream_publish('e', '1'::text, partition => 3);
SELECT stream_create('x', 1, 'jsonb', '{"colour": "red"}');
SELECT stream_create('x', 0);
SELECT stream_create(repeat('n', 64));
SELECT stream_read('no_stream'::text, 0);
SELECT stream_publish('e', '1'::text, expected_offset => 1);
SELECT stream_create('x', 1, 'jsonb', '{"segment_bytes": 1}');

-- Nothing changed, and everything works on.
SELECT everything() = everything AS unchanged FROM before;
SELECT * FROM stream_publish('e', '2'::text, partition => 0);
SELECT "offset", value FROM e;
SELECT * FROM stream_check('e');
SELECT stream_drop('e');
DROP TABLE before, no_stream;
DROP FUNCTION fails, each, everything;
