-- Which partition a key goes to: Kafka's murmur2, for ever.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS weir;
RESET client_min_messages;

-- Signed hashes of Kafka's own tests; the expected partition is worked out here, in SQL.
CREATE TABLE vectors (key text, hash int);
INSERT INTO vectors VALUES
	('21', -973932308),
	('foobar', -790332482),
	('a-little-bit-long-string', -985981536),
	('a-little-bit-longer-string', -1486304829),
	('lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971),
	('abc', 479470107);
SELECT stream_create('p1', 1), stream_create('p2', 2), stream_create('p3', 3), stream_create('p7', 7), stream_create('p100', 100);
CREATE VIEW wanted AS
	SELECT key, n, (hash & 2147483647) % n AS partition FROM vectors, unnest('{1,2,3,7,100}'::int[]) n;
SELECT * FROM wanted WHERE n = 100 ORDER BY key COLLATE "C";
SELECT count(*) AS looked_at, count(*) FILTER (WHERE stream_partition_for(('p' || n)::regclass, key) <> partition) AS wrong
  FROM wanted;

-- An independent murmur2, for keys of every length and script.
CREATE FUNCTION mul32(a bigint, b bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS
	$$SELECT mod(a::numeric * b, 4294967296)::bigint$$;
CREATE FUNCTION murmur2(data bytea) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
	m constant bigint := x'5bd1e995'::bigint;
	n int := length(data);
	h bigint := x'9747b28c'::bigint # n;
	k bigint;
	i int := 0;
BEGIN
	WHILE n - i >= 4 LOOP
		k := get_byte(data, i)::bigint | (get_byte(data, i + 1)::bigint << 8)
			| (get_byte(data, i + 2)::bigint << 16) | (get_byte(data, i + 3)::bigint << 24);
		k := mul32(k, m);
		k := mul32(k # (k >> 24), m);
		h := mul32(h, m) # k;
		i := i + 4;
	END LOOP;
	IF n - i > 0 THEN
		IF n - i = 3 THEN h := h # (get_byte(data, i + 2)::bigint << 16); END IF;
		IF n - i >= 2 THEN h := h # (get_byte(data, i + 1)::bigint << 8); END IF;
		h := mul32(h # get_byte(data, i), m);
	END IF;
	h := mul32(h # (h >> 13), m);
	RETURN h # (h >> 15);
END $$;
SELECT count(*) AS wrong FROM vectors WHERE murmur2(convert_to(key, 'UTF8')) <> (hash::bigint & 4294967295);
CREATE TABLE keys AS
	SELECT left('zyxwvutsrqponmlkjihgfedcba', i) AS key FROM generate_series(0, 26) i
	UNION ALL SELECT repeat('ключ', i) FROM generate_series(1, 5) i
	UNION ALL SELECT 'größe' UNION ALL SELECT '鍵' UNION ALL SELECT '🔑🔑'
	UNION ALL SELECT i::text FROM generate_series(1, 500) i
	UNION ALL SELECT repeat('long', 1000);
SELECT count(*) AS looked_at,
	   count(*) FILTER (WHERE stream_partition_for('p7', key) <> (murmur2(convert_to(key, 'UTF8')) & 2147483647) % 7) AS wrong
  FROM keys;

-- Messages go where stream_partition_for says; no key is in two partitions.
SELECT stream_create('t', 7, 'text');
SELECT count(*) FROM keys, stream_publish('t', key, key);
SELECT sum(count) FROM stream_publish_batch('t', (SELECT array_agg(key) FROM keys), (SELECT array_agg(key) FROM keys));
SELECT count(*) AS messages, count(*) FILTER (WHERE partition <> stream_partition_for('t', key)) AS astray FROM t;
SELECT count(*) AS in_two FROM (SELECT key FROM t GROUP BY key HAVING count(DISTINCT partition) > 1) x;

-- The partitioner of a stream of one partition, and a key that is no key.
SELECT DISTINCT stream_partition_for('p1', key) FROM keys;
\set VERBOSITY sqlstate
SELECT stream_partition_for('p7', NULL);
SELECT stream_partition_for(NULL, 'a');
SELECT stream_partition_for('vectors', 'a');
\set VERBOSITY default
-- Documented as usable in a query: it is stable.
EXPLAIN (COSTS OFF) SELECT * FROM vectors WHERE hash = stream_partition_for('p7', 'abc');

SELECT stream_drop('p1'), stream_drop('p2'), stream_drop('p3'), stream_drop('p7'), stream_drop('p100'), stream_drop('t');
DROP VIEW wanted;
DROP TABLE vectors, keys;
DROP FUNCTION murmur2, mul32;
