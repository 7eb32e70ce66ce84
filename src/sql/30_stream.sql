-- Streams and their life.

CREATE FUNCTION @extschema@.stream_create(
	name text,
	partitions integer DEFAULT 1,
	value_type regtype DEFAULT 'jsonb',
	options jsonb DEFAULT NULL)
	RETURNS regclass
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_create';
COMMENT ON FUNCTION @extschema@.stream_create(text, integer, regtype, jsonb) IS
'creates a stream: a partitioned table of this name with so many partitions, whose values have this type';

CREATE FUNCTION @extschema@.stream_alter(stream regclass, options jsonb)
	RETURNS jsonb
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_alter';
COMMENT ON FUNCTION @extschema@.stream_alter(regclass, jsonb) IS
'changes options of a stream (null: back to the default), returns the options that are set';

CREATE FUNCTION @extschema@.stream_drop(stream regclass)
	RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_drop';
COMMENT ON FUNCTION @extschema@.stream_drop(regclass) IS
'drops a stream with all its messages; DROP TABLE does the same';

CREATE FUNCTION @extschema@.stream_adopt("table" regclass)
	RETURNS regclass
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_adopt';
COMMENT ON FUNCTION @extschema@.stream_adopt(regclass) IS
'makes a stream again of its tables, where a dump carried them without the rows of the catalog';

CREATE FUNCTION @extschema@.stream_trim(stream regclass, partition integer, before_offset bigint)
	RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'weir_stream_trim';
COMMENT ON FUNCTION @extschema@.stream_trim(regclass, integer, bigint) IS
'drops the whole segments of a partition that lie before this offset, returns the new earliest offset that can be asked for';

CREATE FUNCTION weir.default_options()
	RETURNS TABLE (name text, value text, description text)
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'weir_default_options';
COMMENT ON FUNCTION weir.default_options() IS
'the options that a stream can have, with their defaults';
