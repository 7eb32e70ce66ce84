/*
 * append.h
 *		Appending messages to a partition, in order.
 */
#ifndef WEIR_APPEND_APPEND_H
#define WEIR_APPEND_APPEND_H

#include "access/htup.h"
#include "catalog/cache.h"

/* The most messages and bytes of one hold of the append lock. */
#define WEIR_HOLD_MESSAGES	1000
#define WEIR_HOLD_BYTES		(1024 * 1024)

/* expected_offset: none was given. */
#define WEIR_ANY_OFFSET		INT64CONST(-1)

/* Messages of one partition whose offsets follow each other. */
typedef struct WeirRun
{
	int			partition;
	int64		first;
	int64		count;
} WeirRun;

typedef struct WeirRuns
{
	int			nruns;
	int			nalloc;
	WeirRun    *runs;
} WeirRuns;

extern void weir_append(WeirStream *stream, WeirPartition *partition,
						HeapTuple *tuples, int ntuples, int64 expected,
						WeirRuns *runs);

#endif							/* WEIR_APPEND_APPEND_H */
