/*
 * walk.h
 *		Walking over the visible messages of a partition, in order.
 */
#ifndef WEIR_READ_WALK_H
#define WEIR_READ_WALK_H

#include "access/htup_details.h"
#include "catalog/tables.h"
#include "read/sorted.h"
#include "storage/bufmgr.h"
#include "utils/snapshot.h"

typedef struct WeirWalk
{
	/* what the caller gave */
	Oid			partition;
	Snapshot	snapshot;
	bool		backward;

	/* the current message, good until the next step */
	HeapTupleData tuple;
	int64		offset;

	/* how it ended */
	bool		undecided;		/* before the first undecided message */
	TransactionId undecided_xid;	/* whose it is, maybe a subtransaction */
	int64		undecided_ts;	/* when it was published */
	bool		own_seen;		/* a message of this very transaction came */
	bool		nothing_there;	/* not one item at or after the start */

	/* private: the segment */
	MemoryContext context;		/* in which the walk was begun */
	WeirSegmentRow row;
	Relation	rel;			/* NULL: between segments */
	BlockNumber nblocks;
	WeirSorted *sorted;			/* NULL: the heap is in order */
	int64		place;			/* in sorted */
	BufferAccessStrategy strategy;

	/* private: the page */
	BlockNumber block;
	Buffer		buffer;
	int			nitems;
	int			item;

	/* private: the walk */
	int64		from;			/* forward: at least; backward: at most */
	int64		last;			/* offset of the last message, to check order */
	bool		started;
	bool		finished;
	bool		serializable;
	bool		barren;			/* nothing visible or undecided so far */

	/* last, so that starting a walk need not clear it */
	OffsetNumber items[MaxHeapTuplesPerPage];
} WeirWalk;

extern void weir_walk_begin(WeirWalk *walk, Oid partition, Snapshot snapshot,
							int64 from, bool backward);
extern bool weir_walk_next(WeirWalk *walk);
extern void weir_walk_end(WeirWalk *walk);

#endif							/* WEIR_READ_WALK_H */
