/*
 * hold.h
 *		What retention spares because a consumer group has not read it.
 */
#ifndef WEIR_LIFE_HOLD_H
#define WEIR_LIFE_HOLD_H

#include "catalog/cache.h"
#include "catalog/tables.h"

extern int64 weir_segment_bytes(const WeirSegmentRow *row);
extern bool weir_held_by_group(WeirStream *stream, WeirPartition *partition,
							   const WeirOptions *options,
							   const WeirSegmentRow *row, int64 last);

#endif							/* WEIR_LIFE_HOLD_H */
