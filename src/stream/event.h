/*
 * event.h
 *		What happens to streams, told to the activity log.
 *
 * An event is published in the transaction that makes the change.  This
 * layer only describes it; life/activity.c, which can publish, puts itself
 * behind the hook when the library is loaded.
 */
#ifndef WEIR_STREAM_EVENT_H
#define WEIR_STREAM_EVENT_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct WeirEvent
{
	const char *event;			/* "created", "paused" ... */
	Oid			stream;
	const char *name;			/* of the stream, if it is gone; else NULL */
	List	   *partitions;		/* numbers (int list), NIL: the whole stream */
	const char *cause;			/* "manual", "publish", "idle" ... */
	const char *from;			/* old state, or NULL */
	const char *to;				/* new state, or NULL */
	const char *segment;		/* name, or NULL */
	const char *group;			/* name, or NULL */
	const char *member;			/* name, or NULL */
	int64		offset;			/* that belongs to it, or -1 */
	Jsonb	   *options;		/* or NULL */
	bool		resume_all;
	bool		detach;
} WeirEvent;

extern void (*weir_event_hook) (const WeirEvent *event);

extern void weir_event(const WeirEvent *event);

/* The stream "weir"."activity" itself; InvalidOid before its first event. */
extern Oid	weir_activity_oid(void);
extern void weir_tie_activity(void);
extern void weir_grant_activity(Oid part);
extern void weir_refuse_activity(Oid stream, const char *what);

#endif							/* WEIR_STREAM_EVENT_H */
