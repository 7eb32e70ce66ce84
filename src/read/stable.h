/*
 * stable.h
 *		The ends of a partition.
 */
#ifndef WEIR_READ_STABLE_H
#define WEIR_READ_STABLE_H

#include "catalog/cache.h"
#include "catalog/tables.h"
#include "utils/snapshot.h"

extern int64 weir_stable_end(WeirPartition *partition, Snapshot snapshot);
extern int64 weir_next_offset(WeirPartition *partition);
extern int64 weir_start_offset(WeirPartition *partition);

#endif							/* WEIR_READ_STABLE_H */
