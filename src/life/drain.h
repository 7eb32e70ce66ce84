/*
 * drain.h
 *		Waiting until no publisher is under way in some partitions.
 */
#ifndef WEIR_LIFE_DRAIN_H
#define WEIR_LIFE_DRAIN_H

#include "catalog/cache.h"
#include "nodes/pg_list.h"

extern void weir_drain(WeirStream *stream, List *numbers, const char *what);
extern bool weir_try_all(List *relids, LOCKMODE mode);
extern bool weir_lock_patiently(List *relids, LOCKMODE mode);
extern bool weir_lock_within(List *relids, LOCKMODE mode, int milliseconds);
extern bool weir_do_patiently(void (*step) (void *arg), void *arg, Oid relid);

#endif							/* WEIR_LIFE_DRAIN_H */
