/*
 * load.h
 *		What the files of the load client share.
 *
 * The client is one process.  A run of it is one workload on one side; it
 * makes what it needs, measures, prints one line of name=value pairs separated
 * by tabs to stdout, and ends with 0.  Anything unexpected ends it with 1 and
 * a message on stderr: there is no run that failed a little.
 *
 * Layers: util.c knows the machine; messages.c the messages; redis.c and
 * postgres.c one kind of server each; side.c the sides that are compared;
 * loop.c keeps clients busy; publish.c, bulk.c, read.c, seek.c and hold.c are
 * the workloads, pause_*.c those about pausing (pause.h), consume*.c those about
 * consuming (consume.h); load.c dispatches.
 */
#ifndef LOAD_H
#define LOAD_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_SIZE		16
#define VALUE_SIZE		100
#define KEYS			1000
#define MAX_CLIENTS		64
#define MAX_PARTITIONS	1000
#define BINARY			1

/* Type oids of binary parameters. */
#define OID_BYTEA		17
#define OID_INT8		20
#define OID_TEXT		25
#define OID_BYTEA_ARRAY	1001
#define OID_TEXT_ARRAY	1009
#define OID_TIMESTAMPTZ	1184

typedef enum Kind
{
	KIND_PLAIN,
	KIND_PGQ,
	KIND_REDIS,
	KIND_WEIR
} Kind;

/* A side of the comparison. */
typedef struct Side
{
	const char *name;
	Kind		kind;
	bool		index;			/* btree on "offset" */
	bool		copy;			/* COPY binary instead of INSERT */
	bool		own_offsets;	/* bulk: the client sends "offset" and ts */
	bool		notify;			/* NOTIFY in the publishing transaction */
} Side;

typedef struct Options
{
	const char *workload;
	const Side *side;
	const char *table;			/* table, stream, queue or Redis key */
	const char *table_small;	/* another one to compare it with */
	const char *redis;			/* path of the Redis socket */
	int			clients;
	int			partitions;
	int			batch;			/* messages of one operation */
	int			fetch;			/* messages of one read */
	long		count;			/* messages of the run, if it has a number */
	long		probes;			/* operations of a latency measurement */
	double		seconds;
	double		warmup;
	double		since;			/* nanoseconds of the clock of the day */
	int			rate;			/* messages a second, all clients together */
	int			sessions;		/* that listen */
	const char *group;			/* who consumes */
	bool		keep;			/* leave the table for other workloads */
} Options;

/* A growing string of bytes. */
typedef struct Buffer
{
	char	   *data;
	size_t		len;
	size_t		size;
} Buffer;

/* Latencies of operations. */
typedef struct Samples
{
	uint64_t   *ns;
	size_t		len;
	size_t		size;
} Samples;

typedef struct Redis
{
	int			fd;
	Buffer		in;
	size_t		done;			/* bytes of in that are parsed */
	long		expected;		/* replies, and parts of replies, to come */
	Buffer		out;
	char		error[256];		/* first error reply, if any */
	void		(*string) (void *arg, const char *data, size_t len);
	void	   *arg;			/* string(): each string of a reply, if set */
} Redis;

typedef enum Outcome
{
	OUTCOME_MORE,				/* the reply is not complete */
	OUTCOME_DONE,
	OUTCOME_CANCELLED
} Outcome;

/* One connection that publishes. */
typedef struct Client
{
	int			number;
	int			fd;
	PGconn	   *conn;
	Redis	   *redis;
	uint64_t	started;		/* when the operation was sent, 0: none is */
	uint64_t	cancelled;		/* when its cancellation was asked for */
	unsigned	next;			/* next message of the pool */
	Outcome		outcome;		/* of the operation, as far as it is known */
} Client;

/* The connection beside the load: set-up, counters, sizes. */
typedef struct Control
{
	PGconn	   *conn;
	Redis	   *redis;
	int			pid;			/* postmaster or Redis server */
} Control;

/*
 * A number of clients, each of which sends its next operation as soon as the
 * reply to the one before has come.  The hook, if any, watches a descriptor of
 * its own beside them, is called when there is something to read from it and
 * each time that some client was served.
 */
typedef struct Load
{
	const Options *o;
	Client	   *clients;
	Samples		latencies;
	long		operations;
	int			hook_fd;		/* -1: no hook */
	void		(*hook) (struct Load *l, bool readable);
	void		(*cancelled) (struct Load *l, Client *c, uint64_t now);
} Load;

typedef struct Counters
{
	uint64_t	time;
	double		server_cpu;		/* seconds */
	double		client_cpu;		/* seconds */
	double		log;			/* bytes of WAL, or of Redis's append-only file */
} Counters;

/* util.c */
extern void die(const char *format,...) __attribute__((format(printf, 1, 2), noreturn));
extern void *grow(void *old, size_t size);
extern uint64_t now_ns(void);
extern uint64_t random_below(uint64_t limit);
extern void put_bytes(Buffer *b, const void *data, size_t len);
extern void put_int16(Buffer *b, uint16_t value);
extern void put_int32(Buffer *b, uint32_t value);
extern void put_int64(Buffer *b, uint64_t value);
extern void put_format(Buffer *b, const char *format,...) __attribute__((format(printf, 2, 3)));
extern uint64_t get_int64(const char *data);
extern void add_sample(Samples *s, uint64_t ns);
extern double sample_us(Samples *s, double fraction);
extern int	parent_of(int pid);
extern double cpu_of_family(int pid);
extern double cpu_of_self(void);
extern double cpu_of_children(void);
extern double cpu_of_machine(void);
extern long anonymous_memory(int pid);
extern void measure_fsync(const char *directory);

/* messages.c */
extern void make_messages(void);
extern void number_messages(void);
extern long message_number(const char *value);
extern const char *message_key(unsigned i);
extern const char *message_value(unsigned i);
extern unsigned key_partition(unsigned i, int partitions);
extern void put_value_array(Buffer *b, uint32_t type, unsigned first, int count);
extern void put_key_array(Buffer *b, unsigned first, int count);
extern void put_copy_header(Buffer *b);
extern void put_copy_rows(Buffer *b, unsigned first, int count, int64_t offset, bool own_offsets);
extern void set_copy_offsets(char *rows, int count, int64_t offset);
extern void put_copy_trailer(Buffer *b);

/* redis.c */
extern Redis *redis_open(const char *path);
extern void redis_close(Redis *r);
extern void redis_flush(Redis *r);
extern bool redis_receive(Redis *r, bool wait);
extern char *redis_ask(Redis *r, const char *command);
extern long redis_info(Redis *r, const char *section, const char *name);
extern void redis_reset(Redis *r);
extern void redis_send_batch(Redis *r, const Options *o, unsigned first, int count);

/* postgres.c */
extern PGconn *pg_open(void);
extern PGresult *pg_query(PGconn *conn, const char *format,...) __attribute__((format(printf, 2, 3)));
extern void pg_run(PGconn *conn, const char *format,...) __attribute__((format(printf, 2, 3)));
extern double pg_number(PGconn *conn, const char *format,...) __attribute__((format(printf, 2, 3)));
extern void pg_expect(PGconn *conn, PGresult *result, ExecStatusType status);
extern void pg_prepare(PGconn *conn, const char *name, int count, const Oid *types, const char *format,...) __attribute__((format(printf, 5, 6)));
extern PGresult *pg_fetch(PGconn *conn, const char *name, int64_t value);
extern void pg_drain(PGconn *conn, ExecStatusType status);

/* side.c */
extern const Side *find_side(const char *name);
extern void control_open(Control *c, const Options *o);
extern void control_close(Control *c);
extern void make_table(Control *c, const Options *o);
extern void drop_table(Control *c, const Options *o);
extern double disk_bytes(Control *c, const Options *o);
extern void read_counters(Control *c, Counters *counters);
extern void client_open(Client *c, const Options *o, int number);
extern void client_close(Client *c);
extern void client_send(Client *c, const Options *o);
extern Outcome client_receive(Client *c, const Options *o);
extern void prepare_batch(PGconn *conn, const Options *o);
extern void send_batch(PGconn *conn, const Options *o, unsigned first);
extern void copy_statement(char *sql, size_t size, const Options *o, bool own_offsets);

/* loop.c */
extern void loop_open(Load *l, const Options *o);
extern void loop_run(Load *l, uint64_t deadline);
extern void loop_drain(Load *l);
extern void loop_close(Load *l);

/* bulk.c */
extern void bulk_load(PGconn *conn, Redis *redis, const Options *o, bool commit);
extern void run_bulk(const Options *o);

/* the other workloads */
extern void run_publish(const Options *o);
extern void run_read_server(const Options *o);
extern void run_read_chunks(const Options *o);
extern void run_read_libpq(const Options *o);
extern void run_memory(const Options *o);
extern void run_seek(const Options *o);
extern void run_dead_tail(const Options *o);
extern void run_hold(const Options *o);

#endif
