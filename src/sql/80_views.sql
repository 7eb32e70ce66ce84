-- Views for people and monitors.  They show the streams that the user may
-- read and scan nothing: the cost is one look at each partition or segment.

CREATE VIEW weir.streams AS
	SELECT s.stream,
		   s.partitions,
		   a.atttypid::regtype AS value_type,
		   s.options,
		   c.relowner::regrole AS owner
	  FROM weir.stream s
	  JOIN pg_class c ON c.oid = s.stream
	  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'value' AND NOT a.attisdropped
	 WHERE has_table_privilege(s.stream, 'SELECT');
COMMENT ON VIEW weir.streams IS 'streams, their number of partitions, type of value, options that are set';

CREATE VIEW weir.partitions AS
	SELECT p.stream,
		   p.number AS partition,
		   p.partition AS "table",
		   CASE WHEN p.state = 'paused' AND r.cause IS NULL THEN 'paused' ELSE 'active' END AS state,
		   coalesce(r.cause, p.cause) AS cause,
		   i.actual,
		   CASE WHEN p.state = 'paused' AND p.detach THEN i.attached_because END AS attached_because,
		   p.read_only,
		   p.state = 'paused' AND r.cause IS NULL AND p.resume_all AS resume_all,
		   p.paused_at,
		   i.segments,
		   i.start_offset,
		   i.next_offset,
		   i.bytes,
		   i.first_publish,
		   i.latest_publish,
		   p.pause_first AS first_pause,
		   p.pause_latest AS latest_pause,
		   p.read_only_first AS first_read_only,
		   p.read_only_latest AS latest_read_only
	  FROM weir.partition p
	  JOIN pg_class c ON c.oid = p.stream
	  LEFT JOIN LATERAL (SELECT q.cause
						   FROM weir.resume_request q
						  WHERE p.state = 'paused'
							AND q.pause_id = p.pause_id
							AND (p.resume_all OR q.partition = p.partition)
						  LIMIT 1) r ON true,
		   LATERAL weir.partition_info(p.stream, p.number) i
	 WHERE has_table_privilege(p.stream, 'SELECT');
COMMENT ON VIEW weir.partitions IS
'partitions: state (active or paused) and its cause, actual state of the table (attached, detaching, detached), segments, start_offset (nothing below it is retained), next_offset (a forecast), bytes with TOAST and indexes, times of publishing and of changes';

CREATE VIEW weir.segments AS
	SELECT p.stream,
		   p.number AS partition,
		   g.segment,
		   g.lower_offset,
		   g.upper_offset,
		   i.blocks,
		   i.bytes,
		   i.verified,
		   i.first_ts
	  FROM weir.segment g
	  JOIN weir.partition p ON p.partition = g.partition
	  JOIN pg_class c ON c.oid = p.stream,
		   LATERAL weir.segment_info(g.segment) i
	 WHERE has_table_privilege(p.stream, 'SELECT');
COMMENT ON VIEW weir.segments IS
'segments: bounds, size, whether the physical order of the file is known, time of the first message';

CREATE FUNCTION weir.worker_info(OUT kind text, OUT database oid, OUT pid integer, OUT doing text,
	OUT since timestamptz, OUT last_error text, OUT last_error_at timestamptz, OUT blocked bigint)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL SAFE ROWS 10
	AS 'MODULE_PATHNAME', 'weir_worker_info';
COMMENT ON FUNCTION weir.worker_info() IS
'what weir.workers shows; nothing unless the library is preloaded';

CREATE VIEW weir.workers AS
	SELECT w.kind,
		   d.datname AS database,
		   w.pid,
		   w.doing,
		   w.since,
		   w.last_error,
		   w.last_error_at,
		   w.blocked
	  FROM weir.worker_info() w
	  LEFT JOIN pg_database d ON d.oid = w.database;
COMMENT ON VIEW weir.workers IS
'background workers of all databases, what they do and since when, their last error, how often a step gave way to somebody''s lock; nothing unless the library is preloaded';

CREATE VIEW weir.groups AS
	SELECT g.stream,
		   g.name AS "group",
		   p.number AS partition,
		   n.next_offset,
		   n.moved,
		   n.skipped
	  FROM weir.group g
	  JOIN pg_class c ON c.oid = g.stream
	  JOIN weir.partition p ON p.stream = g.stream
	  JOIN LATERAL (SELECT q.next_offset, q.moved, q.skipped
					  FROM weir.position q
					 WHERE q.group_id = g.id AND q.partition = p.number
					 ORDER BY q.version DESC
					 LIMIT 1) n ON true
	 WHERE has_table_privilege(g.stream, 'SELECT');
COMMENT ON VIEW weir.groups IS
'positions of consumer groups: the next offset of each partition, when it was moved, how many offsets retention took before they were read';

-- The positions of a group are looked at once, not once for each member: hence
-- MATERIALIZED.
CREATE VIEW weir.members AS
	SELECT g.stream,
		   g.name AS "group",
		   m.name AS member,
		   m.partitions,
		   m.generation,
		   m.joined,
		   m.lease,
		   l.expires,
		   l.expires <= clock_timestamp() AS expired
	  FROM weir.group g
	  JOIN pg_class c ON c.oid = g.stream
	  JOIN LATERAL (WITH owned AS MATERIALIZED (
						SELECT n.owner, array_agg(p.number ORDER BY p.number) AS partitions
						  FROM weir.partition p
						  JOIN LATERAL (SELECT q.owner
										  FROM weir.position q
										 WHERE q.group_id = g.id AND q.partition = p.number
										 ORDER BY q.version DESC
										 LIMIT 1) n ON n.owner <> 0
						 WHERE p.stream = g.stream
						 GROUP BY n.owner)
					SELECT k.id, k.name, k.generation, k.joined, k.lease,
						   coalesce(o.partitions, '{}') AS partitions
					  FROM weir.member k
					  LEFT JOIN owned o ON o.owner = k.id
					 WHERE k.group_id = g.id) m ON true
	  LEFT JOIN LATERAL (SELECT q.expires
						   FROM weir.lease q
						  WHERE q.member_id = m.id
						  ORDER BY q.version DESC
						  LIMIT 1) l ON true
	 WHERE has_table_privilege(g.stream, 'SELECT');
COMMENT ON VIEW weir.members IS
'members of consumer groups, who work outside of transactions: their partitions, generation, lease; an expired one loses its partitions when another member looks';
CREATE VIEW weir.ends AS
	SELECT p.stream,
		   p.number AS partition,
		   i.stable_end,
		   i.next_offset,
		   i.held_by_pid,
		   x.gid AS held_by_gid,
		   i.held_since
	  FROM weir.partition p
	  JOIN pg_class c ON c.oid = p.stream
	 CROSS JOIN LATERAL weir.end_info(p.stream, p.number) i
	  LEFT JOIN pg_prepared_xacts x ON x.transaction = i.held_by
	 WHERE has_table_privilege(p.stream, 'SELECT');
COMMENT ON VIEW weir.ends IS
'ends of partitions: stable_end (readers get what lies before it), next_offset (a forecast), and the transaction that holds readers up: the process or the prepared transaction that published the first undecided message, and when it did';

CREATE VIEW weir.lag AS
	SELECT e.stream,
		   g.name AS "group",
		   e.partition,
		   n.next_offset AS "position",
		   e.stable_end,
		   e.next_offset,
		   greatest(e.stable_end - n.next_offset, 0) AS messages,
		   CASE WHEN NOT row_security_active(e.stream)
				THEN greatest(extract(epoch FROM clock_timestamp() -
									  weir.oldest_unread(e.stream, e.partition, n.next_offset)), 0)::double precision
				END AS seconds,
		   e.held_by_pid,
		   e.held_by_gid,
		   e.held_since
	  FROM weir.ends e
	  JOIN weir.group g ON g.stream = e.stream
	  JOIN LATERAL (SELECT q.next_offset
					  FROM weir.position q
					 WHERE q.group_id = g.id AND q.partition = e.partition
					 ORDER BY q.version DESC
					 LIMIT 1) n ON true;
COMMENT ON VIEW weir.lag IS
'how far consumer groups are behind: messages (offsets between position and stable end: gaps count), seconds (age of the oldest message that the group can read and has not; null where row-level security applies), and what holds the stable end up';
