/*
 * adopt.c
 *		stream_adopt: a stream from its tables alone.
 *
 * A dump of one schema or table carries no rows of the catalog, but the
 * tables say it all: the guard's arguments name the kind and the options, the
 * partition bounds the numbers and the offsets.  Adopting a stream that has
 * its rows rebuilds them.  The files are unverified then, so publishing and
 * reading look at them before they rely on their order.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "base/error.h"
#include "catalog/cache.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "stream/bounds.h"
#include "stream/parts.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(weir_stream_adopt);

/* The guard of a table, if its arguments say that the table is of this kind. */
static Trigger *
guard_of(Relation rel, const char *kind)
{
	Oid			guard = weir_guard_function();

	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgfoid == guard && trigger->tgnargs > 0 &&
			strcmp(trigger->tgargs[0], kind) == 0)
			return trigger;
	}
	return NULL;
}

static Relation
open_kind(Oid relid, const char *kind)
{
	Relation	rel = table_open(relid, ShareUpdateExclusiveLock);

	if (guard_of(rel, kind) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" was not made as a %s",
						RelationGetRelationName(rel), kind),
				 errdetail("It has no trigger of weir.guard('%s').", kind)));
	if (RelationGetDescr(rel)->natts != WEIR_NCOLS)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" does not have the columns of a stream",
						RelationGetRelationName(rel))));
	return rel;
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
adopt_partition(WeirPartitionRow *row)
{
	Relation	rel = open_kind(row->partition, "partition");
	List	   *segments = weir_attached_segments(rel);
	ListCell   *lc;

	if (segments == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("partition \"%s\" has no segment",
						RelationGetRelationName(rel))));
	/* What was dropped before is not known any more. */
	row->start_offset = ((WeirSegmentRow *) linitial(segments))->lower;
	weir_partition_insert(row);
	foreach(lc, segments)
	{
		WeirSegmentRow *segment = lfirst(lc);
		Relation	heap = open_kind(segment->segment, "segment");

		weir_segment_insert(segment);
		CacheInvalidateRelcache(heap);
		table_close(heap, NoLock);
	}
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
}

/* stream_adopt(table) → regclass */
Datum
weir_stream_adopt(PG_FUNCTION_ARGS)
{
	Oid			relid = weir_stream_arg(fcinfo, 0);
	WeirStreamRow row;
	WeirOptions options;
	Relation	rel;
	Trigger    *guard;
	List	   *partitions;
	ListCell   *lc;
	int			number = 0;

	weir_require_writable("stream_adopt()");
	weir_check_owner(relid);
	rel = open_kind(relid, "stream");
	guard = guard_of(rel, "stream");
	partitions = weir_attached_partitions(rel);

	row.stream = relid;
	row.partitions = list_length(partitions);
	row.options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
													 CStringGetDatum(guard->tgnargs > 1 ?
																	 guard->tgargs[1] : "{}")));
	weir_options_parse(row.options, &options);
	forget_stream(relid);
	weir_stream_insert(&row);
	foreach(lc, partitions)
	{
		WeirPartitionRow *partition = lfirst(lc);

		if (partition->number != number++)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("stream \"%s\" lacks partition %d",
							RelationGetRelationName(rel), number - 1),
					 errhint("Attach its table, as the dump did, and try again.")));
		adopt_partition(partition);
	}
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	PG_RETURN_OID(relid);
}
