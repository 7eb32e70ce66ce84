-- Lines (standard input) into the stream :stream: a line that is a JSON object
-- becomes the value, any other text the value {"line": ...}.  The key is the
-- field :key of the object, or none.
SELECT stream_create(:'stream', partitions => 4) \g /dev/null

CREATE TEMP TABLE line (n bigint GENERATED ALWAYS AS IDENTITY, raw text);
\copy line (raw) FROM pstdin WITH (FORMAT csv, DELIMITER E'\001', QUOTE E'\002')

CREATE FUNCTION pg_temp.value_of(raw text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF raw LIKE '{%' THEN
		RETURN raw::jsonb;
	END IF;
	RETURN jsonb_build_object('line', raw);
EXCEPTION WHEN data_exception THEN
	RETURN jsonb_build_object('line', raw);
END $$;

CREATE TABLE truth AS
SELECT n, value->>nullif(:'key', '') AS key, value
  FROM line, pg_temp.value_of(raw) value;
CREATE TEMP TABLE event AS TABLE truth;
ALTER TABLE event ADD PRIMARY KEY (n);

\ir publish.sql
