/*
 * change.h
 *		Changing the desired state of partitions.
 */
#ifndef WEIR_LIFE_CHANGE_H
#define WEIR_LIFE_CHANGE_H

#include "catalog/cache.h"
#include "catalog/tables.h"

/* How a partition is paused. */
typedef struct WeirPause
{
	const char *event;			/* "paused" or "auto-paused" */
	const char *cause;			/* "manual" or "idle" */
	bool		resume_all;
	bool		detach;
} WeirPause;

extern void weir_apply_pause(WeirStream *stream, List *rows,
							 const WeirPause *how);
extern void weir_apply_resume(Oid stream, List *rows, const char *cause);
extern void weir_apply_read_only(Oid stream, List *rows, bool read_only);
extern void weir_follow_requests(Oid stream, List *rows);
extern void weir_sweep_requests(void);

#endif							/* WEIR_LIFE_CHANGE_H */
