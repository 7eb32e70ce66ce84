-- Being notified, and waiting.

CREATE FUNCTION @extschema@.stream_channel(stream regclass)
	RETURNS text
	LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'weir_stream_channel';
COMMENT ON FUNCTION @extschema@.stream_channel(regclass) IS
'the channel on which subscribers of a stream are notified, for LISTEN';

CREATE FUNCTION @extschema@.stream_subscribe(stream regclass)
	RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_subscribe';
COMMENT ON FUNCTION @extschema@.stream_subscribe(regclass) IS
'has this session notified of new messages, from its commit on; returns the channel';

CREATE FUNCTION @extschema@.stream_unsubscribe(stream regclass)
	RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_unsubscribe';
COMMENT ON FUNCTION @extschema@.stream_unsubscribe(regclass) IS
'has this session not notified of new messages any more';

CREATE PROCEDURE @extschema@.stream_wait(
	stream regclass,
	wait interval,
	"group" text DEFAULT NULL,
	partition integer DEFAULT NULL,
	"offset" bigint DEFAULT NULL,
	generation bigint DEFAULT NULL,
	INOUT ready boolean DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'weir_stream_wait';
COMMENT ON PROCEDURE @extschema@.stream_wait(regclass, interval, text, integer, bigint, bigint, boolean) IS
'waits, holding neither snapshot nor lock, until there is something to read: for the group (generation: for that member of it), or at or after the offset, or newer than the call; ready says whether there is';
