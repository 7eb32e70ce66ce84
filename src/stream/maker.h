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
	WEIR_NO_WORKER				/* none could make it */
} WeirMade;

extern WeirMade weir_get_next_segment(Oid partition,
									  const WeirSegmentRow *last);
extern bool weir_get_verified(const WeirSegmentRow *segment);
extern bool weir_maker_lock_conditional(Oid partition);
extern bool weir_make_next_segment(Oid partition, int64 after_lower);

#endif							/* WEIR_STREAM_MAKER_H */
