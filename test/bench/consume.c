/*
 * consume.c
 *		What the workloads about consuming share: publishers at a given rate,
 *		the journal of their messages, threads that consume, pipelines.
 */
#include "consume.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * A function, with an argument of that name if one is given; if it is not
 * there the run ends well, and says so.
 */
void
need_function(PGconn *conn, const char *function, const char *argument)
{
	if (pg_number(conn, "SELECT count(*) FROM pg_proc WHERE proname = '%s'"
				  " AND ('%s' = '' OR '%s' = ANY (proargnames))",
				  function, argument ? argument : "", argument ? argument : "") > 0)
		return;
	printf("missing=%s(%s%s)\n", function, argument ? argument : "",
		   argument ? " => ..." : "");
	exit(0);
}

/* ---- the journal ---- */

/* For the messages that o->rate makes in the time of a run. */
void
journal_open(Journal *j, const Options *o)
{
	size_t		bytes;

	memset(j, 0, sizeof(*j));
	j->size = (long) ((o->seconds + o->warmup) * o->rate) + 10L * o->clients;
	bytes = (size_t) j->size * sizeof(uint64_t);
	j->due = memset(grow(NULL, bytes), 0, bytes);
	j->sent = memset(grow(NULL, bytes), 0, bytes);
	j->acknowledged = memset(grow(NULL, bytes), 0, bytes);
	j->seen = memset(grow(NULL, bytes), 0, bytes);
}

void
journal_close(Journal *j)
{
	free(j->due);
	free(j->sent);
	free(j->acknowledged);
	free(j->seen);
}

/* The consumer has got this message. */
void
journal_see(Journal *j, const char *value, uint64_t now)
{
	long		number = message_number(value);

	if (number < 0 || number >= j->size)
		die("message %ld was not published", number);
	if (j->seen[number] != 0)
		j->twice++;
	else
	{
		j->seen[number] = now;
		__atomic_add_fetch(&j->seen_count, 1, __ATOMIC_SEQ_CST);
	}
}

long
journal_seen(Journal *j)
{
	return __atomic_load_n(&j->seen_count, __ATOMIC_SEQ_CST);
}

/* ---- publishers at a rate ---- */

/*
 * Each client sends once in each period, at a random time of it: all clients
 * neither at once nor in step.  One that is late sends as soon as it can, until
 * it has caught up.
 */
static void
next_due(Pace *p, int i)
{
	p->due[i] = p->slot[i] + random_below(p->period);
	p->slot[i] += p->period;
}

void
pace_open(Pace *p, const Options *o, Journal *journal)
{
	size_t		bytes = (size_t) o->clients * sizeof(uint64_t);
	uint64_t	now;

	memset(p, 0, sizeof(*p));
	p->o = o;
	p->journal = journal;
	p->period = (uint64_t) o->clients * 1000000000 / (uint64_t) o->rate;
	p->clients = grow(NULL, (size_t) o->clients * sizeof(Client));
	p->slot = grow(NULL, bytes);
	p->due = grow(NULL, bytes);
	for (int i = 0; i < o->clients; i++)
		client_open(&p->clients[i], o, i);
	now = now_ns();
	for (int i = 0; i < o->clients; i++)
	{
		p->slot[i] = now;
		next_due(p, i);
	}
}

void
pace_close(Pace *p)
{
	for (int i = 0; i < p->o->clients; i++)
		client_close(&p->clients[i]);
	free(p->clients);
	free(p->slot);
	free(p->due);
}

static void
pace_send(Pace *p, int i)
{
	Client	   *c = &p->clients[i];
	Journal    *j = p->journal;

	c->next = (unsigned) p->next++;
	if (j != NULL)
	{
		if ((long) c->next >= j->size)
			die("more messages than the journal has room for");
		j->due[c->next] = p->due[i];
	}
	client_send(c, p->o);
	if (j != NULL)
		j->sent[c->next] = c->started;
	next_due(p, i);
}

static void
pace_receive(Pace *p, int i)
{
	Client	   *c = &p->clients[i];
	unsigned	number = c->next;

	if (client_receive(c, p->o) == OUTCOME_MORE)
		return;
	if (c->outcome != OUTCOME_DONE)
		die("a publisher was cancelled");
	c->started = 0;
	p->done++;
	if (p->journal != NULL)
		p->journal->acknowledged[number] = now_ns();
}

/* Publishes until the deadline, and waits for what is then under way. */
void
pace_run(Pace *p, uint64_t deadline)
{
	struct pollfd fds[MAX_CLIENTS];

	for (;;)
	{
		uint64_t	now = now_ns();
		uint64_t	until = deadline;
		struct timespec timeout;
		bool		busy = false;

		for (int i = 0; i < p->o->clients; i++)
		{
			Client	   *c = &p->clients[i];

			if (c->started == 0 && p->due[i] <= now && now < deadline)
				pace_send(p, i);
			if (c->started == 0 && p->due[i] < until)
				until = p->due[i];
			busy = busy || c->started != 0;
			fds[i].fd = c->started != 0 ? c->fd : -1;
			fds[i].events = POLLIN;
			fds[i].revents = 0;
		}
		now = now_ns();
		if (now >= deadline && !busy)
			return;
		until = until > now ? until - now : 0;
		timeout.tv_sec = (time_t) (until / 1000000000);
		timeout.tv_nsec = (long) (until % 1000000000);
		if (ppoll(fds, (nfds_t) p->o->clients, now < deadline ? &timeout : NULL, NULL) < 0 &&
			errno != EINTR)
			die("poll: %s", strerror(errno));
		for (int i = 0; i < p->o->clients; i++)
			if (fds[i].revents != 0)
				pace_receive(p, i);
	}
}

/* ---- consumers ---- */

static void *
start(void *arg)
{
	Consumer   *c = arg;

	c->run(c);
	return NULL;
}

void
consumer_begin(Consumer *c, const Options *o, Journal *journal, void (*run) (Consumer *c))
{
	memset(c, 0, sizeof(*c));
	c->o = o;
	c->journal = journal;
	c->run = run;
	if (o->side->kind == KIND_REDIS)
		c->redis = redis_open(o->redis);
	else
		c->conn = pg_open();
	if (pthread_create(&c->id, NULL, start, c) != 0)
		die("could not start a thread");
}

void
consumer_end(Consumer *c)
{
	set(&c->stop, true);
	pthread_join(c->id, NULL);
	if (c->redis != NULL)
		redis_close(c->redis);
	if (c->conn != NULL)
		PQfinish(c->conn);
}

/* Notes the messages of a result; the column is that of the value. */
void
see_rows(Consumer *c, PGresult *result, int column)
{
	uint64_t	now = now_ns();
	int			n = PQntuples(result);

	for (int i = 0; i < n && c->journal != NULL; i++)
	{
		if (PQgetlength(result, i, column) != VALUE_SIZE)
			die("a value of %d bytes was not published", PQgetlength(result, i, column));
		journal_see(c->journal, PQgetvalue(result, i, column), now);
	}
	c->messages += n;
	if (n > 0)
		c->batches++;
}

/* ---- several statements in one round trip ---- */

void
begin_pipeline(PGconn *conn)
{
	if (!PQenterPipelineMode(conn))
		die("%s", PQerrorMessage(conn));
}

void
send_statement(PGconn *conn, const char *sql)
{
	if (!PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, BINARY))
		die("%s", PQerrorMessage(conn));
}

/* A prepared statement of one parameter of eight bytes. */
void
send_prepared(PGconn *conn, const char *name, int64_t value)
{
	Buffer		bytes = {0};
	const char *values[1];
	int			lengths[1] = {sizeof(value)};
	int			formats[1] = {BINARY};

	put_int64(&bytes, (uint64_t) value);
	values[0] = bytes.data;
	if (!PQsendQueryPrepared(conn, name, 1, values, lengths, formats, BINARY))
		die("%s", PQerrorMessage(conn));
	free(bytes.data);
}

/*
 * Sends what was queued and takes all results; returns that of the last
 * statement that gives rows, or NULL.
 */
PGresult *
take_pipeline(PGconn *conn)
{
	PGresult   *rows = NULL;

	if (!PQpipelineSync(conn))
		die("%s", PQerrorMessage(conn));
	for (;;)
	{
		PGresult   *result = PQgetResult(conn);

		if (result == NULL)
			continue;
		switch (PQresultStatus(result))
		{
			case PGRES_PIPELINE_SYNC:
				PQclear(result);
				return rows;
			case PGRES_COMMAND_OK:
				PQclear(result);
				break;
			default:
				pg_expect(conn, result, PGRES_TUPLES_OK);
				PQclear(rows);
				rows = result;
		}
	}
}
