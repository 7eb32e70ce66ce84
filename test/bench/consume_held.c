/*
 * consume_held.c
 *		Consuming while another session holds an old snapshot, which keeps every
 *		version of the position's row.
 *
 * One consumer fetches one message per transaction: for a while as fast as it
 * can, then o->rate a second until it has made o->probes moves (or twice the
 * time that they should take is over), then as fast as it can again, by turns with a group that is new; and once more when the
 * snapshot is gone and the table of positions was vacuumed.  Publishers send
 * o->rate messages a second all the time.  The rates as fast as it can are
 * compared: with that of the start, between which and the end the disk may
 * change its mind, and with that of new groups at the same time.
 *
 * The plain table beside it keeps its positions as one would: a row for each
 * group, locked, read and updated.
 */
#include "consume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The longest that the moves may take, as a multiple of what they should. */
#define PATIENCE		2

/* A turn at the end, and what of it is not counted. */
#define TURN_NS			(400 * MS)
#define TURN_WARMUP_NS	(100 * MS)

static const char *const worn_group = "bench";

typedef struct Held
{
	pthread_t	id;
	const Options *o;
	PGconn	   *conn;
	Pace	   *pace;
	const char *group;			/* who fetches; atomic */
	bool		free;			/* as fast as it can; atomic */
	bool		stop;
	long		moves;			/* atomic */
} Held;

/* What was done as fast as it can. */
typedef struct Stretch
{
	double		seconds;
	double		cpu;			/* of the consumer's backend */
	long		moves;
} Stretch;

static void
prepare_fetch(PGconn *conn, const Options *o)
{
	static const Oid types[] = {OID_TEXT};

	if (o->side->kind == KIND_WEIR)
		pg_prepare(conn, "fetch", 1, types, "SELECT * FROM stream_fetch(NULL::%s, $1, 1)", o->table);
	else
		pg_prepare(conn, "fetch", 1, types,
				   "WITH p AS (SELECT next_offset FROM %s_position WHERE name = $1 FOR UPDATE),"
				   " m AS (SELECT t.* FROM p, LATERAL (SELECT * FROM %s WHERE \"offset\" >= p.next_offset"
				   "  ORDER BY \"offset\" LIMIT 1) AS t),"
				   " u AS (UPDATE %s_position SET next_offset = m.\"offset\" + 1 FROM m WHERE name = $1)"
				   " SELECT * FROM m", o->table, o->table, o->table);
}

static void *
fetch_on(void *arg)
{
	Held	   *h = arg;
	uint64_t	period = UINT64_C(1000000000) / (uint64_t) h->o->rate;
	uint64_t	due = now_ns();

	while (!is_set(&h->stop))
	{
		const char *group = __atomic_load_n(&h->group, __ATOMIC_SEQ_CST);
		uint64_t	now = now_ns();
		PGresult   *result;

		due += period;
		if (is_set(&h->free))
			due = now;
		else if (due > now)
			pass(due - now);
		result = PQexecPrepared(h->conn, "fetch", 1, &group, NULL, NULL, BINARY);
		pg_expect(h->conn, result, PGRES_TUPLES_OK);
		if (PQntuples(result) == 1)
			__atomic_add_fetch(&h->moves, 1, __ATOMIC_SEQ_CST);
		PQclear(result);
	}
	return NULL;
}

static long
moves_of(Held *h)
{
	return __atomic_load_n(&h->moves, __ATOMIC_SEQ_CST);
}

/* As fast as it can, for a while. */
static void
fetch_freely(Held *h, const char *group, uint64_t warmup, uint64_t time, Stretch *s)
{
	uint64_t	begin;
	long		before;
	double		cpu;

	__atomic_store_n(&h->group, group, __ATOMIC_SEQ_CST);
	set(&h->free, true);
	pace_run(h->pace, now_ns() + warmup);
	begin = now_ns();
	before = moves_of(h);
	cpu = cpu_of_family(PQbackendPID(h->conn));
	pace_run(h->pace, begin + time);
	s->cpu += cpu_of_family(PQbackendPID(h->conn)) - cpu;
	s->moves += moves_of(h) - before;
	s->seconds += (double) (now_ns() - begin) / 1e9;
}

static double
rate_of(const Stretch *s)
{
	if (s->moves == 0)
		die("there was nothing to fetch");
	return (double) s->moves / s->seconds;
}

/* At the given rate. */
static void
make_moves(Held *h, const Options *o, Stretch *s)
{
	uint64_t	begin = now_ns();
	uint64_t	limit = begin + (uint64_t) (1e9 * PATIENCE * (double) o->probes / o->rate);
	long		before = moves_of(h);

	set(&h->free, false);
	while (moves_of(h) - before < o->probes && now_ns() < limit)
		pace_run(h->pace, now_ns() + 50 * MS);
	s->moves = moves_of(h) - before;
	s->seconds = (double) (now_ns() - begin) / 1e9;
}

/* The group that has made all the moves, by turns with new ones. */
static void
compare(Held *h, PGconn *control, const Options *o, Stretch *worn, Stretch *fresh)
{
	static char names[1000][16];
	int			turns = (int) (o->seconds * 1e9 / TURN_NS) + 1;

	for (int i = 0; i < turns && i < 1000; i++)
	{
		snprintf(names[i], sizeof(names[i]), "new%d", i);
		if (o->side->kind == KIND_PLAIN)
			pg_run(control, "INSERT INTO %s_position VALUES ('%s', 0)", o->table, names[i]);
		fetch_freely(h, worn_group, TURN_WARMUP_NS, TURN_NS, worn);
		fetch_freely(h, names[i], TURN_WARMUP_NS, TURN_NS, fresh);
	}
}

/* A table that is full from the start: nobody is to run out of messages. */
static void
make_full(Control *control, const Options *o)
{
	Options		fill = *o;

	make_table(control, o);
	fill.batch = 1000;
	if (o->side->kind == KIND_PLAIN)
	{
		fill.side = find_side("copy_btree");
		fill.batch = (int) o->count;
		pg_run(control->conn, "DROP TABLE IF EXISTS %s_position", o->table);
		pg_run(control->conn, "CREATE TABLE %s_position (name text PRIMARY KEY, next_offset bigint NOT NULL)", o->table);
		pg_run(control->conn, "INSERT INTO %s_position VALUES ('bench', 0)", o->table);
	}
	bulk_load(control->conn, NULL, &fill, true);
	if (o->side->kind == KIND_PLAIN)
		pg_run(control->conn, "SELECT setval(pg_get_serial_sequence('%s', 'offset'), %ld)", o->table, o->count);
	pg_run(control->conn, "VACUUM ANALYZE %s", o->table);
	pg_run(control->conn, "CHECKPOINT");
}

static void
print_stretch(const char *name, const Stretch *s)
{
	printf("%s_rate=%.1f\t%s_cpu_us=%.2f\t", name, rate_of(s), name, s->cpu * 1e6 / (double) s->moves);
}

void
run_held(const Options *o)
{
	uint64_t	warmup = (uint64_t) (o->warmup * 1e9);
	uint64_t	time = (uint64_t) (o->seconds * 1e9);
	Control		control;
	Pace		pace;
	Held		held = {.o = o, .pace = &pace, .group = worn_group, .free = true};
	PGconn	   *holder = pg_open();
	Stretch		start = {0};
	Stretch		worn = {0};
	Stretch		fresh = {0};
	Stretch		released = {0};
	Stretch		paced = {0};

	control_open(&control, o);
	make_full(&control, o);
	held.conn = pg_open();
	prepare_fetch(held.conn, o);
	pace_open(&pace, o, NULL);
	pg_run(holder, "BEGIN ISOLATION LEVEL REPEATABLE READ");
	pg_run(holder, "SELECT count(*) FROM pg_class");
	if (pthread_create(&held.id, NULL, fetch_on, &held) != 0)
		die("could not start a thread");
	fetch_freely(&held, worn_group, warmup, time, &start);
	make_moves(&held, o, &paced);
	compare(&held, control.conn, o, &worn, &fresh);
	pg_run(holder, "COMMIT");
	pg_run(control.conn, "VACUUM %s%s", o->side->kind == KIND_WEIR ? "weir." : o->table,
		   o->side->kind == KIND_WEIR ? "position" : "_position");
	fetch_freely(&held, worn_group, warmup, time, &released);
	set(&held.stop, true);
	pthread_join(held.id, NULL);
	print_stretch("start", &start);
	print_stretch("worn", &worn);
	print_stretch("fresh", &fresh);
	print_stretch("released", &released);
	printf("moves=%ld\tmoves_s=%.1f\tmove_rate=%.1f\tkept_start=%.3f\tkept=%.3f\n",
		   paced.moves, paced.seconds, rate_of(&paced),
		   rate_of(&worn) / rate_of(&start), rate_of(&worn) / rate_of(&fresh));
	pace_close(&pace);
	if (o->side->kind == KIND_PLAIN)
		pg_run(control.conn, "DROP TABLE %s_position", o->table);
	drop_table(&control, o);
	PQfinish(held.conn);
	PQfinish(holder);
	control_close(&control);
}
