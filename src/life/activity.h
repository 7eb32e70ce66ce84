/*
 * activity.h
 *		The activity log, weir.activity: what happened to streams.
 */
#ifndef WEIR_LIFE_ACTIVITY_H
#define WEIR_LIFE_ACTIVITY_H

#include "catalog/cache.h"
#include "stream/event.h"

extern void weir_activity_init(void);
extern void weir_make_activity(void);
extern void weir_activity_ready(void);

#endif							/* WEIR_LIFE_ACTIVITY_H */
