-- Looking after the order.

CREATE FUNCTION @extschema@.stream_check(stream regclass)
	RETURNS TABLE (partition integer, segment regclass, problem text, detail text)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'weir_stream_check';
COMMENT ON FUNCTION @extschema@.stream_check(regclass) IS
'verifies everything that order and reading lean on; one row per problem, so none means that all is well';

CREATE FUNCTION @extschema@.stream_repair(stream regclass)
	RETURNS TABLE (partition integer, segment regclass, action text)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'weir_stream_repair';
COMMENT ON FUNCTION @extschema@.stream_repair(regclass) IS
'verifies segments that were restored or rewritten and sorts those that are not in order; one row per segment that was looked at';

CREATE FUNCTION weir.partition_info(stream regclass, partition integer,
	OUT segments integer, OUT start_offset bigint, OUT next_offset bigint, OUT bytes bigint,
	OUT actual text, OUT attached_because text, OUT first_publish timestamptz, OUT latest_publish timestamptz)
	RETURNS record
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_partition_info';
COMMENT ON FUNCTION weir.partition_info(regclass, integer) IS
'what weir.partitions shows of a partition, without a scan; needs SELECT on the stream';

CREATE FUNCTION weir.segment_info(segment regclass,
	OUT blocks bigint, OUT bytes bigint, OUT verified boolean, OUT first_ts timestamptz)
	RETURNS record
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_segment_info';
COMMENT ON FUNCTION weir.segment_info(regclass) IS
'what weir.segments shows of a segment, without a scan; needs SELECT on the stream';

CREATE FUNCTION weir.end_info(stream regclass, partition integer,
	OUT stable_end bigint, OUT next_offset bigint, OUT held_by_pid integer, OUT held_by xid, OUT held_since timestamptz)
	RETURNS record
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_end_info';
COMMENT ON FUNCTION weir.end_info(regclass, integer) IS
'what weir.ends shows of a partition, without a scan; needs SELECT on the stream';

CREATE FUNCTION weir.oldest_unread(stream regclass, partition integer, "position" bigint)
	RETURNS timestamptz
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_oldest_unread';
COMMENT ON FUNCTION weir.oldest_unread(regclass, integer, bigint) IS
'the time of the first message that a reader at this position can get, null if there is none; needs SELECT on the stream';

CREATE FUNCTION weir.longest_append_hold(reset boolean DEFAULT false)
	RETURNS interval
	LANGUAGE c VOLATILE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'weir_longest_append_hold';
COMMENT ON FUNCTION weir.longest_append_hold(boolean) IS
'the longest time for which an append lock was held, since the start or the last reset; needs weir.track_append_hold';
