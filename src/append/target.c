/*
 * target.c
 *		The segment that a publisher appends to.
 *
 * The open segment of a partition is the last one that has a block, else the
 * first one.  A publisher remembers where it found it, together with the roll
 * counter as it was *before* it looked.  Under the append lock (append.c) an
 * equal counter says that nobody has begun another segment since, so the
 * answer still holds; with another one it comes back here.
 *
 * Here we look at the rows of weir.segment with a new snapshot, never into a
 * cache: a commit is visible before its invalidations are sent, and whoever
 * began a segment had seen its row before he bumped the counter.
 *
 * A heap whose order is not verified is never appended to.  If it is small, a
 * worker verifies it first, so that a restored stream goes on where it was;
 * else the partition rolls to the next segment.
 *
 * The keeper is woken for a partition by whoever begins a segment, since the
 * ones before it may now go, and by each publisher that finds it half full
 * with none behind it, so that the next one is there in time.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "append/honour.h"
#include "append/tail.h"
#include "append/target.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/slots.h"
#include "catalog/tables.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "stream/maker.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* Heaps up to this size are verified before a publish, larger ones left. */
#define VERIFY_BLOCKS		((BlockNumber) (64 * 1024 * 1024 / BLCKSZ))

/* How long an early roll that could not be is put off, in microseconds. */
#define PUT_OFF				INT64CONST(1000000)

typedef struct Candidate
{
	WeirSegmentRow row;
	BlockNumber nblocks;
	bool		verified;
	bool		exists;
} Candidate;

/* Look at a segment, holding a lock only meanwhile. */
static Candidate
look_at(const WeirSegmentRow *row)
{
	Candidate	c = {*row, 0, false, false};
	Relation	rel = try_table_open(row->segment, AccessShareLock);

	if (rel != NULL)
	{
		c.exists = true;
		c.nblocks = RelationGetNumberOfBlocks(rel);
		c.verified = weir_heap_lookup(rel)->verified;
		table_close(rel, AccessShareLock);
	}
	return c;
}

/*
 * The open segment, by the rows.  False if a segment was dropped meanwhile; its
 * row went in the same transaction, so one that is still there is damage.
 */
static bool
find_open(Oid partition, Candidate *open)
{
	WeirSegmentRow row;
	int64		below = PG_INT64_MAX;

	open->exists = false;
	while (weir_segment_at(partition, below, &row))
	{
		*open = look_at(&row);
		if (!open->exists)
		{
			if (weir_segment_get(row.segment, &row))
				ereport(ERROR,
						(errcode(ERRCODE_DATA_CORRUPTED),
						 errmsg("a recorded segment of partition \"%s\" has no table",
								get_rel_name(partition)),
						 errhint("Run stream_check(), then stream_adopt() on the stream.")));
			return false;
		}
		if (open->nblocks > 0 || row.lower == 0)
			break;
		below = row.lower - 1;
	}
	if (!open->exists)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("partition \"%s\" has no segment",
						get_rel_name(partition))));
	return true;
}

/*
 * A segment without a message goes on from the time of the last one that has
 * some.  In an unverified heap the last item does not tell the greatest time.
 */
static void
look_back(WeirTarget *target, Oid partition)
{
	WeirSegmentRow row;
	Relation	rel = try_table_open(target->segment, AccessShareLock);
	int64		ts = rel ? weir_first_ts(rel) : 0;
	int64		below = target->lower - 1;

	if (rel)
		table_close(rel, AccessShareLock);
	target->looked_back = ts == 0;
	while (ts == 0 && weir_segment_at(partition, below, &row))
	{
		rel = try_table_open(row.segment, AccessShareLock);
		if (rel && (ts = weir_first_ts(rel)) != 0)
		{
			target->previous = row.segment;
			if (!weir_heap_lookup(rel)->verified)
				target->previous_ts = weir_greatest_ts(rel);
		}
		if (rel)
			table_close(rel, AccessShareLock);
		below = row.lower - 1;
	}
}

static void
set_target(WeirPartition *partition, uint64 rolls, const WeirSegmentRow *row,
		   Oid next)
{
	WeirTarget *target = &partition->target;

	memset(target, 0, sizeof(WeirTarget));
	target->rolls = rolls;
	target->segment = row->segment;
	target->lower = row->lower;
	target->upper = row->upper;
	target->next = next;
	look_back(target, partition->oid);
	target->known = true;
}

/* Does a segment hold its last offset? */
static bool
is_full(const WeirSegmentRow *row)
{
	Relation	rel = try_table_open(row->segment, AccessShareLock);
	BlockNumber nblocks = rel ? RelationGetNumberOfBlocks(rel) : 0;
	WeirTail	tail = {0};

	if (nblocks > 0)
	{
		weir_tail_read(rel, nblocks, &tail);
		ReleaseBuffer(tail.buffer);
	}
	if (rel)
		table_close(rel, AccessShareLock);
	return tail.found && tail.offset == row->upper - 1;
}

/*
 * Make the segment after the last one ourselves; stream/maker.c says why it
 * takes this lock.  open is where messages would go on otherwise; false if it
 * has room again.
 */
static bool
make_inline(WeirPartition *partition, const Candidate *open,
			const WeirSegmentRow *last)
{
	LockRelationOid(open->row.segment, ShareUpdateExclusiveLock);
	if (open->verified && !is_full(&open->row))
		return false;
	weir_make_next_segment(partition->oid, last->lower);
	return true;
}

/* Can this segment be appended to, as soon as a worker has verified it? */
static bool
is_usable(const Candidate *c)
{
	return c->exists &&
		(c->verified ||
		 (c->nblocks <= VERIFY_BLOCKS && weir_get_verified(&c->row)));
}

/*
 * The first usable segment after one.  *last becomes the last one there is, if
 * none is.
 */
static bool
next_usable(WeirPartition *partition, WeirSegmentRow *last,
			WeirSegmentRow *usable)
{
	while (weir_segment_next(partition->oid, last->lower, usable))
	{
		Candidate	c = look_at(usable);

		if (is_usable(&c))
			return true;
		*last = *usable;
	}
	return false;
}

/*
 * Find the segment to append to.  left is the one that the caller found too
 * full or old (InvalidOid: none): if that is still the open one, the target
 * is the one after it, made if need be.
 */
static void
find_target(WeirPartition *partition, Oid left, WeirLeave leave)
{
	for (;;)
	{
		uint64		rolls = pg_atomic_read_u64(&partition->slot->rolls);
		Candidate	open;
		WeirSegmentRow last;
		WeirSegmentRow target;
		WeirSegmentRow next;
		bool		early;

		CHECK_FOR_INTERRUPTS();
		pg_memory_barrier();	/* the counter first, then the rows */
		WEIR_DEBUG_POINT("target_looking");
		if (!find_open(partition->oid, &open))
			continue;
		last = open.row;
		if (open.row.segment != left && open.verified)
			target = open.row;
		else if (open.row.segment != left && is_usable(&open))
			continue;
		else if (!next_usable(partition, &last, &target))
		{
			early = open.verified && leave == WEIR_LEAVE_EARLY;
			if (weir_get_next_segment(partition->oid, &last) == WEIR_MADE)
				continue;
			if (!early && make_inline(partition, &open, &last))
				continue;
			if (!early)
			{
				left = InvalidOid;
				continue;
			}
			set_target(partition, rolls, &open.row, InvalidOid);
			partition->target.stay_until = GetCurrentTimestamp() + PUT_OFF;
			return;
		}
		set_target(partition, rolls, &target,
				   weir_segment_next(partition->oid, target.lower, &next) ?
				   next.segment : InvalidOid);
		return;
	}
}

static Relation
open_part(Oid segment, LOCKMODE lockmode)
{
	return OidIsValid(segment) ? try_table_open(segment, lockmode) : NULL;
}

/*
 * Open the target's heaps, finding the target first if it is not known.  On
 * return the segment is one that may be appended to, as far as can be seen
 * without the append lock.  Locks stay to the end of the transaction.
 */
void
weir_target_open(WeirStream *stream, WeirPartition *partition,
				 WeirOpenTarget *open)
{
	WeirTarget *target = &partition->target;

	for (;;)
	{
		WeirHeap   *heap;

		CHECK_FOR_INTERRUPTS();
		if (!target->known)
			find_target(partition, InvalidOid, WEIR_LEAVE_NOT);
		open->segment = open_part(target->segment, RowExclusiveLock);
		open->previous = open_part(target->previous, AccessShareLock);
		open->next = open_part(target->next, AccessShareLock);
		if (open->segment != NULL &&
			(heap = weir_heap_lookup(open->segment))->verified)
		{
			weir_honour_segment(heap, open->segment);
			break;
		}
		/* Dropped or rewritten since we knew it. */
		if (open->segment != NULL)
		{
			table_close(open->segment, RowExclusiveLock);
			open->segment = NULL;
		}
		weir_target_close(open);
		target->known = false;
	}
	if (stream->options.segment_age > 0 && target->first_ts == 0)
		target->first_ts = weir_first_ts(open->segment);
}

void
weir_target_close(WeirOpenTarget *open)
{
	if (open->segment)
		table_close(open->segment, NoLock);
	if (open->previous)
		table_close(open->previous, AccessShareLock);
	if (open->next)
		table_close(open->next, AccessShareLock);
}

/* Look for a new target because the current one is stale, full or old. */
void
weir_target_leave(WeirStream *stream, WeirPartition *partition,
				  WeirLeave leave)
{
	if (leave == WEIR_LEAVE_NOT)
		partition->target.known = false;
	else
		find_target(partition, partition->target.segment, leave);
}

/* ---- waking the keeper ---- */

static uint64 aborts = 0;

static void
count_aborts(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		aborts++;
}

/*
 * After a hold of the append lock.  Once per backend, segment and news; once
 * more if a transaction of ours was rolled back, since that may have been the
 * one that was to wake the keeper.
 */
void
weir_target_reached(WeirPartition *partition, WeirReached reached)
{
	static bool counting = false;
	WeirTarget *target = &partition->target;

	if (reached > target->reached)
	{
		target->reached = reached;
		target->told = 0;
	}
	if (likely(target->reached == WEIR_REACHED_NOTHING ||
			   target->told == aborts + 1))
		return;
	if (!counting)
		RegisterXactCallback(count_aborts, NULL);
	counting = true;
	target->told = aborts + 1;
	weir_wake_for_partition(partition->oid);
}
