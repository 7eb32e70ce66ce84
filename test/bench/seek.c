/*
 * seek.c
 *		Finding a place: one message at a random offset, the offset of a random
 *		time, in a large stream; and the poll of a reader that stands before a
 *		long tail of messages that were rolled back and not yet vacuumed.
 *
 * Latencies are those of prepared statements as the client sees them, on a
 * connection that has done the same before.  Buffers are those that EXPLAIN
 * (ANALYZE, BUFFERS) shows, hits and reads together, without planning.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARM_PROBES		100

typedef struct Seek
{
	const char *name;			/* of the prepared statement and the figures */
	const char *format;			/* of the statement; parameter: table */
	const char *type;			/* of its parameter */
	int64_t		low;			/* where to seek: from here */
	int64_t		high;			/* up to below this */
} Seek;

/* Buffers of one execution. */
static double
explain_buffers(PGconn *conn, const Seek *s, int64_t target)
{
	static const char *const counts[] = {"\"Shared Hit Blocks\":", "\"Shared Read Blocks\":"};
	PGresult   *result;
	double		sum = 0;

	if (strcmp(s->type, "timestamptz") == 0)
		result = pg_query(conn, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE %s"
						  "(timestamptz '2000-01-01 00:00:00+00' + %ld * interval '1 microsecond')",
						  s->name, (long) target);
	else
		result = pg_query(conn, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE %s(%ld)",
						  s->name, (long) target);
	/* The first of each is that of the whole plan. */
	for (int i = 0; i < 2; i++)
	{
		char	   *p = strstr(PQgetvalue(result, 0, 0), counts[i]);

		if (p == NULL)
			die("EXPLAIN shows no buffers");
		sum += atof(p + strlen(counts[i]));
	}
	PQclear(result);
	return sum;
}

static void
probe(PGconn *conn, const Options *o, const Seek *s)
{
	Samples		latencies = {0};
	double		buffers_sum = 0;
	double		buffers_max = 0;
	Oid			type = strcmp(s->type, "timestamptz") == 0 ? OID_TIMESTAMPTZ : OID_INT8;
	char		sql[512];

	snprintf(sql, sizeof(sql), s->format, o->table);
	pg_prepare(conn, s->name, 1, &type, "%s", sql);
	for (long i = -WARM_PROBES; i < o->probes; i++)
	{
		int64_t		target = s->low + (int64_t) random_below((uint64_t) (s->high - s->low));
		uint64_t	start = now_ns();
		PGresult   *result = pg_fetch(conn, s->name, target);
		uint64_t	end = now_ns();

		if (PQntuples(result) != 1 || PQgetisnull(result, 0, 0))
			die("nothing was found at %ld", (long) target);
		PQclear(result);
		if (i >= 0)
			add_sample(&latencies, end - start);
	}
	for (long i = 0; i < o->probes / 10; i++)
	{
		int64_t		target = s->low + (int64_t) random_below((uint64_t) (s->high - s->low));
		double		buffers = explain_buffers(conn, s, target);

		buffers_sum += buffers;
		if (buffers > buffers_max)
			buffers_max = buffers;
	}
	printf("\t%s_p50_us=%.1f\t%s_p99_us=%.1f\t%s_max_us=%.1f", s->name, sample_us(&latencies, 0.5),
		   s->name, sample_us(&latencies, 0.99), s->name, sample_us(&latencies, 1.0));
	printf("\t%s_buffers_avg=%.1f\t%s_buffers_max=%.0f", s->name,
		   buffers_sum / (double) (o->probes / 10), s->name, buffers_max);
}

void
run_seek(const Options *o)
{
	PGconn	   *conn = pg_open();
	Seek		by_offset = {"by_offset", NULL, "bigint", 0, o->count};
	Seek		by_time = {"by_time", "SELECT stream_offset_at('%s'::regclass, 0, $1)", "timestamptz", 0, 0};
	Oid			type = OID_INT8;
	PGresult   *result;

	printf("messages=%ld\tprobes=%ld", o->count, o->probes);
	if (o->side->kind != KIND_WEIR)
	{
		by_offset.format = "SELECT * FROM %s WHERE \"offset\" >= $1 ORDER BY \"offset\" LIMIT 1";
		probe(conn, o, &by_offset);
	}
	else
	{
		by_offset.format = "SELECT * FROM stream_read(NULL::%s, 0, $1, 1)";
		probe(conn, o, &by_offset);
		/* The times between those of the first and the last message. */
		pg_prepare(conn, "ts", 1, &type, "SELECT ts FROM stream_read(NULL::%s, 0, $1, 1)", o->table);
		result = pg_fetch(conn, "ts", 0);
		by_time.low = (int64_t) get_int64(PQgetvalue(result, 0, 0));
		PQclear(result);
		result = pg_fetch(conn, "ts", o->count - 1);
		by_time.high = (int64_t) get_int64(PQgetvalue(result, 0, 0)) + 1;
		PQclear(result);
		probe(conn, o, &by_time);
	}
	putchar('\n');
	PQfinish(conn);
}

/* A table with o->probes messages to see, and o->count dead ones behind. */
static void
make_dead_tail(Control *control, const Options *o)
{
	Options		live = *o;

	make_table(control, o);
	live.count = o->probes;
	bulk_load(control->conn, NULL, &live, true);
	bulk_load(control->conn, NULL, o, false);
}

/*
 * First, second and later polls, which find nothing.  The backend that polls
 * has read the stream before, so that the first poll is not about its caches.
 */
void
run_dead_tail(const Options *o)
{
	Control		control;
	PGconn	   *conn;
	Samples		later = {0};
	Oid			type = OID_INT8;

	control_open(&control, o);
	make_dead_tail(&control, o);
	conn = pg_open();
	if (o->side->kind == KIND_WEIR)
		pg_prepare(conn, "poll", 1, &type,
				   "SELECT * FROM stream_read(NULL::%s, 0, $1, %d)", o->table, o->fetch);
	else
		pg_prepare(conn, "poll", 1, &type,
				   "SELECT * FROM %s WHERE \"offset\" >= $1 ORDER BY \"offset\" LIMIT %d",
				   o->table, o->fetch);
	for (int i = 0; i < 20; i++)
	{
		PGresult   *result = pg_fetch(conn, "poll", 0);

		if (PQntuples(result) < o->fetch && PQntuples(result) < o->probes)
			die("the messages before the dead tail are not there");
		PQclear(result);
	}
	printf("messages=%ld", o->count);
	for (int i = 0; i < 102; i++)
	{
		uint64_t	start = now_ns();
		PGresult   *result = pg_fetch(conn, "poll", o->probes);
		uint64_t	time = now_ns() - start;

		if (PQntuples(result) != 0)
			die("a message that was rolled back was read");
		PQclear(result);
		if (i < 2)
			printf("\t%s_us=%.1f", i == 0 ? "first" : "second", (double) time / 1000);
		else
			add_sample(&later, time);
	}
	printf("\tlater_p50_us=%.1f\tlater_max_us=%.1f\n", sample_us(&later, 0.5), sample_us(&later, 1.0));
	PQfinish(conn);
	drop_table(&control, o);
	control_close(&control);
}
