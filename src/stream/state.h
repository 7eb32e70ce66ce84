/*
 * state.h
 *		The lock behind the row of a partition, and its actual state.
 */
#ifndef WEIR_STREAM_STATE_H
#define WEIR_STREAM_STATE_H

/* Whether the table of a partition is a part of the stream's table. */
typedef enum WeirActual
{
	WEIR_ATTACHED,
	WEIR_DETACHING,				/* plans leave it out, old ones may run on */
	WEIR_DETACHED
} WeirActual;

extern void weir_state_lock(Oid partition);
extern bool weir_state_lock_conditional(Oid partition);
extern void weir_follow_lock(void);
extern bool weir_nobody_to_follow(void);
extern WeirActual weir_actual_state(Oid part);
extern const char *weir_actual_name(WeirActual actual);
extern char *weir_why_attached(Oid stream, Oid partition);

#endif							/* WEIR_STREAM_STATE_H */
