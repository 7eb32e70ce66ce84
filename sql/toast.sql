-- Large values.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

-- Not compressible, n bytes of text: md5 after md5.
CREATE FUNCTION noise(n int, seed int) RETURNS text IMMUTABLE LANGUAGE sql AS
	$$SELECT left(string_agg(md5(seed::text || ' ' || i::text), ''), n) FROM generate_series(0, n / 32) i$$;

SELECT stream_create('t', 1, 'text');
CREATE TABLE want (n int, value text);
INSERT INTO want SELECT n, repeat('z', n) FROM unnest('{0,1,126,127,500,501,1000,1999,2000,2001,2032,2048,8000,8160,9000,100000,1048576}'::int[]) n;
INSERT INTO want SELECT n, noise(n, n) FROM unnest('{0,1,126,127,500,501,1000,1999,2000,2001,2032,2048,8000,8160,9000,100000,1048576}'::int[]) n;
SELECT count(*) FROM want, stream_publish('t', value);
SELECT (SELECT array_agg(md5(value) ORDER BY md5(value)) FROM want) = (SELECT array_agg(md5(value) ORDER BY md5(value)) FROM t) AS same_select,
	   (SELECT array_agg(md5(value) ORDER BY md5(value)) FROM want) = (SELECT array_agg(md5(value) ORDER BY md5(value)) FROM stream_read('t')) AS same_read,
	   (SELECT array_agg(md5(value) ORDER BY md5(value)) FROM want) = (SELECT array_agg(md5(value) ORDER BY md5(value)) FROM stream_read(NULL::t)) AS same_rows;
SELECT pg_relation_size(reltoastrelid) > 1000000 AS in_toast FROM pg_class WHERE oid = 't_p0_s0'::regclass;
SELECT max(pg_column_size(value)) < 20000 AS compressed FROM t WHERE value LIKE 'zz%';
-- As a batch, in one order.
SELECT sum(count) FROM stream_publish_batch('t', (SELECT array_agg(value ORDER BY n, value) FROM want));
SELECT (SELECT string_agg(md5(value), '' ORDER BY n, value) FROM want) = (SELECT string_agg(md5(value), '' ORDER BY "offset") FROM stream_read('t', 0, (SELECT count(*) FROM want))) AS in_order;
-- Large values go with a rollback.
BEGIN;
SELECT "offset" FROM stream_publish('t', noise(100000, 1));
ROLLBACK;
SELECT "offset" = stream_next_offset('t') - 1 AS next FROM stream_publish('t', noise(100000, 2));
SELECT value = noise(100000, 2) AS same FROM stream_read('t', start => 'latest', reverse => true, max_messages => 1);

-- From a table's own TOAST, and from another stream: the value is copied, not pointed to.
CREATE TABLE source AS SELECT noise(50000, 3) AS value;
SELECT count(*) FROM source, stream_publish('t', value);
DROP TABLE source;
SELECT stream_create('u', 1, 'text');
SELECT count(*) FROM (SELECT value FROM stream_read(NULL::t, start => 'latest', reverse => true, max_messages => 1)) x, stream_publish('u', value);
SELECT stream_drop('t');
SELECT value = noise(50000, 3) AS same FROM u;

-- Keys and headers can be large.
SELECT "offset" FROM stream_publish('u', 'v'::text, noise(10000, 4), jsonb_build_object('h', noise(20000, 5)));
SELECT key = noise(10000, 4) AS key, value, headers->>'h' = noise(20000, 5) AS headers FROM stream_read(NULL::u, 0, 1);

-- jsonb and bytea.
SELECT stream_create('j'), stream_create('y', 1, 'bytea');
SELECT "offset" FROM stream_publish('j', jsonb_build_object('a', noise(30000, 6)));
SELECT "offset" FROM stream_publish('j', jsonb_build_object('a', noise(30000, 7))::text);
SELECT "offset", value->>'a' = noise(30000, 6 + "offset"::int) AS same FROM stream_read(NULL::j);
SELECT "offset" FROM stream_publish('y', convert_to(noise(30000, 8), 'UTF8'));
SELECT convert_from(value, 'UTF8') = noise(30000, 8) AS same FROM stream_read(NULL::y);

-- Storage settings of the columns are kept in segments to come.
SELECT stream_create('p', 1, 'text', '{"segment_messages": 2}');
ALTER TABLE p ALTER value SET STORAGE EXTERNAL;
SELECT "offset" FROM generate_series(0, 5) i, stream_publish('p', rpad(i::text, 10000, 'e'));
SELECT segment, attstorage FROM weir.segments JOIN pg_attribute ON attrelid = segment AND attname = 'value' WHERE stream = 'p'::regclass ORDER BY lower_offset;
SELECT count(*) FROM p WHERE value = rpad("offset"::text, 10000, 'e');

-- The limit: key, value and headers together, before compression.
SELECT stream_create('l', 1, 'text', '{"max_message_bytes": 10000}');
SELECT "offset" FROM stream_publish('l', repeat('x', 10000));
SELECT "offset" FROM stream_publish('l', repeat('x', 10001));
SELECT "offset" FROM stream_publish('l', repeat('x', 9999), 'k');
SELECT "offset" FROM stream_publish('l', repeat('x', 10000), 'k');
SELECT "offset" FROM stream_publish('l', repeat('x', 9990), NULL, '{"a": "0123456789"}');
SELECT * FROM stream_publish_batch('l', ARRAY['a', repeat('x', 10001)]);
SELECT stream_alter('l', '{"max_message_bytes": 3}');
SELECT "offset" FROM stream_publish('l', 'abc'::text);
SELECT "offset" FROM stream_publish('l', 'abcd'::text);
SELECT "offset" FROM stream_publish('l', NULL::text, 'abcd');
SELECT stream_next_offset('l'), count(*) FROM l;
-- The default is 16 MB.
SELECT stream_alter('l', '{"max_message_bytes": null}');
SELECT "offset" FROM stream_publish('l', repeat('x', 16 * 1048576));
SELECT "offset" FROM stream_publish('l', repeat('x', 16 * 1048576 + 1));
SELECT max(length(value)) FROM stream_read('l');

-- A batch of many bytes: holds of 1 MB, in order.
SELECT sum(count) FROM stream_publish_batch('u', (SELECT array_agg(noise(20000, i) ORDER BY i) FROM generate_series(1, 150) i), partition => 0);
SELECT count(*), count(*) FILTER (WHERE value = noise(20000, ("offset" - 1)::int)) AS in_order FROM stream_read('u', 0, 2);
SELECT s.stream, c.* FROM weir.stream s, LATERAL stream_check(s.stream) c;

SELECT count(stream_drop(stream)) FROM weir.stream WHERE stream <> 'weir.activity'::regclass;
DROP TABLE want;
DROP FUNCTION noise;
