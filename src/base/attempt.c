/*
 * attempt.c
 *		Doing one step of a worker's work in a transaction of its own.
 *
 * Only for background workers: an error aborts whatever transaction there is.
 * The step may commit and begin transactions itself, as DETACH PARTITION
 * CONCURRENTLY does; at its end there is one.  Memory: the step runs in the
 * transaction's context; the caller's context is the current one afterwards.
 * Errors and steps that gave way are shown by weir.workers.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/attempt.h"
#include "base/slots.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static char last_error[1024];

const char *
weir_attempt_error(void)
{
	return last_error;
}

/* Not to be had now: a lock, or a table that somebody drops or detaches. */
static bool
is_busy(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE ||
		sqlerrcode == ERRCODE_UNDEFINED_OBJECT;
}

WeirAttempt
weir_attempt(void (*step) (void *arg), void *arg, const char *what)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile WeirAttempt result = WEIR_ATTEMPT_DONE;

	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, what);
	PG_TRY();
	{
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		step(arg);
		if (ActiveSnapshotSet())
			PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		snprintf(last_error, sizeof(last_error), "%s: %s", what, error->message);
		result = is_busy(error->sqlerrcode) ? WEIR_ATTEMPT_BUSY :
			WEIR_ATTEMPT_FAILED;
		FreeErrorData(error);
		if (result == WEIR_ATTEMPT_FAILED)
		{
			errcontext("while %s", what);
			EmitErrorReport();
		}
		AbortOutOfAnyTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	if (result == WEIR_ATTEMPT_FAILED)
		weir_worker_failed(last_error);
	else if (result == WEIR_ATTEMPT_BUSY)
		weir_worker_blocked();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return result;
}
