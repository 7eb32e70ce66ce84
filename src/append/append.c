/*
 * append.c
 *		The order theorem, first half: physical order is offset order.
 *
 * A publisher takes the append lock of the partition, exclusively and only
 * while it inserts, never to its commit.  Under it, it learns the next offset
 * from the tail of the open segment, writes its messages with consecutive
 * offsets at the physical end, and lets go.  So the messages of a partition
 * lie in its heaps in the order of their offsets, whoever wrote them and in
 * whichever order the writers commit; writers overlap in everything but the
 * insertion itself.  read/walk.c is the second half.
 *
 * What the proof leans on:
 *	- The target block is the last page, and the free space map is not asked.
 *	- A page on which a line pointer is not LP_NORMAL gets nothing any more: a
 *	  fresh page is added.  The tail page is pinned until we are done.
 *	- A BulkInsertState lives inside one hold: it prefers its own current page
 *	  over the target block.
 *	- Whoever finds the segment that it is about to write without a block bumps
 *	  the roll counter before it extends it.  Equal counters mean that our
 *	  target still is the open segment (target.c).
 *	- The segment's file is known to be in order (target.c opens no other).
 *
 * The append lock is an LWLock: cancel, lock_timeout and the deadlock
 * detector do not work while it is held or waited for.  So everything that
 * may wait or fail comes before (converting values, compressing them, xid,
 * locks on heap, TOAST table and its index) or after (index entries, where a
 * unique index waits for other transactions).  Under it there is no catalog
 * access, no user code, no second append lock, no AcceptInvalidationMessages,
 * and one hold is at most WEIR_HOLD_MESSAGES or WEIR_HOLD_BYTES, or one larger
 * message.
 *
 * Lock order: stream, partition, segment (RowExclusive), next and previous
 * segment (AccessShare), TOAST table and index (RowExclusive); append lock;
 * relation extension lock; buffer locks.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "append/append.h"
#include "append/index.h"
#include "append/notify.h"
#include "append/tail.h"
#include "append/target.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/guc.h"
#include "base/watch.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* How a hold of the append lock ended. */
typedef enum HoldResult
{
	HOLD_DONE,					/* appended some, maybe not all */
	HOLD_STALE,					/* our target is not the open segment */
	HOLD_FULL,					/* the segment takes no more */
	HOLD_EARLY,					/* the segment is to be left before it is full */
	HOLD_MISMATCH,				/* the next offset is not the expected one */
	HOLD_DISORDER				/* the tail is outside of the bounds */
} HoldResult;

typedef struct Hold
{
	WeirStream *stream;
	WeirPartition *partition;
	WeirOpenTarget open;
	Relation	toast;			/* NULL, or locked with its indexes */
	HeapTuple  *tuples;
	int			ntuples;
	int64		expected;
	int64		first;			/* out: the offset of the first one */
	int			done;			/* out: how many were appended */
	uint64		bytes;			/* out: of the segment before it, if looked at */
	WeirReached reached;		/* out: by the segment */
} Hold;

/*
 * Envelopes for heap_multi_insert.  They are kept from call to call and only
 * point at tuples that belong to somebody else; they are never cleared, so
 * what an error leaves in them is harmless.
 */
static TupleTableSlot *envelopes[WEIR_HOLD_MESSAGES];
static int	nenvelopes = 0;

static void
make_envelopes(int n)
{
	static TupleDesc empty = NULL;
	MemoryContext old;

	if (likely(n <= nenvelopes))
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	if (empty == NULL)
		empty = CreateTemplateTupleDesc(0);
	while (nenvelopes < n)
	{
		envelopes[nenvelopes] = MakeTupleTableSlot(empty, &TTSOpsHeapTuple);
		nenvelopes++;
	}
	MemoryContextSwitchTo(old);
}

static inline void
fill_envelope(TupleTableSlot *slot, HeapTuple tuple)
{
	((HeapTupleTableSlot *) slot)->tuple = tuple;
	/* "Free it yourself" is what keeps it from being copied. */
	slot->tts_flags = TTS_FLAG_SHOULDFREE;
	slot->tts_nvalid = 0;
}

/* ---- under the append lock ---- */

/*
 * The end of the partition: the next offset and the least time that the next
 * message may have.  An empty segment begins with its lower bound; its time
 * goes on from the one before it.
 */
static HoldResult
find_end(Hold *hold, BlockNumber nblocks, WeirTail *tail)
{
	WeirTarget *target = &hold->partition->target;
	Relation	previous = hold->open.previous;
	BlockNumber previous_blocks;

	memset(tail, 0, sizeof(WeirTail));
	if (nblocks > 0)
	{
		weir_tail_read(hold->open.segment, nblocks, tail);
		if (likely(tail->found))
		{
			if (tail->offset < target->lower || tail->offset >= target->upper)
				return HOLD_DISORDER;
			return HOLD_DONE;
		}
	}
	/* It had a message when we looked for the target, and has none now. */
	if (!target->looked_back)
		return HOLD_STALE;
	if (previous && target->previous_ts == 0 &&
		(previous_blocks = RelationGetNumberOfBlocks(previous)) > 0)
	{
		WeirTail	before;

		weir_tail_read(previous, previous_blocks, &before);
		ReleaseBuffer(before.buffer);
		tail->ts = before.ts;
	}
	else
		tail->ts = target->previous_ts;
	tail->offset = target->lower - 1;
	return HOLD_DONE;
}

/* Is the segment to be left although it has room? */
static bool
is_due(Hold *hold, BlockNumber nblocks, int64 now)
{
	WeirOptions *options = &hold->stream->options;
	WeirTarget *target = &hold->partition->target;
	uint64		blocks = nblocks;

	if (nblocks == 0 || hold->expected != WEIR_ANY_OFFSET ||
		now < target->stay_until)
		return false;
	if (hold->toast)
		blocks += RelationGetNumberOfBlocks(hold->toast);
	hold->bytes = blocks * BLCKSZ;
	if (hold->bytes >= (uint64) options->segment_bytes)
		return true;
	return options->segment_age > 0 && target->first_ts != 0 &&
		now - target->first_ts >= options->segment_age;
}

/* What the keeper may want to know of the segment, after an insertion. */
static WeirReached
reached_by(Hold *hold, BlockNumber nblocks)
{
	WeirTarget *target = &hold->partition->target;
	int64		used = hold->first + hold->done - target->lower;

	if (!OidIsValid(target->next) &&
		(used >= (target->upper - target->lower + 1) / 2 ||
		 hold->bytes >= (uint64) hold->stream->options.segment_bytes / 2))
		return WEIR_REACHED_HALF;
	/* All of the first page: whoever was first may be rolled back. */
	return nblocks <= 1 && target->lower > 0 ? WEIR_REACHED_BEGIN :
		WEIR_REACHED_NOTHING;
}

/* Write the messages behind the end. */
static void
write_messages(Hold *hold, BlockNumber nblocks, WeirTail *tail, int64 ts)
{
	Relation	segment = hold->open.segment;
	BulkInsertState bistate = NULL;
	Buffer		fresh = InvalidBuffer;

	for (int i = 0; i < hold->done; i++)
	{
		HeapTupleHeader tuple = hold->tuples[i]->t_data;
		int64		offset = hold->first + i;

		memcpy((char *) tuple + tuple->t_hoff + WEIR_AT_OFFSET, &offset,
			   sizeof(offset));
		memcpy((char *) tuple + tuple->t_hoff + WEIR_AT_TS, &ts, sizeof(ts));
		fill_envelope(envelopes[i], hold->tuples[i]);
	}

	if (nblocks == 0)
	{
		pg_atomic_fetch_add_u64(&hold->partition->slot->rolls, 1);
		RelationSetTargetBlock(segment, InvalidBlockNumber);
	}
	else if (tail->closed)
	{
		fresh = weir_extend_by_one_page(segment);
		RelationSetTargetBlock(segment, BufferGetBlockNumber(fresh));
	}
	else
		RelationSetTargetBlock(segment, nblocks - 1);

	if (hold->done > 1)
		bistate = GetBulkInsertState();
	table_multi_insert(segment, envelopes, hold->done,
					   GetCurrentCommandId(true), TABLE_INSERT_SKIP_FSM,
					   bistate);
	if (bistate)
		FreeBulkInsertState(bistate);
	if (BufferIsValid(fresh))
		ReleaseBuffer(fresh);
	for (int i = 0; i < hold->done; i++)
		hold->tuples[i]->t_self = envelopes[i]->tts_tid;
}

/* What happens under the append lock. */
static HoldResult
append_locked(Hold *hold, int64 *now)
{
	WeirTarget *target = &hold->partition->target;
	BlockNumber nblocks;
	WeirTail	tail;
	HoldResult	result;

	if (pg_atomic_read_u64(&hold->partition->slot->rolls) != target->rolls)
		return HOLD_STALE;
	if (hold->open.next && RelationGetNumberOfBlocks(hold->open.next) > 0)
		return HOLD_STALE;

	*now = GetCurrentTimestamp();
	nblocks = RelationGetNumberOfBlocks(hold->open.segment);
	result = find_end(hold, nblocks, &tail);
	hold->first = tail.offset + 1;
	if (result != HOLD_DONE)
		;
	else if (hold->first >= target->upper)
		result = HOLD_FULL;
	else if (is_due(hold, nblocks, *now))
		result = HOLD_EARLY;
	else if (hold->expected != WEIR_ANY_OFFSET && hold->first != hold->expected)
		result = HOLD_MISMATCH;
	else
	{
		hold->done = Min(hold->ntuples, target->upper - hold->first);
		write_messages(hold, nblocks, &tail, Max(*now, tail.ts));
		if (nblocks == 0)
		{
			/* Our own bump, under the lock: the target stays good. */
			target->rolls = pg_atomic_read_u64(&hold->partition->slot->rolls);
			target->first_ts = Max(*now, tail.ts);
		}
		hold->reached = reached_by(hold, nblocks);
	}
	if (BufferIsValid(tail.buffer))
		ReleaseBuffer(tail.buffer);
	return result;
}

static void
note_hold(WeirAppendSlot *slot, instr_time start)
{
	instr_time	end;
	uint64		us;
	uint64		longest = pg_atomic_read_u64(&slot->longest_hold_us);

	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	us = (uint64) INSTR_TIME_GET_MICROSEC(end);
	while (us > longest &&
		   !pg_atomic_compare_exchange_u64(&slot->longest_hold_us, &longest, us))
		;
}

static HoldResult
append_once(Hold *hold)
{
	WeirAppendSlot *slot = hold->partition->slot;
	instr_time	start;
	HoldResult	result;
	int64		now = 0;

	hold->done = 0;
	hold->bytes = 0;
	hold->reached = WEIR_REACHED_NOTHING;
	for (int i = 0; i < hold->ntuples; i++)
		Assert(!HeapTupleHasExternal(hold->tuples[i]));
	make_envelopes(hold->ntuples);
	(void) GetCurrentTransactionId();
	weir_note_messages(hold->partition->slot_number);
	weir_notify_at_commit(hold->stream->oid, hold->partition->number);
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	if (unlikely(weir_track_append_hold))
		INSTR_TIME_SET_CURRENT(start);
	result = append_locked(hold, &now);
	if (unlikely(weir_track_append_hold))
		note_hold(slot, start);
	LWLockRelease(&slot->lock);
	if (result == HOLD_DONE)
	{
		weir_horizon_sample(now);
		weir_target_reached(hold->partition, hold->reached);
	}
	return result;
}

/* ---- around it ---- */

/*
 * Lock what storing large values will need, so that under the append lock it
 * is there already.
 */
static Relation
open_toast(Relation segment)
{
	Relation	toast;
	List	   *indexes;
	ListCell   *lc;

	if (!OidIsValid(segment->rd_rel->reltoastrelid))
		return NULL;
	toast = table_open(segment->rd_rel->reltoastrelid, RowExclusiveLock);
	indexes = RelationGetIndexList(toast);
	foreach(lc, indexes)
		index_close(index_open(lfirst_oid(lc), RowExclusiveLock), NoLock);
	list_free(indexes);
	return toast;
}

static void
report(Hold *hold, HoldResult result)
{
	const char *stream = get_rel_name(hold->stream->oid);

	if (result == HOLD_MISMATCH)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_MISMATCH),
				 errmsg("next offset of partition %d of stream \"%s\" is "
						INT64_FORMAT ", not " INT64_FORMAT,
						hold->partition->number, stream, hold->first,
						hold->expected),
				 errhint("Another publisher was there: read what it wrote and try again.")));
	ereport(ERROR,
			(errcode(ERRCODE_WEIR_ORDER_VIOLATED),
			 errmsg("segment \"%s\" of stream \"%s\" ends with offset "
					INT64_FORMAT ", which is outside of its bounds",
					RelationGetRelationName(hold->open.segment), stream,
					hold->first - 1),
			 errhint("Run stream_check('%s').", stream)));
}

/* Messages that fit one hold, and whether any of them needs TOAST. */
static int
size_of_hold(HeapTuple *tuples, int ntuples, bool *large)
{
	Size		bytes = 0;
	int			n = 0;

	*large = false;
	while (n < ntuples && n < WEIR_HOLD_MESSAGES)
	{
		bytes += tuples[n]->t_len;
		if (n > 0 && bytes > WEIR_HOLD_BYTES)
			break;
		*large |= tuples[n]->t_len > TOAST_TUPLE_THRESHOLD;
		n++;
	}
	return n;
}

static void
add_run(WeirRuns *runs, int partition, int64 first, int64 count)
{
	WeirRun    *last = runs->nruns > 0 ? &runs->runs[runs->nruns - 1] : NULL;

	if (last && last->partition == partition &&
		last->first + last->count == first)
	{
		last->count += count;
		return;
	}
	if (runs->nruns == runs->nalloc)
	{
		runs->nalloc *= 2;
		runs->runs = repalloc(runs->runs, runs->nalloc * sizeof(WeirRun));
	}
	runs->runs[runs->nruns++] = (WeirRun) {partition, first, count};
}

/* A conflict check that comes before the insertion could miss a reader. */
static void
check_serializable(WeirPartition *partition)
{
	if (IsolationIsSerializable())
	{
		Relation	rel = relation_open(partition->oid, NoLock);

		CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);
		relation_close(rel, NoLock);
	}
}

/* One hold, with all that belongs before and after it. */
static HoldResult
append_some(Hold *hold)
{
	HoldResult	result;
	bool		large;
	int			all = hold->ntuples;

	weir_target_open(hold->stream, hold->partition, &hold->open);
	hold->ntuples = size_of_hold(hold->tuples, all, &large);
	hold->toast = large ? open_toast(hold->open.segment) : NULL;
	WEIR_DEBUG_POINT("append_before_lock");
	result = append_once(hold);
	WEIR_DEBUG_POINT("append_after_lock");
	if (result == HOLD_DONE)
	{
		check_serializable(hold->partition);
		weir_insert_index_entries(hold->open.segment, hold->tuples, hold->done);
	}
	else if (result == HOLD_MISMATCH || result == HOLD_DISORDER)
		report(hold, result);
	if (hold->toast)
		table_close(hold->toast, NoLock);
	weir_target_close(&hold->open);
	hold->ntuples = all;
	return result;
}

/*
 * Append messages to a partition, in the order given.  The tuples are formed
 * over the stream's columns; their offset and ts are filled in here.  The
 * caller holds RowExclusive on stream and partition.  With an expected
 * offset the first message gets that one, or nothing is appended.
 */
void
weir_append(WeirStream *stream, WeirPartition *partition, HeapTuple *tuples,
			int ntuples, int64 expected, WeirRuns *runs)
{
	Hold		hold = {0};

	hold.stream = stream;
	hold.partition = partition;
	hold.tuples = tuples;
	hold.ntuples = ntuples;
	hold.expected = expected;
	while (hold.ntuples > 0)
	{
		CHECK_FOR_INTERRUPTS();
		switch (append_some(&hold))
		{
			case HOLD_DONE:
				add_run(runs, partition->number, hold.first, hold.done);
				hold.tuples += hold.done;
				hold.ntuples -= hold.done;
				hold.expected = WEIR_ANY_OFFSET;
				break;
			case HOLD_STALE:
				weir_target_leave(stream, partition, WEIR_LEAVE_NOT);
				break;
			case HOLD_FULL:
				weir_target_leave(stream, partition, WEIR_LEAVE_FULL);
				break;
			case HOLD_EARLY:
				weir_target_leave(stream, partition, WEIR_LEAVE_EARLY);
				break;
			case HOLD_MISMATCH:
			case HOLD_DISORDER:
				break;			/* reported */
		}
	}
}
