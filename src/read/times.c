/*
 * times.c
 *		When a partition was published to, by its data: so it is right after a
 *		restart, and costs a publisher nothing.
 *
 * The caller holds a lock on the partition or its stream that keeps DROP
 * away.  A message counts whoever sees it: one that was rolled back is a sign
 * of life too.
 */
#include "postgres.h"

#include "access/table.h"
#include "append/tail.h"
#include "base/compat.h"
#include "catalog/tables.h"
#include "read/times.h"
#include "storage/bufmgr.h"

static int64
last_in(Relation rel)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	WeirTail	tail;

	if (nblocks == 0)
		return 0;
	if (!weir_heap_lookup(rel)->verified)
		return weir_greatest_ts(rel);
	weir_tail_read(rel, nblocks, &tail);
	ReleaseBuffer(tail.buffer);
	return tail.found ? tail.ts : 0;
}

/* The time of the last message; 0: there is none. */
int64
weir_last_publish(Oid partition)
{
	WeirSegmentRow row;
	int64		below = PG_INT64_MAX;
	int64		ts = 0;

	while (ts == 0 && weir_segment_at(partition, below, &row))
	{
		Relation	rel = try_table_open(row.segment, AccessShareLock);

		if (rel)
		{
			ts = last_in(rel);
			table_close(rel, AccessShareLock);
		}
		below = row.lower - 1;
	}
	return ts;
}

/* The time of the first message that is retained; 0: there is none. */
int64
weir_first_publish(Oid partition)
{
	int64		ts = 0;
	ListCell   *lc;

	foreach(lc, weir_segment_list(partition))
	{
		Relation	rel = try_table_open(((WeirSegmentRow *) lfirst(lc))->segment,
										 AccessShareLock);

		if (rel)
		{
			ts = weir_first_ts(rel);
			table_close(rel, AccessShareLock);
		}
		if (ts != 0)
			break;
	}
	return ts;
}
