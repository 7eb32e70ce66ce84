/*
 * pause.c
 *		What the workloads about pausing share: threads, what they note, short
 *		forms of the statements.
 */
#include "pause.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SQL_SIZE	2048

/* ---- what is noted ---- */

void
note(Ops *ops, uint64_t start, uint64_t end)
{
	if (ops->len == ops->size)
	{
		ops->size = ops->size ? ops->size * 2 : 4096;
		ops->op = grow(ops->op, ops->size * sizeof(Op));
	}
	ops->op[ops->len].start = start;
	ops->op[ops->len++].taken = end - start;
}

void
add_ops(Ops *to, const Ops *from)
{
	for (size_t i = 0; i < from->len; i++)
		note(to, from->op[i].start, from->op[i].start + from->op[i].taken);
}

/* As sample_us, of those that began within a time. */
double
between_ms(const Ops *ops, uint64_t from, uint64_t to, double fraction)
{
	Samples		samples = {0};
	double		result;

	for (size_t i = 0; i < ops->len; i++)
		if (ops->op[i].start >= from && ops->op[i].start < to)
			add_sample(&samples, ops->op[i].taken);
	result = sample_us(&samples, fraction) / 1000;
	free(samples.ns);
	return result;
}

double
ops_ms(const Ops *ops, double fraction)
{
	return between_ms(ops, 0, UINT64_MAX, fraction);
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

double
median_of(double *values, int count)
{
	if (count == 0)
		die("nothing was measured");
	qsort(values, (size_t) count, sizeof(double), compare_doubles);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double
greatest_of(const double *values, int count)
{
	double		greatest = 0;

	for (int i = 0; i < count; i++)
		if (values[i] > greatest)
			greatest = values[i];
	return greatest;
}

/* ---- threads ---- */

bool
is_set(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

void
set(bool *flag, bool value)
{
	__atomic_store_n(flag, value, __ATOMIC_SEQ_CST);
}

/* Lets time go by: what a client does between two statements. */
void
pass(uint64_t ns)
{
	struct timespec t = {(time_t) (ns / 1000000000), (long) (ns % 1000000000)};

	ppoll(NULL, 0, &t, NULL);
}

void
think(Thread *t)
{
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 7;
	t->seed ^= t->seed << 17;
	if (t->max_think > 0)
		pass(t->min_think + t->seed % (t->max_think - t->min_think + 1));
}

static void *
start(void *arg)
{
	Thread	   *t = arg;

	t->run(t);
	return NULL;
}

void
thread_begin(Thread *t)
{
	t->seed = UINT64_C(0x9E3779B97F4A7C15) * (uint64_t) (t->number + 1);
	t->conn = pg_open();
	prepare_publish(t->conn, t->stream);
	if (pthread_create(&t->id, NULL, start, t) != 0)
		die("could not start a thread");
}

void
thread_end(Thread *t)
{
	pthread_join(t->id, NULL);
	PQfinish(t->conn);
}

/* Transactions of one message, as long as they think, until told to stop. */
void
run_client(Thread *t)
{
	int64_t		offset;

	while (!is_set(t->stop))
	{
		uint64_t	begin = now_ns();
		uint64_t	before;
		uint64_t	after;
		uint64_t	commit;

		pg_run(t->conn, "BEGIN");
		before = now_ns();
		if (!try_publish(t, message_value(0), &offset))
		{
			pg_run(t->conn, "ROLLBACK");
			continue;
		}
		after = now_ns();
		note(&t->statements, before, after);
		think(t);
		commit = now_ns();
		pg_run(t->conn, "COMMIT");
		note(&t->wholes, begin, after + (now_ns() - commit));
	}
}

/* ---- statements ---- */

static PGresult *
send_publish(PGconn *conn, const char *stream, int partition, const char *value)
{
	char		name[96];
	char		number[16];
	const char *values[2] = {value, number};
	int			lengths[2] = {VALUE_SIZE, 0};
	int			formats[2] = {BINARY, 0};

	snprintf(name, sizeof(name), "publish_%s", stream);
	snprintf(number, sizeof(number), "%d", partition);
	return PQexecPrepared(conn, name, 2, values, lengths, formats, 0);
}

/* What publishes to this stream later, in this session. */
void
prepare_publish(PGconn *conn, const char *stream)
{
	char		name[96];
	Oid			types[2] = {OID_BYTEA, OID_INT4};

	snprintf(name, sizeof(name), "publish_%s", stream);
	pg_prepare(conn, name, 2, types,
			   "SELECT \"offset\" FROM stream_publish('%s'::regclass, $1, partition => $2)",
			   stream);
}

int64_t
publish(PGconn *conn, const char *stream, int partition, const char *value)
{
	PGresult   *result = send_publish(conn, stream, partition, value);
	int64_t		offset;

	pg_expect(conn, result, PGRES_TUPLES_OK);
	offset = atoll(PQgetvalue(result, 0, 0));
	PQclear(result);
	return offset;
}

/* The same, where a failure is counted. */
bool
try_publish(Thread *t, const char *value, int64_t *offset)
{
	PGresult   *result = send_publish(t->conn, t->stream, t->partition, value);
	bool		good = PQresultStatus(result) == PGRES_TUPLES_OK;

	if (good)
		*offset = atoll(PQgetvalue(result, 0, 0));
	else if (t->errors++ == 0)
		snprintf(t->error, sizeof(t->error), "%s", PQresultErrorMessage(result));
	PQclear(result);
	return good;
}

/* Waits until a condition is true, asking each 2 ms; returns the time in ms. */
double
await(PGconn *conn, const char *what, double seconds, const char *condition,...)
{
	char		sql[SQL_SIZE];
	va_list		args;
	uint64_t	begin = now_ns();

	va_start(args, condition);
	vsnprintf(sql, sizeof(sql), condition, args);
	va_end(args);
	while (pg_number(conn, "SELECT (%s)::integer", sql) == 0)
	{
		if ((double) (now_ns() - begin) / 1e9 > seconds)
			die("waited more than %g s: %s", seconds, what);
		pass(2 * MS);
	}
	return (double) (now_ns() - begin) / 1e6;
}

double
await_actual(PGconn *conn, const char *stream, int partition, const char *actual,
			 double seconds)
{
	return await(conn, actual, seconds,
				 "SELECT actual = '%s' FROM weir.partition_info('%s', %d)",
				 actual, stream, partition);
}

/* How long it took. */
uint64_t
pause_partition(PGconn *conn, const char *stream, int partition, bool detach)
{
	uint64_t	begin = now_ns();

	pg_run(conn, "SELECT stream_pause('%s', '{%d}', detach => %s)", stream,
		   partition, detach ? "true" : "false");
	return now_ns() - begin;
}

void
resume_partition(PGconn *conn, const char *stream, int partition)
{
	pg_run(conn, "SELECT stream_resume('%s', '{%d}')", stream, partition);
}

void
make_stream(PGconn *conn, const char *stream, int partitions)
{
	pg_run(conn, "DROP TABLE IF EXISTS %s", stream);
	pg_run(conn, "SELECT stream_create('%s', %d, 'bytea')", stream, partitions);
	prepare_publish(conn, stream);
	for (int i = 0; i < partitions; i++)
		(void) publish(conn, stream, i, message_value(0));
}
