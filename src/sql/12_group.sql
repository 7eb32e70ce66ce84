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
	skipped		bigint NOT NULL,
	owner		bigint NOT NULL
) WITH (fillfactor = 100);
CREATE INDEX position_idx ON weir.position (group_id, partition, version);
COMMENT ON TABLE weir.position IS
'positions of groups: the next offset to read of each partition; skipped counts offsets that retention took before they were read; owner is the member who works on the partition outside of transactions, 0 or no member: nobody';

-- Members work outside of transactions.  Their rows change with their
-- membership and their partitions only; what changes with each heartbeat is the
-- lease, as positions do.  Neither is dumped: whoever was a member joins anew
-- in a restored database, and no number is ever given again.
CREATE SEQUENCE weir.generation;
COMMENT ON SEQUENCE weir.generation IS 'numbers of members and of their generations: each belongs to one member for ever';

CREATE TABLE weir.member (
	id			bigint NOT NULL,
	group_id	bigint NOT NULL,
	name		text COLLATE "C" NOT NULL,
	generation	bigint NOT NULL,
	held		integer NOT NULL,
	lease		interval NOT NULL,
	joined		timestamptz NOT NULL,
	CONSTRAINT member_pkey PRIMARY KEY (id),
	CONSTRAINT member_name_key UNIQUE (group_id, name)
);
COMMENT ON TABLE weir.member IS
'members of groups; held is the number of partitions that came with the generation, positions say which';

CREATE TABLE weir.lease (
	member_id	bigint NOT NULL,
	version		bigint NOT NULL,
	expires		timestamptz NOT NULL
) WITH (fillfactor = 100);
CREATE INDEX lease_idx ON weir.lease (member_id, version);
COMMENT ON TABLE weir.lease IS 'until when members count as alive, by the newest version';

SELECT pg_catalog.pg_extension_config_dump('weir.group',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) stream)');
SELECT pg_catalog.pg_extension_config_dump('weir.position',
	'WHERE EXISTS (SELECT FROM weir.group g JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) g.stream WHERE g.id OPERATOR(pg_catalog.=) group_id)');
SELECT pg_catalog.pg_extension_config_dump('weir.group_id', '');
SELECT pg_catalog.pg_extension_config_dump('weir.generation', '');
