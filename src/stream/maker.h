/*
 * maker.h
 *		Getting the next segment of a partition, and getting one verified.
 */
#ifndef WEIR_STREAM_MAKER_H
#define WEIR_STREAM_MAKER_H

#include "catalog/tables.h"

typedef enum WeirMade
{
	WEIR_MADE,					/* there is a next one now: look at the rows */
	WEIR_MUST_WAIT,				/* waited for somebody: look again */
	WEIR_NOT_MADE				/* only for an early roll: stay where you are */
} WeirMade;

extern WeirMade weir_get_next_segment(Oid partition,
									  const WeirSegmentRow *last, bool early,
									  TransactionId filler);
extern bool weir_get_verified(const WeirSegmentRow *segment);
extern bool weir_make_next_segment(Oid partition, int64 after_lower);

#endif							/* WEIR_STREAM_MAKER_H */
