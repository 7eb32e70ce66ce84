-- What the stream of package events says, and whether it is true.

-- The package with the longest story: the most versions, then the most events.
SELECT key AS package
  FROM package_events WHERE key IS NOT NULL
 GROUP BY key
 ORDER BY count(DISTINCT value->>'version') DESC, count(*) DESC, key LIMIT 1 \gset

\echo THE LAST EVENTS OF ONE PACKAGE, IN ORDER
\set ECHO queries
SELECT partition, "offset", value->>'time' AS time, value->>'action' AS action,
       value->>'status' AS status, value->>'version' AS version
  FROM (SELECT * FROM package_events
         WHERE key = :'package' ORDER BY "offset" DESC LIMIT 8) last
 ORDER BY "offset";
\set ECHO none

\echo THE LAST MESSAGES OF ITS PARTITION, BY stream_read
\set ECHO queries
SELECT "offset", key, value->>'action' AS action, value->>'status' AS status
  FROM stream_read(NULL::package_events, stream_partition_for('package_events', :'package'),
                   reverse => true, max_messages => 4);
\set ECHO none

\echo WHAT IS INSTALLED: THE LAST STATUS OF EACH PACKAGE, AGAINST dpkg-query
\set ECHO queries
CREATE VIEW compared AS
WITH last AS (
    SELECT DISTINCT ON (key) key AS package, value->>'status' AS status, value->>'version' AS version
      FROM package_events WHERE value ? 'status'
     ORDER BY key, "offset" DESC)
SELECT package, l.status, l.version, i.status AS true_status, i.version AS true_version,
       CASE WHEN l.package IS NULL THEN 'not in the log'
            WHEN i.package IS NULL AND l.status = 'not-installed' THEN 'gone, equal'
            WHEN (l.status, l.version) IS NOT DISTINCT FROM (i.status, i.version) THEN 'there, equal'
            ELSE 'different' END AS result
  FROM last l FULL JOIN installed i USING (package);

SELECT count(*) FILTER (WHERE result = 'there, equal') AS "there, equal",
       count(*) FILTER (WHERE result = 'gone, equal') AS "gone, equal",
       count(*) FILTER (WHERE result = 'different') AS "DIFFERENT",
       count(*) FILTER (WHERE result = 'not in the log') AS "not in the log"
  FROM compared;
\set ECHO none

CREATE VIEW differences AS
SELECT * FROM compared WHERE result = 'different';
SELECT count(*) > 0 AS differ FROM differences \gset
\if :differ
SELECT * FROM differences ORDER BY package LIMIT 10;
\endif
