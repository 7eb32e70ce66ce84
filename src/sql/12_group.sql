-- Consumer groups and their positions.

CREATE SEQUENCE weir.group_id;
COMMENT ON SEQUENCE weir.group_id IS 'numbers of consumer groups';

CREATE TABLE weir.group (
	id			bigint NOT NULL,
	stream		regclass NOT NULL,
	name		text COLLATE "C" NOT NULL,
	created		timestamptz NOT NULL,
	CONSTRAINT group_pkey PRIMARY KEY (id),
	CONSTRAINT group_name_key UNIQUE (stream, name)
);
COMMENT ON TABLE weir.group IS 'consumer groups: who reads a stream together';

-- Every move of a position raises its version, so the newest is found from the
-- end of the index, without a walk over the dead ones that a snapshot holds.
CREATE TABLE weir.position (
	group_id	bigint NOT NULL,
	partition	integer NOT NULL,
	version		bigint NOT NULL,
	next_offset	bigint NOT NULL,
	moved		timestamptz NOT NULL,
	skipped		bigint NOT NULL
) WITH (fillfactor = 100);
CREATE INDEX position_idx ON weir.position (group_id, partition, version);
COMMENT ON TABLE weir.position IS
'positions of groups: the next offset to read of each partition; skipped counts offsets that retention took before they were read';

SELECT pg_catalog.pg_extension_config_dump('weir.group',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) stream)');
SELECT pg_catalog.pg_extension_config_dump('weir.position',
	'WHERE EXISTS (SELECT FROM weir.group g JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) g.stream WHERE g.id OPERATOR(pg_catalog.=) group_id)');
SELECT pg_catalog.pg_extension_config_dump('weir.group_id', '');
