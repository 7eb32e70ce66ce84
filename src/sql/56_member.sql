-- Consuming outside of a transaction.

CREATE FUNCTION @extschema@.stream_join(
	stream regclass,
	"group" text,
	member text,
	lease interval DEFAULT NULL,
	generation bigint DEFAULT NULL,
	busy boolean DEFAULT false)
	RETURNS TABLE (generation bigint, partitions integer[], offsets bigint[], expires timestamptz)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
	AS 'MODULE_PATHNAME', 'weir_stream_join';
COMMENT ON FUNCTION @extschema@.stream_join(regclass, text, text, interval, bigint, boolean) IS
'joins a group, or (with a generation) is the heartbeat of a member: the partitions that it has, and the offsets to read next; with busy it keeps all of them';

CREATE FUNCTION @extschema@.stream_commit(
	stream regclass,
	"group" text,
	partition integer,
	"offset" bigint,
	generation bigint)
	RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_commit';
COMMENT ON FUNCTION @extschema@.stream_commit(regclass, text, integer, bigint, bigint) IS
'moves the position of a group in a partition that the member with this generation has: to the offset of the last message that it is done with, plus one';

CREATE FUNCTION @extschema@.stream_leave(
	stream regclass,
	"group" text,
	member text,
	generation bigint DEFAULT NULL)
	RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_leave';
COMMENT ON FUNCTION @extschema@.stream_leave(regclass, text, text, bigint) IS
'ends a membership: what the member had is free at once; without a generation whatever member has the name';
