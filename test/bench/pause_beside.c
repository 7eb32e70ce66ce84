/*
 * pause_beside.c
 *		What goes on beside a pause.
 *
 * pause_beside: three partitions are published to and read at a steady, modest
 * rate while the fourth is paused, detached, resumed and attached over and
 * over, each time with another session's transaction open that has read the
 * whole stream.  Phases with these cycles and phases without them, in which
 * all else is the same, take turns.
 *
 * pause_drain: sixteen publishers of one partition, whose transactions last 1
 * to 60 ms, and a pause of it now and then (their next publish resumes it).
 * How long they queued: of each publish that lay, in part, within the time of
 * the pause, what it took more than the median of the publishes at other
 * times; all that added up.
 *
 * pause_held: one publisher sits in its transaction, others go on; a pause
 * with a lock_timeout of 2 s.
 */
#include "pause.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROUNDS		64
#define PUBLISHERS		3
#define READERS			3
#define DRAINERS		16
#define OTHERS			4
#define THINK_NS		(3 * MS)
#define HELD_NS			(400 * MS)
#define POLLS_NS		(40 * MS)

/* ---- pause_beside ---- */

/* One message, then a while of nothing. */
static void
run_paced(Thread *t)
{
	int64_t		offset;

	while (!is_set(t->stop))
	{
		uint64_t	begin = now_ns();
		uint64_t	before;

		pg_run(t->conn, "BEGIN");
		before = now_ns();
		if (!try_publish(t, message_value(0), &offset))
			die("%s", t->error);
		note(&t->statements, before, now_ns());
		pg_run(t->conn, "COMMIT");
		note(&t->wholes, begin, now_ns());
		think(t);
	}
}

static void
run_reader(Thread *t)
{
	pg_prepare(t->conn, "read", 0, NULL,
			   "SELECT * FROM stream_read(NULL::%s, %d, reverse => true, max_messages => 10)",
			   t->stream, t->partition);
	while (!is_set(t->stop))
	{
		uint64_t	begin = now_ns();
		PGresult   *result = PQexecPrepared(t->conn, "read", 0, NULL, NULL, NULL, BINARY);

		pg_expect(t->conn, result, PGRES_TUPLES_OK);
		PQclear(result);
		note(&t->statements, begin, now_ns());
		think(t);
	}
}

typedef struct Beside
{
	PGconn	   *owner;
	PGconn	   *holder;
	const char *stream;
	double		pauses[4096];
	double		detaches[4096];
	double		attaches[4096];
	int			count;
} Beside;

static void
cycle(Beside *b, bool quiet)
{
	uint64_t	begin;

	pg_run(b->holder, "BEGIN");
	pg_run(b->holder, "SELECT count(*) FROM %s", b->stream);
	if (!quiet)
		b->pauses[b->count] = (double) pause_partition(b->owner, b->stream, 0, true) / 1e6;
	pass(HELD_NS);
	pg_run(b->holder, "COMMIT");
	if (quiet)
	{
		/* As many questions as the other kind asks. */
		begin = now_ns();
		while (now_ns() - begin < POLLS_NS)
			(void) await_actual(b->owner, b->stream, 0, "attached", 1), pass(2 * MS);
		return;
	}
	b->detaches[b->count] = await_actual(b->owner, b->stream, 0, "detached", 60);
	resume_partition(b->owner, b->stream, 0);
	b->attaches[b->count++] = await_actual(b->owner, b->stream, 0, "attached", 60);
}

static void
phase(Beside *b, bool quiet, double seconds, uint64_t *from, uint64_t *to)
{
	*from = now_ns();
	while ((double) (now_ns() - *from) / 1e9 < seconds && b->count < 4096)
		cycle(b, quiet);
	*to = now_ns();
}

static void
print_beside(Beside *b, const char *what, Ops *ops, uint64_t (*when)[4], int rounds)
{
	double		ratios[MAX_ROUNDS];
	double		quiet[MAX_ROUNDS];
	double		busy[MAX_ROUNDS];
	double		longest = 0;
	double		longest_quiet = 0;

	(void) b;
	for (int i = 0; i < rounds; i++)
	{
		double		x = between_ms(ops, when[i][0], when[i][1], 1);
		double		y = between_ms(ops, when[i][2], when[i][3], 1);

		quiet[i] = between_ms(ops, when[i][0], when[i][1], 0.99);
		busy[i] = between_ms(ops, when[i][2], when[i][3], 0.99);
		ratios[i] = busy[i] / quiet[i];
		longest_quiet = x > longest_quiet ? x : longest_quiet;
		longest = y > longest ? y : longest;
	}
	printf("\t%s_p99_ratio=%.3f", what, median_of(ratios, rounds));
	printf("\t%s_p99_ratio_min=%.3f\t%s_p99_ratio_max=%.3f", what, ratios[0], what, ratios[rounds - 1]);
	printf("\t%s_p99_ms=%.3f\t%s_p99_quiet_ms=%.3f", what, median_of(busy, rounds),
		   what, median_of(quiet, rounds));
	printf("\t%s_max_ms=%.3f\t%s_max_quiet_ms=%.3f", what, longest, what, longest_quiet);
}

void
run_pause_beside(const Options *o)
{
	Thread		threads[PUBLISHERS + READERS] = {0};
	uint64_t	when[MAX_ROUNDS][4];
	bool		stop = false;
	int			rounds = o->clients;
	static Beside b;
	Ops			publishes = {0};
	Ops			wholes = {0};
	Ops			reads = {0};

	b.owner = pg_open();
	b.holder = pg_open();
	b.stream = o->table;
	make_stream(b.owner, o->table, 1 + PUBLISHERS);
	for (int i = 0; i < PUBLISHERS + READERS; i++)
	{
		threads[i].stream = o->table;
		threads[i].number = i;
		threads[i].partition = 1 + i % PUBLISHERS;
		threads[i].min_think = THINK_NS / 2;
		threads[i].max_think = THINK_NS * 3 / 2;
		threads[i].stop = &stop;
		threads[i].run = i < PUBLISHERS ? run_paced : run_reader;
		thread_begin(&threads[i]);
	}
	cycle(&b, false);
	b.count = 0;
	for (int i = 0; i < rounds; i++)
	{
		bool		first = i % 2 == 0;

		phase(&b, first, o->seconds, &when[i][first ? 0 : 2], &when[i][first ? 1 : 3]);
		phase(&b, !first, o->seconds, &when[i][first ? 2 : 0], &when[i][first ? 3 : 1]);
	}
	set(&stop, true);
	for (int i = 0; i < PUBLISHERS + READERS; i++)
	{
		thread_end(&threads[i]);
		add_ops(i < PUBLISHERS ? &publishes : &reads, &threads[i].statements);
		add_ops(&wholes, &threads[i].wholes);
	}
	printf("cycles=%d\tpause_ms=%.3f", b.count, median_of(b.pauses, b.count));
	printf("\tpause_max_ms=%.3f\tdetached_ms=%.3f", b.pauses[b.count - 1],
		   median_of(b.detaches, b.count));
	printf("\tdetached_max_ms=%.3f\tattached_ms=%.3f", b.detaches[b.count - 1],
		   median_of(b.attaches, b.count));
	printf("\tattached_max_ms=%.3f\tpublishes=%zu\treads=%zu", b.attaches[b.count - 1],
		   publishes.len, reads.len);
	print_beside(&b, "publish", &publishes, when, rounds);
	print_beside(&b, "transaction", &wholes, when, rounds);
	print_beside(&b, "read", &reads, when, rounds);
	putchar('\n');
	PQfinish(b.owner);
	PQfinish(b.holder);
}

/* ---- pause_drain ---- */

/* Of the publishes beside each pause: what they took beyond the usual. */
static double
queued_ms(const Ops *ops, uint64_t from, uint64_t to, double usual_ms, double *longest)
{
	double		sum = 0;

	for (size_t i = 0; i < ops->len; i++)
	{
		double		more = (double) ops->op[i].taken / 1e6 - usual_ms;

		if (ops->op[i].start >= to || ops->op[i].start + ops->op[i].taken <= from)
			continue;
		*longest = more > *longest ? more : *longest;
		if (more > 0)
			sum += more;
	}
	return sum;
}

/* Those that began within a time. */
static Ops
begun(const Ops *ops, uint64_t from, uint64_t to)
{
	Ops			some = {0};

	for (size_t i = 0; i < ops->len; i++)
		if (ops->op[i].start >= from && ops->op[i].start < to)
			note(&some, ops->op[i].start, ops->op[i].start + ops->op[i].taken);
	return some;
}

/* How much time somebody queued, whatever the number of those who did. */
static double
queueing_ms(const Ops *ops, uint64_t from, uint64_t to, double usual_ms)
{
	enum {STEP = 100000};
	size_t		steps = (size_t) ((to - from) / STEP) + 1;
	char	   *queued = calloc(steps, 1);
	size_t		sum = 0;

	if (queued == NULL)
		die("out of memory");
	for (size_t i = 0; i < ops->len; i++)
	{
		uint64_t	begin = ops->op[i].start + (uint64_t) (usual_ms * 1e6);
		uint64_t	end = ops->op[i].start + ops->op[i].taken;

		for (uint64_t t = begin > from ? begin : from; t < end && t < to; t += STEP)
			queued[(t - from) / STEP] = 1;
	}
	for (size_t i = 0; i < steps; i++)
		sum += (size_t) queued[i];
	free(queued);
	return (double) sum * STEP / 1e6;
}

void
run_pause_drain(const Options *o)
{
	Thread		threads[DRAINERS] = {0};
	bool		stop = false;
	int			count = (int) o->probes;
	PGconn	   *owner = pg_open();
	uint64_t	from[1000];
	uint64_t	to[1000];
	double		taken[1000];
	double		queued[1000];
	double		after[1000];
	double		queueing[1000];
	double		after_queueing[1000];
	double		longest = 0;
	double		longest_after = 0;
	double		usual;
	long		errors = 0;
	Ops			ops = {0};

	make_stream(owner, o->table, 2);
	for (int i = 0; i < DRAINERS; i++)
	{
		threads[i].stream = o->table;
		threads[i].number = i;
		threads[i].min_think = 1 * MS;
		threads[i].max_think = 60 * MS;
		threads[i].stop = &stop;
		threads[i].run = run_client;
		thread_begin(&threads[i]);
	}
	pg_run(owner, "SET lock_timeout = '10s'");
	for (int i = 0; i < count; i++)
	{
		pass(900 * MS + (uint64_t) (i * 37 % 60) * MS);
		from[i] = now_ns();
		taken[i] = (double) pause_partition(owner, o->table, 0, true) / 1e6;
		to[i] = now_ns();
	}
	pass(900 * MS);
	set(&stop, true);
	for (int i = 0; i < DRAINERS; i++)
	{
		thread_end(&threads[i]);
		errors += threads[i].errors;
		add_ops(&ops, &threads[i].statements);
	}
	usual = ops_ms(&ops, 0.5);
	for (int i = 0; i < count; i++)
	{
		uint64_t	later = to[i] + 900 * MS;
		Ops			beyond = begun(&ops, to[i], later);

		queued[i] = queued_ms(&ops, from[i], to[i], usual, &longest);
		/* Less than a millisecond is no queueing. */
		queueing[i] = queueing_ms(&ops, from[i], to[i], usual + 1);
		after_queueing[i] = queueing_ms(&beyond, to[i], later, usual + 1);
		after[i] = queued_ms(&beyond, to[i], later, usual, &longest_after);
		free(beyond.op);
	}
	printf("pauses=%d\terrors=%ld\tusual_ms=%.3f\tpause_ms=%.1f", count, errors,
		   usual, median_of(taken, count));
	printf("\tpause_max_ms=%.1f\tqueued_ms=%.1f", taken[count - 1], median_of(queued, count));
	printf("\tqueued_max_ms=%.1f\tlongest_ms=%.1f", queued[count - 1], longest);
	printf("\tqueueing_ms=%.1f", median_of(queueing, count));
	printf("\tqueueing_max_ms=%.1f\tafter_queueing_ms=%.1f", queueing[count - 1],
		   median_of(after_queueing, count));
	printf("\tafter_ms=%.1f", median_of(after, count));
	printf("\tafter_max_ms=%.1f\tlongest_after_ms=%.1f\n", after[count - 1], longest_after);
	PQfinish(owner);
}

/* ---- pause_held ---- */

void
run_pause_held(const Options *o)
{
	Thread		threads[OTHERS] = {0};
	bool		stop = false;
	PGconn	   *owner = pg_open();
	PGconn	   *holder = pg_open();
	int			count = (int) o->probes;
	const char *state = "";
	double		events;
	double		ids;
	double		taken[1000];
	int			timeouts = 0;
	uint64_t	from;
	uint64_t	to;
	Ops			ops = {0};

	make_stream(owner, o->table, 2);
	prepare_publish(holder, o->table);
	pg_run(holder, "BEGIN");
	(void) publish(holder, o->table, 0, message_value(0));
	for (int i = 0; i < OTHERS; i++)
	{
		threads[i].stream = o->table;
		threads[i].number = i;
		threads[i].min_think = 1 * MS;
		threads[i].max_think = 5 * MS;
		threads[i].stop = &stop;
		threads[i].run = run_client;
		thread_begin(&threads[i]);
	}
	pass(500 * MS);
	events = pg_number(owner, "SELECT stream_next_offset('weir.activity')");
	ids = pg_number(owner, "SELECT sum(pause_id) FROM weir.partition WHERE stream = '%s'::regclass", o->table);
	pg_run(owner, "SET lock_timeout = '2s'");
	from = now_ns();
	for (int i = 0; i < count; i++)
	{
		uint64_t	begin = now_ns();
		PGresult   *result = PQexec(owner, "SELECT 1");

		PQclear(result);
		begin = now_ns();
		result = PQexecParams(owner, "SELECT stream_pause($1::text::regclass, '{0}')", 1,
							  NULL, &o->table, NULL, NULL, 0);
		taken[i] = (double) (now_ns() - begin) / 1e6;
		state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
		if (state != NULL && strcmp(state, "55P03") == 0)
			timeouts++;
		PQclear(result);
	}
	to = now_ns();
	events = pg_number(owner, "SELECT stream_next_offset('weir.activity')") - events;
	ids = pg_number(owner, "SELECT sum(pause_id) FROM weir.partition WHERE stream = '%s'::regclass", o->table) - ids;
	pg_run(holder, "COMMIT");
	set(&stop, true);
	for (int i = 0; i < OTHERS; i++)
	{
		thread_end(&threads[i]);
		add_ops(&ops, &threads[i].statements);
	}
	printf("attempts=%d\ttimeouts=%d\tended_ms=%.1f", count, timeouts, median_of(taken, count));
	printf("\tended_max_ms=%.1f\tstall_max_ms=%.3f\tp99_ms=%.3f\tchanges=%g\tpublishes=%zu\n",
		   taken[count - 1], between_ms(&ops, from, to, 1), between_ms(&ops, from, to, 0.99),
		   events + ids, ops.len);
	PQfinish(owner);
	PQfinish(holder);
}
