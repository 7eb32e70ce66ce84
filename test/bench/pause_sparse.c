/*
 * pause_sparse.c
 *		What many paused partitions cost.
 *
 * pause_first: the server is starting, since o->since by the clock of the day.
 * How long until the first publish has returned, and until the keeper has
 * nothing to do.
 *
 * pause_rate: single publishes over o->partitions streams, table1, table2, ...
 *
 * pause_plan: planning time of a SELECT from two streams, o->table and
 * o->table_small, by turns: in a session that has planned it before, and as
 * the first statement of new sessions.
 */
#include "pause.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_STREAMS		1000

static double
since_ms(double since)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return ((double) t.tv_sec * 1e9 + (double) t.tv_nsec - since) / 1e6;
}

void
run_pause_first(const Options *o)
{
	PGconn	   *conn;
	double		first;

	while (PQstatus(conn = PQconnectdb("")) != CONNECTION_OK)
	{
		PQfinish(conn);
		if (since_ms(o->since) > 120000)
			die("the server does not start");
		pass(MS);
	}
	pg_run(conn, "SELECT stream_publish('%s', 'x'::bytea)", o->table);
	first = since_ms(o->since);
	(void) await(conn, "keeper", 120,
				 "SELECT EXISTS (SELECT FROM weir.worker_info() WHERE kind = 'keeper' AND doing = 'idle')");
	printf("first_ms=%.1f\tkeeper_idle_ms=%.1f\n", first, since_ms(o->since));
	PQfinish(conn);
}

/* ---- pause_rate ---- */

static void
run_over_streams(Thread *t)
{
	char		(*oids)[16] = t->more;
	int			i = t->number * 17;
	Oid			types[2] = {OID_REGCLASS, OID_BYTEA};
	int			lengths[2] = {0, VALUE_SIZE};
	int			formats[2] = {0, BINARY};

	pg_prepare(t->conn, "over", 2, types, "SELECT stream_publish($1, $2)");
	while (!is_set(t->stop))
	{
		const char *values[2] = {oids[i++ % t->partition], message_value(0)};
		uint64_t	begin = now_ns();
		PGresult   *result = PQexecPrepared(t->conn, "over", 2, values, lengths, formats, BINARY);

		pg_expect(t->conn, result, PGRES_TUPLES_OK);
		PQclear(result);
		note(&t->statements, begin, now_ns());
	}
}

void
run_pause_rate(const Options *o)
{
	static char oids[MAX_STREAMS][16];
	Thread		threads[MAX_CLIENTS] = {0};
	char		first[80];
	bool		stop = false;
	PGconn	   *conn = pg_open();
	Ops			ops = {0};
	uint64_t	from;

	if (o->partitions > MAX_STREAMS)
		die("too many streams");
	for (int i = 0; i < o->partitions; i++)
		snprintf(oids[i], sizeof(oids[i]), "%.0f",
				 pg_number(conn, "SELECT '%s%d'::regclass::oid", o->table, i + 1));
	snprintf(first, sizeof(first), "%s1", o->table);
	for (int i = 0; i < o->clients; i++)
	{
		threads[i].stream = first;
		threads[i].number = i;
		threads[i].partition = o->partitions;
		threads[i].stop = &stop;
		threads[i].run = run_over_streams;
		threads[i].more = oids;
		thread_begin(&threads[i]);
	}
	pass((uint64_t) (o->warmup * 1e9));
	from = now_ns();
	pass((uint64_t) (o->seconds * 1e9));
	set(&stop, true);
	for (int i = 0; i < o->clients; i++)
	{
		thread_end(&threads[i]);
		for (size_t j = 0; j < threads[i].statements.len; j++)
			if (threads[i].statements.op[j].start >= from)
				note(&ops, threads[i].statements.op[j].start,
					 threads[i].statements.op[j].start + threads[i].statements.op[j].taken);
	}
	printf("rate=%.1f\tp50_ms=%.3f\tp99_ms=%.3f\n", (double) ops.len / o->seconds,
		   ops_ms(&ops, 0.5), ops_ms(&ops, 0.99));
	PQfinish(conn);
}

/* ---- pause_plan ---- */

static double
planning_ms(PGconn *conn, const char *table)
{
	PGresult   *result = pg_query(conn, "EXPLAIN (SUMMARY) SELECT * FROM %s", table);
	double		ms = -1;

	for (int i = 0; i < PQntuples(result); i++)
		if (sscanf(PQgetvalue(result, i, 0), "Planning Time: %lf", &ms) == 1)
			break;
	if (ms < 0)
		die("EXPLAIN says no planning time");
	PQclear(result);
	return ms;
}

void
run_pause_plan(const Options *o)
{
	const char *tables[2] = {o->table, o->table_small};
	double		warm[2][2000];
	double		cold[2][2000];
	int			count = (int) o->probes;
	PGconn	   *conn = pg_open();

	if (count > 2000)
		die("too many probes");
	for (int i = 0; i < 20; i++)
		(void) planning_ms(conn, tables[i % 2]);
	for (int i = 0; i < 2 * count; i++)
		warm[i % 2][i / 2] = planning_ms(conn, tables[i % 2]);
	for (int i = 0; i < 2 * (count / 5); i++)
	{
		PGconn	   *fresh = pg_open();

		cold[i % 2][i / 2] = planning_ms(fresh, tables[i % 2]);
		PQfinish(fresh);
	}
	printf("warm_ms=%.4f\t", median_of(warm[0], count));
	printf("warm_small_ms=%.4f\t", median_of(warm[1], count));
	printf("warm_ratio=%.3f\t", median_of(warm[0], count) / median_of(warm[1], count));
	printf("cold_ms=%.4f\t", median_of(cold[0], count / 5));
	printf("cold_small_ms=%.4f\t", median_of(cold[1], count / 5));
	printf("cold_ratio=%.3f\tplans=%d\n",
		   median_of(cold[0], count / 5) / median_of(cold[1], count / 5), count);
	PQfinish(conn);
}
