/*
 * pause.h
 *		What the workloads about pausing share (pause.c and pause_*.c).
 *
 * They need clients that hold transactions open, wait and are waited for, so
 * each client is a thread with a connection of its own.  A thread notes when
 * each statement began and how long it took; the main thread joins all of them
 * before it looks.
 */
#ifndef PAUSE_H
#define PAUSE_H

#include "load.h"

#include <pthread.h>

#define MS			UINT64_C(1000000)
#define OID_INT4	23
#define OID_REGCLASS	2205

/* One statement. */
typedef struct Op
{
	uint64_t	start;
	uint64_t	taken;
} Op;

typedef struct Ops
{
	Op		   *op;
	size_t		len;
	size_t		size;
} Ops;

typedef struct Thread Thread;
struct Thread
{
	pthread_t	id;
	PGconn	   *conn;
	const char *stream;
	int			number;
	int			partition;
	uint64_t	seed;
	uint64_t	min_think;		/* between begin and end, or between two */
	uint64_t	max_think;
	bool	   *stop;
	Ops			statements;		/* publish, or read */
	Ops			wholes;			/* the transaction, without the thinking */
	long		errors;
	char		error[256];		/* first one */
	void	   *more;
	void		(*run) (Thread *t);
};

/* pause.c */
extern void note(Ops *ops, uint64_t start, uint64_t end);
extern double ops_ms(const Ops *ops, double fraction);
extern double between_ms(const Ops *ops, uint64_t from, uint64_t to, double fraction);
extern void add_ops(Ops *to, const Ops *from);
extern double median_of(double *values, int count);
extern double greatest_of(const double *values, int count);
extern void think(Thread *t);
extern void pass(uint64_t ns);
extern bool is_set(const bool *flag);
extern void set(bool *flag, bool value);
extern void thread_begin(Thread *t);
extern void thread_end(Thread *t);
extern void prepare_publish(PGconn *conn, const char *stream);
extern int64_t publish(PGconn *conn, const char *stream, int partition, const char *value);
extern bool try_publish(Thread *t, const char *value, int64_t *offset);
extern double await(PGconn *conn, const char *what, double seconds, const char *condition,...) __attribute__((format(printf, 4, 5)));
extern double await_actual(PGconn *conn, const char *stream, int partition, const char *actual, double seconds);
extern uint64_t pause_partition(PGconn *conn, const char *stream, int partition, bool detach);
extern void resume_partition(PGconn *conn, const char *stream, int partition);
extern void make_stream(PGconn *conn, const char *stream, int partitions);
extern void run_client(Thread *t);

/* the workloads */
extern void run_pause_beside(const Options *o);
extern void run_pause_drain(const Options *o);
extern void run_pause_held(const Options *o);
extern void run_pause_wake(const Options *o);
extern void run_pause_cycles(const Options *o);
extern void run_pause_first(const Options *o);
extern void run_pause_rate(const Options *o);
extern void run_pause_plan(const Options *o);

#endif
