/*
 * guard.c
 *		What keeps hands off the tables of a stream.
 *
 * weir.guard() is the trigger on each of them.  It refuses every direct
 * write, with one way through: COPY into a segment that has no block yet,
 * which is how a dump's data is loaded.  It then takes AccessExclusive on
 * the segment *before* it looks, so that there is neither a second loader
 * nor a publisher nor a reader who still believes in the order of the file,
 * and takes the mark of verified order away: what COPY brings is checked
 * before anybody relies on it.
 *
 * The event triggers refuse what would break a stream at the moment it is
 * tried, and clean up after DROP.  Constraints, triggers and the like cannot
 * all be caught there; publishing refuses those (append/honour.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/sql.h"
#include "catalog/cache.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "stream/parts.h"
#include "tcop/cmdtag.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(weir_guard);
PG_FUNCTION_INFO_V1(weir_load);
PG_FUNCTION_INFO_V1(weir_on_ddl_start);
PG_FUNCTION_INFO_V1(weir_on_ddl_end);
PG_FUNCTION_INFO_V1(weir_on_drop);

/* ---- direct writes ---- */

static void
refuse_write(TriggerData *trigger)
{
	Relation	rel = trigger->tg_relation;
	Oid			stream;
	const char *verb;
	const char *hint;

	weir_part_of(RelationGetRelid(rel), &stream);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		verb = "insert into";
		hint = "Use stream_publish() or stream_publish_batch().";
	}
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		verb = "update";
		hint = "Messages are immutable: publish a new one with the same key.";
	}
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
	{
		verb = "delete from";
		hint = "Use stream_trim() to drop old segments, or publish a null value for the key.";
	}
	else
	{
		verb = "truncate";
		hint = "Use stream_trim() to drop old segments, or stream_drop() and stream_create().";
	}
	if (OidIsValid(stream) && stream != RelationGetRelid(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_DIRECT_WRITE),
				 errmsg("cannot %s \"%s\", a part of stream \"%s\"", verb,
						RelationGetRelationName(rel), get_rel_name(stream)),
				 errhint("%s", hint)));
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_DIRECT_WRITE),
			 errmsg("cannot %s stream \"%s\"", verb,
					RelationGetRelationName(rel)),
			 errhint("%s", hint)));
}

static bool
is_copy(TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
		TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) &&
		ActivePortal != NULL && ActivePortal->commandTag == CMDTAG_COPY;
}

Datum
weir_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	rel;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.guard() must be called as a trigger")));
	rel = trigger->tg_relation;
	if (rel->rd_rel->relkind != RELKIND_RELATION || !is_copy(trigger))
		refuse_write(trigger);

	LockRelationOid(RelationGetRelid(rel), AccessExclusiveLock);
	if (RelationGetNumberOfBlocks(rel) > 0)
		refuse_write(trigger);
	weir_verified_delete(RelationGetRelid(rel));
	CacheInvalidateRelcache(rel);
	return PointerGetDatum(NULL);
}

/*
 * The trigger on the catalog tables themselves.  weir's own code inserts
 * below triggers, so a row that comes here comes from a dump.  If the stream
 * exists already (--data-only), its row is the truth, but for where a
 * partition starts: that belongs to the data.
 */
Datum
weir_load(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	HeapTuple	tuple;
	WeirPartitionRow row;
	Oid			stream;
	Oid			relid;
	bool		isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.load() must be called as a trigger")));
	desc = RelationGetDescr(trigger->tg_relation);
	tuple = trigger->tg_trigtuple;
	relid = DatumGetObjectId(heap_getattr(tuple, 1, desc, &isnull));
	if (isnull || weir_part_of(relid, &stream) == WEIR_PART_NONE)
		return PointerGetDatum(tuple);

	if (strcmp(RelationGetRelationName(trigger->tg_relation), "partition") == 0 &&
		weir_partition_get(relid, &row))
	{
		int64		start = DatumGetInt64(heap_getattr(tuple, 4, desc, &isnull));

		if (!isnull && start > row.start_offset)
			weir_partition_set_start(relid, start);
	}
	return PointerGetDatum(NULL);
}

/* ---- DDL ---- */

static void
refuse_column_change(Oid relid, Oid stream)
{
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_COLUMN_CHANGE),
			 errmsg("cannot change the columns of \"%s\"", get_rel_name(relid)),
			 stream == relid ? errdetail("It is a stream.") :
			 errdetail("It is a part of stream \"%s\".", get_rel_name(stream)),
			 errhint("Create a stream with the columns' types you want and publish into that.")));
}

static void
refuse_part(Oid relid, Oid stream, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_PART_OF_STREAM),
			 errmsg("cannot %s \"%s\"", what, get_rel_name(relid)),
			 errdetail("Partitions and segments of stream \"%s\" are made and dropped by weir.",
					   get_rel_name(stream)),
			 errhint("Use stream_trim() to drop old segments, stream_drop() to drop the stream.")));
}

/* Are the columns still those of a stream? */
static void
check_columns(Relation rel, Oid stream)
{
	static const Oid types[WEIR_NCOLS] = {
		INT4OID, INT8OID, TIMESTAMPTZOID, TEXTOID, InvalidOid, JSONBOID
	};
	TupleDesc	desc = RelationGetDescr(rel);
	bool		good = desc->natts == WEIR_NCOLS;

	for (int i = 0; good && i < WEIR_NCOLS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		good = !att->attisdropped &&
			strcmp(NameStr(att->attname), weir_column_names[i]) == 0 &&
			(!OidIsValid(types[i]) || att->atttypid == types[i]) &&
			att->attnotnull == (i < WEIR_COL_TS) &&
			!att->atthasdef && !att->attidentity && !att->attgenerated;
	}
	if (!good)
		refuse_column_change(RelationGetRelid(rel), stream);
}

static void
check_alter(AlterTableStmt *stmt, Oid relid, WeirPart part, Oid stream)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		switch (cmd->subtype)
		{
			case AT_AlterColumnType:
				refuse_column_change(relid, stream);
				break;
			case AT_AttachPartition:
				if (part != WEIR_PART_SEGMENT)
					refuse_part(relid, stream, "attach a table to");
				break;
			default:
				break;
		}
	}
}

/*
 * A segment whose guard is switched off may get rows that nobody sees, so its
 * order is no longer known.  A guard that was switched off and on again, as
 * pg_restore --disable-triggers does, is back in its proper mode.
 */
static void
check_guard(Oid relid, WeirPart part)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	TriggerDesc *triggers = rel->trigdesc;
	char	   *name = weir_qualified_name(relid);
	bool		always = false;
	bool		replica = false;

	if (part == WEIR_PART_SEGMENT && !weir_guard_is_on(rel))
	{
		weir_verified_delete(RelationGetRelid(rel));
		CacheInvalidateRelcache(rel);
	}
	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		if (triggers->triggers[i].tgenabled != TRIGGER_FIRES_ON_ORIGIN)
			continue;
		always |= strcmp(triggers->triggers[i].tgname, WEIR_GUARD_TRIGGER) == 0;
		replica |= strcmp(triggers->triggers[i].tgname, WEIR_GUARD_APPLY) == 0;
	}
	relation_close(rel, NoLock);
	if (always)
		weir_run_ddl("ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER "
					 WEIR_GUARD_TRIGGER, name);
	if (replica)
		weir_run_ddl("ALTER TABLE ONLY %s ENABLE REPLICA TRIGGER "
					 WEIR_GUARD_APPLY, name);
}

/* ALTER TABLE stream OWNER TO does not reach the parts: hand it on. */
static void
follow_owner(Oid stream)
{
	const char *owner;
	Relation	rel = relation_open(stream, AccessShareLock);
	Oid			owner_id = rel->rd_rel->relowner;
	List	   *parts;
	ListCell   *lc;

	owner = quote_identifier(GetUserNameFromId(owner_id, false));
	relation_close(rel, NoLock);
	parts = find_all_inheritors(stream, AccessExclusiveLock, NULL);
	foreach(lc, parts)
	{
		Oid			relid = lfirst_oid(lc);

		rel = relation_open(relid, NoLock);
		if (rel->rd_rel->relowner != owner_id)
		{
			char	   *name = weir_qualified_name(relid);

			relation_close(rel, NoLock);
			weir_run_ddl("ALTER TABLE %s OWNER TO %s", name, owner);
		}
		else
			relation_close(rel, NoLock);
	}
}

static void
check_altered(Node *parsetree, Oid relid)
{
	Oid			stream;
	WeirPart	part = weir_part_of(relid, &stream);
	Relation	rel;
	bool		owner_differs = false;

	if (part == WEIR_PART_NONE || !OidIsValid(stream))
		return;
	if (parsetree && IsA(parsetree, AlterTableStmt))
		check_alter((AlterTableStmt *) parsetree, relid, part, stream);
	rel = relation_open(relid, AccessShareLock);
	check_columns(rel, stream);
	if (part == WEIR_PART_STREAM)
		owner_differs = parsetree && IsA(parsetree, AlterTableStmt) &&
			linitial_node(AlterTableCmd,
						  ((AlterTableStmt *) parsetree)->cmds)->subtype == AT_ChangeOwner;
	relation_close(rel, NoLock);
	check_guard(relid, part);
	if (owner_differs)
		follow_owner(relid);
}

/* CREATE TABLE ... PARTITION OF a stream, by somebody else than us. */
static void
check_created(Oid relid)
{
	Oid			stream;
	Oid			parent;

	if (!get_rel_relispartition(relid))
		return;
	parent = get_partition_parent(relid, true);
	if (weir_part_of(parent, &stream) != WEIR_PART_NONE &&
		weir_part_of(relid, &stream) == WEIR_PART_NONE)
	{
		weir_part_of(parent, &stream);
		refuse_part(parent, stream, "create a partition of");
	}
}

/* The relations that the current command touched, as a list of OIDs. */
static List *
relations_from(const char *query)
{
	List	   *list = NIL;
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the objects of an event");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		oid = SPI_getbinval(SPI_tuptable->vals[i],
										SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(caller);

		if (!isnull)
			list = list_append_unique_oid(list, DatumGetObjectId(oid));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return list;
}

Datum
weir_on_ddl_end(PG_FUNCTION_ARGS)
{
	EventTriggerData *event = (EventTriggerData *) fcinfo->context;
	List	   *relations;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.on_ddl_end() must be called as an event trigger")));
	if (weir_in_own_ddl() || !weir_is_installed())
		PG_RETURN_NULL();

	relations = relations_from("SELECT objid FROM pg_catalog.pg_event_trigger_ddl_commands()"
							   " WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass"
							   " AND object_type OPERATOR(pg_catalog.=) ANY ('{table,table column}')");
	foreach(lc, relations)
	{
		check_altered(event->parsetree, lfirst_oid(lc));
		check_created(lfirst_oid(lc));
	}
	PG_RETURN_NULL();
}

/*
 * DETACH PARTITION CONCURRENTLY commits on its way, so at its end it is too
 * late to refuse it.
 */
Datum
weir_on_ddl_start(PG_FUNCTION_ARGS)
{
	EventTriggerData *event = (EventTriggerData *) fcinfo->context;
	AlterTableStmt *stmt;
	ListCell   *lc;
	Oid			relid;
	Oid			stream;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.on_ddl_start() must be called as an event trigger")));
	if (weir_in_own_ddl() || !IsA(event->parsetree, AlterTableStmt) ||
		!weir_is_installed())
		PG_RETURN_NULL();
	stmt = (AlterTableStmt *) event->parsetree;
	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype != AT_DetachPartition &&
			cmd->subtype != AT_DetachPartitionFinalize)
			continue;
		relid = RangeVarGetRelid(stmt->relation, NoLock, true);
		if (OidIsValid(relid) &&
			weir_part_of(relid, &stream) != WEIR_PART_NONE)
			refuse_part(relid, stream, "detach a part from");
	}
	PG_RETURN_NULL();
}

/* ---- DROP ---- */

/*
 * Rows go with their tables.  A part goes only with its stream, or when weir
 * drops it: what a reader must know of it (where the partition starts now)
 * is recorded before.
 */
Datum
weir_on_drop(PG_FUNCTION_ARGS)
{
	List	   *dropped;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.on_drop() must be called as an event trigger")));
	if (!weir_is_installed())
		PG_RETURN_NULL();
	dropped = relations_from("SELECT objid FROM pg_catalog.pg_event_trigger_dropped_objects()"
							 " WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass"
							 " AND object_type OPERATOR(pg_catalog.=) 'table'");
	foreach(lc, dropped)
	{
		Oid			relid = lfirst_oid(lc);
		Oid			stream;
		WeirPart	part = weir_part_of(relid, &stream);

		if ((part == WEIR_PART_PARTITION || part == WEIR_PART_SEGMENT) &&
			OidIsValid(stream) && !list_member_oid(dropped, stream) &&
			!weir_in_own_ddl() && get_rel_name(stream) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_WEIR_PART_OF_STREAM),
					 errmsg("cannot drop a part of stream \"%s\" alone",
							get_rel_name(stream)),
					 errhint("Use stream_trim() to drop old segments, stream_drop() to drop the stream.")));
	}
	foreach(lc, dropped)
	{
		Oid			relid = lfirst_oid(lc);

		if (weir_segment_delete(relid))
			weir_verified_delete(relid);
		else if (!weir_partition_delete(relid))
			weir_stream_delete(relid);
	}
	PG_RETURN_NULL();
}
