/*
 * trim.c
 *		stream_trim: dropping the old segments of a partition.
 *
 * Which may go, and what becomes the partition's start, says life/drop.c.
 *
 * Takes the partition's state lock, then AccessExclusive on the partition and
 * the segments, to the end of the transaction; lock_timeout limits the wait.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/error.h"
#include "catalog/cache.h"
#include "catalog/tables.h"
#include "fmgr.h"
#include "life/drain.h"
#include "life/drop.h"
#include "read/stable.h"
#include "storage/lmgr.h"
#include "stream/state.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(weir_stream_trim);

static void
drop_segments(WeirStream *stream, WeirPartition *partition, Snapshot snapshot,
			  int64 before)
{
	int64		end = weir_stable_end(partition, snapshot);
	List	   *segments = weir_segment_list(partition->oid);
	WeirSegmentRow keep;
	ListCell   *lc;

	if (!weir_first_to_keep(partition, end, &keep))
		return;
	foreach(lc, segments)
	{
		WeirSegmentRow *row = lfirst(lc);
		WeirLast	last;

		if (row->lower >= keep.lower)
			break;
		LockRelationOid(row->segment, AccessExclusiveLock);
		last = weir_last_visible_in(partition, row, snapshot);
		if (last.offset >= before)
			break;
		weir_drop_segment(stream, partition, row, last.offset, "manual");
	}
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
	partition = weir_partition_open(stream, PG_GETARG_INT32(1), NoLock);
	weir_state_lock(partition->oid);
	if (!weir_lock_patiently(list_make1_oid(partition->oid), AccessExclusiveLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("cannot trim partition %d of stream \"%s\": transactions that use it are still open",
						partition->number, get_rel_name(relid)),
				 errhint("Nothing was changed. Try again, or with a longer lock_timeout.")));
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
	drop_segments(stream, partition, snapshot, before);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	PG_RETURN_INT64(weir_start_offset(partition));
}
