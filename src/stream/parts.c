/*
 * parts.c
 *		The tables that a stream is made of: the DDL behind its life.
 *
 *	orders                  PARTITION BY LIST (partition)      the stream
 *	  orders_p0             PARTITION BY RANGE ("offset")      a partition
 *	    orders_p0_s0        heap, offsets from 0 to below S    a segment
 *
 * A part is made by CREATE TABLE (LIKE ...) and ATTACH, never by PARTITION
 * OF: that takes AccessExclusive on the parent, ATTACH only
 * ShareUpdateExclusive, which publishers do not feel.  The permanent CHECK on
 * the partition's number lets ATTACH believe without a scan.
 *
 * Parts belong to the owner of the stream and are made with his rights,
 * whoever needed them.  Names are chosen as the server chooses them (63
 * bytes, collisions) and nothing ever relies on one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/sql.h"
#include "catalog/cache.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "stream/event.h"
#include "stream/parts.h"
#include "stream/state.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

char *
weir_qualified_name(Oid relid)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relid));
	char	   *name = get_rel_name(relid);

	if (schema == NULL || name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return quote_qualified_identifier(schema, name);
}

Oid
weir_guard_function(void)
{
	return LookupFuncName(list_make2(makeString("weir"), makeString("guard")),
						  0, NULL, false);
}

/* What a relation is to weir, and to which stream it belongs. */
WeirPart
weir_part_of(Oid relid, Oid *stream)
{
	WeirStreamRow stream_row;
	WeirPartitionRow partition_row;
	WeirSegmentRow segment_row;
	WeirPart	part = WEIR_PART_NONE;

	*stream = InvalidOid;
	if (weir_stream_get(relid, &stream_row))
	{
		part = WEIR_PART_STREAM;
		*stream = relid;
	}
	else if (weir_partition_get(relid, &partition_row))
	{
		part = WEIR_PART_PARTITION;
		*stream = partition_row.stream;
	}
	else if (weir_segment_get(relid, &segment_row))
	{
		part = WEIR_PART_SEGMENT;
		if (weir_partition_get(segment_row.partition, &partition_row))
			*stream = partition_row.stream;
	}
	return part;
}

/* As the end of a CREATE TABLE; the database's default has no name in it. */
const char *
weir_tablespace_clause(Oid tablespace)
{
	return OidIsValid(tablespace) ?
		psprintf(" TABLESPACE %s",
				 quote_identifier(get_tablespace_name(tablespace))) : "";
}

/* ---- with the rights of the owner ---- */

typedef struct Identity
{
	Oid			user;
	int			context;
} Identity;

Oid
weir_owner_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * An owner who may not create tables in the schema (a superuser gave him the
 * stream) must still get segments: then the part is made as by the one who
 * installed weir, and given to him.  No user's code runs on the way.
 */
static Identity
become_owner_of(Oid relid)
{
	Identity	saved;
	Oid			owner = weir_owner_of(relid);

	if (object_aclcheck(NamespaceRelationId, get_rel_namespace(relid), owner,
						ACL_CREATE) != ACLCHECK_OK)
		owner = BOOTSTRAP_SUPERUSERID;
	GetUserIdAndSecContext(&saved.user, &saved.context);
	SetUserIdAndSecContext(owner, saved.context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	return saved;
}

/* An error on the way puts the identity back with the (sub)transaction. */
static void
become_again(Identity saved)
{
	SetUserIdAndSecContext(saved.user, saved.context);
}

/* ---- pieces ---- */

static const char *
kind_name(WeirPart kind)
{
	switch (kind)
	{
		case WEIR_PART_STREAM:
			return "stream";
		case WEIR_PART_PARTITION:
			return "partition";
		case WEIR_PART_SEGMENT:
			return "segment";
		case WEIR_PART_NONE:
			break;
	}
	elog(ERROR, "not a part of a stream");
	return NULL;
}

/*
 * Put the guard on a table: a statement trigger that fires in every
 * replication role, whose arguments carry what stream_adopt() needs.  A
 * segment has a second one, per row and only for the replica role: the apply
 * worker of logical replication fires no statement triggers.
 */
void
weir_put_guard(Oid relid, WeirPart kind, Jsonb *options, bool replace)
{
	char	   *name = weir_qualified_name(relid);
	char	   *args = quote_literal_cstr(kind_name(kind));

	if (options)
		args = psprintf("%s, %s", args,
						quote_literal_cstr(JsonbToCString(NULL,
														  &options->root,
														  VARSIZE(options))));
	weir_run_ddl("CREATE %s TRIGGER " WEIR_GUARD_TRIGGER
				 " BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s"
				 " FOR EACH STATEMENT EXECUTE FUNCTION weir.guard(%s)",
				 replace ? "OR REPLACE" : "", name, args);
	weir_run_ddl("ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER "
				 WEIR_GUARD_TRIGGER, name);
	if (kind == WEIR_PART_SEGMENT)
	{
		weir_run_ddl("CREATE %s TRIGGER " WEIR_GUARD_APPLY
					 " BEFORE INSERT OR UPDATE OR DELETE ON %s"
					 " FOR EACH ROW EXECUTE FUNCTION weir.guard('apply')",
					 replace ? "OR REPLACE" : "", name);
		weir_run_ddl("ALTER TABLE ONLY %s ENABLE REPLICA TRIGGER "
					 WEIR_GUARD_APPLY, name);
	}
}

/*
 * Is the guard of a segment there and switched on?  Without it rows may come
 * that nobody sees, and the order of the file is not known.
 */
bool
weir_guard_is_on(Relation segment)
{
	Oid			guard = weir_guard_function();
	TriggerDesc *triggers = segment->trigdesc;	/* no catalog access from here */

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
		if (triggers->triggers[i].tgfoid == guard &&
			triggers->triggers[i].tgenabled == TRIGGER_FIRES_ALWAYS &&
			TRIGGER_FOR_INSERT(triggers->triggers[i].tgtype) &&
			TRIGGER_FOR_UPDATE(triggers->triggers[i].tgtype) &&
			TRIGGER_FOR_DELETE(triggers->triggers[i].tgtype) &&
			TRIGGER_FOR_TRUNCATE(triggers->triggers[i].tgtype))
			return true;
	return false;
}

/*
 * Create the table for a part in the schema of its parent, not yet attached.
 * label is what its name ends with.
 */
static Oid
create_part(Oid parent, const char *label, const char *elements,
			const char *suffix)
{
	Oid			stream;
	Oid			namespace = get_rel_namespace(parent);
	char	   *name = ChooseRelationName(get_rel_name(parent), NULL, label,
										  namespace, false);
	char	   *qualified = quote_qualified_identifier(get_namespace_name(namespace),
													   name);
	const char *space = weir_tablespace_clause(get_rel_tablespace(parent));
	Oid			part;

	weir_run_ddl("CREATE TABLE %s (LIKE %s%s)%s%s", qualified,
				 weir_qualified_name(parent), elements, suffix, space);
	part = get_relname_relid(name, namespace);
	if (weir_owner_of(part) != weir_owner_of(parent))
		weir_run_ddl("ALTER TABLE %s OWNER TO %s", qualified,
					 quote_identifier(GetUserNameFromId(weir_owner_of(parent), false)));
	if (weir_part_of(parent, &stream) != WEIR_PART_NONE &&
		stream == weir_activity_oid())
		weir_grant_activity(part);
	return part;
}

/* DROP TABLE takes it along, as if it was attached. */
void
weir_tie(Oid relid, Oid to)
{
	ObjectAddress object;
	ObjectAddress on;

	ObjectAddressSet(object, RelationRelationId, relid);
	ObjectAddressSet(on, RelationRelationId, to);
	deleteDependencyRecordsForSpecific(RelationRelationId, relid,
									   DEPENDENCY_AUTO, RelationRelationId, to);
	recordDependencyOn(&object, &on, DEPENDENCY_AUTO);
}

/*
 * The table of a segment.  While the partition is being detached (a dump can
 * hold that up for hours) nothing can be attached to it: the segment is made
 * loose, with the indexes that it would get and a constraint that saves the
 * scan when the keeper attaches it (life/tables.c).
 */
static Oid
create_segment(const WeirSegmentRow *row)
{
	const char *label = psprintf("s" INT64_FORMAT,
								 row->lower / (row->upper - row->lower));
	const char *elements = " INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION";

	if (row->loose)
		elements = psprintf("%s INCLUDING INDEXES, CONSTRAINT " WEIR_BOUNDS_CHECK
							" CHECK (\"offset\" OPERATOR(pg_catalog.>=) " INT64_FORMAT
							"::pg_catalog.int8 AND \"offset\" OPERATOR(pg_catalog.<) "
							INT64_FORMAT "::pg_catalog.int8)",
							elements, row->lower, row->upper);
	return create_part(row->partition, label, elements, " USING heap");
}

/*
 * Make a segment of a partition, attach it, and record it as verified: it is
 * empty, so its order is known.  The caller holds a lock on the partition
 * that no other maker can hold beside it, and has looked that the range is
 * free.
 */
Oid
weir_make_segment(Oid partition, int64 lower, int64 upper)
{
	Identity	saved = become_owner_of(partition);
	WeirSegmentRow row;
	Relation	rel;

	row.partition = partition;
	row.messages = -1;
	row.lower = lower;
	row.upper = upper;
	row.loose = weir_actual_state(partition) == WEIR_DETACHING;
	row.segment = create_segment(&row);
	weir_put_guard(row.segment, WEIR_PART_SEGMENT, NULL, false);
	if (row.loose)
		weir_tie(row.segment, partition);
	else
		weir_run_ddl("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (" INT64_FORMAT
					 ") TO (" INT64_FORMAT ")",
					 weir_qualified_name(partition),
					 weir_qualified_name(row.segment), lower, upper);
	become_again(saved);

	weir_segment_insert(&row);
	rel = table_open(row.segment, NoLock);
	weir_verified_insert(row.segment, weir_file_number(rel));
	table_close(rel, NoLock);
	CacheInvalidateRelcacheByRelid(partition);
	return row.segment;
}

/* Make a partition with its first segment, and attach it. */
Oid
weir_make_partition(Oid stream, int number)
{
	Identity	saved;
	WeirStreamRow stream_row;
	WeirOptions options;
	WeirPartitionRow row;

	if (!weir_stream_get(stream, &stream_row))
		elog(ERROR, "stream %u has no row", stream);
	weir_options_parse(stream_row.options, &options);

	saved = become_owner_of(stream);
	weir_partition_init(&row, stream, number);
	row.partition = create_part(stream, psprintf("p%d", number),
								psprintf(" INCLUDING STORAGE INCLUDING COMPRESSION, CONSTRAINT "
										 WEIR_PARTITION_CHECK
										 " CHECK (partition = %d)", number),
								" PARTITION BY RANGE (\"offset\")");
	weir_put_guard(row.partition, WEIR_PART_PARTITION, NULL, false);
	weir_run_ddl("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES IN (%d)",
				 weir_qualified_name(stream),
				 weir_qualified_name(row.partition), number);
	become_again(saved);

	weir_partition_insert(&row);
	weir_make_segment(row.partition, 0, options.segment_messages);
	CacheInvalidateRelcacheByRelid(stream);
	return row.partition;
}
