/*
 * stable.c
 *		The ends of a partition.
 *
 * The stable end is one more than the greatest visible offset below the first
 * undecided one.  Nothing stores a greater number: what lies beyond may be
 * rolled back, forgotten by VACUUM and given again to other messages.
 *
 * To find it without walking the whole partition we need a place before
 * which everything is decided.  Two things tell one:
 *
 * A hint in shared memory: the greatest visible message that somebody found
 * below the first undecided one, with the transactions that were in progress
 * for him.  It applies to every snapshot to which no other transaction that
 * had begun then is in progress.  A visible message stays in its file.
 *
 * Else the LSNs of pages.  Publishers and readers record now and then a pair
 * (LSN, next xid), in that order: whatever was inserted up to that LSN had
 * its xid before, so below that next xid.  If the snapshot's xmin is at least
 * that, every such transaction is decided.  A page whose LSN is at most that
 * of the pair was last touched before it, so all on it is decided; and as
 * physical order is the order of insertion, all before it too.  So: walk back
 * to the first such page.  (Page LSN zero says nothing; heaps of unverified
 * order are passed over.)
 *
 * From that place an ordinary forward walk finds the end.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "append/tail.h"
#include "base/compat.h"
#include "base/shmem.h"
#include "miscadmin.h"
#include "read/sorted.h"
#include "read/stable.h"
#include "read/walk.h"
#include "storage/bufmgr.h"
#include "storage/spin.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* ---- the hint ---- */

/*
 * The transactions in progress as of a snapshot, without subtransactions (on
 * a standby with those that are known).  The reader's own is not among them.
 */
static const TransactionId *
xids_of(Snapshot snapshot, uint32 *n)
{
	*n = snapshot->takenDuringRecovery ? (uint32) snapshot->subxcnt :
		snapshot->xcnt;
	return snapshot->takenDuringRecovery ? snapshot->subxip : snapshot->xip;
}

/*
 * Is everything that was decided for the hint's snapshot decided for this
 * one?  It is if each transaction that this one sees in progress was so for
 * the other one as well, or had not begun.  (A subtransaction is in progress
 * as long as its parent is, or it has aborted.)
 */
static bool
applies_to(const WeirStableHint *hint, Snapshot snapshot)
{
	uint32		n;
	const TransactionId *xids = xids_of(snapshot, &n);

	if (TransactionIdPrecedes(snapshot->xmax, hint->xmax))
		return false;
	for (uint32 i = 0; i < n; i++)
	{
		bool		found = TransactionIdFollowsOrEquals(xids[i], hint->xmax);

		for (uint32 j = 0; j < hint->nxids && !found; j++)
			found = hint->xids[j] == xids[i];
		if (!found)
			return false;
	}
	return true;
}

/* The offset from which to walk, by the hint; -1 if it does not apply. */
static int64
from_hint(WeirPartition *partition, Snapshot snapshot)
{
	WeirAppendSlot *slot = partition->slot;
	WeirStableHint hint;
	WeirSegmentRow row;
	Relation	rel;
	bool		same;

	SpinLockAcquire(&slot->mutex);
	hint = slot->hint;
	SpinLockRelease(&slot->mutex);
	if (hint.database != MyDatabaseId || !applies_to(&hint, snapshot) ||
		!weir_segment_get(hint.segment, &row) ||
		row.partition != partition->oid)
		return -1;
	rel = try_table_open(hint.segment, AccessShareLock);
	if (rel == NULL)
		return -1;
	same = weir_file_number(rel) == hint.file_number;
	table_close(rel, AccessShareLock);
	return same ? hint.offset + 1 : -1;
}

/* Remember the message on which a walk stands. */
static void
note_message(WeirStableHint *found, WeirWalk *walk)
{
	found->database = MyDatabaseId;
	found->segment = RelationGetRelid(walk->rel);
	found->file_number = weir_file_number(walk->rel);
	found->offset = walk->offset;
}

/* Our own messages are not stable yet: the caller leaves those out. */
static void
set_hint(WeirPartition *partition, Snapshot snapshot, WeirStableHint *found)
{
	WeirAppendSlot *slot = partition->slot;
	TransactionId own = GetTopTransactionIdIfAny();
	uint32		n;
	const TransactionId *xids = xids_of(snapshot, &n);

	if (n + 1 > WEIR_HINT_XIDS)
		return;
	found->xmax = snapshot->xmax;
	found->nxids = n;
	memcpy(found->xids, xids, n * sizeof(TransactionId));
	if (TransactionIdIsValid(own))
		found->xids[found->nxids++] = own;
	SpinLockAcquire(&slot->mutex);
	slot->hint = *found;
	SpinLockRelease(&slot->mutex);
}

/* ---- the LSNs ---- */

static bool
page_is_before(Relation rel, BlockNumber block, XLogRecPtr horizon)
{
	Buffer		buffer = ReadBuffer(rel, block);
	XLogRecPtr	lsn;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	lsn = BufferGetLSNAtomic(buffer);
	UnlockReleaseBuffer(buffer);
	return !XLogRecPtrIsInvalid(lsn) && lsn <= horizon;
}

/* The first offset on a page that has one, at or before a block; -1: none. */
static int64
first_offset_before(Relation rel, BlockNumber block)
{
	int64		offset = -1;

	for (block++; block-- > 0 && offset < 0;)
	{
		Buffer		buffer = ReadBuffer(rel, block);
		Page		page;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		for (OffsetNumber n = FirstOffsetNumber;
			 !PageIsNew(page) && n <= PageGetMaxOffsetNumber(page) && offset < 0;
			 n++)
		{
			ItemId		id = PageGetItemId(page, n);

			if (ItemIdIsNormal(id))
				offset = weir_tuple_offset((HeapTupleHeader) PageGetItem(page, id));
		}
		UnlockReleaseBuffer(buffer);
	}
	return offset;
}

/*
 * The greatest offset found below which everything is decided, by the LSNs
 * of pages; -1 if there is none.
 */
static int64
from_lsn(WeirPartition *partition, Snapshot snapshot)
{
	XLogRecPtr	horizon = weir_horizon_before(snapshot->xmin);
	WeirSegmentRow row;
	int64		below = PG_INT64_MAX;
	int64		from = -1;

	if (XLogRecPtrIsInvalid(horizon))
		return -1;
	while (from < 0 && weir_segment_at(partition->oid, below, &row))
	{
		Relation	rel = try_table_open(row.segment, AccessShareLock);

		if (rel != NULL && weir_heap_lookup(rel)->verified &&
			RelationNeedsWAL(rel))
		{
			BlockNumber block = RelationGetNumberOfBlocks(rel);

			while (block-- > 0 && from < 0)
			{
				CHECK_FOR_INTERRUPTS();
				if (page_is_before(rel, block, horizon))
				{
					from = first_offset_before(rel, block);
					break;
				}
			}
		}
		if (rel != NULL)
			table_close(rel, AccessShareLock);
		if (row.lower == 0)
			break;
		below = row.lower - 1;
	}
	return from;
}

/*
 * One more than the greatest visible offset below one, everything there being
 * decided; 0 if there is none.
 */
static int64
end_before(WeirPartition *partition, Snapshot snapshot, int64 offset,
		   WeirStableHint *found)
{
	WeirWalk	back;
	int64		end = 0;

	if (offset <= 0)
		return 0;
	weir_walk_begin(&back, partition->oid, snapshot, offset - 1, true);
	if (weir_walk_next(&back))
	{
		end = back.offset + 1;
		if (!back.own_seen)
			note_message(found, &back);
	}
	weir_walk_end(&back);
	return end;
}

/* ---- the ends ---- */

/*
 * The stable end of a partition for a snapshot.  The caller holds AccessShare
 * on stream and partition.
 */
int64
weir_stable_end(WeirPartition *partition, Snapshot snapshot)
{
	WeirStableHint found = {0};
	WeirWalk	walk;
	int64		from = from_hint(partition, snapshot);
	int64		start;
	int64		end;

	weir_horizon_sample(GetCurrentTimestamp());
	if (from > 0)
		end = from;
	else
	{
		from = Max(from_lsn(partition, snapshot), 0);
		end = end_before(partition, snapshot, from, &found);
	}

	weir_walk_begin(&walk, partition->oid, snapshot, from, false);
	while (weir_walk_next(&walk))
	{
		end = walk.offset + 1;
		if (!walk.own_seen)
			note_message(&found, &walk);
	}
	weir_walk_end(&walk);
	if (OidIsValid(found.database))
		set_hint(partition, snapshot, &found);
	start = weir_start_offset(partition);
	return Max(end, start);
}

/* What was dropped ends here; nothing below is retained. */
int64
weir_start_offset(WeirPartition *partition)
{
	WeirPartitionRow row;

	if (!weir_partition_get(partition->oid, &row))
		elog(ERROR, "partition %u has no row", partition->oid);
	return row.start_offset;
}

/*
 * The offset that the next message would get now.  Only a forecast: another
 * publisher may be first, and a rollback with a VACUUM takes it back.
 */
int64
weir_next_offset(WeirPartition *partition)
{
	WeirSegmentRow row;
	int64		below = PG_INT64_MAX;
	int64		next = -1;

	while (next < 0 && weir_segment_at(partition->oid, below, &row))
	{
		Relation	rel = try_table_open(row.segment, AccessShareLock);
		BlockNumber nblocks = rel ? RelationGetNumberOfBlocks(rel) : 0;

		if (nblocks > 0)
		{
			WeirTail	tail;

			if (!weir_heap_lookup(rel)->verified &&
				!weir_sorted_get(rel)->in_order)
				next = row.upper;
			else
			{
				weir_tail_read(rel, nblocks, &tail);
				ReleaseBuffer(tail.buffer);
				next = tail.found ? tail.offset + 1 : row.lower;
			}
		}
		if (rel)
			table_close(rel, AccessShareLock);
		below = row.lower - 1;
	}
	/* Not a block anywhere: the first segment is the open one. */
	return next >= 0 ? next : below + 1;
}
