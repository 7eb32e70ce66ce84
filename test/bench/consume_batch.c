/*
 * consume_batch.c
 *		Consuming the next o->count messages of a table, stream or queue that
 *		another run has filled, as group o->group, in batches of o->fetch, each
 *		committed.
 *
 *		consume_fill	PgQ: o->count events, a tick after each o->batch, and two
 *						consumers, "c" and "s"; others are filled by bulk
 *		consume			through libpq: BEGIN and the read in one round trip, what
 *						moves the position and COMMIT in another one
 *		consume_server	the same inside the server, PL/pgSQL
 *
 *		weir	stream_fetch, which moves the position itself
 *		plain	a range of the index; UPDATE of the group's row of positions
 *		pgq		next_batch and get_batch_events; finish_batch
 */
#include "consume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
run_consume_fill(const Options *o)
{
	Control		control;
	PGconn	   *conn;

	if (o->side->kind != KIND_PGQ)
		die("only queues are filled with ticks");
	control_open(&control, o);
	conn = control.conn;
	make_table(&control, o);
	pg_run(conn, "SELECT pgq.set_queue_config('%s0', 'ticker_max_count', '1')", o->table);
	pg_run(conn, "SELECT pgq.register_consumer('%s0', 'c'), pgq.register_consumer('%s0', 's')",
		   o->table, o->table);
	prepare_batch(conn, o);
	for (long done = 0; done < o->count; done += o->batch)
	{
		send_batch(conn, o, (unsigned) done);
		pg_drain(conn, PGRES_TUPLES_OK);
		pg_run(conn, "SELECT pgq.ticker('%s0')", o->table);
	}
	control_close(&control);
}

/* The row in which a group of a plain table keeps its position; where it stands. */
static int64_t
make_position(PGconn *conn, const Options *o)
{
	if (o->side->kind != KIND_PLAIN)
		return 0;
	pg_run(conn, "CREATE TABLE IF NOT EXISTS %s_position (name text PRIMARY KEY, next_offset bigint NOT NULL)", o->table);
	pg_run(conn, "INSERT INTO %s_position VALUES ('%s', 0) ON CONFLICT DO NOTHING", o->table, o->group);
	return (int64_t) pg_number(conn, "SELECT next_offset FROM %s_position WHERE name = '%s'",
							   o->table, o->group);
}

/* ---- through libpq ---- */

static void
prepare_consume(PGconn *conn, const Options *o)
{
	static const Oid types[] = {OID_INT8};

	switch (o->side->kind)
	{
		case KIND_WEIR:
			pg_prepare(conn, "read", 1, types,
					   "SELECT * FROM stream_fetch(NULL::%s, '%s', $1)", o->table, o->group);
			break;
		case KIND_PGQ:
			pg_prepare(conn, "read", 1, types,
					   "SELECT e.ev_id, e.ev_time, e.ev_type, e.ev_data, b.batch FROM (SELECT pgq.next_batch('%s0', '%s') AS batch, $1 OFFSET 0) AS b,"
					   " LATERAL pgq.get_batch_events(b.batch) AS e WHERE b.batch IS NOT NULL",
					   o->table, o->group);
			pg_prepare(conn, "move", 1, types, "SELECT pgq.finish_batch($1)");
			break;
		default:
			pg_prepare(conn, "read", 1, types,
					   "SELECT * FROM %s WHERE \"offset\" >= $1 ORDER BY \"offset\" LIMIT %d",
					   o->table, o->fetch);
			pg_prepare(conn, "move", 1, types,
					   "UPDATE %s_position SET next_offset = $1 WHERE name = '%s'",
					   o->table, o->group);
	}
}

/* One batch; moves the position; how many messages it had. */
static int
consume_batch(PGconn *conn, const Options *o, int64_t *position)
{
	bool		weir = o->side->kind == KIND_WEIR;
	PGresult   *result;
	int			n;

	send_statement(conn, "BEGIN");
	send_prepared(conn, "read", weir ? o->fetch : *position);
	result = take_pipeline(conn);
	n = result != NULL ? PQntuples(result) : 0;
	if (n > 0)
	{
		int			column = PQfnumber(result, o->side->kind == KIND_PGQ ? "ev_data" : "value");

		if (PQgetlength(result, n - 1, column) != VALUE_SIZE)
			die("a value of %d bytes was not published", PQgetlength(result, n - 1, column));
		if (o->side->kind == KIND_PGQ)
			send_prepared(conn, "move", (int64_t) get_int64(PQgetvalue(result, 0, PQfnumber(result, "batch"))));
		else
		{
			if ((int64_t) get_int64(PQgetvalue(result, 0, 1)) < *position)
				die("an offset came twice");
			*position = (int64_t) get_int64(PQgetvalue(result, n - 1, 1)) + 1;
			if (!weir)
				send_prepared(conn, "move", *position);
		}
	}
	PQclear(result);
	send_statement(conn, "COMMIT");
	PQclear(take_pipeline(conn));
	return n;
}

static void
print_consumed(const Options *o, const Counters *a, const Counters *b)
{
	double		count = (double) o->count;

	printf("messages=%ld\tseconds=%.3f\trate=%.1f\tserver_cpu_us=%.3f\tclient_cpu_us=%.3f\twal_bytes=%.1f",
		   o->count, (double) (b->time - a->time) / 1e9, count * 1e9 / (double) (b->time - a->time),
		   (b->server_cpu - a->server_cpu) * 1e6 / count,
		   (b->client_cpu - a->client_cpu) * 1e6 / count, (b->log - a->log) / count);
}

void
run_consume(const Options *o)
{
	Control		control;
	Counters	a;
	Counters	b;
	Samples		latencies = {0};
	PGconn	   *conn = pg_open();
	int64_t		position;
	long		messages = 0;

	control_open(&control, o);
	position = make_position(control.conn, o);
	prepare_consume(conn, o);
	pg_run(control.conn, "CHECKPOINT");
	begin_pipeline(conn);
	read_counters(&control, &a);
	while (messages < o->count)
	{
		uint64_t	start = now_ns();
		int			n = consume_batch(conn, o, &position);

		if (n == 0)
			die("there were only %ld messages", messages);
		messages += n;
		add_sample(&latencies, now_ns() - start);
	}
	read_counters(&control, &b);
	if (messages != o->count)
		die("expected %ld messages, got %ld", o->count, messages);
	print_consumed(o, &a, &b);
	printf("\tp50_us=%.1f\tp99_us=%.1f\n", sample_us(&latencies, 0.5), sample_us(&latencies, 0.99));
	PQfinish(conn);
	control_close(&control);
}

/* ---- inside the server ---- */

static void
consume_in_server(PGconn *conn, const Options *o, int64_t position)
{
	char		read[512];
	char		move[256];

	switch (o->side->kind)
	{
		case KIND_WEIR:
			snprintf(read, sizeof(read), "SELECT count(*), sum(length(value)) INTO n, l"
					 " FROM stream_fetch(NULL::%s, '%s', %d)", o->table, o->group, o->fetch);
			strcpy(move, "");
			break;
		case KIND_PGQ:
			snprintf(read, sizeof(read), "p := pgq.next_batch('%s0', '%s');"
					 " SELECT count(*), sum(length(ev_data)) INTO n, l FROM pgq.get_batch_events(p)",
					 o->table, o->group);
			strcpy(move, "PERFORM pgq.finish_batch(p);");
			break;
		default:
			snprintf(read, sizeof(read), "SELECT count(*), sum(length(value)), max(\"offset\") + 1 INTO n, l, e"
					 " FROM (SELECT * FROM %s WHERE \"offset\" >= p ORDER BY \"offset\" LIMIT %d) AS q;"
					 " p := e", o->table, o->fetch);
			snprintf(move, sizeof(move), "UPDATE %s_position SET next_offset = p WHERE name = '%s';",
					 o->table, o->group);
	}
	pg_run(conn,
		   "DO $$ DECLARE p bigint := %lld; n bigint; l bigint; e bigint;"
		   " messages bigint := 0; bytes bigint := 0; "
		   "BEGIN WHILE messages < %ld LOOP %s; messages := messages + n; bytes := bytes + l; %s COMMIT; END LOOP;"
		   " IF messages <> %ld OR bytes <> messages * %d THEN"
		   "  RAISE 'got %% messages with %% bytes', messages, bytes;"
		   " END IF; END $$", (long long) position, o->count, read, move, o->count, VALUE_SIZE);
}

void
run_consume_server(const Options *o)
{
	Control		control;
	Counters	a;
	Counters	b;
	int64_t		position;

	control_open(&control, o);
	position = make_position(control.conn, o);
	pg_run(control.conn, "CHECKPOINT");
	read_counters(&control, &a);
	consume_in_server(control.conn, o, position);
	read_counters(&control, &b);
	print_consumed(o, &a, &b);
	putchar('\n');
	control_close(&control);
}
