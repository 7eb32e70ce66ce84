/*
 * adopt.c
 *		stream_adopt: a stream from its tables alone.
 *
 * A dump of one schema or table carries no rows of the catalog, but the
 * tables say it all: the guard's arguments the options, the partition bounds
 * the numbers and the offsets.  A partition that is detached is found by its
 * row, or by its dependency on the stream; what state it was in, if there is
 * no row, by the activity log.  Adopting a stream that has its rows rebuilds
 * them.  The files count as unverified then, so publishing and reading look at
 * them before they rely on their order.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/slots.h"
#include "catalog/cache.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "life/adopt.h"
#include "life/replay.h"
#include "storage/lmgr.h"
#include "stream/bounds.h"
#include "stream/event.h"
#include "stream/parts.h"
#include "stream/state.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(weir_stream_adopt);

/* The guard of a table, good until the next look into the catalog. */
static Trigger *
guard_of(Relation rel)
{
	Oid			guard = weir_guard_function();

	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
		if (rel->trigdesc->triggers[i].tgfoid == guard &&
			TRIGGER_FOR_TRUNCATE(rel->trigdesc->triggers[i].tgtype))
			return &rel->trigdesc->triggers[i];
	return NULL;
}

/*
 * Open a part, as what it is to become.  A guard that is gone (DROP EXTENSION
 * takes them along) is put back.
 */
static Relation
open_part(Oid relid, WeirPart part)
{
	Relation	rel = table_open(relid, ShareRowExclusiveLock);

	weir_check_owner(relid);
	weir_require_columns(rel);
	if (part != WEIR_PART_STREAM && guard_of(rel) == NULL)
	{
		table_close(rel, NoLock);
		weir_put_guard(relid, part, NULL, true);
		rel = table_open(relid, NoLock);
	}
	return rel;
}

/* The options in the guard's arguments; the guard is put back if need be. */
static Jsonb *
options_of(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);
	Trigger    *guard = guard_of(rel);
	char	   *text = pstrdup(guard && guard->tgnargs > 1 ?
							   guard->tgargs[1] : "{}");
	Jsonb	   *options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
															 CStringGetDatum(text)));
	bool		missing = guard == NULL;

	table_close(rel, NoLock);
	if (missing)
		weir_put_guard(relid, WEIR_PART_STREAM, options, true);
	return options;
}

static void
forget_stream(Oid stream)
{
	List	   *partitions = weir_partition_list(stream, NULL);
	ListCell   *lc;

	foreach(lc, partitions)
	{
		WeirPartitionRow *partition = lfirst(lc);
		List	   *segments = weir_segment_list(partition->partition);
		ListCell   *lc2;

		foreach(lc2, segments)
			weir_segment_delete(((WeirSegmentRow *) lfirst(lc2))->segment);
		weir_partition_delete(partition->partition);
	}
	weir_stream_delete(stream);
}

/* A partition without a row: what the log says of its state. */
static void
recall_state(WeirPartitionRow *row, WeirReplay *log)
{
	WeirReplayed said = weir_replayed(log, row->stream, row->number);

	row->read_only = said.read_only;
	row->paused = said.paused;
	if (said.paused)
	{
		row->pause_id = weir_next_pause_id();
		row->cause = "manual";
		row->detach = weir_actual_state(row->partition) != WEIR_ATTACHED;
	}
	row->settled = false;
}

/* old is the row that there was, if any: what the tables do not say. */
static void
adopt_partition(WeirPartitionRow *row, const WeirPartitionRow *old,
				List *segments, WeirReplay *log)
{
	Relation	rel = table_open(row->partition, NoLock);
	int64		lower;
	ListCell   *lc;

	if (segments == NIL || ((WeirSegmentRow *) linitial(segments))->lower < 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("partition \"%s\" has no segment, or one with negative offsets",
						RelationGetRelationName(rel))));
	lower = ((WeirSegmentRow *) linitial(segments))->lower;
	if (old)
		*row = *old;
	else
		recall_state(row, log);
	row->start_offset = old ? Min(old->start_offset, lower) : lower;
	weir_partition_insert(row);
	foreach(lc, segments)
	{
		WeirSegmentRow *segment = lfirst(lc);
		Relation	heap = open_part(segment->segment, WEIR_PART_SEGMENT);

		weir_verified_delete(segment->segment);
		weir_segment_insert(segment);
		CacheInvalidateRelcache(heap);
		table_close(heap, NoLock);
	}
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
}

/* ---- partitions that are detached ---- */

/* Which partition is a table, by its permanent constraint?  -1: none. */
static int
number_of(Oid relid)
{
	Oid			constraint = get_relation_constraint_oid(relid,
														 WEIR_PARTITION_CHECK, true);
	int			number = -1;

	if (OidIsValid(constraint))
	{
		char	   *def = TextDatumGetCString(DirectFunctionCall1(pg_get_constraintdef,
																  ObjectIdGetDatum(constraint)));

		if (sscanf(def, "CHECK ((partition = %d))", &number) != 1)
			number = -1;
	}
	return number;
}

static List *
add_partition(List *partitions, Oid stream, Oid relid)
{
	WeirPartitionRow *row;
	ListCell   *lc;

	foreach(lc, partitions)
		if (((WeirPartitionRow *) lfirst(lc))->partition == relid)
			return partitions;
	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE ||
		(get_rel_relispartition(relid) &&
		 weir_actual_state(relid) == WEIR_ATTACHED) || number_of(relid) < 0)
		return partitions;
	row = palloc0(sizeof(WeirPartitionRow));
	weir_partition_init(row, stream, number_of(relid));
	row->partition = relid;
	return lappend(partitions, row);
}

static int
compare_numbers(const ListCell *a, const ListCell *b)
{
	return ((WeirPartitionRow *) lfirst(a))->number -
		((WeirPartitionRow *) lfirst(b))->number;
}

static List *
add_detached(List *partitions, Oid stream)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData skey[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	ListCell   *lc;

	foreach(lc, weir_partition_list(stream, NULL))
		partitions = add_partition(partitions, stream,
								   ((WeirPartitionRow *) lfirst(lc))->partition);
	ScanKeyInit(&skey[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&skey[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(stream));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, skey);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->classid == RelationRelationId && form->objsubid == 0 &&
			form->deptype == DEPENDENCY_AUTO)
			partitions = add_partition(partitions, stream, form->objid);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	list_sort(partitions, compare_numbers);
	return partitions;
}

static int
compare_bounds(const ListCell *a, const ListCell *b)
{
	int64		l = ((WeirSegmentRow *) lfirst(a))->lower;
	int64		r = ((WeirSegmentRow *) lfirst(b))->lower;

	return l < r ? -1 : l > r;
}

/*
 * The segments of a partition: those that are attached, and one that has a
 * row and a table but was detached to be dropped.
 */
static List *
segments_of(Oid partition)
{
	Relation	rel = table_open(partition, NoLock);
	List	   *segments = weir_attached_segments(rel);
	int			attached = list_length(segments);
	ListCell   *lc;

	foreach(lc, weir_segment_list(partition))
	{
		WeirSegmentRow *row = lfirst(lc);
		bool		known = get_rel_name(row->segment) == NULL;

		for (int i = 0; i < attached && !known; i++)
			known = ((WeirSegmentRow *) list_nth(segments, i))->segment == row->segment;
		if (!known)
			segments = lappend(segments, row);
	}
	table_close(rel, NoLock);
	list_sort(segments, compare_bounds);
	return segments;
}

/* Lock the partitions, and read their rows: NULL for one that has none. */
static List *
open_partitions(Relation stream, List *partitions)
{
	List	   *rows = NIL;
	ListCell   *lc;
	int			number = 0;

	foreach(lc, partitions)
	{
		WeirPartitionRow *partition = lfirst(lc);
		WeirPartitionRow *old = palloc(sizeof(WeirPartitionRow));

		if (partition->number != number)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("stream \"%s\" lacks partition %d",
							RelationGetRelationName(stream), number),
					 errhint("Attach its table, as the dump did, and try again.")));
		weir_state_lock(partition->partition);
		table_close(open_part(partition->partition, WEIR_PART_PARTITION), NoLock);
		rows = lappend(rows, weir_partition_get(partition->partition, old) ?
					   old : NULL);
		number++;
	}
	return rows;
}

/* Make the rows of a stream; the caller may change the table. */
void
weir_adopt(Oid relid)
{
	WeirStreamRow row;
	WeirOptions options;
	Relation	rel;
	List	   *partitions;
	List	   *rows;
	ListCell   *lc;
	List	   *segments = NIL;
	WeirReplay *log;
	WeirEvent	event = {"adopted"};

	LockRelationOid(relid, ShareRowExclusiveLock);
	row.options = options_of(relid);
	rel = open_part(relid, WEIR_PART_STREAM);
	partitions = add_detached(weir_attached_partitions(rel), relid);
	if (partitions == NIL || rel->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" is not partitioned as a stream is",
						RelationGetRelationName(rel)),
				 errhint("A dump made with -t must name the parts too.")));
	row.stream = relid;
	row.partitions = list_length(partitions);
	weir_options_parse(row.options, &options);
	rows = open_partitions(rel, partitions);
	foreach(lc, partitions)
		segments = lappend(segments, segments_of(((WeirPartitionRow *) lfirst(lc))->partition));
	log = weir_replay(0, relid, GetActiveSnapshot());

	forget_stream(relid);
	weir_stream_insert(&row);
	foreach(lc, partitions)
	{
		WeirPartitionRow *partition = lfirst(lc);

		adopt_partition(partition, list_nth(rows, partition->number),
						list_nth(segments, partition->number), log);
	}
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	event.stream = relid;
	event.cause = "manual";
	event.offset = -1;
	weir_event(&event);
	weir_wake_for_options();
}

/* stream_adopt(table) → regclass */
Datum
weir_stream_adopt(PG_FUNCTION_ARGS)
{
	Oid			relid = weir_stream_arg(fcinfo, 0);

	weir_require_writable("stream_adopt()");
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	weir_check_owner(relid);
	weir_adopt(relid);
	PG_RETURN_OID(relid);
}
