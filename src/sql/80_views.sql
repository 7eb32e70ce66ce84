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
		   i.segments,
		   i.start_offset,
		   i.next_offset,
		   i.bytes
	  FROM weir.partition p
	  JOIN pg_class c ON c.oid = p.stream,
		   LATERAL weir.partition_info(p.stream, p.number) i
	 WHERE has_table_privilege(p.stream, 'SELECT');
COMMENT ON VIEW weir.partitions IS
'partitions: segments, start_offset (nothing below it is retained), next_offset (a forecast), bytes with TOAST and indexes';

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
