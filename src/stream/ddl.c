/*
 * ddl.c
 *		What happens to streams when somebody runs DDL.
 *
 * The event triggers refuse at once what would break a stream, and follow
 * what a stream must follow:
 *	- columns cannot be changed, also not by dropping the type of the value;
 *	- parts are attached, detached and dropped by weir only, and a stream is
 *	  not made a part of another table, whose triggers it would then have;
 *	- parts get the owner and the schema that their stream gets, detached ones
 *	  its grants and new indexes too (follow.c);
 *	- a segment whose guard is dropped or switched off may get rows that nobody
 *	  sees, so its order is no longer known;
 *	- rows of the catalog go with their tables.
 *
 * They look at the objects that a command touched, whatever its tag.
 * Constraints, triggers and rules that publishing would bypass cannot all be
 * caught here; publishing refuses those (append/honour.c).
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/slots.h"
#include "base/sql.h"
#include "catalog/cache.h"
#include "catalog/groups.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "stream/event.h"
#include "stream/follow.h"
#include "stream/parts.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(weir_on_ddl_start);
PG_FUNCTION_INFO_V1(weir_on_ddl_end);
PG_FUNCTION_INFO_V1(weir_on_drop);

/* ---- errors ---- */

static void
refuse_column_change(Oid relid, Oid stream)
{
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_COLUMN_CHANGE),
			 errmsg("cannot change the columns of \"%s\"", get_rel_name(relid)),
			 stream == relid ? errdetail("It is a stream.") :
			 errdetail("It is a part of stream \"%s\".", get_rel_name(stream)),
			 errhint("Create a stream with the type of value you want and publish into that.")));
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

/* ---- the objects of an event ---- */

typedef struct Touched
{
	List	   *tables;			/* OIDs */
	List	   *columns;		/* OIDs of tables of which columns went */
	List	   *guarded;		/* OIDs of tables of which triggers went */
} Touched;

/*
 * Run a query whose rows are (kind, table): "t" for the table itself, "c" for
 * a column of it, "g" for a trigger on it.
 */
static Touched
objects_from(const char *query)
{
	Touched		touched = {NIL, NIL, NIL};
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the objects of an event");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		char	   *kind = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 1);
		bool		isnull;
		Oid			relid = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc,
														   2, &isnull));
		MemoryContext old;

		if (isnull)
			continue;
		old = MemoryContextSwitchTo(caller);
		if (*kind == 't')
			touched.tables = list_append_unique_oid(touched.tables, relid);
		else if (*kind == 'c')
			touched.columns = list_append_unique_oid(touched.columns, relid);
		else
			touched.guarded = list_append_unique_oid(touched.guarded, relid);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return touched;
}

#define OF_CLASS(name) \
	" classid OPERATOR(pg_catalog.=) 'pg_catalog." name "'::pg_catalog.regclass"

static Touched
touched_objects(void)
{
	return objects_from("SELECT 't', objid FROM pg_catalog.pg_event_trigger_ddl_commands()"
						" WHERE" OF_CLASS("pg_class")
						" UNION ALL "
						"SELECT 't', t.tgrelid FROM pg_catalog.pg_event_trigger_ddl_commands()"
						" JOIN pg_catalog.pg_trigger t ON t.oid OPERATOR(pg_catalog.=) objid"
						" WHERE" OF_CLASS("pg_trigger"));
}

static Touched
dropped_objects(void)
{
	return objects_from("SELECT CASE WHEN objsubid OPERATOR(pg_catalog.=) 0 THEN 't' ELSE 'c' END, objid"
						" FROM pg_catalog.pg_event_trigger_dropped_objects()"
						" WHERE" OF_CLASS("pg_class")
						" UNION ALL "
						"SELECT 'g', pg_catalog.to_regclass(pg_catalog.format('%I.%I', address_names[1], address_names[2]))::pg_catalog.oid"
						" FROM pg_catalog.pg_event_trigger_dropped_objects()"
						" WHERE" OF_CLASS("pg_trigger"));
}

/* ---- after a command ---- */

static void
check_columns(Node *parsetree, Oid relid, Oid stream)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	bool		fit = weir_columns_fit(rel);

	relation_close(rel, NoLock);
	if (parsetree && IsA(parsetree, AlterTableStmt))
	{
		ListCell   *lc;

		foreach(lc, ((AlterTableStmt *) parsetree)->cmds)
			fit &= lfirst_node(AlterTableCmd, lc)->subtype != AT_AlterColumnType;
	}
	if (!fit)
		refuse_column_change(relid, stream);
}

/* What was known of the segments at or below a part may not be true any more. */
static void
doubt_segments(Oid relid, WeirPart part, bool guarded)
{
	List	   *segments = NIL;
	ListCell   *lc;

	if (part == WEIR_PART_SEGMENT)
	{
		if (!guarded)
			weir_verified_delete(relid);
		CacheInvalidateRelcacheByRelid(relid);
		return;
	}
	if (part == WEIR_PART_PARTITION)
		segments = weir_segment_list(relid);
	else
		foreach(lc, weir_partition_list(relid, NULL))
			segments = list_concat(segments,
								   weir_segment_list(((WeirPartitionRow *) lfirst(lc))->partition));
	foreach(lc, segments)
		doubt_segments(((WeirSegmentRow *) lfirst(lc))->segment,
					   WEIR_PART_SEGMENT, guarded);
}

/*
 * Switched off, a guard lets rows in, at its table or further down; switched on again by ENABLE TRIGGER ALL,
 * as pg_restore --disable-triggers does, it goes back to its proper mode.
 */
static void
check_guard(Oid relid, WeirPart part)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	Oid			guard = weir_guard_function();
	bool		is_on = weir_guard_is_on(rel);
	char	   *names[2] = {NULL, NULL};	/* of the one and the other guard */

	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgfoid == guard &&
			trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN)
			names[TRIGGER_FOR_ROW(trigger->tgtype)] =
				pstrdup(quote_identifier(trigger->tgname));
	}
	relation_close(rel, NoLock);
	if (part != WEIR_PART_NONE)
		doubt_segments(relid, part, is_on);
	/* The keeper leaves a table alone until its guard is on. */
	if (is_on && part != WEIR_PART_NONE)
		weir_wake_for_rows();
	if (names[0])
		weir_run_ddl("ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %s",
					 weir_qualified_name(relid), names[0]);
	if (names[1])
		weir_run_ddl("ALTER TABLE ONLY %s ENABLE REPLICA TRIGGER %s",
					 weir_qualified_name(relid), names[1]);
}

static bool
is_table(Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	return relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE;
}

/* A table that somebody has made or hung under a part of a stream. */
static void
check_parent(Oid relid, WeirPart part)
{
	Oid			stream;
	Oid			parent;

	if (!get_rel_relispartition(relid))
		return;
	parent = get_partition_parent(relid, true);
	if (part == WEIR_PART_STREAM)
		refuse_part(relid, relid, "attach to another table stream");
	if (part == WEIR_PART_NONE && OidIsValid(parent) &&
		weir_part_of(parent, &stream) != WEIR_PART_NONE)
		refuse_part(parent, stream, "add a partition to");
}

/* The other table that is named in ALTER TABLE ... ATTACH or DETACH. */
static Oid
attached_or_detached(Node *parsetree)
{
	ListCell   *lc;

	if (parsetree == NULL || !IsA(parsetree, AlterTableStmt))
		return InvalidOid;
	foreach(lc, ((AlterTableStmt *) parsetree)->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_AttachPartition ||
			cmd->subtype == AT_DetachPartition ||
			cmd->subtype == AT_DetachPartitionFinalize)
			return RangeVarGetRelid(((PartitionCmd *) cmd->def)->name, NoLock,
									true);
	}
	return InvalidOid;
}

static void
check_touched(Node *parsetree, Oid relid)
{
	Oid			stream;
	Oid			other = attached_or_detached(parsetree);
	WeirPart	part = weir_part_of(relid, &stream);

	check_parent(relid, part);
	if (OidIsValid(other))
	{
		Oid			its_stream;

		check_parent(other, weir_part_of(other, &its_stream));
	}
	/* A restored table has its guard before it has its row. */
	if (is_table(relid))
		check_guard(relid, part);
	if (is_table(relid) && part == WEIR_PART_NONE)
		weir_follow_keys(relid);
	if (part == WEIR_PART_NONE || !OidIsValid(stream))
		return;
	check_columns(parsetree, relid, stream);
	if (part == WEIR_PART_STREAM)
		weir_follow_stream(relid);
}

/* GRANT and REVOKE say in their statement only what they are about. */
static void
check_grant(GrantStmt *stmt)
{
	ListCell   *lc;

	if (stmt->objtype != OBJECT_TABLE)
		return;
	if (stmt->targtype == ACL_TARGET_ALL_IN_SCHEMA)
		foreach(lc, weir_stream_list())
			weir_follow_all_grants(lfirst_oid(lc));
	if (stmt->targtype == ACL_TARGET_OBJECT)
		foreach(lc, stmt->objects)
		{
			Oid			relid = RangeVarGetRelid(lfirst_node(RangeVar, lc), NoLock, true);
			WeirStreamRow row;

			if (OidIsValid(relid) && weir_stream_get(relid, &row))
				weir_follow_all_grants(relid);
		}
}

/* An index that was made on a whole stream. */
static void
check_index(IndexStmt *stmt, List *touched)
{
	WeirStreamRow row;
	ListCell   *lc;

	if (!stmt->relation->inh)
		return;
	foreach(lc, touched)
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_PARTITIONED_INDEX &&
			weir_stream_get(IndexGetRelation(lfirst_oid(lc), false), &row))
			weir_follow_index(row.stream, lfirst_oid(lc));
}

static void
check_command(Node *parsetree, List *touched)
{
	if (parsetree == NULL)
		return;
	if (IsA(parsetree, GrantStmt))
		check_grant((GrantStmt *) parsetree);
	else if (IsA(parsetree, IndexStmt))
		check_index((IndexStmt *) parsetree, touched);
	else if (IsA(parsetree, CreatePublicationStmt) ||
			 IsA(parsetree, AlterPublicationStmt) ||
			 IsA(parsetree, AlterObjectSchemaStmt) ||
			 (IsA(parsetree, DropStmt) &&
			  castNode(DropStmt, parsetree)->removeType == OBJECT_PUBLICATION))
		weir_follow_publication();
}

Datum
weir_on_ddl_end(PG_FUNCTION_ARGS)
{
	EventTriggerData *event = (EventTriggerData *) fcinfo->context;
	Touched		touched;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.on_ddl_end() must be called as an event trigger")));
	if (weir_in_own_ddl() || !weir_is_installed())
		PG_RETURN_NULL();
	touched = touched_objects();
	foreach(lc, touched.tables)
		check_touched(event->parsetree, lfirst_oid(lc));
	check_command((Node *) event->parsetree, touched.tables);
	PG_RETURN_NULL();
}

/* ---- before a command ---- */

/* Is a stream there and its guard on? */
static bool
is_guarded(Oid stream)
{
	Relation	rel = try_table_open(stream, AccessShareLock);
	bool		guarded = rel != NULL && weir_guard_is_on(rel);

	if (rel)
		table_close(rel, AccessShareLock);
	return guarded;
}

/* The activity log goes with the extension, not before. */
static void
check_drop(DropStmt *stmt)
{
	Oid			log = weir_activity_oid();
	ListCell   *lc;

	if (stmt->removeType != OBJECT_TABLE || !OidIsValid(log))
		return;
	foreach(lc, stmt->objects)
		if (RangeVarGetRelid(makeRangeVarFromNameList((List *) lfirst(lc)),
							 NoLock, true) == log && is_guarded(log))
			weir_refuse_activity(log, "drop");
}

/*
 * DETACH PARTITION CONCURRENTLY commits on its way, so at its end it is too
 * late to refuse it; ATTACH needs no wait for a lock to be refused.
 */
Datum
weir_on_ddl_start(PG_FUNCTION_ARGS)
{
	EventTriggerData *event = (EventTriggerData *) fcinfo->context;
	Oid			stream;
	Oid			relid;
	Oid			other;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.on_ddl_start() must be called as an event trigger")));
	if (weir_in_own_ddl() || !weir_is_installed())
		PG_RETURN_NULL();
	if (IsA(event->parsetree, DropStmt))
		check_drop((DropStmt *) event->parsetree);
	other = attached_or_detached(event->parsetree);
	if (!OidIsValid(other))
		PG_RETURN_NULL();
	if (weir_part_of(other, &stream) != WEIR_PART_NONE)
		refuse_part(other, stream, "attach or detach");
	relid = RangeVarGetRelid(((AlterTableStmt *) event->parsetree)->relation,
							 NoLock, true);
	if (OidIsValid(relid) && weir_part_of(relid, &stream) != WEIR_PART_NONE)
		refuse_part(relid, stream, "attach a part to or detach one from");
	PG_RETURN_NULL();
}

/* ---- DROP ---- */

/*
 * Refuse to take a stream apart.  A part goes only with its stream, or when
 * weir drops it: what a reader must know of it (where the partition starts
 * now) is recorded before.  Somebody who has dropped the stream's guard is
 * taking it down, as pg_restore --clean does, and is let.
 */
static void
check_dropped(const Touched *dropped)
{
	ListCell   *lc;
	Oid			stream;

	foreach(lc, dropped->tables)
	{
		WeirPart	part = weir_part_of(lfirst_oid(lc), &stream);

		if ((part == WEIR_PART_PARTITION || part == WEIR_PART_SEGMENT) &&
			OidIsValid(stream) && !list_member_oid(dropped->tables, stream) &&
			is_guarded(stream))
			ereport(ERROR,
					(errcode(ERRCODE_WEIR_PART_OF_STREAM),
					 errmsg("cannot drop a part of stream \"%s\" alone",
							get_rel_name(stream)),
					 errhint("Use stream_trim() to drop old segments, stream_drop() to drop the stream.")));
	}
	foreach(lc, dropped->columns)
		if (weir_part_of(lfirst_oid(lc), &stream) != WEIR_PART_NONE &&
			get_rel_name(lfirst_oid(lc)) != NULL)
			refuse_column_change(lfirst_oid(lc), stream);
	foreach(lc, dropped->guarded)
	{
		WeirPart	part = weir_part_of(lfirst_oid(lc), &stream);

		if (part != WEIR_PART_NONE)
			check_guard(lfirst_oid(lc), part);
		/* A foreign key that referred to it has triggers there. */
		if (part == WEIR_PART_STREAM)
			weir_follow_reasons(lfirst_oid(lc));
	}
}

static bool
list_has_stream(List *relids)
{
	WeirStreamRow row;
	ListCell   *lc;

	foreach(lc, relids)
		if (weir_stream_get(lfirst_oid(lc), &row))
			return true;
	return false;
}

/*
 * Streams that are gone.  Not if the activity log goes with them: there would
 * be nowhere to tell it.
 */
static void
tell_dropped(const Touched *dropped)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *events = NIL;
	ListCell   *lc;

	if (!list_has_stream(dropped->tables) || !OidIsValid(weir_activity_oid()))
		return;
	SPI_connect();
	if (SPI_execute("SELECT objid, object_identity FROM pg_catalog.pg_event_trigger_dropped_objects()"
					" WHERE objsubid OPERATOR(pg_catalog.=) 0 AND" OF_CLASS("pg_class"),
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the objects of an event");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		MemoryContext old = MemoryContextSwitchTo(caller);
		WeirEvent  *event = palloc0(sizeof(WeirEvent));
		WeirStreamRow row;
		bool		isnull;

		event->event = "dropped";
		event->stream = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc,
													   1, &isnull));
		event->name = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2);
		event->cause = "manual";
		event->offset = -1;
		if (weir_stream_get(event->stream, &row))
			events = lappend(events, event);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	foreach(lc, events)
		weir_event(lfirst(lc));
}

/* Groups go with their stream. */
static void
forget_groups(Oid stream)
{
	ListCell   *lc;

	foreach(lc, weir_group_list(stream))
		weir_group_delete(lfirst(lc));
}

Datum
weir_on_drop(PG_FUNCTION_ARGS)
{
	Touched		dropped;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("weir.on_drop() must be called as an event trigger")));
	if (!weir_is_installed())
		PG_RETURN_NULL();
	dropped = dropped_objects();
	if (!weir_in_own_ddl())
		check_dropped(&dropped);
	tell_dropped(&dropped);
	foreach(lc, dropped.tables)
	{
		Oid			relid = lfirst_oid(lc);

		if (weir_segment_delete(relid))
			weir_verified_delete(relid);
		else if (!weir_partition_delete(relid) && weir_stream_delete(relid))
			forget_groups(relid);
	}
	PG_RETURN_NULL();
}
