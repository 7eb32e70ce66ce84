/*
 * consume_listen.c
 *		Sessions that listen, and what they cost.
 *
 *		subscribed		16 publishers as fast as they can, by turns with no, one
 *						and ten sessions that take their notifications, and with
 *						one that also reads all messages
 *		idle_sessions	CPU of the machine per message with o->sessions sessions
 *						that do nothing but take their notifications
 *
 * A subscriber of a plain table LISTENs, and the publishers NOTIFY in their
 * transactions.
 */
#include "consume.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

/* Messages of one read. */
#define READ_LIMIT		10000

#define MAX_TURNS		400

enum
{
	STATE_NONE,
	STATE_ONE,
	STATE_TEN,
	STATE_READS,
	STATES
};

static const char *const state_names[STATES] = {"none", "one", "ten", "reads"};

void
need_subscribe(Control *control, const Options *o)
{
	if (o->side->kind == KIND_WEIR)
		need_function(control->conn, "stream_subscribe", NULL);
}

void
subscribe(PGconn *conn, const Options *o)
{
	if (o->side->kind == KIND_WEIR)
		pg_run(conn, "SELECT stream_subscribe('%s')", o->table);
	else
		pg_run(conn, "LISTEN %s", o->table);
}

/* ---- one that listens and reads ---- */

/* The end that a notification of weir's tells; otherwise there is none. */
static int64_t
notified_end(const PGnotify *notify)
{
	const char *end = strstr(notify->extra, "\"end\":");

	return end != NULL ? strtoll(end + strlen("\"end\":"), NULL, 10) : -1;
}

/* Takes the notifications that are there; the greatest end of them. */
static bool
take_notifications(Consumer *c, int64_t *end)
{
	PGnotify   *notify;
	bool		any = false;

	if (!PQconsumeInput(c->conn))
		die("%s", PQerrorMessage(c->conn));
	while ((notify = PQnotifies(c->conn)) != NULL)
	{
		int64_t		told = notified_end(notify);

		*end = told > *end ? told : *end;
		c->notifications++;
		any = true;
		PQfreemem(notify);
	}
	return any;
}

/* From the position to the end, in pieces. */
static void
read_to_end(Consumer *c)
{
	int			n;

	do
	{
		PGresult   *result = pg_fetch(c->conn, "read", c->position);

		n = PQntuples(result);
		see_rows(c, result, 4);
		if (n > 0)
			c->position = (int64_t) get_int64(PQgetvalue(result, n - 1, 1)) + 1;
		PQclear(result);
	} while (n == READ_LIMIT);
}

/* Listens, and reads at each notification, until told to stop. */
void
listen_and_read(Consumer *c)
{
	static const Oid types[] = {OID_INT8};
	struct pollfd fd = {.fd = PQsocket(c->conn), .events = POLLIN};
	int64_t		end = 0;

	if (c->o->side->kind == KIND_WEIR)
		pg_prepare(c->conn, "read", 1, types,
				   "SELECT * FROM stream_read(NULL::%s, 0, $1, %d)", c->o->table, READ_LIMIT);
	else
		pg_prepare(c->conn, "read", 1, types,
				   "SELECT * FROM %s WHERE \"offset\" >= $1 ORDER BY \"offset\" LIMIT %d",
				   c->o->table, READ_LIMIT);
	subscribe(c->conn, c->o);
	/* Where nobody accounts for each message it begins with what is new. */
	if (c->journal == NULL)
		c->position = (int64_t) (c->o->side->kind == KIND_WEIR ?
								 pg_number(c->conn, "SELECT stream_high_watermark('%s', 0)", c->o->table) :
								 pg_number(c->conn, "SELECT coalesce(max(\"offset\") + 1, 0) FROM %s", c->o->table));
	read_to_end(c);
	while (!is_set(&c->stop))
	{
		/* Those that came with the results of a read make nothing readable. */
		if (take_notifications(c, &end))
		{
			if (end < 0 || end > c->position || c->o->side->kind != KIND_WEIR)
				read_to_end(c);
			if (end > c->position)
				c->early++;
			continue;
		}
		if (poll(&fd, 1, 50) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
	}
}

/* ---- sessions that only listen ---- */

static void *
take_all(void *arg)
{
	Sessions   *s = arg;
	struct epoll_event events[64];

	while (!is_set(&s->stop))
	{
		int			n = epoll_wait(s->epoll, events, 64, 50);

		if (n < 0 && errno != EINTR)
			die("epoll_wait: %s", strerror(errno));
		for (int i = 0; i < n; i++)
		{
			PGconn	   *conn = events[i].data.ptr;
			PGnotify   *notify;

			if (!PQconsumeInput(conn))
				die("%s", PQerrorMessage(conn));
			while ((notify = PQnotifies(conn)) != NULL)
			{
				__atomic_add_fetch(&s->notifications, 1, __ATOMIC_SEQ_CST);
				PQfreemem(notify);
			}
		}
	}
	return NULL;
}

/* Each session is an open file; the soft limit is often 1024. */
static void
allow_files(rlim_t count)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("getrlimit: %s", strerror(errno));
	if (limit.rlim_cur >= count)
		return;
	limit.rlim_cur = count;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("%lu open files are not allowed: %s", (unsigned long) count, strerror(errno));
}

void
sessions_open(Sessions *s, const Options *o, int count)
{
	memset(s, 0, sizeof(*s));
	allow_files((rlim_t) count + 200);
	s->count = count;
	s->conns = grow(NULL, (size_t) count * sizeof(PGconn *));
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		die("epoll_create1: %s", strerror(errno));
	for (int i = 0; i < count; i++)
	{
		struct epoll_event event = {.events = EPOLLIN};

		s->conns[i] = pg_open();
		subscribe(s->conns[i], o);
		event.data.ptr = s->conns[i];
		if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, PQsocket(s->conns[i]), &event) != 0)
			die("epoll_ctl: %s", strerror(errno));
	}
	if (pthread_create(&s->id, NULL, take_all, s) != 0)
		die("could not start a thread");
}

void
sessions_close(Sessions *s)
{
	set(&s->stop, true);
	pthread_join(s->id, NULL);
	for (int i = 0; i < s->count; i++)
		PQfinish(s->conns[i]);
	close(s->epoll);
	free(s->conns);
}

/* ---- publishers beside subscribers ---- */

/* What was seen with subscribers of one kind. */
typedef struct Turns
{
	double		rate[MAX_TURNS];
	double		ratio[MAX_TURNS];
	int			count;
	double		cpu;			/* of the server, in all */
	long		messages;
} Turns;

/* Messages a second with subscribers of one kind, for a while. */
static double
rate_beside(const Options *o, Control *control, Load *load, int state, Turns *turns)
{
	Sessions	sessions;
	Consumer	reader;
	uint64_t	begin;
	long		done;
	double		cpu;
	double		rate;

	if (state == STATE_READS)
		consumer_begin(&reader, o, NULL, listen_and_read);
	else if (state != STATE_NONE)
		sessions_open(&sessions, o, state == STATE_ONE ? 1 : 10);
	loop_run(load, now_ns() + (uint64_t) (o->warmup * 1e9));
	done = load->operations;
	cpu = cpu_of_family(control->pid);
	begin = now_ns();
	loop_run(load, begin + (uint64_t) (o->seconds * 1e9));
	done = load->operations - done;
	rate = (double) done * 1e9 / (double) (now_ns() - begin);
	turns->cpu += cpu_of_family(control->pid) - cpu;
	turns->messages += done;
	loop_drain(load);
	if (state == STATE_READS)
	{
		consumer_end(&reader);
		if (reader.notifications == 0 || reader.messages == 0)
			die("the subscriber got %ld notifications and %ld messages",
				reader.notifications, reader.messages);
	}
	else if (state != STATE_NONE)
	{
		sessions_close(&sessions);
		if (sessions.notifications == 0)
			die("no notification came");
	}
	turns->rate[turns->count++] = rate;
	return rate;
}

static void
print_turns(Turns *turns)
{
	printf("turns=%d", turns[STATE_ONE].count);
	for (int s = 0; s < STATES; s++)
	{
		Turns	   *t = &turns[s];

		printf("\t%s_rate=%.1f\t%s_cpu_us=%.2f", state_names[s], median_of(t->rate, t->count),
			   state_names[s], t->cpu * 1e6 / (double) t->messages);
		if (s == STATE_NONE)
			continue;
		printf("\t%s_ratio=%.3f", state_names[s], median_of(t->ratio, t->count));
		printf("\t%s_ratio_min=%.3f", state_names[s], t->ratio[0]);
		printf("\t%s_ratio_max=%.3f", state_names[s], t->ratio[t->count - 1]);
	}
	putchar('\n');
}

/*
 * All in one run, by turns: between any two with subscribers one without, so
 * that each ratio is that to both its neighbours.  Without subscribers a plain
 * table has publishers that do not notify.
 */
void
run_subscribed(const Options *o)
{
	static Turns turns[STATES];
	Control		control;
	Options		quiet = *o;
	Load		load;
	Load		quiet_load;
	Load	   *none = &load;
	double		before;

	if (o->probes * (STATES - 1) >= MAX_TURNS)
		die("too many turns");
	control_open(&control, o);
	need_subscribe(&control, o);
	make_table(&control, o);
	loop_open(&load, o);
	if (o->side->notify)
	{
		quiet.side = find_side("plain_btree");
		none = &quiet_load;
		loop_open(none, &quiet);
	}
	before = rate_beside(o, &control, none, STATE_NONE, &turns[STATE_NONE]);
	for (long r = 0; r < o->probes; r++)
		for (int s = STATE_ONE; s < STATES; s++)
		{
			Turns	   *t = &turns[s];
			double		rate = rate_beside(o, &control, &load, s, t);
			double		after = rate_beside(o, &control, none, STATE_NONE, &turns[STATE_NONE]);

			t->ratio[t->count - 1] = rate / ((before + after) / 2);
			before = after;
		}
	print_turns(turns);
	loop_close(&load);
	if (none != &load)
		loop_close(none);
	drop_table(&control, o);
	control_close(&control);
}

/* ---- many sessions ---- */

void
run_idle_sessions(const Options *o)
{
	Control		control;
	Sessions	sessions;
	Pace		pace;
	Counters	a;
	Counters	b;
	double		machine;
	long		notified;
	long		done;

	control_open(&control, o);
	need_subscribe(&control, o);
	make_table(&control, o);
	sessions_open(&sessions, o, o->sessions);
	pace_open(&pace, o, NULL);
	pace_run(&pace, now_ns() + (uint64_t) (o->warmup * 1e9));
	done = pace.done;
	notified = __atomic_load_n(&sessions.notifications, __ATOMIC_SEQ_CST);
	read_counters(&control, &a);
	machine = cpu_of_machine();
	pace_run(&pace, a.time + (uint64_t) (o->seconds * 1e9));
	machine = cpu_of_machine() - machine;
	read_counters(&control, &b);
	done = pace.done - done;
	notified = __atomic_load_n(&sessions.notifications, __ATOMIC_SEQ_CST) - notified;
	if (notified < o->sessions)
		die("%d sessions got %ld notifications", o->sessions, notified);
	printf("sessions=%d\tmessages=%ld\trate=%.1f", o->sessions, done,
		   (double) done * 1e9 / (double) (b.time - a.time));
	printf("\tmachine_cpu_us=%.2f\tserver_cpu_us=%.2f\tclient_cpu_us=%.2f",
		   machine * 1e6 / (double) done,
		   (b.server_cpu - a.server_cpu) * 1e6 / (double) done,
		   (b.client_cpu - a.client_cpu) * 1e6 / (double) done);
	printf("\tnotifications=%.1f\n", (double) notified * 1e9 /
		   (double) (b.time - a.time) / o->sessions);
	pace_close(&pace);
	sessions_close(&sessions);
	drop_table(&control, o);
	control_close(&control);
}
