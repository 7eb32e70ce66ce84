/*
 * consume_parallel.c
 *		o->clients consumers of one group, on a stream of o->partitions and
 *		o->count messages that another run has filled.  Each notes which
 *		messages it got: all of them have to come, each once.
 *
 *		parallel	stream_fetch, which takes any partition that is free
 *		members		stream_join, then stream_read of the partitions that are the
 *					member's own, and stream_commit; the time begins when each
 *					member has its share
 */
#include "consume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Between two heartbeats of a member, and how long its lease is. */
#define HEARTBEAT		(1000 * MS)
#define LEASE			"10 s"

typedef struct Group
{
	const Options *o;
	unsigned char **seen;		/* of each partition, by offset; atomic */
	int64_t    *end;			/* of each partition */
	long		total;			/* messages acknowledged; atomic */
	pthread_barrier_t start;
} Group;

typedef struct Member
{
	pthread_t	id;
	Group	   *group;
	PGconn	   *conn;
	int			number;
	int64_t		generation;
	int			partitions;		/* that are its own */
	int			owned[MAX_PARTITIONS];
	int64_t		position[MAX_PARTITIONS];
	uint64_t	joined;
	long		messages;
	long		empty;			/* reads that gave nothing */
} Member;

/* Marks the messages of a batch. */
static void
mark(Group *g, PGresult *result)
{
	int			n = PQntuples(result);

	for (int i = 0; i < n; i++)
	{
		unsigned char *p = (unsigned char *) PQgetvalue(result, i, 0);
		unsigned	partition = (unsigned) p[2] << 8 | p[3];
		int64_t		offset = (int64_t) get_int64(PQgetvalue(result, i, 1));

		if (partition >= (unsigned) g->o->partitions || offset < 0 || offset >= g->end[partition])
			die("offset %ld of partition %u does not exist", (long) offset, partition);
		if (__atomic_exchange_n(&g->seen[partition][offset], 1, __ATOMIC_SEQ_CST) != 0)
			die("offset %ld of partition %u came twice", (long) offset, partition);
	}
}

static bool
is_complete(Group *g)
{
	return __atomic_load_n(&g->total, __ATOMIC_SEQ_CST) >= g->o->count;
}

/* ---- stream_fetch ---- */

static void *
fetch_all(void *arg)
{
	Member	   *m = arg;
	Group	   *g = m->group;

	pg_prepare(m->conn, "read", 1, (const Oid[]) {OID_INT8},
			   "SELECT * FROM stream_fetch(NULL::%s, '%s', $1)", g->o->table, g->o->group);
	begin_pipeline(m->conn);
	pthread_barrier_wait(&g->start);
	while (!is_complete(g))
	{
		PGresult   *result;
		int			n;

		send_statement(m->conn, "BEGIN");
		send_prepared(m->conn, "read", g->o->fetch);
		result = take_pipeline(m->conn);
		n = PQntuples(result);
		mark(g, result);
		PQclear(result);
		send_statement(m->conn, "COMMIT");
		PQclear(take_pipeline(m->conn));
		m->messages += n;
		__atomic_add_fetch(&g->total, n, __ATOMIC_SEQ_CST);
		if (n == 0)
		{
			m->empty++;
			pass(MS);
		}
	}
	return NULL;
}

/* ---- members ---- */

/* Joins, or says that it lives; its partitions with their positions. */
static void
join(Member *m)
{
	const Options *o = m->group->o;
	char		known[64] = "";
	PGresult   *result;

	if (m->generation > 0)
		snprintf(known, sizeof(known), ", generation => %lld", (long long) m->generation);
	result = pg_query(m->conn, "SELECT j.generation, u.p, u.o"
					  " FROM stream_join('%s', '%s', 'member%d', lease => '" LEASE "'%s) AS j"
					  " LEFT JOIN LATERAL unnest(j.partitions, j.offsets) AS u(p, o) ON true",
					  o->table, o->group, m->number, known);
	m->partitions = 0;
	m->generation = atoll(PQgetvalue(result, 0, 0));
	for (int i = 0; i < PQntuples(result); i++)
		if (!PQgetisnull(result, i, 1))
		{
			m->owned[m->partitions] = atoi(PQgetvalue(result, i, 1));
			m->position[m->partitions++] = atoll(PQgetvalue(result, i, 2));
		}
	PQclear(result);
	m->joined = now_ns();
}

/* One batch of one partition, acknowledged. */
static int
read_and_commit(Member *m, int i)
{
	Group	   *g = m->group;
	char		partition[16];
	char		position[32];
	char		generation[32];
	const char *values[3] = {partition, position, generation};
	PGresult   *result;
	int			n;

	snprintf(partition, sizeof(partition), "%d", m->owned[i]);
	snprintf(position, sizeof(position), "%lld", (long long) m->position[i]);
	result = PQexecPrepared(m->conn, "read", 2, values, NULL, NULL, BINARY);
	pg_expect(m->conn, result, PGRES_TUPLES_OK);
	n = PQntuples(result);
	mark(g, result);
	if (n > 0)
		m->position[i] = (int64_t) get_int64(PQgetvalue(result, n - 1, 1)) + 1;
	PQclear(result);
	if (n == 0)
		return 0;
	snprintf(position, sizeof(position), "%lld", (long long) m->position[i]);
	snprintf(generation, sizeof(generation), "%lld", (long long) m->generation);
	result = PQexecPrepared(m->conn, "commit", 3, values, NULL, NULL, BINARY);
	pg_expect(m->conn, result, PGRES_TUPLES_OK);
	PQclear(result);
	return n;
}

/* While all live nobody loses a partition. */
static void
heartbeat(Member *m)
{
	int64_t		generation = m->generation;

	if (now_ns() - m->joined < HEARTBEAT)
		return;
	join(m);
	if (m->generation != generation)
		die("the generation of member%d has changed", m->number);
}

static void *
read_own(void *arg)
{
	Member	   *m = arg;
	Group	   *g = m->group;

	pg_prepare(m->conn, "read", 2, (const Oid[]) {OID_INT4, OID_INT8},
			   "SELECT * FROM stream_read(NULL::%s, $1, $2, %d)", g->o->table, g->o->fetch);
	pg_prepare(m->conn, "commit", 3, (const Oid[]) {OID_INT4, OID_INT8, OID_INT8},
			   "SELECT stream_commit('%s', '%s', $1, $2, $3)", g->o->table, g->o->group);
	pthread_barrier_wait(&g->start);
	for (;;)
	{
		int			n = 0;

		for (int i = 0; i < m->partitions; i++)
		{
			int			got = read_and_commit(m, i);

			n += got;
			heartbeat(m);
			__atomic_add_fetch(&g->total, got, __ATOMIC_SEQ_CST);
		}
		m->messages += n;
		if (n == 0)
			return NULL;
	}
}

/* Lets all join until each has its share. */
static void
share_out(Member *members, const Options *o)
{
	uint64_t	begin = now_ns();
	bool		done;

	do
	{
		done = true;
		for (int i = 0; i < o->clients; i++)
			join(&members[i]);
		for (int i = 0; i < o->clients; i++)
			if (members[i].partitions != o->partitions / o->clients)
				done = false;
		if (now_ns() - begin > 30000 * MS)
			die("partitions are not shared out: member0 has %d", members[0].partitions);
		if (!done)
			pass(5 * MS);
	} while (!done);
}

/* ---- runs ---- */

static void
group_open(Group *g, Control *control, const Options *o)
{
	memset(g, 0, sizeof(*g));
	g->o = o;
	g->seen = grow(NULL, (size_t) o->partitions * sizeof(*g->seen));
	g->end = grow(NULL, (size_t) o->partitions * sizeof(*g->end));
	for (int i = 0; i < o->partitions; i++)
	{
		g->end[i] = (int64_t) pg_number(control->conn, "SELECT stream_high_watermark('%s', %d)", o->table, i);
		g->seen[i] = grow(NULL, (size_t) g->end[i] + 1);
		memset(g->seen[i], 0, (size_t) g->end[i] + 1);
	}
	if (pthread_barrier_init(&g->start, NULL, (unsigned) o->clients + 1) != 0)
		die("could not make a barrier");
}

/* No message came twice; so if as many came as there are, all came. */
static void
group_close(Group *g)
{
	if (g->total != g->o->count)
		die("expected %ld messages, got %ld", g->o->count, g->total);
	for (int i = 0; i < g->o->partitions; i++)
		free(g->seen[i]);
	free(g->seen);
	free(g->end);
	pthread_barrier_destroy(&g->start);
}

static void
print_parallel(const Options *o, const Member *members, const Counters *a, const Counters *b)
{
	long		least = members[0].messages;
	long		most = 0;
	long		empty = 0;

	for (int i = 0; i < o->clients; i++)
	{
		least = members[i].messages < least ? members[i].messages : least;
		most = members[i].messages > most ? members[i].messages : most;
		empty += members[i].empty;
	}
	printf("messages=%ld\tconsumers=%d\tseconds=%.3f\trate=%.1f\tserver_cpu_us=%.3f\tclient_cpu_us=%.3f",
		   o->count, o->clients, (double) (b->time - a->time) / 1e9,
		   (double) o->count * 1e9 / (double) (b->time - a->time),
		   (b->server_cpu - a->server_cpu) * 1e6 / (double) o->count,
		   (b->client_cpu - a->client_cpu) * 1e6 / (double) o->count);
	printf("\tleast=%ld\tmost=%ld\tempty=%ld\n", least, most, empty);
}

static void
consume_together(const Options *o, Control *control, bool joined, void *(*run) (void *))
{
	Group		group;
	Counters	a;
	Counters	b;
	Member	   *members = grow(NULL, (size_t) o->clients * sizeof(Member));

	memset(members, 0, (size_t) o->clients * sizeof(Member));
	pg_run(control->conn, "SELECT count(*), sum(length(value)) FROM %s", o->table);
	group_open(&group, control, o);
	for (int i = 0; i < o->clients; i++)
	{
		members[i].group = &group;
		members[i].number = i;
		members[i].conn = pg_open();
	}
	if (joined)
		share_out(members, o);
	for (int i = 0; i < o->clients; i++)
		if (pthread_create(&members[i].id, NULL, run, &members[i]) != 0)
			die("could not start a thread");
	pthread_barrier_wait(&group.start);
	read_counters(control, &a);
	for (int i = 0; i < o->clients; i++)
		pthread_join(members[i].id, NULL);
	read_counters(control, &b);
	group_close(&group);
	print_parallel(o, members, &a, &b);
	for (int i = 0; i < o->clients; i++)
		PQfinish(members[i].conn);
	free(members);
}

void
run_parallel(const Options *o)
{
	Control		control;

	control_open(&control, o);
	consume_together(o, &control, false, fetch_all);
	control_close(&control);
}

void
run_members(const Options *o)
{
	Control		control;

	control_open(&control, o);
	need_function(control.conn, "stream_join", NULL);
	need_function(control.conn, "stream_commit", NULL);
	consume_together(o, &control, true, read_own);
	control_close(&control);
}
