/*
 * tail.c
 *		The end of a segment's heap.
 *
 * In a heap of verified order the last item of the last page that has one is
 * the greatest offset given so far, whoever wrote it and however his
 * transaction ended.  A page on which any line pointer is not LP_NORMAL is
 * closed: a line pointer that were used again would put a new message before
 * old ones.  The pin that comes with the tail keeps it so: turning an item
 * that is LP_NORMAL into anything else needs a cleanup lock.
 *
 * Callers hold the append lock where the answer must still be true when they
 * use it.
 */
#include "postgres.h"

#include "append/tail.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"

/* The last LP_NORMAL item of a page, 0 if there is none. */
static OffsetNumber
last_normal(Page page)
{
	OffsetNumber n = PageGetMaxOffsetNumber(page);

	while (n >= FirstOffsetNumber && !ItemIdIsNormal(PageGetItemId(page, n)))
		n--;
	return n;
}

static bool
all_normal(Page page)
{
	OffsetNumber max = PageGetMaxOffsetNumber(page);

	for (OffsetNumber n = FirstOffsetNumber; n <= max; n++)
		if (!ItemIdIsNormal(PageGetItemId(page, n)))
			return false;
	return true;
}

static HeapTupleHeader
item(Page page, OffsetNumber n)
{
	return (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, n));
}

/*
 * Find the tail.  nblocks is the length of the heap, at least 1.  The last
 * page stays pinned; the caller releases tail->buffer.
 */
void
weir_tail_read(Relation segment, BlockNumber nblocks, WeirTail *tail)
{
	Assert(nblocks > 0);
	memset(tail, 0, sizeof(WeirTail));
	for (BlockNumber block = nblocks; block-- > 0 && !tail->found;)
	{
		Buffer		buffer = ReadBuffer(segment, block);
		Page		page;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page))
		{
			OffsetNumber n = last_normal(page);

			if (block == nblocks - 1)
				tail->closed = !all_normal(page);
			if (n >= FirstOffsetNumber)
			{
				tail->found = true;
				tail->offset = weir_tuple_offset(item(page, n));
				tail->ts = weir_tuple_ts(item(page, n));
				tail->xmin = HeapTupleHeaderGetXmin(item(page, n));
			}
		}
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		if (block == nblocks - 1)
			tail->buffer = buffer;
		else
			ReleaseBuffer(buffer);
	}
}

/* The time of the first message that is still in the heap, 0 if none is. */
int64
weir_first_ts(Relation segment)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(segment);
	int64		ts = 0;

	for (BlockNumber block = 0; block < nblocks && ts == 0; block++)
	{
		Buffer		buffer = ReadBuffer(segment, block);
		Page		page;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page))
		{
			OffsetNumber max = PageGetMaxOffsetNumber(page);

			for (OffsetNumber n = FirstOffsetNumber; n <= max && ts == 0; n++)
				if (ItemIdIsNormal(PageGetItemId(page, n)))
					ts = weir_tuple_ts(item(page, n));
		}
		UnlockReleaseBuffer(buffer);
	}
	return ts;
}

/* The greatest time in a heap of any order; reads all of it. */
int64
weir_greatest_ts(Relation segment)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(segment);
	int64		ts = 0;

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		Buffer		buffer = ReadBuffer(segment, block);
		Page		page;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page))
		{
			OffsetNumber max = PageGetMaxOffsetNumber(page);

			for (OffsetNumber n = FirstOffsetNumber; n <= max; n++)
				if (ItemIdIsNormal(PageGetItemId(page, n)))
					ts = Max(ts, weir_tuple_ts(item(page, n)));
		}
		UnlockReleaseBuffer(buffer);
	}
	return ts;
}
