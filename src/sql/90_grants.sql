-- Every grant of the extension.  The functions check the privileges on the
-- stream themselves: INSERT to publish, SELECT to read, ownership to manage.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA weir FROM PUBLIC;

GRANT USAGE ON SCHEMA weir TO PUBLIC;
GRANT SELECT ON weir.stream, weir.partition, weir.segment, weir.verified TO PUBLIC;
GRANT SELECT ON weir.streams, weir.partitions, weir.segments TO PUBLIC;
GRANT EXECUTE ON FUNCTION
	weir.guard(),
	weir.default_options(),
	weir.partition_info(regclass, integer),
	weir.segment_info(regclass)
	TO PUBLIC;
GRANT EXECUTE ON FUNCTION weir.longest_append_hold(boolean) TO pg_monitor;
