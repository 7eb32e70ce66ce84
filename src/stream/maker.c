/*
 * maker.c
 *		Getting the next segment of a partition, and getting one verified.
 *
 * Protocol.  The asker is a publisher: it holds RowExclusive on stream,
 * partition and maybe a segment, and no append lock.
 *
 * 1. Of all publishers that find the segment full, one asks; the others wait
 *	  for it on a heavyweight lock of (partition, sub-object 1), where the
 *	  deadlock detector sees them, and look again when they have it.
 * 2. A segment worker creates, attaches and commits.  So nobody ever waits
 *	  for the asker's commit, and a segment may be left before it is full:
 *	  the next one is committed, so every publisher can see it.
 * 3. The asker makes it inline, in its own transaction, if the stream is from
 *	  this transaction (no worker can see it), if it holds itself what the
 *	  worker would wait for, or if the worker failed.  Then nobody else sees
 *	  the segment before the commit, and others must not go on behind our
 *	  messages meanwhile.  So inline is right only if the last segment will
 *	  never take another message: its last offset is given to a committed
 *	  transaction, or to this one (whose abort takes the new segment along).
 *	  An offset of an aborted one is no proof: VACUUM forgets it, and the
 *	  segment has room again.  If that transaction is still running we wait for
 *	  its end, holding no maker's lock, and look again.
 * 4. An early roll, of a segment that is not full, is never inline but for a
 *	  stream that nobody else can see; it is put off.
 *
 * Crash or cancel between any two lines: at worst there is a committed empty
 * segment that the next publisher uses.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/worker.h"
#include "catalog/options.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "stream/maker.h"
#include "stream/parts.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"

/* The sub-object number under which makers of one partition queue. */
#define MAKER_SUBID 1

static void
maker_tag(LOCKTAG *tag, Oid partition)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationRelationId, partition,
					   MAKER_SUBID);
}

/* Is a table from this transaction, so that nobody else sees it? */
static bool
is_ours_alone(Oid relid)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	bool		ours = rel->rd_createSubid != InvalidSubTransactionId;

	relation_close(rel, NoLock);
	return ours;
}

static bool
we_hold(Oid relid, LOCKMODE mode)
{
	Relation	rel = relation_open(relid, NoLock);
	bool		held = CheckRelationLockedByMe(rel, mode, true);

	relation_close(rel, NoLock);
	return held;
}

/*
 * Make the segment after the last one, unless somebody did: then, and when
 * the last one is not where the caller thought, there is nothing to do.
 * Takes ShareUpdateExclusive on the partition, to the end of the transaction.
 */
bool
weir_make_next_segment(Oid partition, int64 after_lower)
{
	WeirSegmentRow last;
	WeirPartitionRow row;
	WeirStreamRow stream;
	WeirOptions options;

	LockRelationOid(partition, ShareUpdateExclusiveLock);
	if (!weir_partition_get(partition, &row) ||
		!weir_stream_get(row.stream, &stream) ||
		!weir_segment_at(partition, PG_INT64_MAX, &last))
		return false;
	if (last.lower != after_lower)
		return false;
	weir_options_parse(stream.options, &options);
	if (last.upper > PG_INT64_MAX - options.segment_messages)
		ereport(ERROR,
				(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
				 errmsg("partition \"%s\" has no offsets left",
						get_rel_name(partition))));
	weir_make_segment(partition, last.upper,
					  last.upper + options.segment_messages);
	return true;
}

static bool
there_is_one(Oid partition, const WeirSegmentRow *last)
{
	WeirSegmentRow next;

	return weir_segment_next(partition, last->lower, &next);
}

static bool
make_by_worker(Oid partition, const WeirSegmentRow *last)
{
	WeirTask	task = {0};

	task.database = MyDatabaseId;
	task.object = partition;
	task.bound = last->lower;
	task.kind = WEIR_TASK_MAKE_SEGMENT;
	return weir_run_task(&task) && there_is_one(partition, last);
}

/*
 * No worker, and the last offset is not settled.  Wait for the transaction
 * that has it, where the deadlock detector sees it; if it has aborted there
 * is nothing to wait for that would help.
 */
static void
wait_for_filler(Oid partition, const WeirSegmentRow *last,
				TransactionId filler)
{
	if (!TransactionIdIsInProgress(filler) && !TransactionIdDidCommit(filler))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no background worker could make the next segment of partition \"%s\"",
						get_rel_name(partition)),
				 errdetail("Segment \"%s\" ends with messages that were rolled back, so it cannot be left without one.",
						   get_rel_name(last->segment)),
				 errhint("Try again, run VACUUM on the segment, or raise max_worker_processes.")));
	XactLockTableWait(filler, NULL, NULL, XLTW_None);
}

/*
 * Will the last segment never take another message, even if nobody else can
 * see the next one?  filler: whose transaction has its last offset.
 */
static bool
is_closed_for_good(Oid partition, const WeirSegmentRow *last,
				   TransactionId filler)
{
	return is_ours_alone(last->segment) ||
		we_hold(partition, ShareRowExclusiveLock) ||
		!TransactionIdIsValid(filler) ||
		TransactionIdIsCurrentTransactionId(filler) ||
		TransactionIdDidCommit(filler);
}

/*
 * See to it that there is a segment after the last one.  filler is the
 * transaction that has the last offset of a full segment, InvalidTransactionId
 * for one that is left because its order is not known, FrozenTransactionId
 * where that cannot be told any more because it committed long ago.  early:
 * the segment is not full, and the roll may be put off.
 */
WeirMade
weir_get_next_segment(Oid partition, const WeirSegmentRow *last, bool early,
					  TransactionId filler)
{
	LOCKTAG		tag;
	WeirMade	made = WEIR_MADE;
	bool		inlined;

	if (is_ours_alone(partition) ||
		(!early && we_hold(partition, ShareUpdateExclusiveLock) &&
		 is_closed_for_good(partition, last, filler)))
	{
		/* A holder of what other makers wait for does not queue behind them. */
		weir_make_next_segment(partition, last->lower);
		return WEIR_MADE;
	}

	maker_tag(&tag, partition);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	WEIR_DEBUG_POINT("maker_locked");
	if (!there_is_one(partition, last) &&
		(we_hold(partition, ShareUpdateExclusiveLock) ||
		 !make_by_worker(partition, last)))
	{
		inlined = !early && is_closed_for_good(partition, last, filler);
		if (inlined)
			weir_make_next_segment(partition, last->lower);
		else
			made = early ? WEIR_NOT_MADE : WEIR_MUST_WAIT;
	}
	WEIR_DEBUG_POINT("maker_done");
	LockRelease(&tag, ExclusiveLock, false);
	if (made == WEIR_MUST_WAIT)
		wait_for_filler(partition, last, filler);
	return made;
}

/*
 * Have a segment's order verified by a worker.  The caller holds nothing on
 * the segment that conflicts with ShareLock.  True if it is now recorded; the
 * caller then finds it when it looks.
 */
bool
weir_get_verified(const WeirSegmentRow *segment)
{
	LOCKTAG		tag;
	WeirTask	task = {0};
	Relation	rel;
	bool		verified;

	task.database = MyDatabaseId;
	task.object = segment->segment;
	task.kind = WEIR_TASK_VERIFY_SEGMENT;

	maker_tag(&tag, segment->partition);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	rel = try_table_open(segment->segment, AccessShareLock);
	verified = rel != NULL &&
		weir_verified_get(segment->segment, weir_file_number(rel));
	if (rel)
		table_close(rel, AccessShareLock);
	if (rel && !verified && weir_run_task(&task))
	{
		rel = try_table_open(segment->segment, AccessShareLock);
		verified = rel != NULL &&
			weir_verified_get(segment->segment, weir_file_number(rel));
		if (rel)
			table_close(rel, AccessShareLock);
	}
	LockRelease(&tag, ExclusiveLock, false);
	return verified;
}
