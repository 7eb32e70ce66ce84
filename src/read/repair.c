/*
 * repair.c
 *		stream_repair: verifying and sorting segments.
 *
 * A segment that was restored or rewritten is read through a list that every
 * backend builds for itself, until its file is verified.  Here that is done
 * once: a worker verifies; what is not in order is clustered on its offset,
 * under AccessExclusive, and verified in this transaction, which holds that
 * lock to its end.  A segment whose guard is off is left alone: rows may come
 * that nobody sees.
 */
#include "postgres.h"

#include "access/table.h"
#include "append/order.h"
#include "base/compat.h"
#include "base/sql.h"
#include "catalog/cache.h"
#include "catalog/index.h"
#include "catalog/tables.h"
#include "commands/defrem.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "read/args.h"
#include "storage/lmgr.h"
#include "stream/maker.h"
#include "stream/parts.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(weir_stream_repair);

/* What is there to do for a segment?  A mark is not believed, but checked. */
typedef enum Need
{
	NOTHING,
	VERIFY,
	SORT,
	GUARD
} Need;

static Need
need_of(const WeirSegmentRow *row, int partition)
{
	Relation	rel = table_open(row->segment, AccessShareLock);
	Need		need = NOTHING;

	if (!weir_guard_is_on(rel))
		need = GUARD;
	else if (!weir_heap_lookup(rel)->verified)
		need = VERIFY;
	else if (!weir_order_check(rel, partition, row->lower, row->upper,
							   NULL, NULL))
		need = SORT;
	table_close(rel, AccessShareLock);
	return need;
}

/* Put a segment in order; says what came of it. */
static const char *
sort_segment(const WeirSegmentRow *row, int partition)
{
	Oid			namespace = get_rel_namespace(row->segment);
	char	   *table = weir_qualified_name(row->segment);
	char	   *index = ChooseRelationName(get_rel_name(row->segment), "offset",
										   "sort", namespace, false);
	Relation	rel;
	bool		sorted;

	/* Against makers, as a worker that verifies; then all at once. */
	LockRelationOid(row->partition, ShareUpdateExclusiveLock);
	LockRelationOid(row->segment, AccessExclusiveLock);
	/* Users' index expressions run in these, so our guards stay awake. */
	weir_run_utility("CREATE INDEX %s ON %s (\"offset\")",
					 quote_identifier(index), table);
	weir_run_utility("CLUSTER %s USING %s", table, quote_identifier(index));
	weir_run_utility("DROP INDEX %s",
				 quote_qualified_identifier(get_namespace_name(namespace), index));

	rel = table_open(row->segment, NoLock);
	sorted = weir_order_check(rel, partition, row->lower, row->upper,
							  NULL, NULL);
	weir_verified_delete(row->segment);
	if (sorted)
		weir_verified_insert(row->segment, weir_file_number(rel));
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	return sorted ? "sorted" : "damaged";
}

static void
put_action(ReturnSetInfo *rsinfo, int partition, Oid segment,
		   const char *action)
{
	Datum		values[3];
	bool		nulls[3] = {false};

	values[0] = Int32GetDatum(partition);
	values[1] = ObjectIdGetDatum(segment);
	values[2] = CStringGetTextDatum(action);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* First let workers verify: once we sort, our own locks keep them away. */
static void
repair_partition(ReturnSetInfo *rsinfo, WeirPartition *partition)
{
	List	   *segments = weir_segment_list(partition->oid);
	List	   *unordered = NIL;
	ListCell   *lc;

	foreach(lc, segments)
	{
		WeirSegmentRow *row = lfirst(lc);
		Need		need = need_of(row, partition->number);

		CHECK_FOR_INTERRUPTS();
		if (need == GUARD)
			put_action(rsinfo, partition->number, row->segment, "unguarded");
		else if (need == VERIFY && weir_get_verified(row))
			put_action(rsinfo, partition->number, row->segment, "verified");
		else if (need != NOTHING)
			unordered = lappend(unordered, row);
	}
	foreach(lc, unordered)
	{
		WeirSegmentRow *row = lfirst(lc);

		put_action(rsinfo, partition->number, row->segment,
				   sort_segment(row, partition->number));
	}
}

/* stream_repair(stream) */
Datum
weir_stream_repair(PG_FUNCTION_ARGS)
{
	Oid			relid = weir_stream_arg(fcinfo, 0);
	WeirStream *stream;

	weir_require_writable("stream_repair()");
	weir_check_owner(relid);
	stream = weir_stream_open(relid, AccessShareLock);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < stream->npartitions; i++)
		repair_partition((ReturnSetInfo *) fcinfo->resultinfo,
						 weir_partition_open(stream, i, AccessShareLock));
	return (Datum) 0;
}
