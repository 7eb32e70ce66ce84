/*
 * times.h
 *		When a partition was published to, by its data.
 */
#ifndef WEIR_READ_TIMES_H
#define WEIR_READ_TIMES_H

#include "catalog/cache.h"

extern int64 weir_first_publish(Oid partition);
extern int64 weir_last_publish(Oid partition);

#endif							/* WEIR_READ_TIMES_H */
