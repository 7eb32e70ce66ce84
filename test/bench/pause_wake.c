/*
 * pause_wake.c
 *		Publishing that resumes, and cycles of pause and resume under load.
 *
 * pause_wake: one client publishes to a partition as usual, then to the same
 * one after it was paused, by turns; once with its table left attached, once
 * detached.  Each message is looked for with stream_read as soon as its
 * publish has returned.  Then how long after the end of the last transaction
 * that used it a partition is attached again: of the publish itself, of a
 * publisher that stays for a while in its transaction, of a reader of the
 * partition's own table that stays even longer.
 *
 * pause_cycles: publishers that number their messages, and a session that
 * pauses and resumes.  Now and then they hold off until a table is detached.
 */
#include "pause.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PROBES		100000
#define USUAL			5		/* usual publishes for each that resumes */
#define PUBLISHERS		8
#define PARTITIONS		4

typedef struct Wake
{
	PGconn	   *owner;
	PGconn	   *client;
	PGconn	   *other;
	const char *stream;
	Ops			usual;
	Ops			resuming;
	long		unreadable;
	double	   *attached;
	int			nattached;
} Wake;

static void
wait_settled(Wake *w)
{
	await(w->owner, "settled", 60,
		  "SELECT NOT EXISTS (SELECT FROM weir.partition WHERE NOT settled AND stream = '%s'::regclass)"
		  " AND NOT EXISTS (SELECT FROM weir.resume_request)", w->stream);
}

static void
timed_publish(Wake *w, Ops *ops)
{
	uint64_t	begin = now_ns();
	int64_t		offset = publish(w->client, w->stream, 0, message_value(0));
	double		found;

	if (ops != NULL)
		note(ops, begin, now_ns());
	found = pg_number(w->other, "SELECT count(*) FROM stream_read(NULL::%s, 0, %lld, 1)"
					  " WHERE \"offset\" = %lld", w->stream, (long long) offset,
					  (long long) offset);
	if (found != 1)
		w->unreadable++;
}

static void
cycle(Wake *w, bool detach)
{
	(void) pause_partition(w->owner, w->stream, 0, detach);
	if (detach)
		(void) await_actual(w->owner, w->stream, 0, "detached", 60);
	wait_settled(w);
	timed_publish(w, &w->resuming);
	if (detach)
		w->attached[w->nattached++] = await_actual(w->owner, w->stream, 0, "attached", 60);
	wait_settled(w);
	/* The first one after a change fills caches again. */
	timed_publish(w, NULL);
	for (int i = 0; i < USUAL; i++)
	{
		/* As after the questions whether it is settled. */
		pass(2 * MS);
		timed_publish(w, &w->usual);
	}
}

/* The publisher, or a reader, stays for a while. */
static double
attached_after(Wake *w, bool reader)
{
	PGresult   *result;
	uint64_t	ended;
	uint64_t	late;

	(void) pause_partition(w->owner, w->stream, 0, true);
	(void) await_actual(w->owner, w->stream, 0, "detached", 60);
	result = pg_query(w->other, "SELECT partition::text FROM weir.partition"
					  " WHERE stream = '%s'::regclass AND number = 0", w->stream);
	if (reader)
	{
		pg_run(w->other, "BEGIN");
		pg_run(w->other, "SELECT count(*) FROM %s", PQgetvalue(result, 0, 0));
	}
	PQclear(result);
	pg_run(w->client, "BEGIN");
	(void) publish(w->client, w->stream, 0, message_value(0));
	pass(200 * MS);
	pg_run(w->client, "COMMIT");
	if (reader)
	{
		pass(2500 * MS);
		pg_run(w->other, "COMMIT");
	}
	ended = now_ns();
	(void) await_actual(w->owner, w->stream, 0, "attached", 60);
	late = now_ns() - ended;
	wait_settled(w);
	return (double) late / 1e6;
}

void
run_pause_wake(const Options *o)
{
	Wake		w = {0};
	int			count = (int) o->probes;
	double		publisher[100];
	double		reader[100];
	double		usual;
	double		resuming;

	w.owner = pg_open();
	w.client = pg_open();
	w.other = pg_open();
	w.stream = o->table;
	w.attached = grow(NULL, MAX_PROBES * sizeof(double));
	make_stream(w.owner, o->table, 2);
	prepare_publish(w.client, o->table);
	for (int detach = 0; detach < 2; detach++)
	{
		w.usual.len = w.resuming.len = 0;
		for (int i = 0; i < count; i++)
			cycle(&w, detach);
		usual = ops_ms(&w.usual, 0.5);
		resuming = ops_ms(&w.resuming, 0.5);
		printf("%s_ratio=%.3f\t", detach ? "detached" : "attached", resuming / usual);
		printf("%s_ms=%.3f\t", detach ? "detached" : "attached", resuming);
		printf("%s_p99_ms=%.3f\t", detach ? "detached" : "attached", ops_ms(&w.resuming, 0.99));
		printf("%s_usual_ms=%.3f\t", detach ? "detached" : "attached", usual);
	}
	for (int i = 0; i < (int) o->batch; i++)
	{
		publisher[i] = attached_after(&w, false);
		reader[i] = attached_after(&w, true);
	}
	printf("unreadable=%ld\tattach_ms=%.1f", w.unreadable, median_of(w.attached, w.nattached));
	printf("\tattach_max_ms=%.1f", w.attached[w.nattached - 1]);
	printf("\tafter_publisher_ms=%.1f", median_of(publisher, o->batch));
	printf("\tafter_publisher_max_ms=%.1f", publisher[o->batch - 1]);
	printf("\tafter_reader_ms=%.1f", median_of(reader, o->batch));
	printf("\tafter_reader_max_ms=%.1f\n", reader[o->batch - 1]);
	PQfinish(w.owner);
	PQfinish(w.client);
	PQfinish(w.other);
}

/* ---- pause_cycles ---- */

typedef struct Sums
{
	long		acknowledged;
	double		offsets;		/* sum of offset * (partition + 1) */
	bool	   *hold;
} Sums;

static void
run_numbered(Thread *t)
{
	Sums	   *sums = t->more;
	char		value[VALUE_SIZE];
	int64_t		offset;
	long		number = 0;

	while (!is_set(t->stop))
	{
		think(t);
		if (is_set(sums->hold))
			continue;
		t->partition = (int) (t->seed >> 20) & (PARTITIONS - 1);
		memset(value, ' ', VALUE_SIZE);
		value[snprintf(value, VALUE_SIZE, "%d:%ld:", t->number, number)] = ' ';
		if (!try_publish(t, value, &offset))
			continue;
		number++;
		sums->acknowledged++;
		sums->offsets += (double) offset * (t->partition + 1);
	}
}

static void
change(PGconn *owner, Thread *clients, int i)
{
	Sums	   *sums = clients[0].more;
	int			partition = i * 7 % PARTITIONS;

	if (i % 20 == 19)
	{
		set(sums->hold, true);
		pass(30 * MS);
	}
	if (i % 10 == 9)
		pg_run(owner, "SELECT stream_pause('%s', resume_all => %s)",
			   clients[0].stream, i % 30 == 29 ? "true" : "false");
	else
		(void) pause_partition(owner, clients[0].stream, partition, i % 3 != 0);
	pass((uint64_t) (i * 13 % 7) * MS);
	if (i % 20 == 19)
	{
		if (i % 40 == 39)
			(void) await_actual(owner, clients[0].stream, partition, "detached", 60);
		set(sums->hold, false);
	}
	if (i % 4 == 0)
		pg_run(owner, "SELECT stream_resume('%s')", clients[0].stream);
}

void
run_pause_cycles(const Options *o)
{
	Thread		threads[PUBLISHERS] = {0};
	Sums		sums[PUBLISHERS] = {0};
	bool		stop = false;
	bool		hold = false;
	PGconn	   *owner = pg_open();
	uint64_t	begin;
	double		seconds;
	double		acknowledged = 0;
	double		offsets = 0;
	double		errors = 0;
	double		found;
	double		detaches;

	make_stream(owner, o->table, PARTITIONS);
	/* The messages that made the caches full are not counted. */
	pg_run(owner, "CREATE TEMP TABLE before AS SELECT partition, \"offset\" FROM %s", o->table);
	for (int i = 0; i < PUBLISHERS; i++)
	{
		sums[i].hold = &hold;
		threads[i].stream = o->table;
		threads[i].number = i;
		threads[i].max_think = 6 * MS;
		threads[i].stop = &stop;
		threads[i].run = run_numbered;
		threads[i].more = &sums[i];
		thread_begin(&threads[i]);
	}
	begin = now_ns();
	for (long i = 0; i < o->count; i++)
		change(owner, threads, (int) i);
	seconds = (double) (now_ns() - begin) / 1e9;
	set(&stop, true);
	for (int i = 0; i < PUBLISHERS; i++)
	{
		thread_end(&threads[i]);
		acknowledged += (double) sums[i].acknowledged;
		offsets += sums[i].offsets;
		errors += (double) threads[i].errors;
		if (threads[i].errors > 0)
			fprintf(stderr, "client %d: %s\n", i, threads[i].error);
	}
	pg_run(owner, "SELECT stream_resume('%s')", o->table);
	await(owner, "settled", 120, "SELECT NOT EXISTS (SELECT FROM weir.partition WHERE NOT settled)");
	detaches = pg_number(owner, "SELECT count(*) FROM weir.activity WHERE value->>'event' = 'detached'"
						 " AND value->>'stream' LIKE '%%%s'", o->table);
	/* Once through the stream's table, once through the function. */
	pg_run(owner, "CREATE TEMP TABLE found AS SELECT m.partition, m.\"offset\", convert_from(m.value, 'UTF8') AS value"
		   " FROM generate_series(0, %d) p, LATERAL stream_read(NULL::%s, p, 0, NULL) m"
		   " WHERE (m.partition, m.\"offset\") NOT IN (SELECT * FROM before)", PARTITIONS - 1, o->table);
	found = pg_number(owner, "SELECT count(*) FROM found");
	printf("cycles=%ld\tseconds=%.1f\tdetaches=%g\tacknowledged=%.0f\terrors=%.0f\tfound=%.0f",
		   o->count, seconds, detaches, acknowledged, errors, found);
	printf("\tin_table=%.0f", pg_number(owner, "SELECT count(*) FROM %s", o->table) -
		   pg_number(owner, "SELECT count(*) FROM before"));
	printf("\ttwice=%.0f", found - pg_number(owner, "SELECT count(DISTINCT value) FROM found"));
	printf("\tlost=%.0f", acknowledged - pg_number(owner, "SELECT count(DISTINCT value) FROM found"));
	printf("\toffsets_differ=%g", offsets - pg_number(owner, "SELECT coalesce(sum(\"offset\" * (partition + 1)), 0) FROM found"));
	printf("\tproblems=%.0f\n", pg_number(owner, "SELECT count(*) FROM stream_check('%s')", o->table));
	PQfinish(owner);
}
