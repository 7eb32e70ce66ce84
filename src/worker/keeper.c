/*
 * keeper.c
 *		The keeper: one for each database that has the extension.
 *
 * It runs duties (life/duty.h) when it is woken or when one of them wants, and
 * sleeps otherwise.  Each turn begins with a look, in a transaction of its
 * own, whether the extension is there (process.c).
 *
 * It may wait for locks, 20 ms for each; nothing urgent waits for it.  An
 * error in a duty ends the transaction, and that duty comes again later; an
 * error anywhere else ends the process, and the launcher starts it again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/debug.h"
#include "base/slots.h"
#include "life/ahead.h"
#include "life/duty.h"
#include "life/idle.h"
#include "life/replay.h"
#include "life/retention.h"
#include "life/settle.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/process.h"

#define FIRST_DELAY_MS		1000
#define LAST_DELAY_MS		60000

PGDLLEXPORT void weir_keeper_main(Datum arg);

/* Where a test can make a duty fail. */
static TimestampTz
look_around(const WeirWake *wake)
{
	WEIR_DEBUG_POINT("keeper_duty");
	return DT_NOEND;
}

static const struct
{
	const char *name;			/* as in "while ..." */
	WeirDuty	run;
}			duties[] =
{
	{"looking around", look_around},
	{"settling", weir_settle_duty},
	{"making segments", weir_ahead_duty},
	{"enforcing retention", weir_retention_duty},
	{"pausing what is idle", weir_idle_duty},
	{"replaying the activity log", weir_replay_duty},
};

static const WeirSetting settings[] =
{
	{"lock_timeout", "20ms"},
};

/* How it stands with each duty. */
static struct
{
	TimestampTz due;
	int			delay_ms;		/* 0: its last run was good */
}			standing[lengthof(duties)];

/* ---- duties ---- */

/* The duty has failed: report, end whatever transaction there is. */
static void
note_failure(int number, MemoryContext context)
{
	char		text[2 * WEIR_ERROR_SIZE];
	ErrorData  *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	snprintf(text, sizeof(text), "%s: %s", duties[number].name, error->message);
	FreeErrorData(error);
	errcontext("while %s", duties[number].name);
	EmitErrorReport();
	AbortOutOfAnyTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();

	weir_worker_failed(text);
	standing[number].delay_ms = standing[number].delay_ms == 0 ? FIRST_DELAY_MS :
		Min(2 * standing[number].delay_ms, LAST_DELAY_MS);
	standing[number].due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   standing[number].delay_ms);
}

static void
run_duty(int number, const WeirWake *wake)
{
	MemoryContext context = CurrentMemoryContext;

	weir_worker_says(duties[number].name);
	pgstat_report_activity(STATE_RUNNING, duties[number].name);
	PG_TRY();
	{
		TimestampTz due = duties[number].run(wake);

		if (IsTransactionState())
			elog(ERROR, "duty \"%s\" left its transaction open", duties[number].name);
		standing[number].due = due;
		standing[number].delay_ms = 0;
	}
	PG_CATCH();
	{
		note_failure(number, context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

/* Returns when the next duty is due. */
static TimestampTz
run_duties(const WeirWake *wake)
{
	bool		woken = wake->start || wake->rows || wake->overflow ||
		wake->npartitions > 0;
	bool		worked = false;
	TimestampTz next = DT_NOEND;

	for (int i = 0; i < lengthof(duties); i++)
	{
		bool		is_due = standing[i].due <= GetCurrentTimestamp();

		if (standing[i].delay_ms > 0 && is_due)
		{
			WeirWake	again = *wake;

			again.start = true;
			run_duty(i, &again);
			worked = true;
		}
		else if (standing[i].delay_ms == 0 && (woken || is_due))
		{
			run_duty(i, wake);
			worked = true;
		}
		CHECK_FOR_INTERRUPTS();
		next = Min(next, standing[i].due);
	}
	if (worked)
	{
		weir_worker_says("idle");
		pgstat_report_stat(true);
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	return next;
}

/* ---- the process ---- */

/* Returns when it wants another; ends if the extension is not there. */
static TimestampTz
take_turn(void)
{
	WeirWake	wake;

	weir_worker_take_wake(&wake);
	return weir_worker_belongs() ? run_duties(&wake) : DT_NOEND;
}

/*
 * Sleep until something happens, or it is time.  Waiting for a lock may have
 * swallowed a wake-up by the same latch, so look for one.
 */
static void
rest_until(TimestampTz next)
{
	static uint32 wait_event = 0;
	long		timeout = -1;

	if (wait_event == 0)
		wait_event = weir_wait_event("WeirKeeperMain");
	if (weir_worker_has_wake() || ConfigReloadPending)
		return;
	if (next != DT_NOEND)
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
					 (timeout >= 0 ? WL_TIMEOUT : 0),
					 timeout, wait_event);
	ResetLatch(MyLatch);
}

void
weir_keeper_main(Datum arg)
{
	MemoryContext turn_context;

	weir_worker_begin(arg, settings, lengthof(settings));
	for (int i = 0; i < lengthof(duties); i++)
		standing[i].due = DT_NOEND;
	turn_context = AllocSetContextCreate(TopMemoryContext, "weir keeper turn",
										 ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		TimestampTz next;

		/* A cancel is for what ran when it was sent. */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		MemoryContextSwitchTo(turn_context);
		next = take_turn();
		MemoryContextSwitchTo(turn_context);
		MemoryContextReset(turn_context);
		rest_until(next);
	}
}
