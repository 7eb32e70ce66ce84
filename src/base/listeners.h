/*
 * listeners.h
 *		Which sessions LISTEN, and to which streams.
 *
 * PostgreSQL does not tell, so commands are watched (worker/hooks.c).  Only
 * where the library is preloaded.
 */
#ifndef WEIR_BASE_LISTENERS_H
#define WEIR_BASE_LISTENERS_H

/*
 * A channel of ours is WEIR_CHANNEL_PREFIX, the OID of the stream, and what
 * cannot be guessed.
 */
#define WEIR_CHANNEL_PREFIX		"weir_"

/* ---- the session: takes effect when the transaction commits ---- */

extern void weir_note_listen(const char *channel);
extern void weir_note_unlisten(const char *channel);	/* NULL: all */

/* ---- for the notifier: of this database ---- */

/*
 * The streams that somebody listens to, into an array with room for
 * WEIR_LISTENED_STREAMS; *all: there are more, look at every stream.
 */
#define WEIR_LISTENED_STREAMS	1024

extern int	weir_listened_streams(Oid *streams, bool *all);
extern bool weir_is_listened_to(Oid stream);
extern int	weir_listening_sessions(void);

/* Changes whenever a stream gets its first listener or loses its last one. */
extern uint64 weir_listeners_generation(void);

extern void weir_listeners_init(void);
extern Size weir_listeners_size(void);
extern void weir_listeners_startup(void);

#endif							/* WEIR_BASE_LISTENERS_H */
