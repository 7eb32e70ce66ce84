/*
 * sql.c
 *		Running SQL from C.
 *
 * DDL goes through the front door: as text, by SPI, so that other
 * extensions' hooks and event triggers see it.  It runs with a search path
 * that nobody else has a say in; every name in it is qualified.
 *
 * What commits on its way (DETACH PARTITION CONCURRENTLY) cannot go by SPI.
 * weir_run_toplevel() gives it what a client's statement has: a portal, whose
 * memory survives the commit, and no snapshot or resource of an outer level.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/sql.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/resowner.h"

static int	ddl_depth = 0;

bool
weir_in_own_ddl(void)
{
	return ddl_depth > 0;
}

static void
execute(const char *sql)
{
	int			nestlevel = NewGUCNestLevel();
	int			rc;

	RestrictSearchPath();
	/* Where a part lies is its parent's affair, not the session's. */
	(void) set_config_option("default_tablespace", "", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	rc = SPI_execute(sql, false, 0);
	if (rc != SPI_OK_UTILITY)
		elog(ERROR, "SPI returned %s for \"%s\"", SPI_result_code_string(rc), sql);
	SPI_finish();
	AtEOXact_GUC(false, nestlevel);
}

static char *format_sql(const char *format, va_list args) pg_attribute_printf(1, 0);

static char *
format_sql(const char *format, va_list args)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (;;)
	{
		va_list		copy;
		int			needed;

		va_copy(copy, args);
		needed = appendStringInfoVA(&sql, format, copy);
		va_end(copy);
		if (needed == 0)
			return sql.data;
		enlargeStringInfo(&sql, needed);
	}
}

/*
 * Run one statement of DDL on parts of streams, past our own event triggers.
 * Only for what runs no user's code: that would get past them too.
 */
void
weir_run_ddl(const char *format,...)
{
	va_list		args;
	char	   *sql;

	va_start(args, format);
	sql = format_sql(format, args);
	va_end(args);
	ddl_depth++;
	PG_TRY();
	{
		execute(sql);
	}
	PG_FINALLY();
	{
		ddl_depth--;
	}
	PG_END_TRY();
	pfree(sql);
}

/* Run any other utility statement, as anybody might. */
void
weir_run_utility(const char *format,...)
{
	va_list		args;
	char	   *sql;

	va_start(args, format);
	sql = format_sql(format, args);
	va_end(args);
	execute(sql);
	pfree(sql);
}

/* Parse and plan one utility statement, in the portal's own memory. */
static void
define_portal(Portal portal, const char *text)
{
	MemoryContext old = MemoryContextSwitchTo(portal->portalContext);
	char	   *sql = pstrdup(text);
	RawStmt    *raw = linitial_node(RawStmt, pg_parse_query(sql));
	List	   *queries = pg_analyze_and_rewrite_fixedparams(raw, sql, NULL, 0,
															 NULL);

	PortalDefineQuery(portal, NULL, sql, CreateCommandTag(raw->stmt),
					  pg_plan_queries(queries, sql, CURSOR_OPT_PARALLEL_OK,
									  NULL), NULL);
	MemoryContextSwitchTo(old);
}

/*
 * Run one utility statement on parts of streams as a top-level command, past
 * our own event triggers.  It may end the transaction that it is called in and
 * go on in others; on return there is one, with an active snapshot.  After an
 * error, abort takes the portal away.
 */
void
weir_run_toplevel(const char *format,...)
{
	va_list		args;
	char	   *sql;
	Portal		portal;
	QueryCompletion completion;

	va_start(args, format);
	sql = format_sql(format, args);
	va_end(args);
	/* The worker's own, since what is set for a while ends with the commit. */
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET,
					PGC_S_SESSION);

	portal = CreateNewPortal();
	portal->visible = false;
	define_portal(portal, sql);
	while (ActiveSnapshotSet())
		PopActiveSnapshot();
	MemoryContextSwitchTo(TopTransactionContext);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	ddl_depth++;
	PG_TRY();
	{
		weir_portal_run(portal, None_Receiver, &completion);
	}
	PG_FINALLY();
	{
		ddl_depth--;
	}
	PG_END_TRY();
	PortalDrop(portal, false);
	MemoryContextSwitchTo(TopTransactionContext);
	PushActiveSnapshot(GetTransactionSnapshot());
}
