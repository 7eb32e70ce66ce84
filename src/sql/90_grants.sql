-- Every grant of the extension.  The functions check the privileges on the
-- stream themselves: INSERT to publish, SELECT to read, ownership to manage.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA weir FROM PUBLIC;

GRANT USAGE ON SCHEMA weir TO PUBLIC;
GRANT SELECT ON weir.stream, weir.partition, weir.segment, weir.verified,
	weir.resume_request, weir.pause_id, weir.group, weir.position,
	weir.group_id, weir.generation TO PUBLIC;
GRANT SELECT ON weir.streams, weir.partitions, weir.segments, weir.groups,
	weir.members, weir.ends, weir.lag TO PUBLIC;
GRANT EXECUTE ON FUNCTION
	weir.guard(),
	weir.default_options(),
	weir.partition_info(regclass, integer),
	weir.segment_info(regclass),
	weir.end_info(regclass, integer),
	weir.oldest_unread(regclass, integer, bigint)
	TO PUBLIC;
GRANT EXECUTE ON FUNCTION weir.longest_append_hold(boolean), weir.worker_info() TO pg_monitor;
GRANT SELECT ON weir.workers TO pg_monitor;
