/*
 * trim.c
 *		stream_trim: dropping the old segments of a partition.
 *
 * Whole segments go, never the last visible message and so never the segment
 * that holds it, nor a later one.  What is stored as the partition's start is
 * the stable end of what was dropped, not a bound: a reader that had read all
 * of it stands exactly there and has lost nothing.
 *
 * Takes AccessExclusive on the partition and the segments, to the end of the
 * transaction; lock_timeout limits the wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/error.h"
#include "base/sql.h"
#include "catalog/cache.h"
#include "catalog/tables.h"
#include "fmgr.h"
#include "read/args.h"
#include "read/stable.h"
#include "read/walk.h"
#include "storage/lmgr.h"
#include "stream/parts.h"
#include "tcop/utility.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(weir_stream_trim);

/* The greatest visible offset of one segment; -1: none. */
static int64
last_visible_in(WeirPartition *partition, const WeirSegmentRow *row,
				Snapshot snapshot)
{
	WeirWalk	walk;
	int64		last = -1;

	weir_walk_begin(&walk, partition->oid, snapshot, row->upper - 1, true);
	if (weir_walk_next(&walk) && walk.offset >= row->lower)
		last = walk.offset;
	weir_walk_end(&walk);
	return last;
}

static void
drop_segments(WeirPartition *partition, Snapshot snapshot, int64 before)
{
	int64		end = weir_stable_end(partition, snapshot);
	int64		start = weir_start_offset(partition);
	List	   *segments = weir_segment_list(partition->oid);
	WeirSegmentRow keep;
	ListCell   *lc;

	if (!weir_segment_at(partition->oid, Max(end - 1, 0), &keep))
		return;
	foreach(lc, segments)
	{
		WeirSegmentRow *row = lfirst(lc);
		int64		last;

		if (row->lower >= keep.lower)
			break;
		LockRelationOid(row->segment, AccessExclusiveLock);
		last = last_visible_in(partition, row, snapshot);
		if (last >= before)
			break;
		start = Max(start, last + 1);
		weir_partition_set_start(partition->oid, start);
		weir_run_ddl("DROP TABLE %s", weir_qualified_name(row->segment));
	}
	CacheInvalidateRelcacheByRelid(partition->oid);
}

/* stream_trim(stream, partition, before_offset) → the new start */
Datum
weir_stream_trim(PG_FUNCTION_ARGS)
{
	Oid			relid = weir_stream_arg(fcinfo, 0);
	WeirStream *stream;
	WeirPartition *partition;
	Snapshot	snapshot;
	int64		before;
	int64		end;

	weir_require_writable("stream_trim()");
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("partition and before_offset must not be null")));
	weir_check_owner(relid);
	stream = weir_stream_open(relid, ShareUpdateExclusiveLock);
	partition = weir_partition_open(stream, PG_GETARG_INT32(1), AccessExclusiveLock);
	before = PG_GETARG_INT64(2);
	if (before < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("before_offset must not be negative")));

	/* Newer than the lock: every publisher is decided now. */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(snapshot);
	end = weir_stable_end(partition, snapshot);
	if (before > end)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_AFTER_END),
				 errmsg("offset " INT64_FORMAT " is after the end of partition %d of stream \"%s\"",
						before, partition->number, get_rel_name(relid)),
				 errdetail("The stable end is " INT64_FORMAT ".", end)));
	drop_segments(partition, snapshot, before);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	PG_RETURN_INT64(weir_start_offset(partition));
}
