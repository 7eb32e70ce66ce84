/*
 * adopt.c
 *		stream_adopt: a stream from its tables alone.
 *
 * A dump of one schema or table carries no rows of the catalog, but the
 * tables say it all: the guard's arguments the options, the partition bounds
 * the numbers and the offsets.  Adopting a stream that has its rows rebuilds
 * them.  The files count as unverified then, so publishing and reading look at
 * them before they rely on their order.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "base/error.h"
#include "catalog/cache.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "stream/bounds.h"
#include "stream/parts.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

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
	List	   *partitions = weir_partition_list(stream);
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

static void
adopt_partition(WeirPartitionRow *row, int64 old_start)
{
	Relation	rel = table_open(row->partition, NoLock);
	List	   *segments = weir_attached_segments(rel);
	ListCell   *lc;

	if (segments == NIL || ((WeirSegmentRow *) linitial(segments))->lower < 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("partition \"%s\" has no segment, or one with negative offsets",
						RelationGetRelationName(rel))));
	/* Where what was dropped ended is only in the row, if there is one. */
	row->start_offset = ((WeirSegmentRow *) linitial(segments))->lower;
	if (old_start >= 0 && old_start < row->start_offset)
		row->start_offset = old_start;
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

/* Lock the partitions, and learn where they start by their rows. */
static int64 *
open_partitions(Relation stream, List *partitions)
{
	int64	   *starts = palloc(list_length(partitions) * sizeof(int64));
	ListCell   *lc;
	int			number = 0;

	foreach(lc, partitions)
	{
		WeirPartitionRow *partition = lfirst(lc);
		WeirPartitionRow old;

		if (partition->number != number)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("stream \"%s\" lacks partition %d",
							RelationGetRelationName(stream), number),
					 errhint("Attach its table, as the dump did, and try again.")));
		table_close(open_part(partition->partition, WEIR_PART_PARTITION), NoLock);
		starts[number++] = weir_partition_get(partition->partition, &old) ?
			old.start_offset : -1;
	}
	return starts;
}

/* stream_adopt(table) → regclass */
Datum
weir_stream_adopt(PG_FUNCTION_ARGS)
{
	Oid			relid = weir_stream_arg(fcinfo, 0);
	WeirStreamRow row;
	WeirOptions options;
	Relation	rel;
	List	   *partitions;
	int64	   *starts;
	ListCell   *lc;

	weir_require_writable("stream_adopt()");
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	weir_check_owner(relid);
	LockRelationOid(relid, ShareRowExclusiveLock);
	row.options = options_of(relid);
	rel = open_part(relid, WEIR_PART_STREAM);
	partitions = weir_attached_partitions(rel);
	if (partitions == NIL || rel->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" is not partitioned as a stream is",
						RelationGetRelationName(rel)),
				 errhint("A dump made with -t must name the parts too.")));
	row.stream = relid;
	row.partitions = list_length(partitions);
	weir_options_parse(row.options, &options);
	starts = open_partitions(rel, partitions);

	forget_stream(relid);
	weir_stream_insert(&row);
	foreach(lc, partitions)
	{
		WeirPartitionRow *partition = lfirst(lc);

		adopt_partition(partition, starts[partition->number]);
	}
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	PG_RETURN_OID(relid);
}
