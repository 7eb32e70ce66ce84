/*
 * launcher.c
 *		The launcher: one per cluster, starts the workers of each database.
 *
 * It is connected to no database, so it cannot see where the extension is: a
 * keeper is started in each database, once at the start and whenever somebody
 * hints at one, and ends if it is not wanted.  A notifier is started in a
 * database as soon as somebody subscribes there.  The launcher alone starts
 * workers, has their handles and so can end them, and notes their ends in the
 * slots (base/slots.c).  When it ends itself it ends all of them, for the next
 * launcher would have no handles.
 *
 * A worker that dies is started again after 1 s, doubled each time up to 60 s;
 * one that has run for a minute starts over.  The same while there is no room
 * for another process.  With nothing to do the launcher sleeps for ever.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/slots.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "worker/launcher.h"

#define RESTART_SECONDS		5	/* of the launcher itself */
#define MAX_STARTING		3	/* that have not said whether they stay */
#define FIRST_DELAY_MS		1000
#define LAST_DELAY_MS		60000
#define HAS_RUN_MS			60000

PGDLLEXPORT void weir_launcher_main(Datum arg);

/* What only the launcher knows of a worker, by the number of its slot. */
typedef struct Started
{
	BackgroundWorkerHandle *handle; /* NULL: not started by this launcher */
	bool		told_to_end;
	TimestampTz started;
	TimestampTz due;			/* not to be started before */
	int			delay_ms;		/* before the next start; 0: it never died */
} Started;

static Started started[WEIR_WORKER_SLOTS];
static int	nstarting;
static List *unseen = NIL;	/* databases not looked at yet */
static bool table_is_full = false;
static int	no_room_delay_ms = 0;	/* 0: there is room for processes */
static TimestampTz room_again;	/* when to try next */
static MemoryContext long_context;

static int
next_delay(int delay_ms)
{
	return delay_ms == 0 ? FIRST_DELAY_MS : Min(2 * delay_ms, LAST_DELAY_MS);
}

/* ---- databases ---- */

/*
 * Our transactions may wait for a lock, and that wait may swallow a wake-up by
 * the same latch: take another turn to be sure.
 */
static void
end_transaction(void)
{
	CommitTransactionCommand();
	SetLatch(MyLatch);
}

static bool
takes_workers(Form_pg_database database)
{
	return database->datallowconn && !database->datistemplate &&
		!database_is_invalid_form(database);
}

static void
note_database(Oid database)
{
	MemoryContext previous = MemoryContextSwitchTo(long_context);

	unseen = list_append_unique_oid(unseen, database);
	MemoryContextSwitchTo(previous);
}

static void
note_all_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (takes_workers(database))
			note_database(database->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	end_transaction();
}

/* Is there such a database, and may there be workers?  Then its name. */
static bool
find_database(Oid oid, NameData *name)
{
	HeapTuple	tuple;
	bool		found = false;

	StartTransactionCommand();
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(oid));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		found = takes_workers(database);
		*name = database->datname;
		ReleaseSysCache(tuple);
	}
	end_transaction();
	return found;
}

/* ---- starting ---- */

static bool
register_worker(int number, WeirWorkerKind kind, uint32 generation,
				const char *database)
{
	const char *name = kind == WEIR_KEEPER ? "keeper" : "notifier";
	BackgroundWorker worker;
	WeirWorkerStart start = {generation};
	MemoryContext previous;
	bool		result;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = Int32GetDatum(number);
	strlcpy(worker.bgw_library_name, "weir", sizeof(worker.bgw_library_name));
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
			 "weir_%s_main", name);
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "weir %s for database %s", name, database);
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "weir %s", name);
	memcpy(worker.bgw_extra, &start, sizeof(start));

	previous = MemoryContextSwitchTo(long_context);
	result = RegisterDynamicBackgroundWorker(&worker, &started[number].handle);
	MemoryContextSwitchTo(previous);
	return result;
}

/* One report when there is no room any more, one when there is again. */
static void
report_room(bool room, TimestampTz now)
{
	if (room)
	{
		if (no_room_delay_ms > 0)
			ereport(LOG,
					(errmsg("background workers of weir can be started again")));
		no_room_delay_ms = 0;
		return;
	}
	if (no_room_delay_ms == 0)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start a background worker of weir"),
				 errdetail("All background worker slots are in use."),
				 errhint("You might need to increase \"%s\".",
						 "max_worker_processes")));
	no_room_delay_ms = next_delay(no_room_delay_ms);
	room_again = TimestampTzPlusMilliseconds(now, no_room_delay_ms);
}

/* Nobody wants it.  Whoever gets the slot next has not died before. */
static void
give_back(int number)
{
	started[number].delay_ms = 0;
	started[number].due = 0;
	weir_slot_free(number);
}

static void
start_worker(int number, WeirWorkerKind kind, Oid database, TimestampTz now)
{
	Started    *worker = &started[number];
	NameData	name;
	uint32		generation;

	if (!find_database(database, &name))
	{
		weir_slot_unwant(number);
		give_back(number);
		return;
	}
	if (!weir_slot_starting(number, &generation))
		return;
	worker->handle = NULL;
	worker->told_to_end = false;
	worker->started = now;
	if (register_worker(number, kind, generation, NameStr(name)))
	{
		nstarting++;
		report_room(true, now);
	}
	else
	{
		worker->handle = NULL;
		weir_slot_stopped(number, "to be started when there is room", NULL);
		report_room(false, now);
	}
}

/* ---- ends ---- */

static void
note_end(int number, const WeirWorkerSlot *slot, TimestampTz now)
{
	Started    *worker = &started[number];
	bool		expected = slot->holds > 0 || worker->told_to_end ||
		worker->handle == NULL;

	if (worker->handle != NULL)
		pfree(worker->handle);
	worker->handle = NULL;
	/* It made room for another. */
	if (no_room_delay_ms > 0)
		room_again = now;
	if (weir_slot_ended(number))
	{
		worker->due = now;
		worker->delay_ms = 0;
	}
	else if (expected)
	{
		worker->due = now;
		weir_slot_stopped(number, "held for a command", NULL);
	}
	else
	{
		if (now - worker->started >= HAS_RUN_MS * INT64CONST(1000))
			worker->delay_ms = 0;
		worker->delay_ms = next_delay(worker->delay_ms);
		worker->due = TimestampTzPlusMilliseconds(now, worker->delay_ms);
		weir_slot_stopped(number, "to be started again",
						  "the worker ended unexpectedly; the server log says why");
	}
}

/* A worker that is not stopped: has it ended, is it to end? */
static void
watch(int number, TimestampTz now)
{
	Started    *worker = &started[number];
	WeirWorkerSlot slot;
	pid_t		pid;

	weir_slot_look(number, &slot);
	if (slot.kind == WEIR_FREE_SLOT || slot.state == WEIR_WORKER_STOPPED)
		return;
	if (worker->handle == NULL ? slot.proc == NULL :
		GetBackgroundWorkerPid(worker->handle, &pid) == BGWH_STOPPED)
	{
		note_end(number, &slot, now);
		return;
	}
	if (slot.holds > 0 && worker->handle != NULL && !worker->told_to_end)
	{
		TerminateBackgroundWorker(worker->handle);
		worker->told_to_end = true;
	}
	if (slot.state == WEIR_WORKER_STARTING)
		nstarting++;
}

/*
 * A worker that is stopped: start it, or give its slot back.  Returns when it
 * wants to be seen to again, if nothing happens before.
 */
static TimestampTz
see_to(int number, TimestampTz now)
{
	Started    *worker = &started[number];
	WeirWorkerSlot slot;

	weir_slot_look(number, &slot);
	if (slot.kind == WEIR_FREE_SLOT || slot.state != WEIR_WORKER_STOPPED ||
		slot.holds > 0)
		return DT_NOEND;
	if (!slot.wanted)
	{
		give_back(number);
		return DT_NOEND;
	}
	if (worker->due > now)
		return worker->due;
	/* With too many starting, the next that has started wakes us. */
	if ((no_room_delay_ms == 0 || room_again <= now) && nstarting < MAX_STARTING)
		start_worker(number, slot.kind, slot.database, now);
	return no_room_delay_ms > 0 && room_again > now ? room_again : DT_NOEND;
}

/* ---- the launcher's turn ---- */

static void
note_hints(void)
{
	Oid			databases[WEIR_HINTS];
	bool		overflow;
	int			n = weir_launcher_take_hints(databases, &overflow);

	for (int i = 0; i < n; i++)
		note_database(databases[i]);
	if (overflow)
		note_all_databases();
}

/* Slots for databases that were not looked at yet, a few at a time. */
static TimestampTz
see_to_unseen(TimestampTz now)
{
	TimestampTz next = DT_NOEND;

	while (unseen != NIL && nstarting < MAX_STARTING)
	{
		int			number;

		if (no_room_delay_ms > 0 && room_again > now)
			return room_again;
		number = weir_slot_want(WEIR_KEEPER, linitial_oid(unseen));
		if (number < 0)
		{
			if (!table_is_full)
				ereport(WARNING,
						(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						 errmsg("weir has workers in as many databases as it can"),
						 errdetail("There is room for %d workers.",
								   WEIR_WORKER_SLOTS - 1)));
			table_is_full = true;
			return next;
		}
		table_is_full = false;
		unseen = list_delete_first(unseen);
		next = Min(next, see_to(number, now));
	}
	return next;
}

static TimestampTz
take_turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = DT_NOEND;

	note_hints();
	nstarting = 0;
	for (int i = WEIR_LAUNCHER_SLOT + 1; i < WEIR_WORKER_SLOTS; i++)
		watch(i, now);
	for (int i = WEIR_LAUNCHER_SLOT + 1; i < WEIR_WORKER_SLOTS; i++)
		next = Min(next, see_to(i, now));
	return Min(next, see_to_unseen(now));
}

/* ---- the process ---- */

static void
end_all(int code, Datum arg)
{
	for (int i = 0; i < WEIR_WORKER_SLOTS; i++)
	{
		if (started[i].handle != NULL)
			TerminateBackgroundWorker(started[i].handle);
	}
}

void
weir_launcher_main(Datum arg)
{
	static uint32 wait_event = 0;
	MemoryContext turn_context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, SIG_IGN);	/* there is nothing to cancel */
	BackgroundWorkerUnblockSignals();
	weir_launcher_attach();
	before_shmem_exit(end_all, (Datum) 0);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname(MyBgworkerEntry->bgw_name);

	long_context = AllocSetContextCreate(TopMemoryContext, "weir launcher",
										 ALLOCSET_DEFAULT_SIZES);
	turn_context = AllocSetContextCreate(TopMemoryContext, "weir launcher turn",
										 ALLOCSET_DEFAULT_SIZES);
	wait_event = weir_wait_event("WeirLauncherMain");
	MemoryContextSwitchTo(turn_context);
	note_all_databases();
	for (;;)
	{
		TimestampTz next;
		long		timeout = -1;

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
		if (next != DT_NOEND)
			timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						 (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, wait_event);
		ResetLatch(MyLatch);
	}
}

void
weir_launcher_init(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "weir", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "weir_launcher_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "weir launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "weir launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}
