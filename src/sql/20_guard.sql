-- What keeps hands off the tables of a stream.

CREATE FUNCTION weir.guard() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'weir_guard';
COMMENT ON FUNCTION weir.guard() IS
'statement trigger on every table of a stream: refuses direct writes (WR008), lets a dump be loaded into an empty segment';

CREATE FUNCTION weir.load() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'weir_load';
COMMENT ON FUNCTION weir.load() IS
'row trigger on the catalog: a dump loaded into streams that exist keeps their rows';

CREATE TRIGGER weir_load BEFORE INSERT ON weir.stream
	FOR EACH ROW EXECUTE FUNCTION weir.load();
CREATE TRIGGER weir_load BEFORE INSERT ON weir.partition
	FOR EACH ROW EXECUTE FUNCTION weir.load();
CREATE TRIGGER weir_load BEFORE INSERT ON weir.segment
	FOR EACH ROW EXECUTE FUNCTION weir.load();
CREATE TRIGGER weir_load BEFORE INSERT ON weir.resume_request
	FOR EACH ROW EXECUTE FUNCTION weir.load();

CREATE FUNCTION weir.on_ddl_start() RETURNS event_trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'weir_on_ddl_start';
COMMENT ON FUNCTION weir.on_ddl_start() IS
'event trigger: refuses to attach or detach parts of streams (WR014)';

CREATE FUNCTION weir.on_ddl_end() RETURNS event_trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'weir_on_ddl_end';
COMMENT ON FUNCTION weir.on_ddl_end() IS
'event trigger: refuses changes that would break a stream (WR013, WR014), hands a new owner on to the parts';

CREATE FUNCTION weir.on_drop() RETURNS event_trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'weir_on_drop';
COMMENT ON FUNCTION weir.on_drop() IS
'event trigger: removes the catalog rows of dropped streams, refuses to drop a part alone (WR014)';

CREATE EVENT TRIGGER weir_on_ddl_start ON ddl_command_start
	WHEN TAG IN ('ALTER TABLE', 'DROP TABLE')
	EXECUTE FUNCTION weir.on_ddl_start();
CREATE EVENT TRIGGER weir_on_ddl_end ON ddl_command_end
	EXECUTE FUNCTION weir.on_ddl_end();
CREATE EVENT TRIGGER weir_on_drop ON sql_drop
	EXECUTE FUNCTION weir.on_drop();
