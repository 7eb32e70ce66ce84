/*
 * sql.c
 *		Running SQL from C.
 *
 * DDL goes through the front door: as text, by SPI, so that other
 * extensions' hooks and event triggers see it.  It runs with a search path
 * that nobody else has a say in; every name in it is qualified.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/sql.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"

static int	ddl_depth = 0;

bool
weir_in_own_ddl(void)
{
	return ddl_depth > 0;
}

/* Run one utility statement; the text is made as by psprintf. */
void
weir_run_ddl(const char *format,...)
{
	StringInfoData sql;
	int			nestlevel;
	int			rc;

	initStringInfo(&sql);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&sql, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&sql, needed);
	}

	nestlevel = NewGUCNestLevel();
	RestrictSearchPath();
	SPI_connect();
	ddl_depth++;
	PG_TRY();
	{
		rc = SPI_execute(sql.data, false, 0);
	}
	PG_FINALLY();
	{
		ddl_depth--;
	}
	PG_END_TRY();
	if (rc != SPI_OK_UTILITY)
		elog(ERROR, "SPI returned %s for \"%s\"", SPI_result_code_string(rc),
			 sql.data);
	SPI_finish();
	AtEOXact_GUC(false, nestlevel);
	pfree(sql.data);
}
