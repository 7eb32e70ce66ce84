/*
 * create.c
 *		stream_create, stream_alter, stream_drop.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/slots.h"
#include "base/sql.h"
#include "catalog/cache.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "catalog/tables.h"
#include "commands/tablespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "stream/create.h"
#include "stream/event.h"
#include "stream/parts.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(weir_stream_create);
PG_FUNCTION_INFO_V1(weir_stream_alter);
PG_FUNCTION_INFO_V1(weir_stream_drop);

/*
 * Read a possibly qualified name.  Unlike the server, which cuts long names,
 * an error: two long names must not become one stream.
 */
static RangeVar *
parse_name(text *name)
{
	Datum	   *parts;
	int			nparts;

	deconstruct_array(DatumGetArrayTypeP(DirectFunctionCall2(parse_ident,
															 PointerGetDatum(name),
															 BoolGetDatum(true))),
					  TEXTOID, -1, false, TYPALIGN_INT,
					  &parts, NULL, &nparts);
	if (nparts > 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a stream: %s", text_to_cstring(name)),
				 errhint("Write name or schema.name.")));
	for (int i = 0; i < nparts; i++)
		if (VARSIZE_ANY_EXHDR(DatumGetTextPP(parts[i])) >= NAMEDATALEN)
			ereport(ERROR,
					(errcode(ERRCODE_NAME_TOO_LONG),
					 errmsg("name is too long: \"%s\"",
							TextDatumGetCString(parts[i])),
					 errdetail("A name can be %d bytes long.", NAMEDATALEN - 1)));
	return makeRangeVar(nparts == 2 ? TextDatumGetCString(parts[0]) : NULL,
						TextDatumGetCString(parts[nparts - 1]), -1);
}

static Oid
create_table(RangeVar *name, Oid value_type)
{
	Oid			namespace = RangeVarGetCreationNamespace(name);
	char	   *schema = get_namespace_name(namespace);
	char	   *type;
	Oid			tablespace;

	if (isAnyTempNamespace(namespace))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("stream \"%s\" cannot be temporary", name->relname)));
	/* With an explicit typmod of none: bit is then not bit(1). */
	type = format_type_extended(value_type, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
								FORMAT_TYPE_FORCE_QUALIFY);
	tablespace = GetDefaultTablespace(RELPERSISTENCE_PERMANENT, true);
	weir_run_ddl("CREATE TABLE %s (partition pg_catalog.int4 NOT NULL,"
				 " \"offset\" pg_catalog.int8 NOT NULL,"
				 " ts pg_catalog.timestamptz NOT NULL,"
				 " key pg_catalog.text, value %s, headers pg_catalog.jsonb)"
				 " PARTITION BY LIST (partition)%s",
				 quote_qualified_identifier(schema, name->relname), type,
				 weir_tablespace_clause(tablespace));
	return get_relname_relid(name->relname, namespace);
}

static void
tell(Oid stream, const char *what, Jsonb *options)
{
	WeirEvent	event = {0};

	event.event = what;
	event.stream = stream;
	event.cause = "manual";
	event.offset = -1;
	event.options = options;
	weir_event(&event);
}

/*
 * Make the tables and rows of a stream.  Its name is qualified or found as
 * that of any new table.
 */
Oid
weir_create_stream(RangeVar *name, Oid value_type, int partitions, Jsonb *options)
{
	WeirStreamRow row;

	row.partitions = partitions;
	row.options = options;
	row.stream = create_table(name, value_type);
	weir_put_guard(row.stream, WEIR_PART_STREAM, row.options, false);
	weir_stream_insert(&row);
	for (int i = 0; i < row.partitions; i++)
	{
		CHECK_FOR_INTERRUPTS();
		weir_make_partition(row.stream, i);
	}
	CacheInvalidateRelcacheByRelid(row.stream);
	return row.stream;
}

/* stream_create(name, partitions, value_type, options) → regclass */
Datum
weir_stream_create(PG_FUNCTION_ARGS)
{
	WeirStreamRow row;
	WeirOptions options;
	RangeVar   *name;

	weir_require_writable("stream_create()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("name, partitions and value_type of a stream must not be null")));
	name = parse_name(PG_GETARG_TEXT_PP(0));
	row.partitions = PG_GETARG_INT32(1);
	if (row.partitions < 1 || row.partitions > WEIR_MAX_PARTITIONS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("stream \"%s\" cannot have %d partitions",
						name->relname, row.partitions),
				 errdetail("A stream has from 1 to %d partitions.",
						   WEIR_MAX_PARTITIONS)));
	row.options = PG_ARGISNULL(3) ?
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) :
		PG_GETARG_JSONB_P(3);
	weir_options_parse(row.options, &options);
	row.options = weir_options_merge(row.options, row.options);

	row.stream = weir_create_stream(name, PG_GETARG_OID(2), row.partitions,
									row.options);
	tell(row.stream, "created", row.options);
	weir_wake_for_options();
	PG_RETURN_OID(row.stream);
}

/* stream_alter(stream, options) → the options that are set */
Datum
weir_stream_alter(PG_FUNCTION_ARGS)
{
	Oid			stream = weir_stream_arg(fcinfo, 0);
	WeirStreamRow row;
	WeirOptions options;

	weir_require_writable("stream_alter()");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("options must not be null")));
	weir_check_owner(stream);

	weir_refuse_activity(stream, "alter");
	/* The lock that replacing the trigger needs, taken before we read. */
	weir_stream_open(stream, ShareRowExclusiveLock);
	if (!weir_stream_get(stream, &row))
		elog(ERROR, "stream %u has no row", stream);
	row.options = weir_options_merge(row.options, PG_GETARG_JSONB_P(1));
	/* Also refuses an unknown name that is being set to null. */
	weir_options_parse(PG_GETARG_JSONB_P(1), &options);
	weir_options_parse(row.options, &options);

	weir_stream_update(&row);
	weir_wake_for_options();
	weir_put_guard(stream, WEIR_PART_STREAM, row.options, true);
	CacheInvalidateRelcacheByRelid(stream);
	tell(stream, "altered", row.options);
	weir_wake_for_options();
	PG_RETURN_JSONB_P(row.options);
}

/* stream_drop(stream) */
Datum
weir_stream_drop(PG_FUNCTION_ARGS)
{
	Oid			stream = weir_stream_arg(fcinfo, 0);
	WeirStreamRow row;

	weir_require_writable("stream_drop()");
	weir_check_owner(stream);
	weir_refuse_activity(stream, "drop");
	if (!weir_stream_get(stream, &row))
		(void) weir_stream_open(stream, AccessShareLock);	/* raises the error */
	/* The event trigger takes the rows along, as for any DROP TABLE. */
	weir_run_ddl("DROP TABLE %s", weir_qualified_name(stream));
	PG_RETURN_VOID();
}
