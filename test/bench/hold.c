/*
 * hold.c
 *		The longest hold of the append lock while one client publishes large
 *		batches and others publish single messages beside it; and how long
 *		pg_cancel_backend takes to act on one that waits for the lock.
 *
 * The large batches come from a process of their own, so that making them
 * does not disturb the clock of the others.  The control connection asks
 * again and again for a publisher that waits for an append lock and has it
 * cancelled in the same statement.  The time goes from sending that statement
 * to the arrival of the error at the publisher; one that finishes first is
 * found and not cancelled.
 */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Time between two cancellations, so that most of the time is undisturbed. */
#define CANCEL_EVERY_NS		UINT64_C(20000000)

typedef struct Hold
{
	PGconn	   *conn;
	bool		asked;			/* the control connection is busy */
	uint64_t	asked_at;
	bool		early;			/* the error came before the answer */
	long		rounds;
	long		found;
	Samples		cancels;
} Hold;

static Hold hold;
static volatile sig_atomic_t stopped;

static void
stop(int signal)
{
	(void) signal;
	stopped = 1;
}

/* The process that publishes large batches until it is told to stop. */
static void
publish_batches(const Options *o, int ready, int report)
{
	Options		large = *o;
	Client		client;
	long		batches = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, stop);
	large.batch = o->fetch;
	client_open(&client, &large, 0);
	while (!stopped)
	{
		send_batch(client.conn, &large, (unsigned) batches);
		pg_drain(client.conn, PGRES_TUPLES_OK);
		if (batches++ == 0 && write(ready, "", 1) != 1)
			die("could not write to a pipe: %s", strerror(errno));
	}
	client_close(&client);
	if (write(report, &batches, sizeof(batches)) != sizeof(batches))
		die("could not write to a pipe: %s", strerror(errno));
	_exit(0);
}

static void
ask(void)
{
	hold.asked_at = now_ns();
	if (!PQsendQueryPrepared(hold.conn, "cancel", 0, NULL, NULL, NULL, 0))
		die("%s", PQerrorMessage(hold.conn));
	hold.asked = true;
	hold.early = false;
	hold.rounds++;
}

/* Takes the answer of the control connection, and asks again in time. */
static void
watch(Load *l, bool readable)
{
	PGresult   *result;

	if (!hold.asked)
	{
		if (now_ns() - hold.asked_at >= CANCEL_EVERY_NS)
			ask();
		return;
	}
	if (!readable)
		return;
	if (!PQconsumeInput(hold.conn))
		die("%s", PQerrorMessage(hold.conn));
	while (!PQisBusy(hold.conn))
	{
		result = PQgetResult(hold.conn);
		if (result == NULL)
		{
			hold.asked = false;
			return;
		}
		pg_expect(hold.conn, result, PGRES_TUPLES_OK);
		for (int i = 0; i < PQntuples(result); i++)
			for (int j = 0; j < l->o->clients; j++)
				if (PQbackendPID(l->clients[j].conn) == atoi(PQgetvalue(result, i, 0)))
				{
					hold.found++;
					if (!hold.early)
						l->clients[j].cancelled = hold.asked_at;
				}
		PQclear(result);
	}
}

static void
note_cancelled(Load *l, Client *c, uint64_t now)
{
	(void) l;
	if (c->cancelled != 0)
		add_sample(&hold.cancels, now - c->cancelled);
	else
	{
		add_sample(&hold.cancels, now - hold.asked_at);
		hold.early = true;
	}
}

static void
prepare_cancel(Load *l)
{
	Buffer		pids = {0};

	for (int i = 0; i < l->o->clients; i++)
		put_format(&pids, "%s%d", i > 0 ? "," : "", PQbackendPID(l->clients[i].conn));
	put_bytes(&pids, "", 1);
	pg_prepare(hold.conn, "cancel", 0, NULL,
			   "SELECT pid FROM (SELECT pid FROM pg_stat_activity"
			   " WHERE pid IN (%s) AND wait_event_type = 'LWLock' AND wait_event ~ 'weir'"
			   " ORDER BY random() LIMIT 1) AS waiter WHERE pg_cancel_backend(pid)", pids.data);
	free(pids.data);
}

static void
print_hold(const Load *l, double seconds, double longest_ms, long batches)
{
	Samples		latencies = l->latencies;

	printf("seconds=%.3f\tbatches=%ld\tbatch=%d\tsingle_rate=%.1f\tsingle_p99_us=%.1f\tsingle_max_us=%.1f",
		   seconds, batches, l->o->fetch, (double) l->operations / seconds,
		   sample_us(&latencies, 0.99), sample_us(&latencies, 1.0));
	printf("\tlongest_hold_ms=%.3f\tasked=%ld\tfound=%ld\tcancelled=%zu",
		   longest_ms, hold.rounds, hold.found, hold.cancels.len);
	if (hold.cancels.len > 0)
		printf("\tcancel_p50_ms=%.3f\tcancel_max_ms=%.3f",
			   sample_us(&hold.cancels, 0.5) / 1000, sample_us(&hold.cancels, 1.0) / 1000);
	putchar('\n');
}

void
run_hold(const Options *o)
{
	Control		control;
	Load		load;
	int			ready[2];
	int			report[2];
	char		byte;
	long		batches = 0;
	uint64_t	start;
	double		seconds;
	double		longest;
	pid_t		child;

	if (setenv("PGOPTIONS", "-c weir.track_append_hold=on", 1) != 0)
		die("setenv: %s", strerror(errno));
	control_open(&control, o);
	make_table(&control, o);
	if (pipe(ready) != 0 || pipe(report) != 0 || (child = fork()) < 0)
		die("could not start a process: %s", strerror(errno));
	if (child == 0)
		publish_batches(o, ready[1], report[1]);
	close(ready[1]);
	close(report[1]);
	if (read(ready[0], &byte, 1) != 1)
		die("the process that publishes batches failed");
	loop_open(&load, o);
	hold.conn = pg_open();
	prepare_cancel(&load);
	load.hook = watch;
	load.hook_fd = PQsocket(hold.conn);
	load.cancelled = note_cancelled;
	pg_run(hold.conn, "SELECT weir.longest_append_hold(true)");
	start = hold.asked_at = now_ns();
	loop_run(&load, start + (uint64_t) (o->seconds * 1e9));
	longest = pg_number(control.conn, "SELECT extract(epoch FROM weir.longest_append_hold()) * 1000");
	loop_drain(&load);
	seconds = (double) (now_ns() - start) / 1e9;
	kill(child, SIGTERM);
	if (read(report[0], &batches, sizeof(batches)) != sizeof(batches))
		die("the process that publishes batches failed");
	waitpid(child, NULL, 0);
	print_hold(&load, seconds, longest, batches);
	loop_close(&load);
	PQfinish(hold.conn);
	drop_table(&control, o);
	control_close(&control);
}
