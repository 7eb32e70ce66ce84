/*
 * retention.c
 *		Dropping what a stream's options do not retain.
 *
 * Dropping a segment where it hangs would lock its partition AccessExclusive.
 * So, each step in a transaction of its own:
 *	1. DETACH PARTITION CONCURRENTLY from its partition, which lets publishers
 *	   go on and keeps nobody waiting behind it.  It waits for whoever has used
 *	   the partition; the keeper's lock_timeout ends that, and the segment is
 *	   left "pending": neither attached nor detached.  FINALIZE goes on there.
 *	2. The partition's start, DROP TABLE, the event: in one transaction.
 * Readers find segments by the rows of weir.segment, so between 1 and 2 nothing
 * is missing for them (for SELECT on the stream it is).
 *
 * A step that finds somebody in its way gives up at once and comes back later,
 * at growing distances (life/due.c), which begin anew with each segment that
 * goes: a dump keeps a segment as long as it runs, short SELECTs that come one
 * after the other hardly hold us up, and nothing queues behind us.  A crash
 * between any two lines leaves a segment that is recorded and not attached;
 * the first look after a start finds it, and it is finished.
 *
 * With retention_hold a group may be sent back to a segment between 1 and 2.
 * It then stays as it is, readable for the stream functions, and goes when the
 * group has read it.
 *
 * Nothing polls: a partition is looked at when a segment of it was begun or
 * half filled, when options have changed, when a group has read what it held,
 * and when its oldest segment gets too old.
 */
#include "postgres.h"

#include "base/attempt.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/sql.h"
#include "catalog/cache.h"
#include "catalog/options.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/tables.h"
#include "life/drop.h"
#include "life/due.h"
#include "life/hold.h"
#include "life/limits.h"
#include "life/retention.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "read/stable.h"
#include "storage/lmgr.h"
#include "stream/parts.h"
#include "stream/state.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* After so long other duties have their turn; in microseconds. */
#define TURN	INT64CONST(1000000)

static WeirDues *dues = NULL;

/* ---- one segment ---- */

static void
busy(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("somebody uses \"%s\"", get_rel_name(relid))));
}

typedef struct Drop
{
	Oid			segment;
	const WeirOptions *options; /* by which it goes */
	bool		withdrawn;		/* out: they have been changed since */
	bool		spared;			/* out: a group was sent back to it */
	bool		dropped;		/* out: it is gone, once that is committed */
} Drop;

static bool
same_limits(const WeirOptions *a, const WeirOptions *b)
{
	return a->retention_age == b->retention_age &&
		a->retention_bytes == b->retention_bytes &&
		a->retention_messages == b->retention_messages &&
		a->retention_hold == b->retention_hold &&
		a->retention_hold_bytes == b->retention_hold_bytes;
}

/*
 * Step 1; arg is a Drop.  What was begun is finished, whatever the options say;
 * nothing is begun by options that hold no more.
 */
static void
detach(void *arg)
{
	Drop	   *this = arg;
	Oid			segment = this->segment;
	WeirSegmentRow row;
	WeirPartitionRow partition;
	WeirStreamRow stream;
	WeirOptions options;

	if (!weir_segment_get(segment, &row) || !get_rel_relispartition(segment) ||
		get_partition_parent(segment, true) != row.partition)
		return;
	if (!weir_partition_get(row.partition, &partition) ||
		!weir_stream_get(partition.stream, &stream))
		return;
	weir_options_parse(stream.options, &options);
	this->withdrawn = !PartitionHasPendingDetach(segment) &&
		!same_limits(&options, this->options);
	if (this->withdrawn)
		return;
	WEIR_DEBUG_POINT("retention_detach");
	weir_run_toplevel("ALTER TABLE %s DETACH PARTITION %s %s",
					  weir_qualified_name(row.partition),
					  weir_qualified_name(segment),
					  PartitionHasPendingDetach(segment) ? "FINALIZE" :
					  "CONCURRENTLY");
	WEIR_DEBUG_POINT("retention_detaching");
}

/* Step 2; arg is a Drop. */
static void
drop(void *arg)
{
	Drop	   *this = arg;
	Oid			segment = this->segment;
	WeirSegmentRow row;
	WeirSegmentRow keep;
	WeirStream *stream;
	WeirPartition *partition;
	WeirOptions options;
	Snapshot	snapshot;

	WEIR_DEBUG_POINT("retention_detached");
	if (!weir_segment_get(segment, &row) ||
		!weir_find_partition(row.partition, &stream, &partition, &options))
		return;
	if (!weir_state_lock_conditional(partition->oid))
		busy(partition->oid);
	if (!ConditionalLockRelationOid(segment, AccessExclusiveLock))
		busy(segment);
	/* Somebody trimmed it, or attached it again. */
	if (get_rel_name(segment) == NULL || get_rel_relispartition(segment))
		return;

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(snapshot);
	if (weir_first_to_keep(partition, weir_stable_end(partition, snapshot), &keep) &&
		row.lower < keep.lower)
	{
		WeirLast	last = weir_last_visible_in(partition, &row, snapshot);

		WEIR_DEBUG_POINT("retention_drop");
		this->spared = weir_held_by_group(stream, partition, &options, &row,
										  last.offset);
		if (!this->spared)
		{
			weir_drop_segment(stream, partition, &row, last.offset, "retention");
			this->dropped = true;
		}
		WEIR_DEBUG_POINT("retention_dropped");
	}
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
}

/* ---- one partition ---- */

static bool
is_shutting_down(void)
{
	CHECK_FOR_INTERRUPTS();
	return ShutdownRequestPending;
}

/* Drop what may go, or at least one of it and the rest after until. */
static void
look_at(Oid partition, TimestampTz until)
{
	WeirVerdict verdict = {partition, CurrentMemoryContext};
	WeirAttempt result = weir_attempt(weir_judge_segments, &verdict,
									  "looking for segments that are not retained");
	ListCell   *lc;

	foreach(lc, result == WEIR_ATTEMPT_DONE ? verdict.segments : NIL)
	{
		Drop		this = {lfirst_oid(lc), &verdict.options};

		if (is_shutting_down())
			return;
		if (this.segment != linitial_oid(verdict.segments) &&
			GetCurrentTimestamp() > until)
		{
			weir_due_at(dues, partition, until);
			return;
		}
		result = weir_attempt(detach, &this, "detaching a segment");
		if (result == WEIR_ATTEMPT_DONE && this.withdrawn)
		{
			weir_due_at(dues, partition, GetCurrentTimestamp());
			return;
		}
		if (result == WEIR_ATTEMPT_DONE)
			result = weir_attempt(drop, &this, "dropping a segment");
		/* Whoever is in the way of the next one has not been for long. */
		if (result == WEIR_ATTEMPT_DONE && this.dropped)
			weir_due_anew(dues, partition);
		if (result != WEIR_ATTEMPT_DONE || this.spared)
			break;
	}
	if (result != WEIR_ATTEMPT_DONE || verdict.held)
		weir_due_again(dues, partition, result == WEIR_ATTEMPT_FAILED);
	else if (verdict.due != DT_NOEND)
		weir_due_at(dues, partition, verdict.due);
	else
		weir_due_never(dues, partition);
}

/* ---- which partitions ---- */

typedef struct Search
{
	const WeirWake *wake;
	MemoryContext context;
	List	   *partitions;		/* OIDs */
} Search;

static bool
is_loose(const WeirSegmentRow *row)
{
	return !weir_is_attached(row->segment);
}

static void
find_partitions(void *arg)
{
	Search	   *search = arg;
	List	   *found = NIL;
	ListCell   *lc;
	MemoryContext old;

	foreach(lc, weir_stream_list())
	{
		WeirStreamRow row;
		WeirOptions options;
		ListCell   *lc2;

		if (!weir_stream_get(lfirst_oid(lc), &row))
			continue;
		if (!weir_options_has(row.options, "retention_age") &&
			!weir_options_has(row.options, "retention_bytes") &&
			!weir_options_has(row.options, "retention_messages"))
			continue;
		weir_options_parse(row.options, &options);
		if (options.retention_age == 0 && options.retention_bytes == 0 &&
			options.retention_messages == 0)
			continue;
		foreach(lc2, weir_partition_list(row.stream, NULL))
			found = lappend_oid(found, ((WeirPartitionRow *) lfirst(lc2))->partition);
	}
	if (search->wake->start)
		found = list_concat_unique_oid(found, weir_segment_partitions(is_loose));
	old = MemoryContextSwitchTo(search->context);
	search->partitions = list_copy(found);
	MemoryContextSwitchTo(old);
}

/* The partitions to look at now; those that were busy have their own time. */
static List *
partitions_to_see(const WeirWake *wake, TimestampTz now)
{
	Search		search = {wake, CurrentMemoryContext, NIL};
	List	   *see = weir_dues_come(dues, now);
	ListCell   *lc;

	if (wake->start || wake->options || wake->overflow)
		(void) weir_attempt(find_partitions, &search, "looking for partitions");
	for (int i = 0; i < wake->npartitions; i++)
		search.partitions = lappend_oid(search.partitions, wake->partitions[i]);
	foreach(lc, search.partitions)
		if (!weir_due_put_off(dues, lfirst_oid(lc), now))
			see = lappend_oid(see, lfirst_oid(lc));
	list_sort(see, list_oid_cmp);
	list_deduplicate_oid(see);
	return see;
}

/* The duty; life/duty.h. */
TimestampTz
weir_retention_duty(const WeirWake *wake)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "weir retention",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	TimestampTz began = GetCurrentTimestamp();
	ListCell   *lc;

	if (dues == NULL)
		dues = weir_dues_make("weir retention");
	foreach(lc, partitions_to_see(wake, began))
	{
		if (is_shutting_down())
			break;
		if (GetCurrentTimestamp() - began < TURN)
			look_at(lfirst_oid(lc), began + TURN);
		else
			weir_due_at(dues, lfirst_oid(lc), began);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return weir_dues_next(dues);
}
