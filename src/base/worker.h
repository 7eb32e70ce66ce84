/*
 * worker.h
 *		Short-lived background workers that a backend waits for.
 */
#ifndef WEIR_BASE_WORKER_H
#define WEIR_BASE_WORKER_H

/* What a segment worker is asked to do; travels in bgw_extra. */
typedef enum WeirTaskKind
{
	WEIR_TASK_MAKE_SEGMENT,		/* object: the partition */
	WEIR_TASK_VERIFY_SEGMENT,	/* object: the segment */
	WEIR_TASK_MAKE_ACTIVITY		/* no object */
} WeirTaskKind;

typedef struct WeirTask
{
	Oid			database;
	Oid			object;
	int64		bound;			/* lower bound of the last known segment */
	WeirTaskKind kind;
} WeirTask;

extern bool weir_run_task(const WeirTask *task);

#endif							/* WEIR_BASE_WORKER_H */
