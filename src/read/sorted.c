/*
 * sorted.c
 *		The order of heaps that nobody has verified.
 *
 * A heap that was restored, or rewritten by VACUUM FULL or CLUSTER, may hold
 * its messages in any order.  Until a worker has verified its file, a backend
 * that reads it looks at all of it once: if it is in order, only that fact is
 * kept; else the TIDs of its items in order of their offsets.  While its guard
 * is on nothing is ever added to such a file, and switching the guard changes
 * the relation: so what was seen holds until the relation changes.  The caller
 * holds a lock on the heap.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "append/tail.h"
#include "base/compat.h"
#include "catalog/cache.h"
#include "miscadmin.h"
#include "read/sorted.h"
#include "storage/bufmgr.h"
#include "stream/parts.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* How many lists a backend keeps. */
#define MAX_LISTS	8

static HTAB *table = NULL;

static int
compare_items(const void *a, const void *b)
{
	const WeirSortedItem *x = a;
	const WeirSortedItem *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return ItemPointerCompare((ItemPointer) &x->tid, (ItemPointer) &y->tid);
}

/* Collect all items; returns whether they came in order. */
static bool
collect(Relation segment, BlockNumber nblocks, WeirSorted *sorted)
{
	int64		allocated = 1024;
	int64		last = -1;
	bool		in_order = true;

	sorted->items = palloc(allocated * sizeof(WeirSortedItem));
	sorted->nitems = 0;
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		Buffer		buffer = ReadBuffer(segment, block);
		Page		page;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		for (OffsetNumber n = FirstOffsetNumber;
			 !PageIsNew(page) && n <= PageGetMaxOffsetNumber(page); n++)
		{
			ItemId		id = PageGetItemId(page, n);
			WeirSortedItem *item;

			if (!ItemIdIsNormal(id))
				continue;
			if (sorted->nitems == allocated)
			{
				allocated *= 2;
				sorted->items = repalloc_huge(sorted->items,
											  allocated * sizeof(WeirSortedItem));
			}
			item = &sorted->items[sorted->nitems++];
			item->offset = weir_tuple_offset((HeapTupleHeader) PageGetItem(page, id));
			ItemPointerSet(&item->tid, block, n);
			in_order = in_order && item->offset > last;
			last = item->offset;
		}
		UnlockReleaseBuffer(buffer);
	}
	return in_order;
}

/*
 * Make room: forget the list that was not used for the longest time, but none
 * of this transaction, which may be in use.
 */
static void
forget_some(void)
{
	HASH_SEQ_STATUS seq;
	WeirSorted *entry;
	WeirSorted *oldest = NULL;
	int			lists = 0;

	hash_seq_init(&seq, table);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		if (entry->items == NULL)
			continue;
		lists++;
		if (oldest == NULL || entry->used < oldest->used)
			oldest = entry;
	}
	if (lists >= MAX_LISTS &&
		oldest->used != GetCurrentTransactionStartTimestamp())
	{
		pfree(oldest->items);
		hash_search(table, &oldest->segment, HASH_REMOVE, NULL);
	}
}

static void
build(Relation segment, WeirSorted *sorted)
{
	MemoryContext old = MemoryContextSwitchTo(CacheMemoryContext);
	BlockNumber nblocks = RelationGetNumberOfBlocks(segment);
	WeirSorted	built = *sorted;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "weir order of a segment",
												  ALLOCSET_DEFAULT_SIZES);

	/* The work is done in a context of its own, in case it is cancelled. */
	MemoryContextSetParent(context, old);
	MemoryContextSwitchTo(context);
	built.in_order = collect(segment, nblocks, &built);
	built.file_number = weir_file_number(segment);
	built.nblocks = nblocks;
	if (built.in_order)
	{
		built.items = NULL;
		built.nitems = 0;
	}
	else
	{
		WeirSortedItem *items;
		Size		size = built.nitems * sizeof(WeirSortedItem);

		qsort(built.items, built.nitems, sizeof(WeirSortedItem), compare_items);
		items = MemoryContextAllocHuge(CacheMemoryContext, size);
		memcpy(items, built.items, size);
		built.items = items;
	}
	*sorted = built;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* The order of an unverified heap, found by reading it if need be. */
WeirSorted *
weir_sorted_get(Relation segment)
{
	Oid			oid = RelationGetRelid(segment);
	uint64		generation;
	WeirSorted *sorted;
	bool		found;

	if (table == NULL)
	{
		HASHCTL		ctl;

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(WeirSorted);
		ctl.hcxt = CacheMemoryContext;
		table = hash_create("weir orders", 16, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	generation = weir_heap_lookup(segment)->generation;
	sorted = hash_search(table, &oid, HASH_FIND, NULL);
	if (sorted && sorted->file_number == weir_file_number(segment) &&
		sorted->nblocks == RelationGetNumberOfBlocks(segment) &&
		sorted->generation == generation && weir_guard_is_on(segment))
	{
		sorted->used = GetCurrentTransactionStartTimestamp();
		return sorted;
	}
	if (sorted == NULL)
		forget_some();
	sorted = hash_search(table, &oid, HASH_ENTER, &found);
	if (found && sorted->items)
		pfree(sorted->items);
	sorted->items = NULL;
	sorted->nitems = 0;
	sorted->file_number = InvalidOid;
	sorted->used = GetCurrentTransactionStartTimestamp();
	build(segment, sorted);
	sorted->generation = generation;
	return sorted;
}

/* The place of the first item whose offset is at least this one. */
int64
weir_sorted_find(const WeirSorted *sorted, int64 offset)
{
	int64		low = 0;
	int64		high = sorted->nitems;

	while (low < high)
	{
		int64		middle = low + (high - low) / 2;

		if (sorted->items[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
