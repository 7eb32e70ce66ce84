/*
 * target.h
 *		The segment that a publisher appends to.
 */
#ifndef WEIR_APPEND_TARGET_H
#define WEIR_APPEND_TARGET_H

#include "catalog/cache.h"
#include "utils/rel.h"

/* The target's heaps: RowExclusive on the segment, AccessShare on the others. */
typedef struct WeirOpenTarget
{
	Relation	segment;
	Relation	previous;		/* NULL unless the segment had no message */
	Relation	next;			/* NULL if there is none */
} WeirOpenTarget;

/* Why the current segment is left. */
typedef enum WeirLeave
{
	WEIR_LEAVE_NOT,				/* find the open one, wherever it is */
	WEIR_LEAVE_EARLY,			/* it is large or old enough */
	WEIR_LEAVE_FULL				/* it cannot take another message */
} WeirLeave;

/* How far a segment has come. */
typedef enum WeirReached
{
	WEIR_REACHED_NOTHING,
	WEIR_REACHED_BEGIN,			/* its first messages */
	WEIR_REACHED_HALF			/* half of its offsets or bytes, with no known
								 * next one */
} WeirReached;

extern void weir_target_open(WeirStream *stream, WeirPartition *partition,
							 WeirOpenTarget *open);
extern void weir_target_close(WeirOpenTarget *open);
extern void weir_target_leave(WeirStream *stream, WeirPartition *partition,
							  WeirLeave leave);

extern void weir_target_reached(WeirPartition *partition, WeirReached reached);

#endif							/* WEIR_APPEND_TARGET_H */
