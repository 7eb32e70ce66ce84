/*
 * consume.h
 *		What the workloads about consuming share (consume.c and consume_*.c).
 *
 * Publishers are those of load.h, all in the main thread, either one operation
 * after the other (loop.c) or at a given rate (Pace).  Who consumes is a thread
 * with a connection of its own, so that it notes the time at which it has a
 * message whatever the publishers do.  Flags, waiting and medians are those of
 * the workloads about pausing.
 */
#ifndef CONSUME_H
#define CONSUME_H

#include "pause.h"

/*
 * When each message was to be sent, was sent, was acknowledged, and was there
 * at the consumer; by its number.  The consumer writes seen[] and the counts
 * below it, the main thread reads them when the consumer has ended.
 */
typedef struct Journal
{
	long		size;
	uint64_t   *due;
	uint64_t   *sent;
	uint64_t   *acknowledged;
	uint64_t   *seen;
	long		seen_count;		/* atomic */
	long		twice;
} Journal;

/* Clients that publish single messages, together o->rate a second. */
typedef struct Pace
{
	const Options *o;
	Client	   *clients;
	uint64_t   *slot;			/* of each client, when its next time begins */
	uint64_t   *due;			/* when in that time it is to send */
	Journal    *journal;		/* or NULL */
	long		next;			/* number of the next message */
	long		done;			/* messages acknowledged */
	uint64_t	period;			/* between two messages of a client */
} Pace;

/* One that consumes. */
typedef struct Consumer Consumer;
struct Consumer
{
	pthread_t	id;
	const Options *o;
	PGconn	   *conn;
	Redis	   *redis;
	Journal    *journal;		/* or NULL */
	bool		stop;
	long		messages;
	long		batches;
	long		notifications;
	long		early;			/* that came before their message could be read */
	int64_t		position;
	void		(*run) (Consumer *c);
};

/* Sessions that listen and take their notifications. */
typedef struct Sessions
{
	pthread_t	id;
	PGconn	  **conns;
	int			count;
	int			epoll;
	bool		stop;
	long		notifications;
} Sessions;

/* consume.c */
extern void need_function(PGconn *conn, const char *function, const char *argument);
extern void journal_open(Journal *j, const Options *o);
extern void journal_see(Journal *j, const char *value, uint64_t now);
extern long journal_seen(Journal *j);
extern void journal_close(Journal *j);
extern void pace_open(Pace *p, const Options *o, Journal *journal);
extern void pace_run(Pace *p, uint64_t deadline);
extern void pace_close(Pace *p);
extern void consumer_begin(Consumer *c, const Options *o, Journal *journal, void (*run) (Consumer *c));
extern void consumer_end(Consumer *c);
extern void see_rows(Consumer *c, PGresult *result, int column);
extern void begin_pipeline(PGconn *conn);
extern void send_statement(PGconn *conn, const char *sql);
extern void send_prepared(PGconn *conn, const char *name, int64_t value);
extern PGresult *take_pipeline(PGconn *conn);

/* consume_listen.c */
extern void subscribe(PGconn *conn, const Options *o);
extern void need_subscribe(Control *control, const Options *o);
extern void listen_and_read(Consumer *c);
extern void sessions_open(Sessions *s, const Options *o, int count);
extern void sessions_close(Sessions *s);

/* the workloads */
extern void run_subscribed(const Options *o);
extern void run_idle_sessions(const Options *o);
extern void run_fetch_wait(const Options *o);
extern void run_listen(const Options *o);
extern void run_consume_fill(const Options *o);
extern void run_consume(const Options *o);
extern void run_consume_server(const Options *o);
extern void run_parallel(const Options *o);
extern void run_members(const Options *o);
extern void run_held(const Options *o);

#endif
