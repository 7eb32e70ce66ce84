/*
 * read.c
 *		Reading all of a table or stream that another run has filled: inside
 *		the server by one statement and in pieces by PL/pgSQL, through libpq in
 *		pieces; and what a backend's memory does meanwhile.  A run reads all of
 *		it once untimed, then as often as the time of a run needs, and checks
 *		each time that it got what was published.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
is_over(const Options *o, uint64_t start)
{
	return (double) (now_ns() - start) / 1e9 >= o->seconds;
}

static void
print_rate(const Options *o, int passes, const Counters *a, const Counters *b)
{
	double		messages = (double) o->count * passes;
	double		seconds = (double) (b->time - a->time) / 1e9;

	printf("messages=%ld\tpasses=%d\tseconds=%.3f\trate=%.1f\tserver_cpu_us=%.3f\tclient_cpu_us=%.3f",
		   o->count, passes, seconds, messages / seconds,
		   (b->server_cpu - a->server_cpu) * 1e6 / messages,
		   (b->client_cpu - a->client_cpu) * 1e6 / messages);
}

/* Runs a statement that counts messages and bytes. */
static void
check_count(PGconn *conn, const Options *o, const char *sql)
{
	PGresult   *result = pg_query(conn, "%s", sql);

	if (atol(PQgetvalue(result, 0, 0)) != o->count ||
		atol(PQgetvalue(result, 0, 1)) != o->count * VALUE_SIZE)
		die("expected %ld messages, got %s with %s bytes", o->count,
			PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
	PQclear(result);
}

/* Runs it once, and then again and again; returns how often. */
static int
repeat_count(Control *control, const Options *o, const char *sql, Counters *a, Counters *b)
{
	int			passes = 0;

	check_count(control->conn, o, sql);
	read_counters(control, a);
	do
	{
		check_count(control->conn, o, sql);
		passes++;
	} while (!is_over(o, a->time));
	read_counters(control, b);
	return passes;
}

/*
 * One statement.  Beside the rate of one process: for the table that of a
 * parallel scan (parallel_rate), for a stream that of the function in the
 * select list (list_rate).
 */
void
run_read_server(const Options *o)
{
	Control		control;
	Counters	a;
	Counters	b;
	char		sql[512];
	char		other[512];
	bool		weir = o->side->kind == KIND_WEIR;
	int			passes;

	control_open(&control, o);
	if (weir)
	{
		snprintf(sql, sizeof(sql), "SELECT count(*), sum(length(value))"
				 " FROM stream_read(NULL::%s, 0, 0, %ld)", o->table, o->count);
		snprintf(other, sizeof(other), "SELECT count(*), sum(length((m).value))"
				 " FROM (SELECT stream_read(NULL::%s, 0, 0, %ld) AS m) AS q", o->table, o->count);
	}
	else
	{
		snprintf(sql, sizeof(sql), "SELECT count(*), sum(length(value)) FROM %s", o->table);
		strcpy(other, sql);
		pg_run(control.conn, "SET max_parallel_workers_per_gather = 0");
	}
	passes = repeat_count(&control, o, sql, &a, &b);
	print_rate(o, passes, &a, &b);
	if (!weir)
		pg_run(control.conn, "RESET max_parallel_workers_per_gather");
	passes = repeat_count(&control, o, other, &a, &b);
	printf("\t%s_rate=%.1f\n", weir ? "list" : "parallel",
		   (double) o->count * passes * 1e9 / (double) (b.time - a.time));
	control_close(&control);
}

/* In pieces, by a loop in PL/pgSQL, each from the last offset on. */
static void
read_in_chunks(PGconn *conn, const Options *o, const char *piece)
{
	pg_run(conn,
		   "DO $$ DECLARE p bigint := 0; n bigint; l bigint; e bigint;"
		   " messages bigint := 0; bytes bigint := 0; "
		   "BEGIN LOOP"
		   " SELECT count(*), sum(length(value)), max(\"offset\") INTO n, l, e FROM %s;"
		   " EXIT WHEN n = 0;"
		   " messages := messages + n; bytes := bytes + l; p := e + 1; "
		   "END LOOP;"
		   " IF messages <> %ld OR bytes <> messages * %d THEN"
		   "  RAISE 'got %% messages with %% bytes', messages, bytes;"
		   " END IF; END $$", piece, o->count, VALUE_SIZE);
}

void
run_read_chunks(const Options *o)
{
	Control		control;
	Counters	a;
	Counters	b;
	char		piece[256];
	int			passes = 0;

	control_open(&control, o);
	if (o->side->kind == KIND_WEIR)
		snprintf(piece, sizeof(piece), "stream_read(NULL::%s, 0, p, %d)", o->table, o->fetch);
	else
		snprintf(piece, sizeof(piece), "(SELECT * FROM %s WHERE \"offset\" >= p"
				 " ORDER BY \"offset\" LIMIT %d) AS q", o->table, o->fetch);
	read_in_chunks(control.conn, o, piece);
	read_counters(&control, &a);
	do
	{
		read_in_chunks(control.conn, o, piece);
		passes++;
	} while (!is_over(o, a.time));
	read_counters(&control, &b);
	print_rate(o, passes, &a, &b);
	putchar('\n');
	control_close(&control);
}

static void
prepare_read(PGconn *conn, const Options *o)
{
	static const Oid types[] = {OID_INT8};

	if (o->side->kind == KIND_WEIR)
		pg_prepare(conn, "read", 1, types,
				   "SELECT * FROM stream_read(NULL::%s, 0, $1, %d)", o->table, o->fetch);
	else
		pg_prepare(conn, "read", 1, types,
				   "SELECT * FROM %s WHERE \"offset\" >= $1 ORDER BY \"offset\" LIMIT %d",
				   o->table, o->fetch);
}

/* Reads a piece from an offset on; moves the offset; 0 at the end. */
static int
read_piece(PGconn *conn, int64_t *offset)
{
	PGresult   *result = pg_fetch(conn, "read", *offset);
	int			n = PQntuples(result);

	if (n > 0)
	{
		if (PQnfields(result) != 6 ||
			PQgetlength(result, 0, 4) != VALUE_SIZE ||
			(int64_t) get_int64(PQgetvalue(result, 0, 1)) < *offset)
			die("the message read at %ld is not what was published", (long) *offset);
		*offset = (int64_t) get_int64(PQgetvalue(result, n - 1, 1)) + 1;
	}
	PQclear(result);
	return n;
}

static void
read_all(PGconn *conn, const Options *o, Samples *latencies)
{
	int64_t		offset = 0;
	long		messages = 0;

	for (;;)
	{
		uint64_t	start = now_ns();
		int			n = read_piece(conn, &offset);

		if (n == 0)
			break;
		messages += n;
		add_sample(latencies, now_ns() - start);
	}
	if (messages != o->count)
		die("expected %ld messages, got %ld", o->count, messages);
}

void
run_read_libpq(const Options *o)
{
	Control		control;
	Counters	a;
	Counters	b;
	Samples		latencies = {0};
	PGconn	   *conn;
	int			passes = 0;

	control_open(&control, o);
	conn = pg_open();
	prepare_read(conn, o);
	read_all(conn, o, &latencies);
	latencies.len = 0;
	read_counters(&control, &a);
	do
	{
		read_all(conn, o, &latencies);
		passes++;
	} while (!is_over(o, a.time));
	read_counters(&control, &b);
	print_rate(o, passes, &a, &b);
	printf("\tp50_us=%.1f\tp99_us=%.1f\n", sample_us(&latencies, 0.5), sample_us(&latencies, 0.99));
	PQfinish(conn);
	control_close(&control);
}

/* Private memory of the backend at the start, after each quarter, at the end. */
void
run_memory(const Options *o)
{
	PGconn	   *conn = pg_open();
	int			pid = PQbackendPID(conn);
	int64_t		offset = 0;
	long		messages = 0;
	long		start;
	int			quarter = 1;
	int			n;

	prepare_read(conn, o);
	for (int i = 0; i < 20; i++)
		messages += read_piece(conn, &offset);
	start = anonymous_memory(pid);
	printf("messages=%ld\tstart_kb=%ld", o->count, start);
	while ((n = read_piece(conn, &offset)) > 0)
	{
		messages += n;
		if (quarter < 4 && messages >= o->count / 4 * quarter)
			printf("\tquarter%d_kb=%ld", quarter++, anonymous_memory(pid));
	}
	if (messages != o->count)
		die("expected %ld messages, got %ld", o->count, messages);
	printf("\tend_kb=%ld\tgrowth_kb=%ld\n", anonymous_memory(pid), anonymous_memory(pid) - start);
	PQfinish(conn);
}
