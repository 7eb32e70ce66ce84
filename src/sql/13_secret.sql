-- The key of the names of channels: who may not read a stream cannot guess on
-- which channel its subscribers are notified.  Neither readable nor dumped.

CREATE TABLE weir.secret (
	key			bytea NOT NULL
);
COMMENT ON TABLE weir.secret IS 'one row: the key of the names of channels, see stream_channel()';
INSERT INTO weir.secret VALUES (pg_catalog.uuid_send(pg_catalog.gen_random_uuid()));
