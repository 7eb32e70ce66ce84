/*
 * bounds.h
 *		What the tables themselves say of partitions and segments.
 */
#ifndef WEIR_STREAM_BOUNDS_H
#define WEIR_STREAM_BOUNDS_H

#include "catalog/tables.h"
#include "utils/relcache.h"

extern List *weir_attached_partitions(Relation stream);
extern List *weir_attached_segments(Relation partition);

#endif							/* WEIR_STREAM_BOUNDS_H */
