-- Pausing and resuming.

CREATE FUNCTION @extschema@.stream_pause(
	stream regclass,
	partitions integer[] DEFAULT NULL,
	resume_all boolean DEFAULT false,
	detach boolean DEFAULT true)
	RETURNS TABLE (partition integer, state text, changed boolean)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'weir_stream_pause';
COMMENT ON FUNCTION @extschema@.stream_pause(regclass, integer[], boolean, boolean) IS
'pauses partitions (null: all): with this transaction they are paused until a publish or stream_resume() resumes them; detach: their tables leave the stream''s table meanwhile';

CREATE FUNCTION @extschema@.stream_resume(
	stream regclass,
	partitions integer[] DEFAULT NULL,
	wait boolean DEFAULT false)
	RETURNS TABLE (partition integer, state text, changed boolean)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'weir_stream_resume';
COMMENT ON FUNCTION @extschema@.stream_resume(regclass, integer[], boolean) IS
'resumes partitions (null: all); wait: their tables are attached by this very transaction, else soon after it';

CREATE FUNCTION @extschema@.stream_set_readonly(
	stream regclass,
	partitions integer[] DEFAULT NULL,
	read_only boolean DEFAULT true)
	RETURNS TABLE (partition integer, state text, changed boolean)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'weir_stream_set_readonly';
COMMENT ON FUNCTION @extschema@.stream_set_readonly(regclass, integer[], boolean) IS
'makes partitions (null: all) read-only or writable again; publishing to a read-only one is an error (WR015)';

CREATE PROCEDURE @extschema@.stream_pause_all(
	resume_all boolean DEFAULT false,
	detach boolean DEFAULT true,
	INOUT streams integer DEFAULT NULL,
	INOUT partitions integer DEFAULT NULL,
	INOUT failed integer DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'weir_stream_pause_all';
COMMENT ON PROCEDURE @extschema@.stream_pause_all(boolean, boolean, integer, integer, integer) IS
'pauses all streams of the caller, each in a transaction of its own; returns how many streams and partitions were changed, and how many streams could not be paused';

CREATE PROCEDURE @extschema@.stream_resume_all(
	INOUT streams integer DEFAULT NULL,
	INOUT partitions integer DEFAULT NULL,
	INOUT failed integer DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'weir_stream_resume_all';
COMMENT ON PROCEDURE @extschema@.stream_resume_all(integer, integer, integer) IS
'resumes all streams of the caller, each in a transaction of its own; returns how many streams and partitions were changed, and how many streams could not be resumed';

CREATE FUNCTION @extschema@.stream_at_end(stream regclass, partition integer, "offset" bigint)
	RETURNS boolean
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_stream_at_end';
COMMENT ON FUNCTION @extschema@.stream_at_end(regclass, integer, bigint) IS
'true if the partition is read-only and a reader that goes on at this offset has read all of it';
