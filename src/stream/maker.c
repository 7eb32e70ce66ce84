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
 *	  the segment before the commit: right for a full segment (the others
 *	  need the next one too, and wait for ShareUpdateExclusive on the
 *	  partition), wrong for an early roll, where the others would go on
 *	  behind our messages.  So an early roll is inline only for a stream that
 *	  nobody else can see, and is otherwise put off.
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

/* Is the partition from this transaction, so that nobody else sees it? */
static bool
is_ours_alone(Oid partition, bool *we_block)
{
	Relation	rel = relation_open(partition, NoLock);
	bool		ours = rel->rd_createSubid != InvalidSubTransactionId;

	*we_block = CheckRelationLockedByMe(rel, ShareUpdateExclusiveLock, true);
	relation_close(rel, NoLock);
	return ours;
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

static WeirMade
make_inline(Oid partition, const WeirSegmentRow *last, bool allowed)
{
	if (!allowed)
		return WEIR_NOT_MADE;
	weir_make_next_segment(partition, last->lower);
	return WEIR_MADE;
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
 * See to it that there is a segment after the last one.  must: the last one
 * cannot take another message; else the roll is early and may be put off.
 */
WeirMade
weir_get_next_segment(Oid partition, const WeirSegmentRow *last, bool must)
{
	LOCKTAG		tag;
	WeirMade	made = WEIR_MADE;
	bool		we_block;
	bool		ours = is_ours_alone(partition, &we_block);

	/* A holder of what other makers wait for does not queue behind them. */
	if (ours || we_block)
		return make_inline(partition, last, ours || must);

	maker_tag(&tag, partition);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	WEIR_DEBUG_POINT("maker_locked");
	if (!there_is_one(partition, last) && !make_by_worker(partition, last))
		made = make_inline(partition, last, must);
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
