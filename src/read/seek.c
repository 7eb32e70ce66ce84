/*
 * seek.c
 *		Finding an offset or a time in a heap of verified order.
 *
 * Offsets rise and times do not fall along the heap, whether the messages are
 * committed, aborted or under way, so a binary search over pages finds either
 * without an index.  A page that VACUUM has emptied says nothing; the search
 * then asks the next one that has an item.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "append/tail.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "read/seek.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

/* The last offset or time on a page; false if it has no item. */
static bool
last_on_page(Relation segment, BlockNumber block, WeirSeek what, int64 *last)
{
	Buffer		buffer = ReadBuffer(segment, block);
	bool		found = false;
	Page		page;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	if (!PageIsNew(page))
	{
		OffsetNumber n = PageGetMaxOffsetNumber(page);

		for (; n >= FirstOffsetNumber && !found; n--)
		{
			ItemId		id = PageGetItemId(page, n);

			if (ItemIdIsNormal(id))
			{
				HeapTupleHeader tuple = (HeapTupleHeader) PageGetItem(page, id);

				*last = what == WEIR_SEEK_OFFSET ? weir_tuple_offset(tuple) :
					weir_tuple_ts(tuple);
				found = true;
			}
		}
	}
	UnlockReleaseBuffer(buffer);
	return found;
}

/*
 * The first page whose last item is not below what is wanted: that item, and
 * so the first one not below it, lies there.  nblocks if there is none.
 */
BlockNumber
weir_seek_block(Relation segment, BlockNumber nblocks, WeirSeek what,
				int64 wanted)
{
	BlockNumber low = 0;
	BlockNumber high = nblocks;
	BlockNumber answer = nblocks;
	int64		last;

	/* Most readers stand at the end: look there first. */
	if (nblocks == 0 ||
		(last_on_page(segment, nblocks - 1, what, &last) && last < wanted))
		return nblocks;
	while (low < high)
	{
		BlockNumber middle = low + (high - low) / 2;
		BlockNumber probe = middle;
		bool		found = false;

		CHECK_FOR_INTERRUPTS();
		while (probe < high &&
			   !(found = last_on_page(segment, probe, what, &last)))
			probe++;
		if (found && last < wanted)
			low = probe + 1;
		else
		{
			if (found)
				answer = probe;
			high = middle;
		}
	}
	return answer;
}
