/*
 * order.c
 *		Verifying that the physical order of a heap is offset order.
 *
 * Looks at every item, visible or not: a publisher takes the next offset from
 * the last item, whoever wrote it.  The caller holds a lock that keeps
 * publishers and loaders away if the answer is to be recorded.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "append/order.h"
#include "append/tail.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

typedef struct Order
{
	int			partition;
	int64		lower;
	int64		upper;
	int64		last_offset;
	int64		last_ts;
	WeirOrderProblem report;
	void	   *arg;
} Order;

/* Look at one item; false to stop. */
static bool
check_item(Order *order, BlockNumber block, OffsetNumber n,
		   HeapTupleHeader tuple, bool *good)
{
	int64		offset = weir_tuple_offset(tuple);
	int64		ts = weir_tuple_ts(tuple);
	const char *problem = NULL;
	char	   *detail = NULL;

	if (weir_tuple_partition(tuple) != order->partition)
	{
		problem = "partition";
		detail = psprintf("item (%u,%u) belongs to partition %d", block, n,
						  weir_tuple_partition(tuple));
	}
	else if (offset < order->lower || offset >= order->upper)
	{
		problem = "bounds";
		detail = psprintf("item (%u,%u) has offset " INT64_FORMAT
						  ", outside of [" INT64_FORMAT ", " INT64_FORMAT ")",
						  block, n, offset, order->lower, order->upper);
	}
	else if (offset <= order->last_offset)
	{
		problem = "order";
		detail = psprintf("item (%u,%u) has offset " INT64_FORMAT
						  " after offset " INT64_FORMAT,
						  block, n, offset, order->last_offset);
	}
	else if (ts < order->last_ts)
	{
		problem = "time";
		detail = psprintf("item (%u,%u) with offset " INT64_FORMAT
						  " is older than the one before it", block, n, offset);
	}
	order->last_offset = Max(order->last_offset, offset);
	order->last_ts = Max(order->last_ts, ts);
	if (problem == NULL)
		return true;
	*good = false;
	return order->report && order->report(order->arg, problem, detail);
}

/*
 * Are the items of a segment in order, within its bounds, of its partition?
 * report may be NULL: then the first violation ends the look.
 */
bool
weir_order_check(Relation segment, int partition, int64 lower, int64 upper,
				 WeirOrderProblem report, void *arg)
{
	Order		order = {partition, lower, upper, -1, PG_INT64_MIN, report, arg};
	BlockNumber nblocks = RelationGetNumberOfBlocks(segment);
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
	bool		good = true;
	bool		go_on = true;

	for (BlockNumber block = 0; block < nblocks && go_on; block++)
	{
		PGAlignedBlock copy;
		Page		page = (Page) copy.data;
		Buffer		buffer;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBufferExtended(segment, MAIN_FORKNUM, block, RBM_NORMAL,
									strategy);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		memcpy(copy.data, BufferGetPage(buffer), BLCKSZ);
		UnlockReleaseBuffer(buffer);
		if (PageIsNew(page))
			continue;
		for (OffsetNumber n = FirstOffsetNumber;
			 n <= PageGetMaxOffsetNumber(page) && go_on; n++)
		{
			ItemId		id = PageGetItemId(page, n);

			if (ItemIdIsNormal(id))
				go_on = check_item(&order, block, n,
								   (HeapTupleHeader) PageGetItem(page, id),
								   &good);
		}
	}
	FreeAccessStrategy(strategy);
	return good;
}
