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
 *	  worker would wait for, or if no worker could be had.  Then nobody else
 *	  sees the segment before the commit, and nobody may go on in the last one
 *	  behind our messages meanwhile.  A full segment gets room again when VACUUM
 *	  forgets a rolled-back end, so the asker first takes ShareUpdateExclusive
 *	  on it, to the end of its transaction: VACUUM waits for that, and so does
 *	  a worker that would verify a segment that was left as unverified.  (Only
 *	  VACUUM removes what was rolled back: an insert leaves no hint on the page
 *	  that would make anybody prune it, in any version that we support.)  With
 *	  the lock it looks again whether the segment is full.  The other publishers
 *	  wait for the same lock, where the deadlock detector sees them, and find
 *	  the new segment when they have it.
 * 4. An early roll, of a segment that is not full, is never inline but for a
 *	  stream that nobody else can see; it is put off.
 *
 * Crash or cancel between any two lines: at worst there is a committed empty
 * segment that the next publisher uses.
 */
#include "postgres.h"

#include "access/table.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/worker.h"
#include "catalog/options.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "stream/event.h"
#include "stream/maker.h"
#include "stream/parts.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
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
 * For the keeper, which makes segments ahead: keep publishers from asking for
 * the same one meanwhile.  To the end of the transaction.
 */
bool
weir_maker_lock_conditional(Oid partition)
{
	LOCKTAG		tag;

	maker_tag(&tag, partition);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
tell_rolled(const WeirPartitionRow *partition, Oid segment, int64 lower)
{
	WeirEvent	event = {0};

	event.event = "segment rolled";
	event.stream = partition->stream;
	event.partitions = list_make1_int(partition->number);
	event.cause = "publish";
	event.segment = get_rel_name(segment);
	event.offset = lower;
	weir_event(&event);
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
	tell_rolled(&row, weir_make_segment(partition, last.upper,
										last.upper + options.segment_messages),
				last.upper);
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
 * See to it that there is a committed segment after the last one, or, for a
 * stream of this transaction, any.  WEIR_NO_WORKER: help yourself.
 */
WeirMade
weir_get_next_segment(Oid partition, const WeirSegmentRow *last)
{
	LOCKTAG		tag;
	WeirMade	made = WEIR_MADE;

	if (is_ours_alone(partition))
	{
		weir_make_next_segment(partition, last->lower);
		return WEIR_MADE;
	}
	/* A holder of what the worker would wait for does not wait for it. */
	if (we_hold(partition, ShareUpdateExclusiveLock))
		return WEIR_NO_WORKER;

	maker_tag(&tag, partition);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	WEIR_DEBUG_POINT("maker_locked");
	if (!there_is_one(partition, last) && !make_by_worker(partition, last))
		made = WEIR_NO_WORKER;
	WEIR_DEBUG_POINT("maker_done");
	LockRelease(&tag, ExclusiveLock, false);
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
