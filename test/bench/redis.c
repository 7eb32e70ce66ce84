/*
 * redis.c
 *		The Redis protocol (RESP 2) over a unix socket: commands out, replies
 *		counted in.
 *
 * Replies are parsed as a flat sequence: an array of n adds n replies to the
 * number that is expected.  Nothing but the first error is remembered of
 * them, and strings are handed to whoever wants them; redis_ask() is for the
 * commands whose answer is one line or one string.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE		65536

Redis *
redis_open(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	Redis	   *r = grow(NULL, sizeof(Redis));

	memset(r, 0, sizeof(*r));
	if (path == NULL)
		die("no Redis socket was given");
	if (strlen(path) >= sizeof(address.sun_path))
		die("the path of the Redis socket is too long: %s", path);
	strcpy(address.sun_path, path);
	r->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (r->fd < 0 || connect(r->fd, (struct sockaddr *) &address, sizeof(address)) != 0)
		die("could not connect to %s: %s", path, strerror(errno));
	return r;
}

void
redis_close(Redis *r)
{
	close(r->fd);
	free(r->in.data);
	free(r->out.data);
	free(r);
}

/*
 * Sends what is in the output.  The server reads on whatever its clients do
 * with their replies, so that blocking here is no danger.
 */
void
redis_flush(Redis *r)
{
	size_t		sent = 0;

	while (sent < r->out.len)
	{
		ssize_t		n = send(r->fd, r->out.data + sent, r->out.len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			die("could not send to Redis: %s", strerror(errno));
		if (n > 0)
			sent += (size_t) n;
	}
	r->out.len = 0;
}

/* Parses one reply, or the head of an array; false if it is not complete. */
static bool
parse_reply(Redis *r)
{
	char	   *start = r->in.data + r->done;
	size_t		left = r->in.len - r->done;
	char	   *end = left > 0 ? memchr(start, '\n', left) : NULL;
	size_t		len;
	long		number;

	if (end == NULL)
		return false;
	len = (size_t) (end - start) + 1;
	number = strtol(start + 1, NULL, 10);
	switch (*start)
	{
		case '+':
		case ':':
			break;
		case '-':
			if (r->error[0] == '\0')
				snprintf(r->error, sizeof(r->error), "%.*s", (int) len - 2, start);
			break;
		case '$':
			if (number >= 0)
				len += (size_t) number + 2;
			if (len > left)
				return false;
			if (number >= 0 && r->string != NULL)
				r->string(r->arg, end + 1, (size_t) number);
			break;
		case '*':
			if (number > 0)
				r->expected += number;
			break;
		default:
			die("Redis sent something unknown: %.20s", start);
	}
	r->expected--;
	r->done += len;
	return true;
}

/*
 * Reads what is there, or waits for all that is expected.  True if nothing
 * more is expected; an error reply ends the run.
 */
bool
redis_receive(Redis *r, bool wait)
{
	do
	{
		ssize_t		n;

		if (r->in.size < r->in.len + READ_SIZE)
		{
			r->in.size = (r->in.len + READ_SIZE) * 2;
			r->in.data = grow(r->in.data, r->in.size);
		}
		n = recv(r->fd, r->in.data + r->in.len, READ_SIZE, wait ? 0 : MSG_DONTWAIT);
		if (n == 0)
			die("Redis closed the connection");
		if (n < 0)
		{
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN || errno == EWOULDBLOCK)
				return false;
			die("could not receive from Redis: %s", strerror(errno));
		}
		r->in.len += (size_t) n;
		while (r->expected > 0 && parse_reply(r))
			 /* go on */ ;
		memmove(r->in.data, r->in.data + r->done, r->in.len - r->done);
		r->in.len -= r->done;
		r->done = 0;
	} while (wait && r->expected > 0);
	if (r->expected == 0 && r->error[0] != '\0')
		die("Redis: %s", r->error);
	return r->expected == 0;
}

/*
 * A command of words without blanks, and its answer, one line or one string,
 * allocated.
 */
char *
redis_ask(Redis *r, const char *command)
{
	Buffer		answer = {0};
	char		chunk[4096];
	long		left = -1;
	char	   *copy = NULL;
	char	   *end;

	put_format(&r->out, "%s\r\n", command);
	redis_flush(r);
	while (left != 0)
	{
		ssize_t		n = recv(r->fd, chunk, left > 0 && left < (long) sizeof(chunk) ? (size_t) left : sizeof(chunk), 0);

		if (n <= 0)
			die("could not receive from Redis: %s", strerror(errno));
		put_bytes(&answer, chunk, (size_t) n);
		end = memchr(answer.data, '\n', answer.len);
		if (end == NULL)
			continue;
		left = (end - answer.data) + 1 - (long) answer.len;
		if (answer.data[0] == '$')
			left += strtol(answer.data + 1, NULL, 10) + 2;
		if (left < 0)
			die("Redis sent more than was asked for");
	}
	put_bytes(&answer, "", 1);
	if (answer.data[0] == '-')
		die("Redis: %s: %s", command, answer.data);
	end = strchr(answer.data, '\n');
	copy = strdup(answer.data[0] == '$' ? end + 1 : answer.data + 1);
	if (copy == NULL)
		die("out of memory");
	free(answer.data);
	return copy;
}

/* A number from INFO. */
long
redis_info(Redis *r, const char *section, const char *name)
{
	char		command[64];
	char		pattern[64];
	char	   *answer;
	char	   *p;
	long		value;

	snprintf(command, sizeof(command), "INFO %s", section);
	snprintf(pattern, sizeof(pattern), "\n%s:", name);
	answer = redis_ask(r, command);
	p = strstr(answer, pattern);
	if (p == NULL)
		die("Redis does not know %s", name);
	value = strtol(p + strlen(pattern), NULL, 10);
	free(answer);
	return value;
}

/*
 * An empty database and an empty append-only file.  The rewrite is a process
 * of the server's; it has next to nothing to do, so it is asked until it is
 * done.
 */
void
redis_reset(Redis *r)
{
	free(redis_ask(r, "FLUSHALL SYNC"));
	free(redis_ask(r, "BGREWRITEAOF"));
	while (redis_info(r, "persistence", "aof_rewrite_in_progress") != 0 ||
		   redis_info(r, "persistence", "aof_rewrite_scheduled") != 0)
		 /* ask again */ ;
}

/* The part of XADD that is the same for all messages of a stream. */
static const Buffer *
xadd_head(const Options *o, unsigned partition)
{
	static Buffer heads[MAX_PARTITIONS];
	Buffer	   *head = &heads[partition];
	char		name[80];
	int			len;

	if (head->len > 0)
		return head;
	if (o->partitions > 1)
		len = snprintf(name, sizeof(name), "%s%u", o->table, partition);
	else
		len = snprintf(name, sizeof(name), "%s", o->table);
	put_format(head, "*5\r\n$4\r\nXADD\r\n$%d\r\n%s\r\n$1\r\n*\r\n$%d\r\n", len, name, KEY_SIZE);
	return head;
}

/*
 * Sends messages from the pool, in one transaction if there are more than
 * one.  Keys go to the stream NAME or, with partitions, NAME0, NAME1 ...
 */
void
redis_send_batch(Redis *r, const Options *o, unsigned first, int count)
{
	char		middle[32];
	size_t		middle_len = (size_t) snprintf(middle, sizeof(middle), "\r\n$%d\r\n", VALUE_SIZE);

	if (count > 1)
	{
		put_format(&r->out, "*1\r\n$5\r\nMULTI\r\n");
		r->expected++;
	}
	for (unsigned i = first; i < first + (unsigned) count; i++)
	{
		const Buffer *head = xadd_head(o, key_partition(i, o->partitions));

		put_bytes(&r->out, head->data, head->len);
		put_bytes(&r->out, message_key(i), KEY_SIZE);
		put_bytes(&r->out, middle, middle_len);
		put_bytes(&r->out, message_value(i), VALUE_SIZE);
		put_bytes(&r->out, "\r\n", 2);
		r->expected++;
	}
	if (count > 1)
	{
		put_format(&r->out, "*1\r\n$4\r\nEXEC\r\n");
		r->expected++;
	}
	redis_flush(r);
}
