-- Publishes the rows of pg_temp.event (n, key, value) into the stream :stream,
-- in batches of 1000, in at most ten steps of a transaction each, with progress.
SELECT greatest(1000, ceil(count(*) / 10000.0)::int * 1000) AS step, count(*) AS total,
	   clock_timestamp() AS started
  FROM pg_temp.event \gset

\pset tuples_only on
\pset format unaligned
SELECT format($$
	WITH done AS (
		SELECT sum(p.count) AS n, clock_timestamp() - %L AS time
		  FROM (SELECT array_agg(value ORDER BY n) AS "values", array_agg(key ORDER BY n) AS keys
				  FROM pg_temp.event WHERE n > %s AND n <= %s
				 GROUP BY (n - 1) / 1000 ORDER BY (n - 1) / 1000) batch,
			   stream_publish_batch(%L, batch."values", batch.keys) p)
	SELECT format('  %%s of %s messages, %%s messages/s', to_char(%s + n, 'FM999,999,999'),
				  to_char((%s + n) / extract(epoch FROM clock_timestamp() - %L), 'FM999,999,999')) FROM done
	$$, :'started', lo, lo + :step, :'stream', to_char(:total, 'FM999,999,999'), lo, lo, :'started')
  FROM generate_series(0, :total - 1, :step) lo \gexec
\pset format aligned
\pset tuples_only off
