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
	created			timestamptz NOT NULL,
	state			text NOT NULL,
	cause			text NOT NULL,
	resume_all		boolean NOT NULL,
	detach			boolean NOT NULL,
	read_only		boolean NOT NULL,
	settled			boolean NOT NULL,
	pause_id		bigint NOT NULL,
	paused_at		bigint,
	pause_first		timestamptz,
	pause_latest	timestamptz,
	read_only_first	timestamptz,
	read_only_latest	timestamptz,
	CONSTRAINT partition_pkey PRIMARY KEY (partition),
	CONSTRAINT partition_number_key UNIQUE (stream, number),
	CONSTRAINT partition_state CHECK (state IN ('active', 'paused'))
);
-- Not a partial index: what C code inserts goes into every index (CatalogTupleInsert
-- looks at no predicate).
CREATE INDEX partition_unsettled_idx ON weir.partition (settled);
COMMENT ON TABLE weir.partition IS
'partitions of streams; start_offset is the stable end of what was dropped, state the desired one: see weir.partitions for what holds';
COMMENT ON COLUMN weir.partition.settled IS 'false while the tables do not follow the desired state yet';

-- A publisher asks with a row of its own for a paused partition to be resumed:
-- the partition is paused as long as no visible row here carries its pause_id.
CREATE TABLE weir.resume_request (
	partition	regclass NOT NULL,
	pause_id	bigint NOT NULL,
	cause		text NOT NULL
);
CREATE INDEX resume_request_idx ON weir.resume_request (pause_id);
COMMENT ON TABLE weir.resume_request IS
'what resumed paused partitions: a partition is paused unless there is a row with its pause_id (and, without resume_all, its partition)';

CREATE SEQUENCE weir.pause_id;
COMMENT ON SEQUENCE weir.pause_id IS 'every pause gets a number of its own, so that a request of an earlier one means nothing to a later one';

-- Up to where the keeper has compared the activity log with the rows.  Not
-- dumped: a restored log is compared from its beginning.
CREATE TABLE weir.checkpoint (
	activity_offset	bigint NOT NULL
);
COMMENT ON TABLE weir.checkpoint IS 'one row: the offset of the activity log from which the next start of the keeper replays it';

CREATE TABLE weir.segment (
	segment			regclass NOT NULL,
	partition		regclass NOT NULL,
	lower_offset	bigint NOT NULL,
	upper_offset	bigint NOT NULL,
	messages		bigint,
	loose			boolean NOT NULL DEFAULT false,
	CONSTRAINT segment_pkey PRIMARY KEY (segment),
	CONSTRAINT segment_bounds_key UNIQUE (partition, lower_offset)
);
COMMENT ON TABLE weir.segment IS 'segments of partitions: heaps that hold offsets from lower_offset up to below upper_offset; messages is counted when retention needs it, loose are those made while their partition was being detached, until they are attached';

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
SELECT pg_catalog.pg_extension_config_dump('weir.resume_request',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) partition)');
SELECT pg_catalog.pg_extension_config_dump('weir.pause_id', '');
