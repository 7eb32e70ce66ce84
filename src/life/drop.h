/*
 * drop.h
 *		What trim and retention share: which segments may go, and dropping one.
 */
#ifndef WEIR_LIFE_DROP_H
#define WEIR_LIFE_DROP_H

#include "catalog/cache.h"
#include "catalog/tables.h"
#include "utils/snapshot.h"

/* What a walk says of one segment. */
typedef struct WeirLast
{
	int64		offset;			/* of the last visible message, -1: none */
	TimestampTz ts;				/* its time, 0: none */
} WeirLast;

extern bool weir_find_partition(Oid oid, WeirStream **stream,
								WeirPartition **partition,
								WeirOptions *options);
extern bool weir_first_to_keep(WeirPartition *partition, int64 stable_end,
							   WeirSegmentRow *keep);
extern WeirLast weir_last_visible_in(WeirPartition *partition,
									 const WeirSegmentRow *row,
									 Snapshot snapshot);
extern void weir_drop_segment(WeirStream *stream, WeirPartition *partition,
							  const WeirSegmentRow *row, int64 last,
							  const char *cause);

#endif							/* WEIR_LIFE_DROP_H */
