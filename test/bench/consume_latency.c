/*
 * consume_latency.c
 *		From publishing to having it.
 *
 *		fetch_wait	one consumer waits in stream_fetch, or in XREADGROUP with
 *					BLOCK, acknowledges what it got, and waits again
 *		listen		one session listens, and reads at each notification; PgQ has
 *					no notifications: its consumer asks right after each tick
 *
 * o->clients publishers send single messages, together o->rate a second.  For
 * each message: from sending it, and from the acknowledgement of its commit
 * (zero if the consumer had it earlier), until the consumer has its value.
 */
#include "consume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Messages of one fetch. */
#define FETCH_LIMIT		1000

/* PgQ's ticker, and how long a run waits for the last messages. */
#define TICK			(10 * MS)
#define PATIENCE		(3000 * MS)

/* ---- consumers ---- */

/* COMMIT acknowledges what was fetched. */
static void
fetch_and_commit(Consumer *c)
{
	pg_prepare(c->conn, "fetch", 0, NULL,
			   "SELECT * FROM stream_fetch(NULL::%s, 'bench', %d, wait => '1 s')",
			   c->o->table, FETCH_LIMIT);
	pg_run(c->conn, "BEGIN");
	while (!is_set(&c->stop))
	{
		PGresult   *result = PQexecPrepared(c->conn, "fetch", 0, NULL, NULL, NULL, BINARY);

		pg_expect(c->conn, result, PGRES_TUPLES_OK);
		see_rows(c, result, 4);
		PQclear(result);
		pg_run(c->conn, "COMMIT AND CHAIN");
	}
	pg_run(c->conn, "COMMIT");
}

typedef struct Entries
{
	Consumer   *consumer;
	long		strings;		/* of this reply */
	Buffer		ack;
} Entries;

/* A reply is the name of the stream and then, of each entry, id, key, value. */
static void
take_string(void *arg, const char *data, size_t len)
{
	Entries    *e = arg;

	if (e->strings > 0 && (e->strings - 1) % 3 == 0)
	{
		put_bytes(&e->ack, " ", 1);
		put_bytes(&e->ack, data, len);
	}
	if (e->strings > 0 && (e->strings - 1) % 3 == 2)
	{
		if (len != VALUE_SIZE)
			die("a value of %zu bytes was not published", len);
		journal_see(e->consumer->journal, data, now_ns());
		e->consumer->messages++;
	}
	e->strings++;
}

static void
read_group_and_ack(Consumer *c)
{
	Entries		entries = {.consumer = c};
	Redis	   *r = c->redis;

	r->string = take_string;
	r->arg = &entries;
	while (!is_set(&c->stop))
	{
		entries.strings = 0;
		entries.ack.len = 0;
		put_format(&entries.ack, "XACK %s bench", c->o->table);
		put_format(&r->out, "XREADGROUP GROUP bench one COUNT %d BLOCK 1000 STREAMS %s >\r\n",
				   FETCH_LIMIT, c->o->table);
		r->expected = 1;
		redis_flush(r);
		(void) redis_receive(r, true);
		if (entries.strings == 0)
			continue;
		c->batches++;
		put_bytes(&r->out, entries.ack.data, entries.ack.len);
		put_bytes(&r->out, "\r\n", 2);
		r->expected = 1;
		redis_flush(r);
		(void) redis_receive(r, true);
	}
	free(entries.ack.data);
}

/* All batches that there are; some have no events. */
static void
read_batches(Consumer *c)
{
	for (;;)
	{
		PGresult   *result = PQexecPrepared(c->conn, "next", 0, NULL, NULL, NULL, BINARY);
		int64_t		batch;

		pg_expect(c->conn, result, PGRES_TUPLES_OK);
		if (PQgetisnull(result, 0, 0))
		{
			PQclear(result);
			return;
		}
		batch = (int64_t) get_int64(PQgetvalue(result, 0, 0));
		PQclear(result);
		result = pg_fetch(c->conn, "read", batch);
		see_rows(c, result, 0);
		PQclear(result);
		PQclear(pg_fetch(c->conn, "finish", batch));
	}
}

/* A tick when its time has come, all that it gives, and the next one. */
static void
tick_and_read(Consumer *c)
{
	static const Oid types[] = {OID_INT8};
	const char *queue = c->o->table;
	uint64_t	due = now_ns();

	pg_prepare(c->conn, "next", 0, NULL, "SELECT pgq.next_batch('%s0', 'bench')", queue);
	pg_prepare(c->conn, "read", 1, types, "SELECT ev_data FROM pgq.get_batch_events($1)");
	pg_prepare(c->conn, "finish", 1, types, "SELECT pgq.finish_batch($1)");
	while (!is_set(&c->stop))
	{
		uint64_t	now = now_ns();

		due += TICK;
		if (due > now)
			pass(due - now);
		else
			due = now;
		pg_run(c->conn, "SELECT pgq.ticker('%s0')", queue);
		read_batches(c);
	}
}

/* ---- runs ---- */

static void
make_group(Control *control, const Options *o)
{
	char		command[128];

	switch (o->side->kind)
	{
		case KIND_REDIS:
			snprintf(command, sizeof(command), "XGROUP CREATE %s bench 0 MKSTREAM", o->table);
			free(redis_ask(control->redis, command));
			break;
		case KIND_PGQ:
			/* Whatever there is, is worth a tick. */
			pg_run(control->conn, "SELECT pgq.set_queue_config('%s0', 'ticker_max_count', '1')", o->table);
			pg_run(control->conn, "SELECT pgq.register_consumer('%s0', 'bench')", o->table);
			break;
		default:
			break;
	}
}

/* Until all are there, or none has come for a while. */
static void
wait_for_last(Journal *j, long published)
{
	uint64_t	since = now_ns();
	long		before = journal_seen(j);

	while (before < published && now_ns() - since < PATIENCE)
	{
		long		seen;

		pass(MS);
		seen = journal_seen(j);
		if (seen > before)
			since = now_ns();
		before = seen;
	}
}

static void
print_samples(const char *name, Samples *s)
{
	printf("\t%s_p50_us=%.1f\t%s_p99_us=%.1f\t%s_max_us=%.1f", name, sample_us(s, 0.5),
		   name, sample_us(s, 0.99), name, sample_us(s, 1.0));
	free(s->ns);
}

/* Of the messages from this number on. */
static void
print_journal(const Journal *j, long first, long end)
{
	Samples		whole = {0};
	Samples		after = {0};
	Samples		due = {0};
	Samples		publish = {0};
	long		lost = 0;

	for (long i = first; i < end; i++)
	{
		add_sample(&publish, j->acknowledged[i] - j->sent[i]);
		if (j->seen[i] == 0)
		{
			lost++;
			continue;
		}
		add_sample(&whole, j->seen[i] - j->sent[i]);
		add_sample(&after, j->seen[i] > j->acknowledged[i] ? j->seen[i] - j->acknowledged[i] : 0);
		add_sample(&due, j->seen[i] - j->due[i]);
	}
	printf("\tlost=%ld", lost);
	print_samples("whole", &whole);
	print_samples("after", &after);
	print_samples("due", &due);
	print_samples("publish", &publish);
}

static void
deliver(Control *control, const Options *o, void (*run) (Consumer *c))
{
	Journal		journal;
	Consumer	consumer;
	Pace		pace;
	Counters	a;
	Counters	b;
	long		first;
	long		end;

	make_table(control, o);
	make_group(control, o);
	number_messages();
	journal_open(&journal, o);
	consumer_begin(&consumer, o, &journal, run);
	pace_open(&pace, o, &journal);
	pace_run(&pace, now_ns() + (uint64_t) (o->warmup * 1e9));
	first = pace.next;
	read_counters(control, &a);
	pace_run(&pace, a.time + (uint64_t) (o->seconds * 1e9));
	read_counters(control, &b);
	end = pace.next;
	wait_for_last(&journal, end);
	consumer_end(&consumer);
	printf("messages=%ld\trate=%.1f\twanted=%d\tbatches=%ld\tnotifications=%ld\tearly=%ld\ttwice=%ld",
		   end - first, (double) (end - first) * 1e9 / (double) (b.time - a.time), o->rate,
		   consumer.batches, consumer.notifications, consumer.early, journal.twice);
	printf("\tserver_cpu_us=%.2f", (b.server_cpu - a.server_cpu) * 1e6 / (double) (end - first));
	print_journal(&journal, first, end);
	putchar('\n');
	pace_close(&pace);
	journal_close(&journal);
	drop_table(control, o);
}

void
run_fetch_wait(const Options *o)
{
	Control		control;

	control_open(&control, o);
	if (o->side->kind == KIND_WEIR)
		need_function(control.conn, "stream_fetch", "wait");
	deliver(&control, o, o->side->kind == KIND_REDIS ? read_group_and_ack : fetch_and_commit);
	control_close(&control);
}

void
run_listen(const Options *o)
{
	Control		control;

	control_open(&control, o);
	need_subscribe(&control, o);
	deliver(&control, o, o->side->kind == KIND_PGQ ? tick_and_read : listen_and_read);
	control_close(&control);
}
