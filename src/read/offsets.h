/*
 * offsets.h
 *		Offsets by time.
 */
#ifndef WEIR_READ_OFFSETS_H
#define WEIR_READ_OFFSETS_H

#include "catalog/cache.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

extern int64 weir_offset_at(WeirPartition *partition, TimestampTz ts,
							Snapshot snapshot);

#endif							/* WEIR_READ_OFFSETS_H */
