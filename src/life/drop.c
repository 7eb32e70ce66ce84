/*
 * drop.c
 *		What trim and retention share: which segments may go, and dropping one.
 *
 * Whole segments go, never the last visible message and so never the segment
 * that holds it, nor a later one; as what is undecided lies behind the last
 * stable message, it stays too.  Nothing can be appended to what lies before
 * the segment of a visible message: that one has blocks, so the open segment
 * is it or a later one.
 *
 * What is stored as the partition's start is the stable end of what was
 * dropped, not a bound: a reader that had read all of it stands exactly there
 * and has lost nothing.  The start moves in the transaction of the drop.
 */
#include "postgres.h"

#include "append/tail.h"
#include "base/compat.h"
#include "base/sql.h"
#include "life/drop.h"
#include "read/stable.h"
#include "read/walk.h"
#include "stream/event.h"
#include "stream/parts.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

/*
 * A partition by its table, for workers; false if there is none (any more).
 * The options are those of the row: who changed them woke us before he sent
 * the invalidation of our cache.
 */
bool
weir_find_partition(Oid oid, WeirStream **stream, WeirPartition **partition,
					WeirOptions *options)
{
	WeirPartitionRow row;
	WeirStreamRow stream_row;

	if (!weir_partition_get(oid, &row) ||
		!weir_stream_get(row.stream, &stream_row) ||
		get_rel_name(row.stream) == NULL)
		return false;
	weir_options_parse(stream_row.options, options);
	*stream = weir_stream_open(row.stream, AccessShareLock);
	*partition = weir_partition_open(*stream, row.number, AccessShareLock);
	return (*partition)->oid == oid;
}

/* The segment of the last visible message; false if nothing may go. */
bool
weir_first_to_keep(WeirPartition *partition, int64 stable_end,
				   WeirSegmentRow *keep)
{
	return weir_segment_at(partition->oid, Max(stable_end - 1, 0), keep);
}

/* The last visible message of a segment below the stable end. */
WeirLast
weir_last_visible_in(WeirPartition *partition, const WeirSegmentRow *row,
					 Snapshot snapshot)
{
	WeirWalk	walk;
	WeirLast	last = {-1, 0};

	weir_walk_begin(&walk, partition->oid, snapshot, row->upper - 1, true);
	if (weir_walk_next(&walk) && walk.offset >= row->lower)
	{
		last.offset = walk.offset;
		last.ts = weir_tuple_ts(walk.tuple.t_data);
	}
	weir_walk_end(&walk);
	return last;
}

/*
 * Drop a segment that may go, whose last visible offset is last.  The caller
 * holds the partition's state lock and AccessExclusive on the segment.
 */
void
weir_drop_segment(WeirStream *stream, WeirPartition *partition,
				  const WeirSegmentRow *row, int64 last, const char *cause)
{
	WeirEvent	event = {0};

	event.event = "segment dropped";
	event.stream = stream->oid;
	event.partitions = list_make1_int(partition->number);
	event.cause = cause;
	event.segment = get_rel_name(row->segment);
	event.offset = Max(weir_start_offset(partition), last + 1);

	weir_partition_set_start(partition->oid, event.offset);
	weir_run_ddl("DROP TABLE %s", weir_qualified_name(row->segment));
	/* The event trigger did, unless event triggers are off. */
	if (weir_segment_delete(row->segment))
		weir_verified_delete(row->segment);
	weir_event(&event);
	CacheInvalidateRelcacheByRelid(partition->oid);
}
