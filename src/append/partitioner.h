/*
 * partitioner.h
 *		Which partition a message goes to.
 */
#ifndef WEIR_APPEND_PARTITIONER_H
#define WEIR_APPEND_PARTITIONER_H

#include "catalog/cache.h"

/* partition: none was named. */
#define WEIR_ANY_PARTITION	(-1)

extern int	weir_partition_for_key(const char *key, int len, int npartitions);
extern int	weir_choose_partition(WeirStream *stream, bool has_key,
								  const char *key, int len, int named);

#endif							/* WEIR_APPEND_PARTITIONER_H */
