-- What lies in the stream of a file's lines, and whether it is all there.
SELECT count(key) > 0 AS has_keys FROM file_events \gset
\if :has_keys
SELECT key FROM file_events WHERE key IS NOT NULL
 GROUP BY key ORDER BY count(*) DESC, key LIMIT 1 \gset

\echo THE LAST EVENTS OF ONE KEY, IN ORDER
\set ECHO queries
SELECT partition, "offset", key, left(value::text, 80) AS value
  FROM (SELECT * FROM file_events
         WHERE key = :'key' ORDER BY "offset" DESC LIMIT 8) last
 ORDER BY "offset";
\set ECHO none

\echo THE MOST FREQUENT KEYS
\set ECHO queries
SELECT key, count(*) AS messages, min("offset") AS first, max("offset") AS last
  FROM file_events GROUP BY key ORDER BY count(*) DESC, key LIMIT 5;
\set ECHO none
\endif

\echo THE LAST MESSAGES OF A PARTITION, BY stream_read
\set ECHO queries
SELECT partition, "offset", key, left(value::text, 80) AS value
  FROM stream_read(NULL::file_events, 0, reverse => true, max_messages => 4);
\set ECHO none

\echo THE STREAM AGAINST THE LINES OF THE FILE, THOSE OF A KEY IN THEIR ORDER
\set ECHO queries
CREATE TABLE differences AS
WITH stream AS (
    SELECT key, value,
           CASE WHEN key IS NOT NULL THEN row_number() OVER (PARTITION BY key ORDER BY "offset") END AS place
      FROM file_events),
file AS (
    SELECT key, value,
           CASE WHEN key IS NOT NULL THEN row_number() OVER (PARTITION BY key ORDER BY n) END AS place
      FROM truth)
(TABLE stream EXCEPT ALL TABLE file) UNION ALL (TABLE file EXCEPT ALL TABLE stream);

SELECT (SELECT count(*) FROM truth) AS lines,
       (SELECT count(*) FROM file_events) AS messages,
       (SELECT count(*) FROM differences) AS "DIFFERENT";
\set ECHO none
