/*
 * offsets.c
 *		Offsets that people ask for: earliest, high watermark, next, at a time.
 */
#include "postgres.h"

#include "access/table.h"
#include "append/tail.h"
#include "base/compat.h"
#include "base/error.h"
#include "read/args.h"
#include "read/seek.h"
#include "read/sorted.h"
#include "read/stable.h"
#include "read/walk.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(weir_stream_earliest_offset);
PG_FUNCTION_INFO_V1(weir_stream_high_watermark);
PG_FUNCTION_INFO_V1(weir_stream_next_offset);
PG_FUNCTION_INFO_V1(weir_stream_offset_at);

static WeirPartition *
open_args(FunctionCallInfo fcinfo, WeirStream **stream)
{
	*stream = weir_open_for_read(weir_stream_arg(fcinfo, 0));
	return weir_partition_arg(fcinfo, 1, *stream);
}

/* The first visible offset from one on; -1 if there is none. */
static int64
first_visible(WeirPartition *partition, int64 from)
{
	WeirWalk	walk;
	int64		offset = -1;

	weir_walk_begin(&walk, partition->oid, GetActiveSnapshot(), from, false);
	if (weir_walk_next(&walk))
		offset = walk.offset;
	weir_walk_end(&walk);
	return offset;
}

Datum
weir_stream_earliest_offset(PG_FUNCTION_ARGS)
{
	WeirStream *stream;
	WeirPartition *partition = open_args(fcinfo, &stream);
	int64		start = weir_start_offset(partition);
	int64		first = first_visible(partition, start);

	PG_RETURN_INT64(first >= 0 ? first : start);
}

Datum
weir_stream_high_watermark(PG_FUNCTION_ARGS)
{
	WeirStream *stream;
	WeirPartition *partition = open_args(fcinfo, &stream);

	PG_RETURN_INT64(weir_stable_end(partition, GetActiveSnapshot()));
}

Datum
weir_stream_next_offset(PG_FUNCTION_ARGS)
{
	WeirStream *stream;
	WeirPartition *partition = open_args(fcinfo, &stream);

	PG_RETURN_INT64(weir_next_offset(partition));
}

/* ---- by time ---- */

/* In a heap of any order: the least offset whose time is at least ts. */
static int64
offset_at_sorted(Relation rel, WeirSorted *sorted, int64 ts)
{
	int64		low = 0;
	int64		high = sorted->nitems;

	while (low < high)
	{
		int64		middle = low + (high - low) / 2;
		ItemPointer tid = &sorted->items[middle].tid;
		Buffer		buffer = ReadBuffer(rel, ItemPointerGetBlockNumber(tid));
		Page		page;
		ItemId		id;
		bool		below;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		id = PageGetItemId(page, ItemPointerGetOffsetNumber(tid));
		below = ItemIdIsNormal(id) &&
			weir_tuple_ts((HeapTupleHeader) PageGetItem(page, id)) < ts;
		UnlockReleaseBuffer(buffer);
		if (below)
			low = middle + 1;
		else
			high = middle;
	}
	return low < sorted->nitems ? sorted->items[low].offset : -1;
}

/* The first offset on a page whose time is at least ts. */
static int64
offset_on_page(Relation rel, BlockNumber block, int64 ts)
{
	Buffer		buffer = ReadBuffer(rel, block);
	int64		offset = -1;
	Page		page;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	for (OffsetNumber n = FirstOffsetNumber;
		 n <= PageGetMaxOffsetNumber(page) && offset < 0; n++)
	{
		ItemId		id = PageGetItemId(page, n);
		HeapTupleHeader tuple;

		if (!ItemIdIsNormal(id))
			continue;
		tuple = (HeapTupleHeader) PageGetItem(page, id);
		if (weir_tuple_ts(tuple) >= ts)
			offset = weir_tuple_offset(tuple);
	}
	UnlockReleaseBuffer(buffer);
	return offset;
}

/* The first offset in a segment whose time is at least ts; -1: none. */
static int64
offset_at_in(const WeirSegmentRow *row, int64 ts)
{
	Relation	rel = try_table_open(row->segment, AccessShareLock);
	WeirSorted *sorted = NULL;
	BlockNumber nblocks;
	BlockNumber block;
	int64		offset = -1;

	if (rel == NULL)
		return -1;
	nblocks = RelationGetNumberOfBlocks(rel);
	if (!weir_heap_lookup(rel)->verified)
	{
		sorted = weir_sorted_get(rel);
		if (sorted->in_order)
			sorted = NULL;
	}
	if (sorted)
		offset = offset_at_sorted(rel, sorted, ts);
	else if ((block = weir_seek_block(rel, nblocks, WEIR_SEEK_TS, ts)) < nblocks)
		offset = offset_on_page(rel, block, ts);
	table_close(rel, NoLock);
	return offset;
}

/*
 * The first offset, whether its message is visible or not, whose time is at
 * least ts; -1 if there is none.  A binary search over segments, then pages.
 */
static int64
offset_at(WeirPartition *partition, int64 ts)
{
	List	   *segments = weir_segment_list(partition->oid);
	int			low = 0;
	int			high = list_length(segments);
	int64		offset = -1;

	/* The first segment that has such an offset; empty ones have none. */
	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			probe = middle;
		int64		found = -1;
		Relation	rel;
		BlockNumber nblocks = 0;

		/* An empty segment says nothing: ask the one before it. */
		for (; probe >= low; probe--)
		{
			WeirSegmentRow *row = list_nth(segments, probe);

			rel = try_table_open(row->segment, AccessShareLock);
			nblocks = rel ? RelationGetNumberOfBlocks(rel) : 0;
			if (rel)
				table_close(rel, AccessShareLock);
			if (nblocks > 0)
			{
				found = offset_at_in(row, ts);
				break;
			}
		}
		if (nblocks > 0 && found >= 0)
		{
			offset = found;
			high = probe;
		}
		else
			low = middle + 1;
	}
	list_free_deep(segments);
	return offset;
}

/* stream_offset_at(stream, partition, ts, find) */
Datum
weir_stream_offset_at(PG_FUNCTION_ARGS)
{
	WeirStream *stream;
	WeirPartition *partition;
	Snapshot	snapshot = GetActiveSnapshot();
	TimestampTz ts;
	char	   *find;
	bool		last;
	int64		at;
	int64		end;
	int64		offset = -1;
	WeirWalk	walk;

	if (PG_ARGISNULL(2) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("ts and find must not be null")));
	ts = PG_GETARG_TIMESTAMPTZ(2);
	find = text_to_cstring(PG_GETARG_TEXT_PP(3));
	last = strcmp(find, "last") == 0;
	if (!last && strcmp(find, "first") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value of find: \"%s\"", find),
				 errhint("It is \"first\" or \"last\".")));
	partition = open_args(fcinfo, &stream);

	/* "At or before T" is what lies before the first one after T. */
	at = last && ts >= PG_INT64_MAX ? -1 : offset_at(partition, last ? ts + 1 : ts);
	if (!last)
	{
		if (at >= 0)
			offset = first_visible(partition, at);
		PG_RETURN_INT64(offset >= 0 ? offset :
						weir_stable_end(partition, snapshot));
	}

	end = weir_stable_end(partition, snapshot);
	at = at < 0 ? end : Min(at, end);
	if (at > 0)
	{
		weir_walk_begin(&walk, partition->oid, snapshot, at - 1, true);
		if (weir_walk_next(&walk))
			offset = walk.offset;
		weir_walk_end(&walk);
	}
	if (offset < 0)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_NO_OLDER_MESSAGE),
				 errmsg("partition %d of stream \"%s\" has no message at or before %s",
						partition->number, get_rel_name(stream->oid),
						timestamptz_to_str(ts))));
	PG_RETURN_INT64(offset);
}
