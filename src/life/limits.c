/*
 * limits.c
 *		Which segments of a partition its retention limits let go.
 *
 * The oldest one goes, then the next, as long as any limit says so:
 *	- retention_age: its last message is older;
 *	- retention_bytes: what remains after it is still that much, with TOAST and
 *	  indexes;
 *	- retention_messages: what remains after it is still that many messages.
 * So a limit of bytes or messages is never gone below by whole segments.
 * Messages are what is visible, never differences of offsets: a segment that
 * is left for good is counted once, and its row remembers.
 *
 * Never the segment of the last visible message below the first undecided one
 * nor a later one (life/drop.c).  Before that one everything is decided and
 * nothing is appended any more, so what is found out here stays true.
 *
 * With retention_hold the first one that a consumer group has not read, and
 * what comes after it, stays (life/hold.c).
 *
 * A segment that is recorded and not attached was being dropped when something
 * came between: it goes, whatever the limits say by now.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "catalog/cache.h"
#include "catalog/pg_inherits.h"
#include "catalog/tables.h"
#include "life/drop.h"
#include "life/hold.h"
#include "life/limits.h"
#include "life/tables.h"
#include "miscadmin.h"
#include "read/stable.h"
#include "read/walk.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

typedef struct Survey
{
	WeirStream *stream;
	WeirPartition *partition;
	WeirOptions options;
	Snapshot	snapshot;
	WeirSegmentRow *rows;		/* those that are attached, oldest first */
	int			nrows;
	int			nold;			/* so many lie before the one to keep */
} Survey;

/* Attached, and nobody has begun to change that. */
bool
weir_is_attached(Oid segment)
{
	return get_rel_relispartition(segment) && !PartitionHasPendingDetach(segment);
}

static void
must_go(WeirVerdict *verdict, Oid segment)
{
	MemoryContext old = MemoryContextSwitchTo(verdict->context);

	verdict->segments = lappend_oid(verdict->segments, segment);
	MemoryContextSwitchTo(old);
}

/* ---- messages ---- */

/*
 * Count what is visible in a segment; one that is not old is not counted
 * further than to enough.
 */
static int64
count_messages(Survey *survey, int i, int64 enough)
{
	WeirSegmentRow *row = &survey->rows[i];
	bool		old = i < survey->nold;
	int64		n = 0;
	WeirWalk	walk;

	if (old && row->messages >= 0)
		return row->messages;
	weir_walk_begin(&walk, row->partition, survey->snapshot, row->lower, false);
	while ((old || n < enough) && weir_walk_next(&walk) &&
		   walk.offset < row->upper)
		n++;
	weir_walk_end(&walk);
	/* Its lock, which the walk took, keeps the row from going meanwhile. */
	if (old)
		weir_segment_set_messages(row->segment, n);
	return n;
}

/* How many segments are too many, by the number of messages. */
static int
beyond_messages(Survey *survey)
{
	int64		limit = survey->options.retention_messages;
	int64		remaining = 0;

	for (int i = survey->nrows - 1; limit > 0 && i >= 0; i--)
	{
		if (remaining >= limit)
			return i + 1;
		remaining += count_messages(survey, i, limit - remaining);
	}
	return 0;
}

/* ---- bytes ---- */

/* How many segments are too many, by their bytes. */
static int
beyond_bytes(Survey *survey)
{
	int64		limit = survey->options.retention_bytes;
	int64		remaining = 0;

	for (int i = survey->nrows - 1; limit > 0 && i >= 0; i--)
	{
		if (remaining >= limit)
			return i + 1;
		remaining += weir_segment_bytes(&survey->rows[i]);
	}
	return 0;
}

/* ---- age ---- */

/* When a segment becomes too old; -infinity if it has nothing to keep. */
static TimestampTz
too_old_at(Survey *survey, int i)
{
	WeirLast	last;

	if (survey->options.retention_age == 0)
		return DT_NOEND;
	last = weir_last_visible_in(survey->partition, &survey->rows[i],
								survey->snapshot);
	if (last.offset < 0)
		return DT_NOBEGIN;
	if (last.ts > DT_NOEND - survey->options.retention_age)
		return DT_NOEND;
	return last.ts + survey->options.retention_age;
}

/* ---- groups ---- */

static bool
is_unread(Survey *survey, int i)
{
	WeirSegmentRow *row = &survey->rows[i];
	WeirLast	last;

	if (!survey->options.retention_hold)
		return false;
	last = weir_last_visible_in(survey->partition, row, survey->snapshot);
	return weir_held_by_group(survey->stream, survey->partition,
							  &survey->options, row, last.offset);
}

/* ---- all together ---- */

/* Is there something undecided behind the stable end, and a segment behind? */
static bool
is_held(Survey *survey, int64 end)
{
	WeirWalk	walk;
	bool		held;
	Relation	next;

	if (survey->nold + 1 >= survey->nrows)
		return false;
	next = try_table_open(survey->rows[survey->nold + 1].segment, AccessShareLock);
	held = next != NULL && RelationGetNumberOfBlocks(next) > 0;
	if (next != NULL)
		table_close(next, NoLock);
	if (!held)
		return false;
	weir_walk_begin(&walk, survey->partition->oid, survey->snapshot, end, false);
	while (weir_walk_next(&walk))
		;
	held = walk.undecided;
	weir_walk_end(&walk);
	return held;
}

static void
judge(Survey *survey, WeirVerdict *verdict, int64 end)
{
	WeirOptions *options = &survey->options;
	int			beyond;

	if (options->retention_age == 0 && options->retention_bytes == 0 &&
		options->retention_messages == 0)
		return;
	beyond = Max(beyond_messages(survey), beyond_bytes(survey));
	for (int i = 0; i < survey->nold; i++)
	{
		TimestampTz too_old = i < beyond ? DT_NOBEGIN : too_old_at(survey, i);

		CHECK_FOR_INTERRUPTS();
		if (too_old > GetCurrentTimestamp())
		{
			verdict->due = too_old;
			return;
		}
		if (is_unread(survey, i))
			return;
		must_go(verdict, survey->rows[i].segment);
	}
	verdict->held = (options->retention_age > 0 || beyond > survey->nold) &&
		is_held(survey, end);
}

/* A step of the keeper: arg is a WeirVerdict. */
void
weir_judge_segments(void *arg)
{
	WeirVerdict *verdict = arg;
	Survey		survey = {0};
	WeirSegmentRow keep;
	List	   *rows;
	ListCell   *lc;
	int64		end;

	verdict->segments = NIL;
	verdict->due = DT_NOEND;
	verdict->held = false;
	if (!weir_find_partition(verdict->partition, &survey.stream,
							 &survey.partition, &survey.options))
		return;
	verdict->options = survey.options;
	/* What the keeper has to attach first is no remains of a drop. */
	if (weir_loose_segments(verdict->partition) != NIL)
	{
		verdict->held = true;
		return;
	}
	survey.snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(survey.snapshot);
	end = weir_stable_end(survey.partition, survey.snapshot);
	rows = weir_segment_list(survey.partition->oid);
	survey.rows = palloc(Max(list_length(rows), 1) * sizeof(WeirSegmentRow));
	if (weir_first_to_keep(survey.partition, end, &keep))
	{
		foreach(lc, rows)
		{
			WeirSegmentRow *row = lfirst(lc);
			bool		old = row->lower < keep.lower;

			if (old && !weir_is_attached(row->segment))
			{
				must_go(verdict, row->segment);
				continue;
			}
			survey.nold += old;
			survey.rows[survey.nrows++] = *row;
		}
		judge(&survey, verdict, end);
	}
	PopActiveSnapshot();
	UnregisterSnapshot(survey.snapshot);
}
