-- Publishing.  One C function for each, told by its argument which form the
-- values have; the value is converted by the input function of the column.

CREATE FUNCTION @extschema@.stream_publish(
	stream regclass,
	value text,
	key text DEFAULT NULL,
	headers jsonb DEFAULT NULL,
	partition integer DEFAULT NULL,
	expected_offset bigint DEFAULT NULL,
	OUT partition integer,
	OUT "offset" bigint)
	RETURNS record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_publish';
COMMENT ON FUNCTION @extschema@.stream_publish(regclass, text, text, jsonb, integer, bigint) IS
'appends one message to a partition of the stream, in this transaction; returns where it lies';

CREATE FUNCTION @extschema@.stream_publish(
	stream regclass,
	value bytea,
	key text DEFAULT NULL,
	headers jsonb DEFAULT NULL,
	partition integer DEFAULT NULL,
	expected_offset bigint DEFAULT NULL,
	OUT partition integer,
	OUT "offset" bigint)
	RETURNS record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_publish';
COMMENT ON FUNCTION @extschema@.stream_publish(regclass, bytea, text, jsonb, integer, bigint) IS
'appends one message to a partition of the stream, in this transaction; returns where it lies';

CREATE FUNCTION @extschema@.stream_publish(
	stream regclass,
	value jsonb,
	key text DEFAULT NULL,
	headers jsonb DEFAULT NULL,
	partition integer DEFAULT NULL,
	expected_offset bigint DEFAULT NULL,
	OUT partition integer,
	OUT "offset" bigint)
	RETURNS record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_publish';
COMMENT ON FUNCTION @extschema@.stream_publish(regclass, jsonb, text, jsonb, integer, bigint) IS
'appends one message to a partition of the stream, in this transaction; returns where it lies';

CREATE FUNCTION @extschema@.stream_publish_batch(
	stream regclass,
	"values" text[],
	keys text[] DEFAULT NULL,
	headers jsonb[] DEFAULT NULL,
	partition integer DEFAULT NULL,
	expected_offset bigint DEFAULT NULL)
	RETURNS TABLE (partition integer, first_offset bigint, last_offset bigint, count bigint)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 4
	AS 'MODULE_PATHNAME', 'weir_stream_publish_batch';
COMMENT ON FUNCTION @extschema@.stream_publish_batch(regclass, text[], text[], jsonb[], integer, bigint) IS
'appends many messages, all or none; returns one row for each contiguous run of offsets';

CREATE FUNCTION @extschema@.stream_publish_batch(
	stream regclass,
	"values" bytea[],
	keys text[] DEFAULT NULL,
	headers jsonb[] DEFAULT NULL,
	partition integer DEFAULT NULL,
	expected_offset bigint DEFAULT NULL)
	RETURNS TABLE (partition integer, first_offset bigint, last_offset bigint, count bigint)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 4
	AS 'MODULE_PATHNAME', 'weir_stream_publish_batch';
COMMENT ON FUNCTION @extschema@.stream_publish_batch(regclass, bytea[], text[], jsonb[], integer, bigint) IS
'appends many messages, all or none; returns one row for each contiguous run of offsets';

CREATE FUNCTION @extschema@.stream_publish_batch(
	stream regclass,
	"values" jsonb[],
	keys text[] DEFAULT NULL,
	headers jsonb[] DEFAULT NULL,
	partition integer DEFAULT NULL,
	expected_offset bigint DEFAULT NULL)
	RETURNS TABLE (partition integer, first_offset bigint, last_offset bigint, count bigint)
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 4
	AS 'MODULE_PATHNAME', 'weir_stream_publish_batch';
COMMENT ON FUNCTION @extschema@.stream_publish_batch(regclass, jsonb[], text[], jsonb[], integer, bigint) IS
'appends many messages, all or none; returns one row for each contiguous run of offsets';

CREATE FUNCTION @extschema@.stream_partition_for(stream regclass, key text)
	RETURNS integer
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'weir_stream_partition_for';
COMMENT ON FUNCTION @extschema@.stream_partition_for(regclass, text) IS
'the partition to which the messages of a key go';
