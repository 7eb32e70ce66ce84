/*
 * postgres.c
 *		Short forms of libpq: every statement either does what it should or
 *		ends the run with the server's message.  The server is that of the
 *		environment (PGHOST and so on).
 */
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_SIZE		4096

PGconn *
pg_open(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	/* "table does not exist, skipping" and the like are of no interest. */
	pg_run(conn, "SET client_min_messages = warning");
	return conn;
}

static void
format_sql(char *sql, const char *format, va_list args)
{
	int			len = vsnprintf(sql, SQL_SIZE, format, args);

	if (len < 0 || len >= SQL_SIZE)
		die("statement is too long: %s", sql);
}

/* Ends the run unless the result is of this kind. */
void
pg_expect(PGconn *conn, PGresult *result, ExecStatusType status)
{
	if (result == NULL)
		die("no result: %s", PQerrorMessage(conn));
	if (PQresultStatus(result) != status)
	{
		const char *message = PQresultErrorMessage(result);
		const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

		if (message[0] != '\0')
			die("%s (%s)", message, state ? state : "no SQLSTATE");
		die("result is %s instead of %s: %s", PQresStatus(PQresultStatus(result)),
			PQresStatus(status), PQerrorMessage(conn));
	}
}

/* A statement that returns rows. */
PGresult *
pg_query(PGconn *conn, const char *format,...)
{
	char		sql[SQL_SIZE];
	va_list		args;
	PGresult   *result;

	va_start(args, format);
	format_sql(sql, format, args);
	va_end(args);
	result = PQexec(conn, sql);
	pg_expect(conn, result, PGRES_TUPLES_OK);
	return result;
}

/* A statement whose rows, if any, are of no interest. */
void
pg_run(PGconn *conn, const char *format,...)
{
	char		sql[SQL_SIZE];
	va_list		args;
	PGresult   *result;

	va_start(args, format);
	format_sql(sql, format, args);
	va_end(args);
	result = PQexec(conn, sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		pg_expect(conn, result, PGRES_COMMAND_OK);
	PQclear(result);
}

/* A statement that returns one number. */
double
pg_number(PGconn *conn, const char *format,...)
{
	char		sql[SQL_SIZE];
	va_list		args;
	PGresult   *result;
	double		value;

	va_start(args, format);
	format_sql(sql, format, args);
	va_end(args);
	result = PQexec(conn, sql);
	pg_expect(conn, result, PGRES_TUPLES_OK);
	if (PQntuples(result) != 1 || PQgetisnull(result, 0, 0))
		die("no value: %s", sql);
	value = atof(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

void
pg_prepare(PGconn *conn, const char *name, int count, const Oid *types, const char *format,...)
{
	char		sql[SQL_SIZE];
	va_list		args;
	PGresult   *result;

	va_start(args, format);
	format_sql(sql, format, args);
	va_end(args);
	result = PQprepare(conn, name, sql, count, types);
	pg_expect(conn, result, PGRES_COMMAND_OK);
	PQclear(result);
}

/* Runs a prepared statement of one parameter of eight bytes, all binary. */
PGresult *
pg_fetch(PGconn *conn, const char *name, int64_t value)
{
	char		bytes[8];
	const char *values[1] = {bytes};
	int			lengths[1] = {sizeof(bytes)};
	int			formats[1] = {BINARY};
	PGresult   *result;

	for (int i = 7; i >= 0; i--)
	{
		bytes[i] = (char) (value & 0xff);
		value >>= 8;
	}
	result = PQexecPrepared(conn, name, 1, values, lengths, formats, BINARY);
	pg_expect(conn, result, PGRES_TUPLES_OK);
	return result;
}

/* Takes the results of what was sent last: one of this kind, and the end. */
void
pg_drain(PGconn *conn, ExecStatusType status)
{
	PGresult   *result = PQgetResult(conn);

	pg_expect(conn, result, status);
	PQclear(result);
	result = PQgetResult(conn);
	if (result != NULL)
		die("an unexpected result: %s", PQresStatus(PQresultStatus(result)));
}
