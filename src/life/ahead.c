/*
 * ahead.c
 *		Making segments before they are needed.
 *
 * A publisher that finds the open segment half full, by offsets or by bytes,
 * and none behind it wakes the keeper, which makes the next one: so publishers
 * need not wait for a maker.  Two, if half of the segment took less than FAST.
 * None for a partition that nobody publishes to, nor because of segment_age:
 * a segment that is left for its age is left by a publisher that comes late
 * anyway.  Whatever happens here, a publisher finds or makes what it needs
 * (stream/maker.c).
 */
#include "postgres.h"

#include "access/table.h"
#include "append/tail.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/debug.h"
#include "catalog/cache.h"
#include "catalog/tables.h"
#include "life/ahead.h"
#include "life/drop.h"
#include "life/due.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/bufmgr.h"
#include "stream/maker.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Half of a segment in less than that is fast; in microseconds. */
#define FAST		INT64CONST(10000000)

static WeirDues *dues = NULL;

typedef struct Ahead
{
	Oid			partition;
	bool		may_be_idle;	/* nobody told of this one: look at its end */
	bool		made;			/* out: one was made, maybe not enough */
} Ahead;

static int64
bytes_of(Relation segment)
{
	int64		blocks = RelationGetNumberOfBlocks(segment);

	if (OidIsValid(segment->rd_rel->reltoastrelid))
	{
		Relation	toast = table_open(segment->rd_rel->reltoastrelid,
									   AccessShareLock);

		blocks += RelationGetNumberOfBlocks(toast);
		table_close(toast, AccessShareLock);
	}
	return blocks * BLCKSZ;
}

/* How many segments are wanted behind an open one? */
static int
wanted_after(Ahead *ahead, WeirOptions *options, const WeirSegmentRow *row,
			 Relation rel)
{
	TimestampTz now = GetCurrentTimestamp();
	WeirTail	tail;

	if (!weir_heap_lookup(rel)->verified)
		return 0;
	weir_tail_read(rel, RelationGetNumberOfBlocks(rel), &tail);
	ReleaseBuffer(tail.buffer);
	if (!tail.found || (ahead->may_be_idle && now - tail.ts > FAST))
		return 0;
	if (tail.offset + 1 - row->lower < (row->upper - row->lower + 1) / 2 &&
		bytes_of(rel) < options->segment_bytes / 2)
		return 0;
	return now - weir_first_ts(rel) < FAST ? 2 : 1;
}

/* One step: make one segment, if one is wanted. */
static void
make_one(void *arg)
{
	Ahead	   *ahead = arg;
	WeirStream *stream;
	WeirPartition *partition;
	WeirOptions options;
	List	   *rows;
	WeirSegmentRow *last;
	int			wanted = 0;
	int			after = 0;

	ahead->made = false;
	if (!weir_find_partition(ahead->partition, &stream, &partition, &options))
		return;
	rows = weir_segment_list(partition->oid);
	for (int i = list_length(rows) - 1; i >= 0; i--, after++)
	{
		WeirSegmentRow *row = list_nth(rows, i);
		Relation	rel = try_table_open(row->segment, AccessShareLock);
		bool		open = rel != NULL && RelationGetNumberOfBlocks(rel) > 0;

		if (open)
			wanted = wanted_after(ahead, &options, row, rel);
		if (rel != NULL)
			table_close(rel, AccessShareLock);
		if (open || rel == NULL)
			break;
	}
	if (after >= wanted)
		return;
	if (!weir_maker_lock_conditional(partition->oid))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("somebody is making a segment of \"%s\"",
						get_rel_name(partition->oid))));
	last = llast(rows);
	WEIR_DEBUG_POINT("ahead_making");
	ahead->made = weir_make_next_segment(partition->oid, last->lower);
	WEIR_DEBUG_POINT("ahead_made");
}

static void
look_at(Oid partition, bool may_be_idle)
{
	Ahead		ahead = {partition, may_be_idle, false};
	WeirAttempt result;

	CHECK_FOR_INTERRUPTS();
	if (ShutdownRequestPending)
		return;
	do
		result = weir_attempt(make_one, &ahead, "making a segment ahead");
	while (result == WEIR_ATTEMPT_DONE && ahead.made);
	if (result == WEIR_ATTEMPT_DONE)
		weir_due_never(dues, partition);
	else
		weir_due_again(dues, partition, result == WEIR_ATTEMPT_FAILED);
}

typedef struct Everything
{
	MemoryContext context;
	List	   *partitions;		/* OIDs */
} Everything;

static void
find_everything(void *arg)
{
	Everything *all = arg;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, weir_stream_list())
		foreach(lc2, weir_partition_list(lfirst_oid(lc), NULL))
	{
		WeirPartitionRow *row = lfirst(lc2);
		MemoryContext old;

		/* Nobody publishes to it; the first who does wakes us. */
		if (row->paused)
			continue;
		old = MemoryContextSwitchTo(all->context);
		all->partitions = lappend_oid(all->partitions, row->partition);
		MemoryContextSwitchTo(old);
	}
}

/* The duty; life/duty.h. */
TimestampTz
weir_ahead_duty(const WeirWake *wake)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "weir segments ahead",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	TimestampTz now = GetCurrentTimestamp();
	Everything	all = {work, NIL};
	List	   *told;
	ListCell   *lc;

	if (dues == NULL)
		dues = weir_dues_make("weir segments ahead");
	told = weir_dues_come(dues, now);
	for (int i = 0; i < wake->npartitions; i++)
		if (!weir_due_put_off(dues, wake->partitions[i], now))
			told = list_append_unique_oid(told, wake->partitions[i]);
	foreach(lc, told)
		look_at(lfirst_oid(lc), false);
	if (wake->overflow)
		(void) weir_attempt(find_everything, &all, "looking for partitions");
	foreach(lc, all.partitions)
		look_at(lfirst_oid(lc), true);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return weir_dues_next(dues);
}
