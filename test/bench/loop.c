/*
 * loop.c
 *		Keeps a number of clients busy from one thread: with two cores and
 *		sixteen clients a thread for each would cost more in switches than the
 *		work itself.
 */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

void
loop_open(Load *l, const Options *o)
{
	memset(l, 0, sizeof(*l));
	l->o = o;
	l->hook_fd = -1;
	l->clients = grow(NULL, (size_t) o->clients * sizeof(Client));
	for (int i = 0; i < o->clients; i++)
		client_open(&l->clients[i], o, i);
}

void
loop_close(Load *l)
{
	for (int i = 0; i < l->o->clients; i++)
		client_close(&l->clients[i]);
	free(l->clients);
	free(l->latencies.ns);
}

static void
serve(Load *l, Client *c, bool again)
{
	Outcome		outcome = client_receive(c, l->o);
	uint64_t	now;

	if (outcome == OUTCOME_MORE)
		return;
	now = now_ns();
	if (outcome == OUTCOME_CANCELLED)
	{
		if (l->cancelled == NULL)
			die("a statement was cancelled");
		l->cancelled(l, c, now);
	}
	else
	{
		add_sample(&l->latencies, now - c->started);
		l->operations++;
	}
	c->started = 0;
	if (again)
		client_send(c, l->o);
}

/* Waits for replies once and serves them. */
static void
turn(Load *l, uint64_t now, uint64_t deadline)
{
	struct pollfd fds[MAX_CLIENTS + 1];
	int			count = l->o->clients;
	int			timeout = -1;

	for (int i = 0; i < count; i++)
	{
		fds[i].fd = l->clients[i].started != 0 ? l->clients[i].fd : -1;
		fds[i].events = POLLIN;
	}
	fds[count].fd = l->hook_fd;
	fds[count].events = POLLIN;
	fds[count].revents = 0;
	if (deadline != 0)
		timeout = deadline > now ? (int) ((deadline - now) / 1000000) + 1 : 0;
	if (poll(fds, (nfds_t) count + 1, timeout) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
	for (int i = 0; i < count; i++)
		if (fds[i].fd >= 0 && fds[i].revents != 0)
			serve(l, &l->clients[i], deadline != 0);
	if (l->hook_fd >= 0)
		l->hook(l, fds[count].revents != 0);
}

/* Goes on until the deadline; what is then under way stays so. */
void
loop_run(Load *l, uint64_t deadline)
{
	uint64_t	now;

	for (int i = 0; i < l->o->clients; i++)
		if (l->clients[i].started == 0)
			client_send(&l->clients[i], l->o);
	while ((now = now_ns()) < deadline)
		turn(l, now, deadline);
}

static bool
is_busy(const Load *l)
{
	for (int i = 0; i < l->o->clients; i++)
		if (l->clients[i].started != 0)
			return true;
	return false;
}

/* Waits for what is under way and sends nothing more. */
void
loop_drain(Load *l)
{
	while (is_busy(l))
		turn(l, 0, 0);
}
