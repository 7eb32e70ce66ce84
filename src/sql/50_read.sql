-- Reading.  The stream is given by name or regclass (rows with the value as
-- text) or as NULL::stream (rows of the stream itself, with the typed value).

CREATE FUNCTION @extschema@.stream_read(
	stream text,
	partition integer DEFAULT NULL,
	"offset" bigint DEFAULT NULL,
	max_messages bigint DEFAULT 1000,
	start text DEFAULT NULL,
	stop_offset bigint DEFAULT NULL,
	reverse boolean DEFAULT false,
	resume boolean DEFAULT false,
	wait interval DEFAULT NULL)
	RETURNS TABLE (partition integer, "offset" bigint, ts timestamptz, key text, value text, headers jsonb)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
	AS 'MODULE_PATHNAME', 'weir_stream_read';
COMMENT ON FUNCTION @extschema@.stream_read(text, integer, bigint, bigint, text, bigint, boolean, boolean, interval) IS
'messages of a partition in order of their offsets, from an offset on; resume: a paused partition is resumed, as by a publish; wait: if there is none, for so long until one comes';

CREATE FUNCTION @extschema@.stream_read(
	stream regclass,
	partition integer DEFAULT NULL,
	"offset" bigint DEFAULT NULL,
	max_messages bigint DEFAULT 1000,
	start text DEFAULT NULL,
	stop_offset bigint DEFAULT NULL,
	reverse boolean DEFAULT false,
	resume boolean DEFAULT false,
	wait interval DEFAULT NULL)
	RETURNS TABLE (partition integer, "offset" bigint, ts timestamptz, key text, value text, headers jsonb)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
	AS 'MODULE_PATHNAME', 'weir_stream_read';
COMMENT ON FUNCTION @extschema@.stream_read(regclass, integer, bigint, bigint, text, bigint, boolean, boolean, interval) IS
'messages of a partition in order of their offsets, from an offset on; resume: a paused partition is resumed, as by a publish; wait: if there is none, for so long until one comes';

CREATE FUNCTION @extschema@.stream_read(
	stream anyelement,
	partition integer DEFAULT NULL,
	"offset" bigint DEFAULT NULL,
	max_messages bigint DEFAULT 1000,
	start text DEFAULT NULL,
	stop_offset bigint DEFAULT NULL,
	reverse boolean DEFAULT false,
	resume boolean DEFAULT false,
	wait interval DEFAULT NULL)
	RETURNS SETOF anyelement
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
	AS 'MODULE_PATHNAME', 'weir_stream_read';
COMMENT ON FUNCTION @extschema@.stream_read(anyelement, integer, bigint, bigint, text, bigint, boolean, boolean, interval) IS
'messages of a partition in order of their offsets, from an offset on; resume: a paused partition is resumed, as by a publish; wait: if there is none, for so long until one comes';

CREATE FUNCTION @extschema@.stream_earliest_offset(stream regclass, partition integer DEFAULT NULL)
	RETURNS bigint
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_stream_earliest_offset';
COMMENT ON FUNCTION @extschema@.stream_earliest_offset(regclass, integer) IS
'the offset of the first message that a reader can get, or of the end if there is none';

CREATE FUNCTION @extschema@.stream_high_watermark(stream regclass, partition integer DEFAULT NULL)
	RETURNS bigint
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_stream_high_watermark';
COMMENT ON FUNCTION @extschema@.stream_high_watermark(regclass, integer) IS
'the stable end of a partition: one more than the greatest offset that a reader can have got';

CREATE FUNCTION @extschema@.stream_next_offset(stream regclass, partition integer DEFAULT NULL)
	RETURNS bigint
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_stream_next_offset';
COMMENT ON FUNCTION @extschema@.stream_next_offset(regclass, integer) IS
'a forecast of the offset of the next message; goes back after a rollback, so never store it as a position';

CREATE FUNCTION @extschema@.stream_offset_at(
	stream regclass,
	partition integer,
	ts timestamptz,
	find text DEFAULT 'first')
	RETURNS bigint
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_stream_offset_at';
COMMENT ON FUNCTION @extschema@.stream_offset_at(regclass, integer, timestamptz, text) IS
'the offset of the first message at or after a time (find => ''first''), or of the last one at or before it (find => ''last'')';
