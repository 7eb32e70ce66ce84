-- Consuming in a transaction.

CREATE FUNCTION @extschema@.stream_fetch(
	stream text,
	"group" text,
	max_messages bigint DEFAULT 1000,
	partition integer DEFAULT NULL,
	skip_gap boolean DEFAULT false,
	wait interval DEFAULT NULL)
	RETURNS TABLE (partition integer, "offset" bigint, ts timestamptz, key text, value text, headers jsonb)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
	AS 'MODULE_PATHNAME', 'weir_stream_fetch';
COMMENT ON FUNCTION @extschema@.stream_fetch(text, text, bigint, integer, boolean, interval) IS
'messages that the group has not read yet, of one partition that nobody else is working on; the commit acknowledges them; wait: if there is none, for so long until one comes';

CREATE FUNCTION @extschema@.stream_fetch(
	stream regclass,
	"group" text,
	max_messages bigint DEFAULT 1000,
	partition integer DEFAULT NULL,
	skip_gap boolean DEFAULT false,
	wait interval DEFAULT NULL)
	RETURNS TABLE (partition integer, "offset" bigint, ts timestamptz, key text, value text, headers jsonb)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
	AS 'MODULE_PATHNAME', 'weir_stream_fetch';
COMMENT ON FUNCTION @extschema@.stream_fetch(regclass, text, bigint, integer, boolean, interval) IS
'messages that the group has not read yet, of one partition that nobody else is working on; the commit acknowledges them; wait: if there is none, for so long until one comes';

CREATE FUNCTION @extschema@.stream_fetch(
	stream anyelement,
	"group" text,
	max_messages bigint DEFAULT 1000,
	partition integer DEFAULT NULL,
	skip_gap boolean DEFAULT false,
	wait interval DEFAULT NULL)
	RETURNS SETOF anyelement
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
	AS 'MODULE_PATHNAME', 'weir_stream_fetch';
COMMENT ON FUNCTION @extschema@.stream_fetch(anyelement, text, bigint, integer, boolean, interval) IS
'messages that the group has not read yet, of one partition that nobody else is working on; the commit acknowledges them; wait: if there is none, for so long until one comes';

CREATE FUNCTION @extschema@.stream_seek(
	stream regclass,
	"group" text,
	partition integer DEFAULT NULL,
	"offset" bigint DEFAULT NULL,
	ts timestamptz DEFAULT NULL,
	start text DEFAULT NULL)
	RETURNS TABLE (partition integer, "offset" bigint)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
	AS 'MODULE_PATHNAME', 'weir_stream_seek';
COMMENT ON FUNCTION @extschema@.stream_seek(regclass, text, integer, bigint, timestamptz, text) IS
'moves the position of a group in a partition (null: in all): to an offset, to the first message at or after a time, to ''earliest'' or ''latest''';

CREATE FUNCTION @extschema@.stream_position(stream regclass, "group" text, partition integer DEFAULT NULL)
	RETURNS bigint
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_stream_position';
COMMENT ON FUNCTION @extschema@.stream_position(regclass, text, integer) IS
'the offset that the group reads next in a partition';

CREATE FUNCTION @extschema@.stream_drop_group(stream regclass, "group" text)
	RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_drop_group';
COMMENT ON FUNCTION @extschema@.stream_drop_group(regclass, text) IS
'forgets a group and its positions';

CREATE FUNCTION @extschema@.stream_reject(
	stream regclass,
	"group" text,
	partition integer,
	"offset" bigint,
	reason text,
	generation bigint DEFAULT NULL)
	RETURNS TABLE (stream regclass, partition integer, "offset" bigint)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
	AS 'MODULE_PATHNAME', 'weir_stream_reject';
COMMENT ON FUNCTION @extschema@.stream_reject(regclass, text, integer, bigint, text, bigint) IS
'takes a message that cannot be processed out of the way of a group: publishes it, with the reason, into the stream''s dead-letter stream and moves the position behind it; returns where it lies';
