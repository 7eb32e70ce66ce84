-- The lines of a dpkg.log (standard input) into the stream :stream, one message
-- per event, keyed by package; :native is the machine's architecture.
--
-- dpkg knows a package of the native architecture and one of "all" as the same
-- thing, so those two names are left out of the key: libc6, but libc6:i386.
SELECT stream_create(:'stream', partitions => 4) \g /dev/null

CREATE TEMP TABLE line (n bigint GENERATED ALWAYS AS IDENTITY, raw text);
\copy line (raw) FROM pstdin WITH (FORMAT csv, DELIMITER E'\001', QUOTE E'\002')

-- 2026-01-31 08:00:00 status installed libc6:amd64 2.36-9
-- 2026-01-31 08:00:00 upgrade libc6:amd64 2.36-8 2.36-9
CREATE TEMP TABLE event AS
SELECT n,
	   CASE WHEN word[3] IN ('startup', 'conffile') THEN NULL
			ELSE regexp_replace(package, ':(all|' || :'native' || ')?$', '') END AS key,
	   jsonb_strip_nulls(CASE
		   WHEN word[1] !~ '^\d{4}-\d\d-\d\d$' OR word[4] IS NULL THEN jsonb_build_object('line', raw)
		   WHEN word[3] IN ('startup', 'conffile') THEN
			   jsonb_build_object('time', time, 'action', word[3], 'what', array_to_string(word[4:], ' '))
		   WHEN word[3] = 'status' THEN
			   jsonb_build_object('time', time, 'action', 'status', 'status', word[4],
								  'package', package, 'version', nullif(word[6], '<none>'))
		   ELSE
			   jsonb_build_object('time', time, 'action', word[3], 'package', package,
								  'from', CASE WHEN word[6] <> '<none>' THEN nullif(word[5], '<none>') END,
								  'version', coalesce(nullif(word[6], '<none>'), word[5]))
	   END) AS value
  FROM line,
	   regexp_split_to_array(raw, ' ') word,
	   concat(word[1], 'T', word[2]) time,
	   CAST(CASE word[3] WHEN 'status' THEN word[5] ELSE word[4] END AS text) package;
ALTER TABLE event ADD PRIMARY KEY (n);

\ir publish.sql
