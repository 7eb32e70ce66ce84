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
#include "read/offsets.h"
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

/* The time of an item of an unverified heap, PG_INT64_MIN if it is gone. */
static int64
ts_of_sorted(Relation rel, const WeirSorted *sorted, int64 place)
{
	ItemPointer tid = &sorted->items[place].tid;
	Buffer		buffer = ReadBuffer(rel, ItemPointerGetBlockNumber(tid));
	int64		ts = PG_INT64_MIN;
	Page		page;
	ItemId		id;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	id = PageGetItemId(page, ItemPointerGetOffsetNumber(tid));
	if (ItemIdIsNormal(id))
		ts = weir_tuple_ts((HeapTupleHeader) PageGetItem(page, id));
	UnlockReleaseBuffer(buffer);
	return ts;
}

/* In a heap of any order: the least offset whose time is at least ts. */
static int64
offset_at_sorted(Relation rel, const WeirSorted *sorted, int64 ts)
{
	int64		low = 0;
	int64		high = sorted->nitems;

	while (low < high)
	{
		int64		middle = low + (high - low) / 2;

		if (ts_of_sorted(rel, sorted, middle) < ts)
			low = middle + 1;
		else
			high = middle;
	}
	return low < sorted->nitems ? sorted->items[low].offset : -1;
}

/* The first offset from a page on whose time is at least ts; -1: none. */
static int64
offset_from_page(Relation rel, BlockNumber block, BlockNumber nblocks, int64 ts)
{
	int64		offset = -1;

	/* Usually the first page has it; VACUUM may have taken it meanwhile. */
	for (; block < nblocks && offset < 0; block++)
	{
		Buffer		buffer = ReadBuffer(rel, block);
		Page		page;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		for (OffsetNumber n = FirstOffsetNumber;
			 !PageIsNew(page) && n <= PageGetMaxOffsetNumber(page) && offset < 0;
			 n++)
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
	}
	return offset;
}

/* Open a segment; sorted: its order, if it is not the physical one. */
static Relation
open_segment(const WeirSegmentRow *row, WeirSorted **sorted)
{
	Relation	rel = try_table_open(row->segment, AccessShareLock);

	*sorted = NULL;
	if (rel != NULL && !weir_heap_lookup(rel)->verified)
	{
		*sorted = weir_sorted_get(rel);
		if ((*sorted)->in_order)
			*sorted = NULL;
	}
	return rel;
}

/* The time of the first item of a segment; false if it has none. */
static bool
begins_at(const WeirSegmentRow *row, int64 *ts)
{
	WeirSorted *sorted;
	Relation	rel = open_segment(row, &sorted);

	if (rel == NULL)
		return false;
	*ts = sorted ? ts_of_sorted(rel, sorted, 0) : weir_first_ts(rel);
	table_close(rel, NoLock);
	return *ts != 0;
}

/* The first offset in a segment whose time is at least ts; -1: none. */
static int64
offset_in(const WeirSegmentRow *row, int64 ts)
{
	WeirSorted *sorted;
	Relation	rel = open_segment(row, &sorted);
	BlockNumber nblocks;
	int64		offset;

	if (rel == NULL)
		return -1;
	nblocks = RelationGetNumberOfBlocks(rel);
	offset = sorted ? offset_at_sorted(rel, sorted, ts) :
		offset_from_page(rel, weir_seek_block(rel, nblocks, WEIR_SEEK_TS, ts),
						 nblocks, ts);
	table_close(rel, NoLock);
	return offset;
}

/*
 * The first offset, whether its message is visible or not, whose time is at
 * least ts; -1 if there is none.  A binary search over the beginnings of
 * segments finds the last one that begins before; the offset lies there, or
 * begins a segment behind it.
 */
static int64
offset_at(WeirPartition *partition, int64 ts)
{
	List	   *segments = weir_segment_list(partition->oid);
	int			low = 0;
	int			high = list_length(segments);
	int64		offset = -1;
	int64		begin;

	while (low < high)
	{
		int			probe = (low + high) / 2;
		int			after = probe + 1;

		/* One without an item says nothing: ask those before it. */
		while (probe >= low && !begins_at(list_nth(segments, probe), &begin))
			probe--;
		if (probe < low || begin < ts)
			low = after;
		else
			high = probe;
	}
	/* The last one that begins before ts, passing over those without items. */
	for (low--; low > 0 && !begins_at(list_nth(segments, low), &begin); low--)
		;
	for (low = Max(low, 0); low < list_length(segments) && offset < 0; low++)
		offset = offset_in(list_nth(segments, low), ts);
	list_free_deep(segments);
	return offset;
}

/*
 * The offset of the first message at or after a time, else the stable end.  A
 * snapshot that is active.
 */
int64
weir_offset_at(WeirPartition *partition, TimestampTz ts, Snapshot snapshot)
{
	int64		at = offset_at(partition, ts);
	int64		offset = at >= 0 ? first_visible(partition, at) : -1;

	return offset >= 0 ? offset : weir_stable_end(partition, snapshot);
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
	if (!last)
		PG_RETURN_INT64(weir_offset_at(partition, ts, snapshot));
	at = ts >= PG_INT64_MAX ? -1 : offset_at(partition, ts + 1);

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
