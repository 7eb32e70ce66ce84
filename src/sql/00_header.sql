-- The first statement of the script: nothing below is found by a search path
-- that somebody else has a say in.
SET LOCAL search_path TO pg_catalog, pg_temp;

CREATE SCHEMA weir;
COMMENT ON SCHEMA weir IS 'catalog of the extension weir: streams, partitions, segments';
