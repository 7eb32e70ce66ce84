/*
 * publish.c
 *		Publishing: one message or one batch per transaction, by one or more
 *		clients, for a time.  After a warm-up that is not counted it measures
 *		rate, latency, CPU of server and client, bytes of WAL; at the end the
 *		size on disk of everything that was published.
 */
#include "load.h"

#include <stdio.h>

static void
print_result(Load *l, const Counters *a, const Counters *b, double disk)
{
	double		messages = (double) l->operations * l->o->batch;
	double		seconds = (double) (b->time - a->time) / 1e9;

	printf("messages=%.0f\tseconds=%.3f\trate=%.1f", messages, seconds, messages / seconds);
	printf("\tp50_us=%.1f\tp99_us=%.1f\tmax_us=%.1f",
		   sample_us(&l->latencies, 0.5), sample_us(&l->latencies, 0.99),
		   sample_us(&l->latencies, 1.0));
	printf("\tserver_cpu_us=%.3f\tclient_cpu_us=%.3f",
		   (b->server_cpu - a->server_cpu) * 1e6 / messages,
		   (b->client_cpu - a->client_cpu) * 1e6 / messages);
	printf("\twal_bytes=%.1f\tdisk_bytes=%.1f\n", (b->log - a->log) / messages, disk);
}

void
run_publish(const Options *o)
{
	Control		control;
	Load		load;
	Counters	before;
	Counters	after;
	long		warm;
	double		bytes;

	control_open(&control, o);
	make_table(&control, o);
	loop_open(&load, o);
	loop_run(&load, now_ns() + (uint64_t) (o->warmup * 1e9));
	warm = load.operations;
	load.operations = 0;
	load.latencies.len = 0;
	read_counters(&control, &before);
	loop_run(&load, before.time + (uint64_t) (o->seconds * 1e9));
	loop_drain(&load);
	read_counters(&control, &after);
	bytes = disk_bytes(&control, o);
	print_result(&load, &before, &after,
				 bytes / (double) ((warm + load.operations) * o->batch));
	loop_close(&load);
	if (!o->keep)
		drop_table(&control, o);
	control_close(&control);
}
