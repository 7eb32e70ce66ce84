/*
 * tail.h
 *		The end of a segment's heap.
 */
#ifndef WEIR_APPEND_TAIL_H
#define WEIR_APPEND_TAIL_H

#include "access/htup_details.h"
#include "storage/buf.h"
#include "utils/relcache.h"

/*
 * offset and ts are NOT NULL and behind one other column of fixed length, so
 * they lie at a fixed place of every tuple.
 */
#define WEIR_AT_PARTITION	0
#define WEIR_AT_OFFSET		8
#define WEIR_AT_TS			16

static inline int64
weir_tuple_int64(HeapTupleHeader tuple, int at)
{
	int64		value;

	memcpy(&value, (char *) tuple + tuple->t_hoff + at, sizeof(value));
	return value;
}

static inline int64
weir_tuple_offset(HeapTupleHeader tuple)
{
	return weir_tuple_int64(tuple, WEIR_AT_OFFSET);
}

static inline int64
weir_tuple_ts(HeapTupleHeader tuple)
{
	return weir_tuple_int64(tuple, WEIR_AT_TS);
}

static inline int32
weir_tuple_partition(HeapTupleHeader tuple)
{
	int32		value;

	memcpy(&value, (char *) tuple + tuple->t_hoff + WEIR_AT_PARTITION,
		   sizeof(value));
	return value;
}

typedef struct WeirTail
{
	Buffer		buffer;			/* the last page, pinned; or InvalidBuffer */
	bool		closed;			/* nothing more may go to that page */
	bool		found;			/* there is a message */
	int64		offset;			/* its offset and time */
	int64		ts;
	TransactionId xmin;			/* whose it is */
} WeirTail;

extern void weir_tail_read(Relation segment, BlockNumber nblocks,
						   WeirTail *tail);
extern int64 weir_first_ts(Relation segment);
extern int64 weir_greatest_ts(Relation segment);

#endif							/* WEIR_APPEND_TAIL_H */
