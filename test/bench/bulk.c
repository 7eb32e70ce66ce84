/*
 * bulk.c
 *		The fastest way to bring in many messages in one transaction: COPY
 *		binary; for weir and PgQ batches of arrays in libpq's pipeline mode; for
 *		Redis one MULTI ... EXEC for each batch, pipelined (one for all would
 *		have the server hold every command in memory).
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>

static void
bulk_copy(PGconn *conn, const Options *o)
{
	char		sql[256];
	Buffer		rows = {0};
	Buffer		edge = {0};
	size_t		head;

	copy_statement(sql, sizeof(sql), o, o->side->own_offsets);
	if (!PQsendQuery(conn, sql))
		die("%s", PQerrorMessage(conn));
	pg_expect(conn, PQgetResult(conn), PGRES_COPY_IN);
	put_copy_header(&edge);
	head = edge.len;
	put_copy_trailer(&edge);
	put_copy_rows(&rows, 0, o->batch, 0, o->side->own_offsets);
	if (PQputCopyData(conn, edge.data, (int) head) != 1)
		die("%s", PQerrorMessage(conn));
	for (long done = 0; done < o->count; done += o->batch)
	{
		int			n = (int) (o->count - done < o->batch ? o->count - done : o->batch);

		if (o->side->own_offsets)
			set_copy_offsets(rows.data, n, done);
		if (PQputCopyData(conn, rows.data, (int) (rows.len / (size_t) o->batch) * n) != 1)
			die("%s", PQerrorMessage(conn));
	}
	if (PQputCopyData(conn, edge.data + head, (int) (edge.len - head)) != 1 ||
		PQputCopyEnd(conn, NULL) != 1)
		die("%s", PQerrorMessage(conn));
	pg_drain(conn, PGRES_COMMAND_OK);
	free(rows.data);
	free(edge.data);
}

/* Takes the results of a pipeline as far as they have come, or all of them. */
static void
take_results(PGconn *conn, bool all)
{
	PGresult   *result;
	bool		end = false;

	if (!PQconsumeInput(conn))
		die("%s", PQerrorMessage(conn));
	while (!end && (all || !PQisBusy(conn)))
	{
		result = PQgetResult(conn);
		if (result == NULL)
		{
			if (!all)
				return;
			continue;
		}
		switch (PQresultStatus(result))
		{
			case PGRES_PIPELINE_SYNC:
				end = true;
				break;
			case PGRES_COMMAND_OK:
				break;
			default:
				pg_expect(conn, result, PGRES_TUPLES_OK);
		}
		PQclear(result);
	}
}

static void
send_command(PGconn *conn, const char *sql)
{
	if (!PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0))
		die("%s", PQerrorMessage(conn));
}

/* libpq reads while it cannot write, so that blocking is no danger. */
static void
bulk_pipeline(PGconn *conn, const Options *o, bool commit)
{
	prepare_batch(conn, o);
	if (!PQenterPipelineMode(conn))
		die("%s", PQerrorMessage(conn));
	send_command(conn, "BEGIN");
	for (long done = 0; done < o->count; done += o->batch)
	{
		Options		part = *o;

		if (o->count - done < o->batch)
			part.batch = (int) (o->count - done);
		send_batch(conn, &part, (unsigned) done);
		take_results(conn, false);
	}
	send_command(conn, commit ? "COMMIT" : "ROLLBACK");
	if (!PQpipelineSync(conn))
		die("%s", PQerrorMessage(conn));
	take_results(conn, true);
	if (!PQexitPipelineMode(conn))
		die("%s", PQerrorMessage(conn));
	pg_run(conn, "DEALLOCATE publish");
}

static void
bulk_redis(Redis *r, const Options *o)
{
	for (long done = 0; done < o->count; done += o->batch)
	{
		long		left = o->count - done;

		redis_send_batch(r, o, (unsigned) done, (int) (left < o->batch ? left : o->batch));
		redis_receive(r, false);
	}
	redis_receive(r, true);
}

/* Brings in o->count messages in pieces of o->batch. */
void
bulk_load(PGconn *conn, Redis *redis, const Options *o, bool commit)
{
	if (redis != NULL)
		bulk_redis(redis, o);
	else if (o->side->kind == KIND_PLAIN)
	{
		pg_run(conn, "BEGIN");
		bulk_copy(conn, o);
		pg_run(conn, commit ? "COMMIT" : "ROLLBACK");
	}
	else
		bulk_pipeline(conn, o, commit);
}

void
run_bulk(const Options *o)
{
	Control		control;
	Client		client;
	Counters	a;
	Counters	b;
	double		seconds;
	double		count = (double) o->count;

	control_open(&control, o);
	make_table(&control, o);
	client_open(&client, o, 0);
	if (client.conn != NULL && !o->side->copy)
		pg_run(client.conn, "DEALLOCATE publish");
	read_counters(&control, &a);
	bulk_load(client.conn, client.redis, o, true);
	read_counters(&control, &b);
	seconds = (double) (b.time - a.time) / 1e9;
	printf("messages=%ld\tseconds=%.3f\trate=%.1f\tserver_cpu_us=%.3f\tclient_cpu_us=%.3f"
		   "\twal_bytes=%.1f\tdisk_bytes=%.1f\n",
		   o->count, seconds, count / seconds,
		   (b.server_cpu - a.server_cpu) * 1e6 / count,
		   (b.client_cpu - a.client_cpu) * 1e6 / count,
		   (b.log - a.log) / count, disk_bytes(&control, o) / count);
	client_close(&client);
	if (!o->keep)
		drop_table(&control, o);
	control_close(&control);
}
