/*
 * pause.h
 *		Pausing and resuming partitions in the transaction of the caller.
 */
#ifndef WEIR_LIFE_PAUSE_H
#define WEIR_LIFE_PAUSE_H

#include "catalog/cache.h"
#include "life/change.h"

extern WeirStream *weir_open_for_change(Oid relid, const char *function,
										const char *verb);
extern List *weir_pause_partitions(WeirStream *stream, List *numbers,
								   const WeirPause *how);
extern List *weir_resume_partitions(WeirStream *stream, List *numbers,
									bool wait);

#endif							/* WEIR_LIFE_PAUSE_H */
