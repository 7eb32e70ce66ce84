/*
 * load.c
 *		The load client of the bench: load WORKLOAD SIDE [name=value ...]
 *
 *		publish			o->clients clients publish o->batch messages per
 *						transaction for o->seconds
 *		bulk			o->count messages in one transaction
 *		read_server		all of o->table, inside the server, one statement
 *		read_chunks		the same in pieces of o->fetch, PL/pgSQL
 *		read_libpq		the same through libpq
 *		memory			private memory of the backend meanwhile
 *		seek			o->probes places in a table of o->count messages
 *		dead_tail		polls before o->count messages that were rolled back
 *		hold			append lock under batches of o->fetch
 *		pause_*			what pausing costs others, and what it spares; pause.sh
 *		subscribed, idle_sessions, fetch_wait, listen, consume_fill, consume,
 *		consume_server, parallel, members, held
 *						consuming; consume.sh
 *		fsync			speed of fdatasync; SIDE is a directory
 *		drop			drops o->table
 *
 * PostgreSQL is found by PGHOST and the like, Redis by redis=SOCKET.
 */
#include "consume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct
{
	const char *name;
	void		(*run) (const Options *o);
}			workloads[] =
{
	{"publish", run_publish},
	{"bulk", run_bulk},
	{"read_server", run_read_server},
	{"read_chunks", run_read_chunks},
	{"read_libpq", run_read_libpq},
	{"memory", run_memory},
	{"seek", run_seek},
	{"dead_tail", run_dead_tail},
	{"hold", run_hold},
	{"pause_beside", run_pause_beside},
	{"pause_drain", run_pause_drain},
	{"pause_held", run_pause_held},
	{"pause_wake", run_pause_wake},
	{"pause_cycles", run_pause_cycles},
	{"pause_first", run_pause_first},
	{"pause_rate", run_pause_rate},
	{"pause_plan", run_pause_plan},
	{"subscribed", run_subscribed},
	{"idle_sessions", run_idle_sessions},
	{"fetch_wait", run_fetch_wait},
	{"listen", run_listen},
	{"consume_fill", run_consume_fill},
	{"consume", run_consume},
	{"consume_server", run_consume_server},
	{"parallel", run_parallel},
	{"members", run_members},
	{"held", run_held},
};

static double
number(const char *text, double low, double high)
{
	char	   *end;
	double		value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value >= low && value <= high))
		die("not a number between %g and %g: %s", low, high, text);
	return value;
}

static void
set_option(Options *o, char *arg)
{
	char	   *value = strchr(arg, '=');

	if (value == NULL)
		die("not an option: %s", arg);
	*value++ = '\0';
	if (strcmp(arg, "table") == 0)
		o->table = value;
	else if (strcmp(arg, "table_small") == 0)
		o->table_small = value;
	else if (strcmp(arg, "redis") == 0)
		o->redis = value;
	else if (strcmp(arg, "clients") == 0)
		o->clients = (int) number(value, 1, MAX_CLIENTS);
	else if (strcmp(arg, "partitions") == 0)
		o->partitions = (int) number(value, 1, MAX_PARTITIONS);
	else if (strcmp(arg, "batch") == 0)
		o->batch = (int) number(value, 1, 1000000);
	else if (strcmp(arg, "fetch") == 0)
		o->fetch = (int) number(value, 1, 1000000);
	else if (strcmp(arg, "count") == 0)
		o->count = (long) number(value, 1, 1e9);
	else if (strcmp(arg, "probes") == 0)
		o->probes = (long) number(value, 1, 1e6);
	else if (strcmp(arg, "seconds") == 0)
		o->seconds = number(value, 0.01, 3600);
	else if (strcmp(arg, "warmup") == 0)
		o->warmup = number(value, 0.01, 3600);
	else if (strcmp(arg, "rate") == 0)
		o->rate = (int) number(value, 1, 1e6);
	else if (strcmp(arg, "sessions") == 0)
		o->sessions = (int) number(value, 1, 10000);
	else if (strcmp(arg, "group") == 0)
		o->group = value;
	else if (strcmp(arg, "since") == 0)
		o->since = number(value, 1, 1e19);
	else if (strcmp(arg, "keep") == 0)
		o->keep = strcmp(value, "1") == 0;
	else
		die("unknown option: %s", arg);
}

static void
run_drop(const Options *o)
{
	Control		control;

	control_open(&control, o);
	drop_table(&control, o);
	control_close(&control);
}

int
main(int argc, char **argv)
{
	Options		o = {
		.table = "bench", .clients = 1, .partitions = 1, .batch = 1,
		.fetch = 1000, .count = 1000000, .probes = 1000,
		.seconds = 3, .warmup = 0.5, .rate = 1000, .sessions = 1, .group = "bench"
	};

	if (argc < 3)
		die("usage: load WORKLOAD SIDE [name=value ...]");
	if (strcmp(argv[1], "fsync") == 0)
	{
		measure_fsync(argv[2]);
		return 0;
	}
	o.workload = argv[1];
	o.side = find_side(argv[2]);
	for (int i = 3; i < argc; i++)
		set_option(&o, argv[i]);
	make_messages();
	if (strcmp(o.workload, "drop") == 0)
	{
		run_drop(&o);
		return 0;
	}
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		if (strcmp(workloads[i].name, o.workload) == 0)
		{
			workloads[i].run(&o);
			return 0;
		}
	die("unknown workload: %s", o.workload);
}
