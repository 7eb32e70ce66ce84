/*
 * hold.c
 *		What retention spares because a consumer group has not read it.
 *
 * With option retention_hold a segment stays as long as the committed position
 * of some group does not lie behind its last message.  A partition that is
 * larger than retention_hold_bytes is not spared: its oldest segments go until
 * what remains is within that.
 *
 * Nothing polls: whoever moves a position behind a segment, or drops a group,
 * has the keeper look when that commits (group/group.c).  Who puts a position
 * back locks the segment to which it goes; a segment that is being dropped is
 * asked about once more under AccessExclusive.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "catalog/groups.h"
#include "life/hold.h"
#include "read/stable.h"
#include "utils/builtins.h"

/* With TOAST and indexes. */
int64
weir_segment_bytes(const WeirSegmentRow *row)
{
	Relation	rel = try_table_open(row->segment, AccessShareLock);
	int64		bytes = 0;

	if (rel != NULL)
	{
		bytes = DatumGetInt64(DirectFunctionCall1(pg_total_relation_size,
												  ObjectIdGetDatum(row->segment)));
		table_close(rel, NoLock);
	}
	return bytes;
}

/* The position of the group that is furthest behind; past all if none is. */
static int64
least_position(WeirStream *stream, WeirPartition *partition)
{
	int64		least = PG_INT64_MAX;
	ListCell   *lc;

	foreach(lc, weir_group_list(stream->oid))
	{
		WeirGroupRow *group = lfirst(lc);
		WeirPositionRow position;

		if (!weir_position_get(group->id, partition->number, NULL, &position))
			position.next = weir_start_offset(partition);
		least = Min(least, position.next);
	}
	return least;
}

/* Is what would remain with this segment more than is spared? */
static bool
is_too_much(WeirPartition *partition, const WeirOptions *options,
			const WeirSegmentRow *row)
{
	int64		bytes = 0;
	ListCell   *lc;

	if (options->retention_hold_bytes == 0)
		return false;
	foreach(lc, weir_segment_list(partition->oid))
	{
		WeirSegmentRow *other = lfirst(lc);

		if (other->lower >= row->lower)
			bytes += weir_segment_bytes(other);
	}
	return bytes > options->retention_hold_bytes;
}

/*
 * Is a segment to be spared, whose last visible message has the offset last
 * (-1: it has none)?
 */
bool
weir_held_by_group(WeirStream *stream, WeirPartition *partition,
				   const WeirOptions *options, const WeirSegmentRow *row,
				   int64 last)
{
	return options->retention_hold && last >= 0 &&
		least_position(stream, partition) <= last &&
		!is_too_much(partition, options, row);
}
