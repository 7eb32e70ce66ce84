/*
 * limits.h
 *		Which segments of a partition its retention limits let go.
 */
#ifndef WEIR_LIFE_LIMITS_H
#define WEIR_LIFE_LIMITS_H

#include "catalog/options.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct WeirVerdict
{
	Oid			partition;		/* in */
	MemoryContext context;		/* in: in which the list is made */
	WeirOptions options;		/* those it was judged by */
	List	   *segments;		/* OIDs of those that go, oldest first */
	TimestampTz due;			/* when the next one will be too old; DT_NOEND */
	bool		held;			/* an open transaction keeps some */
} WeirVerdict;

extern void weir_judge_segments(void *arg);
extern bool weir_is_attached(Oid segment);

#endif							/* WEIR_LIFE_LIMITS_H */
