/*
 * walk.c
 *		The order theorem, second half: a reader never skips and never
 *		reorders.
 *
 * Walk the heaps of a partition in offset order, from an offset on, with a
 * snapshot S:
 *	- A message visible in S is delivered.
 *	- One that is not visible and whose transaction was in progress as of S is
 *	  undecided and ends the walk.  So does one of the reader's own transaction
 *	  that a later command wrote.
 *	- One that is not visible for any other reason (aborted) is skipped: it can
 *	  never appear.
 * Why nothing can later appear behind a reader: physical order is offset order
 * (append/append.c), so whatever is inserted after the walk has passed lies
 * behind its end; and whatever was there already was seen and decided.  Any
 * transaction that inserts after S was taken is in progress as of S.  This
 * holds beside anything, on a standby too, and only transactions that
 * published into this very partition hold a reader up.
 *
 * The list of segments is read from the rows with a new snapshot as the walk
 * goes: it is never older than S.
 *
 * SERIALIZABLE: the reader takes a predicate lock on the partition, the
 * publisher checks for it (append.c).  At an undecided message the reader goes
 * on to the end of the partition, only to notice whom it did not see.
 *
 * A backward walk starts from an offset below which everything is decided
 * (below the stable end, stable.c); the caller sees to that.
 *
 * Holds while it stands: AccessShare on the segments it saw (to the end of
 * the transaction), one pin; never a content lock.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/subtrans.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "append/tail.h"
#include "base/compat.h"
#include "base/error.h"
#include "catalog/cache.h"
#include "miscadmin.h"
#include "read/passed.h"
#include "read/seek.h"
#include "read/walk.h"
#include "storage/predicate.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

typedef enum Verdict
{
	VISIBLE,
	UNDECIDED,
	NEVER						/* aborted: nobody will ever see it */
} Verdict;

/* ---- one item; the caller holds the page's content lock ---- */

/*
 * A savepoint of ours that was rolled back after the snapshot was taken looks
 * like somebody else's transaction that is in progress.
 */
static bool
is_own_aborted(TransactionId xid)
{
	TransactionId own = GetTopTransactionIdIfAny();

	return TransactionIdIsValid(own) &&
		TransactionIdEquals(SubTransGetTopmostTransaction(xid), own);
}

static Verdict
judge(WeirWalk *walk, HeapTuple tuple, bool all_visible)
{
	HeapTupleHeader header = tuple->t_data;
	TransactionId xmin;
	bool		visible;

	visible = all_visible ||
		HeapTupleSatisfiesVisibility(tuple, walk->snapshot, walk->buffer);
	if (walk->serializable)
		HeapCheckForSerializableConflictOut(visible, walk->rel, tuple,
											walk->buffer, walk->snapshot);
	if (visible)
	{
		if (!HeapTupleHeaderXminCommitted(header) &&
			TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header)))
			walk->own_seen = true;
		return VISIBLE;
	}
	xmin = HeapTupleHeaderGetXmin(header);
	if (TransactionIdIsCurrentTransactionId(xmin))
		return UNDECIDED;
	/* Whatever became of it since: a snapshot reads the same every time. */
	if (XidInMVCCSnapshot(xmin, walk->snapshot) && !is_own_aborted(xmin))
		return UNDECIDED;
	return NEVER;
}

static void
set_tuple(WeirWalk *walk, BlockNumber block, OffsetNumber n)
{
	Page		page = BufferGetPage(walk->buffer);
	ItemId		id = PageGetItemId(page, n);

	walk->tuple.t_data = (HeapTupleHeader) PageGetItem(page, id);
	walk->tuple.t_len = ItemIdGetLength(id);
	walk->tuple.t_tableOid = RelationGetRelid(walk->rel);
	ItemPointerSet(&walk->tuple.t_self, block, n);
}

/* The current item is undecided. */
static void
stop_before(WeirWalk *walk)
{
	if (walk->undecided)
		return;
	walk->undecided = true;
	walk->undecided_xid = HeapTupleHeaderGetXmin(walk->tuple.t_data);
	walk->undecided_ts = weir_tuple_ts(walk->tuple.t_data);
}

/* Is the item in the range of the walk? */
static inline bool
in_range(WeirWalk *walk, int64 offset)
{
	return walk->backward ? offset <= walk->from : offset >= walk->from;
}

/* ---- one page of a heap in order ---- */

static void
read_page(WeirWalk *walk)
{
	bool		all_visible;
	OffsetNumber max;
	Page		page;

	if (BufferIsValid(walk->buffer))
		ReleaseBuffer(walk->buffer);
	walk->nitems = 0;
	walk->item = 0;
	walk->buffer = ReadBufferExtended(walk->rel, MAIN_FORKNUM, walk->block,
									  RBM_NORMAL, walk->strategy);
	LockBuffer(walk->buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(walk->buffer);
	all_visible = PageIsAllVisible(page) && !walk->snapshot->takenDuringRecovery;
	max = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);
	for (OffsetNumber n = FirstOffsetNumber; n <= max; n++)
	{
		if (!ItemIdIsNormal(PageGetItemId(page, n)))
			continue;
		set_tuple(walk, walk->block, n);
		if (!in_range(walk, weir_tuple_offset(walk->tuple.t_data)))
			continue;
		walk->nothing_there = false;
		switch (judge(walk, &walk->tuple, all_visible))
		{
			case VISIBLE:
				if (!walk->undecided)
					walk->items[walk->nitems++] = n;
				break;
			case UNDECIDED:
				stop_before(walk);
				break;
			case NEVER:
				break;
		}
		/* Beyond, a serializable reader goes on only to be noticed. */
		if (walk->undecided && !walk->serializable)
			break;
	}
	if (walk->nitems > 0 || walk->undecided)
		walk->barren = false;
	else if (walk->barren && !walk->backward)
		weir_passed_note(walk->rel, walk->from, walk->block, walk->nblocks,
						 BufferGetLSNAtomic(walk->buffer));
	LockBuffer(walk->buffer, BUFFER_LOCK_UNLOCK);
}

/* Step to the next page that has something; false at the heap's end. */
static bool
next_page(WeirWalk *walk)
{
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (walk->undecided && !walk->serializable)
			return false;
		if (walk->backward)
		{
			if (walk->block == 0)
				return false;
			walk->block--;
		}
		else
		{
			walk->block++;		/* InvalidBlockNumber + 1 is 0 */
			if (walk->block >= walk->nblocks)
				return false;
		}
		read_page(walk);
		if (walk->nitems > 0)
			return true;
	}
}

static bool
next_in_order(WeirWalk *walk)
{
	OffsetNumber n;

	if (walk->item >= walk->nitems && !next_page(walk))
		return false;
	n = walk->backward ? walk->items[walk->nitems - 1 - walk->item] :
		walk->items[walk->item];
	walk->item++;
	set_tuple(walk, walk->block, n);
	return true;
}

/* ---- one item of a heap in any order ---- */

static bool
next_sorted(WeirWalk *walk)
{
	while (walk->backward ? walk->place > 0 : walk->place < walk->sorted->nitems)
	{
		WeirSortedItem *item = &walk->sorted->items[walk->backward ?
													--walk->place :
													walk->place++];
		BlockNumber block = ItemPointerGetBlockNumber(&item->tid);
		OffsetNumber n = ItemPointerGetOffsetNumber(&item->tid);
		Verdict		verdict = NEVER;

		CHECK_FOR_INTERRUPTS();
		if (walk->undecided && !walk->serializable)
			return false;
		walk->buffer = ReleaseAndReadBuffer(walk->buffer, walk->rel, block);
		LockBuffer(walk->buffer, BUFFER_LOCK_SHARE);
		if (ItemIdIsNormal(PageGetItemId(BufferGetPage(walk->buffer), n)))
		{
			set_tuple(walk, block, n);
			walk->nothing_there = false;
			verdict = judge(walk, &walk->tuple, false);
			if (verdict == UNDECIDED)
				stop_before(walk);
		}
		LockBuffer(walk->buffer, BUFFER_LOCK_UNLOCK);
		if (verdict == VISIBLE && !walk->undecided)
			return true;
	}
	return false;
}

/* ---- segments ---- */

static void
leave_segment(WeirWalk *walk)
{
	if (BufferIsValid(walk->buffer))
		ReleaseBuffer(walk->buffer);
	walk->buffer = InvalidBuffer;
	if (walk->rel)
		table_close(walk->rel, NoLock);
	walk->rel = NULL;
	walk->nitems = walk->item = 0;
	if (walk->strategy)
		FreeAccessStrategy(walk->strategy);
	walk->strategy = NULL;
}

static void
place_in_order(WeirWalk *walk)
{
	BlockNumber skip;

	if (walk->backward)
	{
		BlockNumber found = weir_seek_block(walk->rel, walk->nblocks,
											WEIR_SEEK_OFFSET, walk->from);

		/* One past the page to begin with. */
		walk->block = found < walk->nblocks ? found + 1 : walk->nblocks;
	}
	else if (walk->barren &&
			 weir_passed_get(walk->rel, walk->from, walk->nblocks, &skip))
	{
		walk->block = skip;
		walk->nothing_there = false;
	}
	else if (walk->from <= walk->row.lower)
		walk->block = InvalidBlockNumber;
	else
		walk->block = weir_seek_block(walk->rel, walk->nblocks,
									  WEIR_SEEK_OFFSET, walk->from) - 1;
}

/* Open the segment of walk->row and stand before its first item in range. */
static void
enter_segment(WeirWalk *walk)
{
	walk->rel = try_table_open(walk->row.segment, AccessShareLock);
	if (walk->rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_OFFSET_NOT_RETAINED),
				 errmsg("a segment of partition \"%s\" was dropped while it was read",
						get_rel_name(walk->partition)),
				 errdetail("Its messages are no longer retained.")));
	walk->nblocks = RelationGetNumberOfBlocks(walk->rel);
	walk->sorted = NULL;
	/* As for a sequential scan: a long one does not sweep the cache. */
	if (walk->nblocks > (BlockNumber) NBuffers / 4)
	{
		MemoryContext old = MemoryContextSwitchTo(walk->context);

		walk->strategy = GetAccessStrategy(BAS_BULKREAD);
		MemoryContextSwitchTo(old);
	}
	if (!weir_heap_lookup(walk->rel)->verified)
	{
		walk->sorted = weir_sorted_get(walk->rel);
		if (walk->sorted->in_order)
			walk->sorted = NULL;
	}
	if (walk->sorted == NULL)
		place_in_order(walk);
	else
		walk->place = weir_sorted_find(walk->sorted,
									   walk->backward ? walk->from + 1 : walk->from);
}

static bool
find_segment(WeirWalk *walk)
{
	if (!walk->started)
	{
		walk->started = true;
		return weir_segment_at(walk->partition, walk->from, &walk->row) ||
			(!walk->backward &&
			 weir_segment_next(walk->partition, -1, &walk->row));
	}
	if (walk->backward)
		return walk->row.lower > 0 &&
			weir_segment_at(walk->partition, walk->row.lower - 1, &walk->row);
	return weir_segment_next(walk->partition, walk->row.lower, &walk->row);
}

/* ---- the walk ---- */

/*
 * Start a walk; the caller holds AccessShare on the stream and the partition,
 * and the snapshot is registered or active for as long as the walk stands.
 */
void
weir_walk_begin(WeirWalk *walk, Oid partition, Snapshot snapshot, int64 from,
				bool backward)
{
	memset(walk, 0, offsetof(WeirWalk, items));
	walk->context = CurrentMemoryContext;
	walk->partition = partition;
	walk->snapshot = snapshot;
	walk->backward = backward;
	walk->from = from;
	walk->last = backward ? PG_INT64_MAX : -1;
	walk->buffer = InvalidBuffer;
	walk->nothing_there = true;
	walk->barren = true;
	walk->serializable = IsolationIsSerializable() && !RecoveryInProgress();
	if (walk->serializable)
	{
		Relation	rel = relation_open(partition, NoLock);

		PredicateLockRelation(rel, snapshot);
		relation_close(rel, NoLock);
	}
}

static void
check_order(WeirWalk *walk)
{
	bool		good = walk->backward ? walk->offset < walk->last :
		walk->offset > walk->last;

	if (unlikely(!good || walk->offset < walk->row.lower ||
				 walk->offset >= walk->row.upper))
		ereport(ERROR,
				(errcode(ERRCODE_WEIR_ORDER_VIOLATED),
				 errmsg("offset " INT64_FORMAT " in segment \"%s\" is out of order",
						walk->offset, RelationGetRelationName(walk->rel)),
				 errhint("Run stream_check() on the stream, then stream_repair().")));
	walk->last = walk->offset;
}

/* Step to the next message; false at the end. */
bool
weir_walk_next(WeirWalk *walk)
{
	while (!walk->finished)
	{
		if (walk->rel == NULL)
		{
			if (!find_segment(walk))
				break;
			enter_segment(walk);
		}
		if (walk->sorted ? next_sorted(walk) : next_in_order(walk))
		{
			walk->offset = weir_tuple_offset(walk->tuple.t_data);
			walk->barren = false;
			check_order(walk);
			return true;
		}
		leave_segment(walk);
		if (walk->undecided && !walk->serializable)
			break;
	}
	walk->finished = true;
	return false;
}

void
weir_walk_end(WeirWalk *walk)
{
	leave_segment(walk);
	walk->finished = true;
}
