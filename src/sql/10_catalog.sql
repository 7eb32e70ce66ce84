-- The catalog.  Rows refer to tables by regclass, so that a dump carries
-- names; a row whose table is gone is not dumped.  Only C code of the
-- extension writes here.

CREATE TABLE weir.stream (
	stream		regclass NOT NULL,
	partitions	integer NOT NULL,
	options		jsonb NOT NULL,
	CONSTRAINT stream_pkey PRIMARY KEY (stream)
);
COMMENT ON TABLE weir.stream IS 'streams: one row per stream';

CREATE TABLE weir.partition (
	partition		regclass NOT NULL,
	stream			regclass NOT NULL,
	number			integer NOT NULL,
	start_offset	bigint NOT NULL,
	CONSTRAINT partition_pkey PRIMARY KEY (partition),
	CONSTRAINT partition_number_key UNIQUE (stream, number)
);
COMMENT ON TABLE weir.partition IS 'partitions of streams; start_offset is the stable end of what was dropped';

CREATE TABLE weir.segment (
	segment			regclass NOT NULL,
	partition		regclass NOT NULL,
	lower_offset	bigint NOT NULL,
	upper_offset	bigint NOT NULL,
	CONSTRAINT segment_pkey PRIMARY KEY (segment),
	CONSTRAINT segment_bounds_key UNIQUE (partition, lower_offset)
);
COMMENT ON TABLE weir.segment IS 'segments of partitions: heaps that hold offsets from lower_offset up to below upper_offset';

-- Heaps whose physical order is known to be offset order, by file number.
-- Not dumped: a restored heap has another number and another history.  Not
-- unique: marks are only compared, and two writers need not wait.
CREATE TABLE weir.verified (
	segment		oid NOT NULL,
	file_number oid NOT NULL
);
CREATE INDEX verified_segment_idx ON weir.verified (segment);
COMMENT ON TABLE weir.verified IS 'files whose physical order is known to be offset order';

SELECT pg_catalog.pg_extension_config_dump('weir.stream',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) stream)');
SELECT pg_catalog.pg_extension_config_dump('weir.partition',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) partition)');
SELECT pg_catalog.pg_extension_config_dump('weir.segment',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) segment)');
