-- Publishing: types of values, keys, headers, partitions, expected offsets.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

-- One stream for each type; every form of the function for each.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN even AS int CHECK (value % 2 = 0);
CREATE DOMAIN present AS text NOT NULL;

SELECT stream_create('p_jsonb', 1, 'jsonb');
SELECT * FROM stream_publish('p_jsonb', '{"b": 1, "a": [1, 2]}');	-- an unknown literal
SELECT * FROM stream_publish('p_jsonb', '{"t": "text"}'::text);
SELECT * FROM stream_publish('p_jsonb', '{"t": "bytea"}'::bytea);
SELECT * FROM stream_publish('p_jsonb', '{"t": "jsonb"}'::jsonb);
SELECT "offset", value FROM p_jsonb;
SELECT "offset", value FROM stream_read('p_jsonb');

SELECT stream_create('p_text', 1, 'text');
SELECT * FROM stream_publish('p_text', 'grün'::text);
SELECT * FROM stream_publish('p_text', '\x6772c3bc6e'::bytea);
SELECT * FROM stream_publish('p_text', '{"a": "grün"}'::jsonb);
SELECT "offset", value FROM p_text;

SELECT stream_create('p_bytea', 1, 'bytea');
SELECT * FROM stream_publish('p_bytea', '\x00ff'::text);
SELECT * FROM stream_publish('p_bytea', '\x00ff'::bytea);
SELECT * FROM stream_publish('p_bytea', '{"a": 1}'::jsonb);
SELECT "offset", value, encode(value, 'escape') FROM p_bytea;

SELECT stream_create('p_json', 1, 'json');
SELECT * FROM stream_publish('p_json', '{"a":  1}'::text);
SELECT * FROM stream_publish('p_json', '{"a":  1}'::bytea);
SELECT * FROM stream_publish('p_json', '{"a":  1}'::jsonb);
SELECT "offset", value FROM p_json;

SELECT stream_create('p_int', 1, 'int');
SELECT * FROM stream_publish('p_int', ' 42 '::text);
SELECT * FROM stream_publish('p_int', '42'::bytea);
SELECT * FROM stream_publish('p_int', '42'::jsonb);
SELECT "offset", value FROM p_int;

SELECT stream_create('p_numeric', 1, 'numeric');
SELECT * FROM stream_publish('p_numeric', '123456789012345678901234567890.5'::text);
SELECT "offset", value FROM p_numeric;

SELECT stream_create('p_timestamptz', 1, 'timestamptz');
SELECT * FROM stream_publish('p_timestamptz', '2000-01-01 00:00:00+00'::text);
SELECT "offset", value AT TIME ZONE 'UTC' AS value FROM p_timestamptz;

SELECT stream_create('p_pair', 1, 'pair');
SELECT * FROM stream_publish('p_pair', '(1,"x y")'::text);
SELECT "offset", value, (value).b FROM p_pair;

SELECT stream_create('p_mood', 1, 'mood');
SELECT * FROM stream_publish('p_mood', 'happy'::text);
SELECT "offset", value FROM p_mood WHERE value > 'sad';

SELECT stream_create('p_even', 1, 'even');
SELECT * FROM stream_publish('p_even', '2'::text);
SELECT * FROM stream_publish('p_even', NULL::text);
SELECT "offset", value FROM p_even;

SELECT stream_create('p_present', 1, 'present');
SELECT * FROM stream_publish('p_present', 'x'::text);

SELECT stream_create('p_ints', 1, 'int[]');
SELECT * FROM stream_publish('p_ints', '{1,2,3}'::text);
SELECT "offset", value[2] FROM p_ints;

SELECT stream_create('p_inet', 1, 'inet');
SELECT * FROM stream_publish('p_inet', '10.0.0.1'::text);
SELECT "offset", value FROM p_inet;

SELECT stream_create('p_name', 1, 'name');
SELECT * FROM stream_publish('p_name', 'a name'::text);
SELECT "offset", value FROM stream_read('p_name');

-- What does not fit the type, with the type's own error, and nothing changed.
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('p_jsonb', '{'::text);
SELECT * FROM stream_publish('p_text', '\xff'::bytea);
SELECT * FROM stream_publish('p_json', '{'::text);
SELECT * FROM stream_publish('p_int', 'x'::text);
SELECT * FROM stream_publish('p_int', '99999999999'::text);
SELECT * FROM stream_publish('p_int', '{"a": 1}'::jsonb);
SELECT * FROM stream_publish('p_pair', '(1)'::text);
SELECT * FROM stream_publish('p_mood', 'angry'::text);
SELECT * FROM stream_publish('p_even', '3'::text);
SELECT * FROM stream_publish('p_present', NULL::text);
SELECT * FROM stream_publish_batch('p_even', '{2,4,5}'::text[]);
SELECT * FROM stream_publish_batch('p_present', '{a,null}'::text[]);
\set VERBOSITY default
SELECT stream_next_offset('p_jsonb'), stream_next_offset('p_text'), stream_next_offset('p_json'),
	   stream_next_offset('p_int'), stream_next_offset('p_pair'), stream_next_offset('p_mood'),
	   stream_next_offset('p_even'), stream_next_offset('p_present');

-- A modifier of the type is kept: varchar(3), numeric(4,1).
CREATE DOMAIN short AS varchar(3);
CREATE DOMAIN price AS numeric(4, 1);
SELECT stream_create('p_short', 1, 'short');
SELECT stream_create('p_price', 1, 'price');
SELECT * FROM stream_publish('p_short', 'abc'::text);
SELECT * FROM stream_publish('p_short', 'abcd'::text);
SELECT * FROM stream_publish('p_price', '12.345'::text);
SELECT * FROM stream_publish('p_price', '12345'::text);
SELECT value FROM p_short;
SELECT value FROM p_price;

-- A domain is looked at as it is now.
ALTER DOMAIN short ADD CONSTRAINT not_abc CHECK (value <> 'ab');
SELECT * FROM stream_publish('p_short', 'ab'::text);
SELECT * FROM stream_publish('p_short', 'xy'::text);

-- The message: ts is the time of publishing, value, key and headers may be null.
SELECT stream_create('m', 3, 'text');
SELECT "offset" FROM stream_publish('m', 'v'::text, 'k', '{"h": 1}');
SELECT "offset" FROM stream_publish('m', NULL::text, 'k');
SELECT "offset" FROM stream_publish('m', 'v'::text, NULL, partition => 0);
SELECT "offset" FROM stream_publish('m', NULL::text, partition => 0);
SELECT "offset" FROM stream_publish('m', ''::text, '', 'null', partition => 0);
SELECT partition, "offset", key, value, headers, value IS NULL AS tombstone, headers IS NULL AS no_headers,
	   ts BETWEEN now() - interval '1 minute' AND clock_timestamp() AS now
  FROM m ORDER BY partition, "offset";
BEGIN;
SELECT a."offset", b."offset" FROM stream_publish('m', 'v'::text, partition => 0) a, stream_publish('m', 'w'::text, partition => 0) b;
-- Not the start of the transaction: two publishers' times must rise with the offsets.
SELECT count(*) AS fell FROM (SELECT ts < lag(ts) OVER (ORDER BY "offset") AS fell FROM m WHERE partition = 0) x WHERE fell;
ROLLBACK;

-- A key has its partition; naming that one is fine, another is an error.
SELECT stream_partition_for('m', 'k');
SELECT partition FROM stream_publish('m', 'v'::text, 'k', partition => stream_partition_for('m', 'k'));
SELECT partition FROM stream_publish('m', 'v'::text, 'k', partition => (stream_partition_for('m', 'k') + 1) % 3);
SELECT * FROM stream_publish_batch('m', '{a,b}'::text[], '{k,k}', partition => (stream_partition_for('m', 'k') + 1) % 3);
-- But not where the stream says that a named partition wins.
SELECT stream_alter('m', '{"partitioner": "explicit"}');
SELECT partition = (stream_partition_for('m', 'k') + 1) % 3 AS as_named
  FROM stream_publish('m', 'v'::text, 'k', partition => (stream_partition_for('m', 'k') + 1) % 3);
SELECT partition = stream_partition_for('m', 'k') AS by_key FROM stream_publish('m', 'v'::text, 'k');
SELECT stream_alter('m', '{"partitioner": null}');

-- Neither key nor partition: in turn.
SELECT stream_create('rr', 4, 'int');
SELECT count(*) FROM generate_series(1, 40) i, stream_publish('rr', i::text);
SELECT partition, count(*) FROM rr GROUP BY 1 ORDER BY 1;
-- A batch without keys stays together, the next one goes elsewhere.
CREATE TABLE went AS
	SELECT i, r.partition, r.count FROM generate_series(1, 4) i,
		   LATERAL stream_publish_batch('rr', ARRAY[i::text, i::text, i::text]) r;
SELECT count(*) AS runs, count(DISTINCT partition) AS partitions, sum(count) AS messages FROM went;
DROP TABLE went;

-- Expected offset: the one that the first message must get.
SELECT stream_create('x', 2, 'int');
SELECT * FROM stream_publish('x', '1'::text, partition => 0, expected_offset => 0);
SELECT * FROM stream_publish('x', '1'::text, partition => 0, expected_offset => 0);
SELECT * FROM stream_publish('x', '1'::text, partition => 0, expected_offset => 2);
SELECT * FROM stream_publish('x', '1'::text, partition => 0, expected_offset => 1);
SELECT * FROM stream_publish_batch('x', '{1,2,3}'::text[], partition => 0, expected_offset => 1);
SELECT stream_next_offset('x', 0), stream_high_watermark('x', 0);
SELECT * FROM stream_publish_batch('x', '{1,2,3}'::text[], partition => 0, expected_offset => 2);
-- The other partition counts for itself; a key says which one is meant.
SELECT * FROM stream_publish('x', '1'::text, partition => 1, expected_offset => 0);
SELECT "offset" FROM stream_publish('x', '1'::text, 'a key', expected_offset =>
	stream_next_offset('x', stream_partition_for('x', 'a key')));
\set VERBOSITY sqlstate
SELECT * FROM stream_publish('x', '1'::text, expected_offset => 0);
SELECT * FROM stream_publish('x', '1'::text, partition => 0, expected_offset => -1);
SELECT * FROM stream_publish_batch('x', '{1,2,3}'::text[], expected_offset => 0);
SELECT * FROM stream_publish_batch('x', '{1,2,3,4}'::text[], '{a,b,c,d}', expected_offset => 0);
\set VERBOSITY default
-- A stream of one partition needs none to be named.
SELECT stream_create('x1', 1, 'int');
SELECT * FROM stream_publish('x1', '1'::text, expected_offset => 0);
-- After a rollback the next offset is the next physical one, until VACUUM forgets what was rolled back.
BEGIN;
SELECT * FROM stream_publish('x1', '1'::text, expected_offset => 1);
ROLLBACK;
SELECT * FROM stream_publish('x1', '1'::text, expected_offset => 1);
VACUUM x1;
SELECT * FROM stream_publish('x1', '1'::text, expected_offset => 1);
-- Expecting is not refused or fulfilled by rolling into the next segment.
SELECT stream_create('xs', 1, 'int', '{"segment_messages": 2}');
SELECT "offset" FROM generate_series(0, 4) i, stream_publish('xs', i::text, expected_offset => i);
SELECT * FROM stream_publish('xs', '1'::text, expected_offset => 4);
SELECT * FROM stream_publish_batch('xs', '{5,6,7}'::text[], expected_offset => 5);
SELECT lower_offset FROM weir.segments WHERE stream = 'xs'::regclass ORDER BY 1;

-- Publishing is part of the transaction; functions, rules and data-modifying WITH may publish.
CREATE FUNCTION twice(v text) RETURNS bigint LANGUAGE sql AS
	$$SELECT "offset" FROM stream_publish('x1', v); SELECT "offset" FROM stream_publish('x1', v)$$;
BEGIN;
SAVEPOINT a;
SELECT twice('5');
ROLLBACK TO a;
SELECT twice('6');
COMMIT;
SELECT value FROM x1 ORDER BY "offset";
DO $$
BEGIN
	FOR i IN 1..5 LOOP
		BEGIN
			PERFORM stream_publish('x1', i::text);
			IF i % 2 = 0 THEN RAISE 'no'; END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
END $$;
SELECT string_agg(value::text, ',' ORDER BY "offset") FROM x1;
SELECT count(*) FROM stream_check('x1');
-- From a trigger on a table of the user.
CREATE TABLE account (id int PRIMARY KEY, balance int);
CREATE FUNCTION account_event() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM stream_publish('p_jsonb', to_jsonb(NEW), NEW.id::text); RETURN NEW; END$$;
CREATE TRIGGER event AFTER INSERT OR UPDATE ON account FOR EACH ROW EXECUTE FUNCTION account_event();
INSERT INTO account VALUES (1, 10), (2, 20);
UPDATE account SET balance = balance + 1;
SELECT key, value FROM stream_read('p_jsonb', "offset" => 4);
DROP TABLE account;
DROP FUNCTION account_event();
DROP FUNCTION twice;

-- As prepared statement, whose plan outlives a change of the stream.
PREPARE pub(text) AS SELECT "offset" FROM stream_publish('x', $1, partition => 1);
EXECUTE pub('1');
SELECT stream_alter('x', '{"segment_messages": 4}');
EXECUTE pub('2');
SELECT stream_drop('x');
EXECUTE pub('3');
SELECT stream_create('x', 2, 'text');
EXECUTE pub('4');
DEALLOCATE pub;

SELECT c.oid::regclass AS problems FROM weir.stream s JOIN pg_class c ON c.oid = s.stream, LATERAL stream_check(s.stream) ORDER BY 1;
SELECT count(stream_drop(stream)) FROM weir.stream WHERE stream <> 'weir.activity'::regclass;
DROP TYPE mood, pair;
DROP DOMAIN even, present, short, price;
