/*
 * debug.c
 *		Named points at which a test can hold, fail or kill a process.
 *
 * Compiled to nothing without WEIR_DEBUG; debug.h says what there is.
 */
#include "postgres.h"

#include "base/debug.h"

#ifdef WEIR_DEBUG

#include <signal.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/guc.h"

static char *debug_points = NULL;

void
weir_debug_init(void)
{
	DefineCustomStringVariable("weir.debug_points",
							   "Points at which to hold, fail or die.",
							   NULL,
							   &debug_points,
							   "",
							   PGC_SUSET,
							   0,
							   NULL, NULL, NULL);
}

static void
hold(int64 key)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, 1);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	LockRelease(&tag, ExclusiveLock, false);
}

static void
act(const char *name, const char *action)
{
	if (strncmp(action, "lock:", 5) == 0)
		hold(strtoll(action + 5, NULL, 10));
	else if (strncmp(action, "error", 5) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RAISE_EXCEPTION),
				 errmsg("debug point \"%s\"", name)));
	else if (strncmp(action, "crash", 5) == 0)
		kill(MyProcPid, SIGKILL);
}

void
weir_debug_point(const char *name)
{
	size_t		len = strlen(name);

	if (debug_points == NULL)
		return;
	for (const char *at = debug_points; *at != '\0'; at += strcspn(at, " "))
	{
		at += strspn(at, " ");
		if (strncmp(at, name, len) == 0 && at[len] == '=')
		{
			act(name, at + len + 1);
			return;
		}
	}
}

#endif							/* WEIR_DEBUG */
