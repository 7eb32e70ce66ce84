/*
 * slots.c
 *		The table of long-lived workers in shared memory.
 *
 * One LWLock guards all of it; it is held for the time of copying a few words
 * and nothing waits under it.  Processes are never signalled by a remembered
 * pid: a worker is woken by the latch of its PGPROC, which it takes out of the
 * slot, under the lock, before it ends; it is ended by the launcher, who has
 * its handle.
 *
 * The life of a slot: somebody wants a worker for a database or holds the
 * database (STOPPED); the launcher registers the worker (STARTING, a new
 * generation); the worker attaches, finds the extension (RUNNING) or not
 * (unwanted), ends; the launcher sees the end of the process (STOPPED), and
 * starts it again or frees the slot.
 *
 * No wake-up is lost: it sets "wanted", the worker clears that when it takes
 * the wake-up and before it looks, and can only declare itself unwanted while
 * it is clear.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/slots.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define TABLE_NAME "weir workers"

typedef struct WeirWorkers
{
	LWLock		lock;			/* guards all that follows but stopped */
	ConditionVariable stopped;	/* some worker's process has ended */
	int			nhints;
	bool		hints_overflow; /* look at all databases */
	Oid			hints[WEIR_HINTS];	/* databases for the launcher to look at */
	WeirWorkerSlot slots[WEIR_WORKER_SLOTS];
} WeirWorkers;

static WeirWorkers *workers = NULL;
static WeirWorkerSlot *my_slot = NULL;	/* where I am attached */

/* ---- shared memory; the hooks are in shmem.c ---- */

Size
weir_slots_size(void)
{
	return MAXALIGN(sizeof(WeirWorkers));
}

void
weir_slots_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	workers = ShmemInitStruct(TABLE_NAME, sizeof(WeirWorkers), &found);
	if (!found)
	{
		memset(workers, 0, sizeof(WeirWorkers));
		LWLockInitialize(&workers->lock, LWLockNewTrancheId());
		ConditionVariableInit(&workers->stopped);
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(workers->lock.tranche, "weir_workers");
}

bool
weir_slots_exist(void)
{
	return workers != NULL;
}

static inline void
lock_table(LWLockMode mode)
{
	LWLockAcquire(&workers->lock, mode);
}

static inline void
unlock_table(void)
{
	LWLockRelease(&workers->lock);
}

/* ---- under the lock ---- */

static WeirWorkerSlot *
find_slot(WeirWorkerKind kind, Oid database)
{
	for (int i = 0; i < WEIR_WORKER_SLOTS; i++)
	{
		WeirWorkerSlot *slot = &workers->slots[i];

		if (slot->kind == kind && slot->database == database)
			return slot;
	}
	return NULL;
}

static WeirWorkerSlot *
make_slot(WeirWorkerKind kind, Oid database)
{
	for (int i = WEIR_LAUNCHER_SLOT + 1; i < WEIR_WORKER_SLOTS; i++)
	{
		WeirWorkerSlot *slot = &workers->slots[i];
		uint32		generation = slot->generation;

		if (slot->kind != WEIR_FREE_SLOT)
			continue;
		memset(slot, 0, sizeof(WeirWorkerSlot));
		slot->kind = kind;
		slot->database = database;
		slot->generation = generation;
		slot->status_since = GetCurrentTimestamp();
		/* A held database is held for newcomers too. */
		for (int j = WEIR_LAUNCHER_SLOT + 1; j < WEIR_WORKER_SLOTS; j++)
		{
			WeirWorkerSlot *other = &workers->slots[j];

			if (other->kind != WEIR_FREE_SLOT && other->database == database)
				slot->holds = Max(slot->holds, other->holds);
		}
		return slot;
	}
	return NULL;
}

static void
set_latch_of(WeirWorkerSlot *slot)
{
	if (slot->proc != NULL)
		SetLatch(&slot->proc->procLatch);
}

static void
set_status(WeirWorkerSlot *slot, const char *what)
{
	strlcpy(slot->status, what, WEIR_STATUS_SIZE);
	slot->status_since = GetCurrentTimestamp();
}

static void
set_error(WeirWorkerSlot *slot, const char *error)
{
	int			length = pg_mbcliplen(error, strlen(error), WEIR_ERROR_SIZE - 1);

	memcpy(slot->error, error, length);
	slot->error[length] = '\0';
	slot->error_at = GetCurrentTimestamp();
}

static void
set_hint(Oid database)
{
	for (int i = 0; i < workers->nhints; i++)
	{
		if (workers->hints[i] == database)
			return;
	}
	if (workers->nhints < WEIR_HINTS)
		workers->hints[workers->nhints++] = database;
	else
		workers->hints_overflow = true;
}

static void
merge_wake(WeirWake *into, const WeirWake *wake)
{
	into->rows |= wake->rows;
	into->options |= wake->options;
	into->overflow |= wake->overflow;
	for (int i = 0; i < wake->npartitions; i++)
	{
		int			at = 0;

		while (at < into->npartitions && into->partitions[at] != wake->partitions[i])
			at++;
		if (at == WEIR_WAKE_PARTITIONS)
			into->overflow = true;
		else if (at == into->npartitions)
			into->partitions[into->npartitions++] = wake->partitions[i];
	}
}

/* ---- waking; after a commit, so nothing here may fail ---- */

void
weir_slots_wake(const WeirWake *wake, bool or_hint)
{
	WeirWorkerSlot *slot;

	lock_table(LW_EXCLUSIVE);
	slot = find_slot(WEIR_KEEPER, MyDatabaseId);
	if (slot != NULL)
	{
		merge_wake(&slot->wake, wake);
		slot->wanted = true;
		set_latch_of(slot);
	}
	else if (or_hint)
	{
		set_hint(MyDatabaseId);
		set_latch_of(&workers->slots[WEIR_LAUNCHER_SLOT]);
	}
	/* The extension may be gone. */
	slot = wake->options ? find_slot(WEIR_NOTIFIER, MyDatabaseId) : NULL;
	if (slot != NULL)
	{
		slot->wanted = true;
		set_latch_of(slot);
	}
	unlock_table();
}

/*
 * The listeners of this database have changed: wake its notifier.  With start,
 * have one started if there is none.
 */
void
weir_slots_want_notifier(bool start)
{
	WeirWorkerSlot *slot;

	if (workers == NULL)
		return;
	lock_table(LW_EXCLUSIVE);
	slot = find_slot(WEIR_NOTIFIER, MyDatabaseId);
	if (slot == NULL && start)
		slot = make_slot(WEIR_NOTIFIER, MyDatabaseId);
	if (slot != NULL)
	{
		slot->wanted |= start || slot->state != WEIR_WORKER_STOPPED;
		set_latch_of(slot);
		if (slot->state == WEIR_WORKER_STOPPED && start)
			set_latch_of(&workers->slots[WEIR_LAUNCHER_SLOT]);
	}
	unlock_table();
}

void
weir_slots_hint(Oid database)
{
	lock_table(LW_EXCLUSIVE);
	set_hint(database);
	set_latch_of(&workers->slots[WEIR_LAUNCHER_SLOT]);
	unlock_table();
}

/* ---- the worker itself ---- */

static void
detach(int code, Datum arg)
{
	if (my_slot == NULL)
		return;
	lock_table(LW_EXCLUSIVE);
	my_slot->proc = NULL;
	my_slot->pid = 0;
	my_slot = NULL;
	set_latch_of(&workers->slots[WEIR_LAUNCHER_SLOT]);
	unlock_table();
	ConditionVariableBroadcast(&workers->stopped);
}

/* The caller holds the lock. */
static void
attach(WeirWorkerSlot *slot)
{
	slot->proc = MyProc;
	slot->pid = MyProcPid;
	my_slot = slot;
}

/*
 * Take one's slot.  False: the launcher that started me is gone, or the
 * database is needed by somebody else; the worker ends.
 */
bool
weir_worker_attach(int number, uint32 generation)
{
	WeirWorkerSlot *slot = &workers->slots[number];
	bool		mine;

	lock_table(LW_EXCLUSIVE);
	mine = slot->kind != WEIR_FREE_SLOT && slot->proc == NULL &&
		slot->state == WEIR_WORKER_STARTING &&
		slot->generation == generation && slot->holds == 0;
	if (mine)
		attach(slot);
	unlock_table();
	if (mine)
		before_shmem_exit(detach, (Datum) 0);
	return mine;
}

/* Never changes while I am attached. */
Oid
weir_worker_database(void)
{
	return my_slot->database;
}

void
weir_worker_take_wake(WeirWake *wake)
{
	lock_table(LW_EXCLUSIVE);
	*wake = my_slot->wake;
	memset(&my_slot->wake, 0, sizeof(WeirWake));
	my_slot->wanted = false;
	unlock_table();
}

/* Has something come since? */
bool
weir_worker_has_wake(void)
{
	bool		result;

	lock_table(LW_SHARED);
	result = my_slot->wanted;
	unlock_table();
	return result;
}

/* The extension is there. */
void
weir_worker_is_wanted(void)
{
	lock_table(LW_EXCLUSIVE);
	if (my_slot->state == WEIR_WORKER_STARTING)
	{
		my_slot->state = WEIR_WORKER_RUNNING;
		/* It starts a few at a time. */
		set_latch_of(&workers->slots[WEIR_LAUNCHER_SLOT]);
	}
	unlock_table();
}

/* It is not.  True: end.  False: something came meanwhile, look again. */
bool
weir_worker_is_unwanted(void)
{
	bool		result;

	lock_table(LW_EXCLUSIVE);
	result = my_slot->unwanted = !my_slot->wanted;
	unlock_table();
	return result;
}

void
weir_worker_says(const char *what)
{
	if (my_slot == NULL)
		return;
	lock_table(LW_EXCLUSIVE);
	set_status(my_slot, what);
	unlock_table();
}

void
weir_worker_failed(const char *error)
{
	if (my_slot == NULL)
		return;
	lock_table(LW_EXCLUSIVE);
	set_error(my_slot, error);
	unlock_table();
}

/* ---- the launcher ---- */

/*
 * Workers that an earlier launcher left have been told to end by it.  Those
 * that never attached count as ended: should they come after all, they find
 * that their slot is not starting any more, or in a new generation.
 */
void
weir_launcher_attach(void)
{
	WeirWorkerSlot *slot = &workers->slots[WEIR_LAUNCHER_SLOT];

	lock_table(LW_EXCLUSIVE);
	if (slot->proc != NULL)
	{
		unlock_table();
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("another launcher of weir is running")));
	}
	slot->kind = WEIR_LAUNCHER;
	slot->state = WEIR_WORKER_RUNNING;
	attach(slot);
	set_status(slot, "idle");
	unlock_table();
	before_shmem_exit(detach, (Datum) 0);
}

int
weir_launcher_take_hints(Oid *databases, bool *overflow)
{
	int			n;

	lock_table(LW_EXCLUSIVE);
	n = workers->nhints;
	memcpy(databases, workers->hints, n * sizeof(Oid));
	*overflow = workers->hints_overflow;
	workers->nhints = 0;
	workers->hints_overflow = false;
	unlock_table();
	return n;
}

/* The number of the slot for such a worker, made if need be; -1: no room. */
int
weir_slot_want(WeirWorkerKind kind, Oid database)
{
	WeirWorkerSlot *slot;

	lock_table(LW_EXCLUSIVE);
	slot = find_slot(kind, database);
	if (slot == NULL)
		slot = make_slot(kind, database);
	if (slot != NULL)
	{
		slot->wanted = true;
		set_latch_of(slot);
	}
	unlock_table();
	return slot == NULL ? -1 : (int) (slot - workers->slots);
}

void
weir_slot_look(int number, WeirWorkerSlot *copy)
{
	lock_table(LW_SHARED);
	*copy = workers->slots[number];
	unlock_table();
}

/* Claim it for a start.  False: it must not be started any more. */
bool
weir_slot_starting(int number, uint32 *generation)
{
	WeirWorkerSlot *slot = &workers->slots[number];
	bool		may_start;

	lock_table(LW_EXCLUSIVE);
	may_start = slot->kind != WEIR_FREE_SLOT && slot->wanted &&
		slot->state == WEIR_WORKER_STOPPED && slot->holds == 0;
	if (may_start)
	{
		slot->state = WEIR_WORKER_STARTING;
		slot->unwanted = false;
		memset(&slot->wake, 0, sizeof(WeirWake));
		slot->wake.start = true;
		*generation = ++slot->generation;
		set_status(slot, "starting");
	}
	unlock_table();
	return may_start;
}

/* It is not running, and wanted all the same: with an error, if there was one. */
void
weir_slot_stopped(int number, const char *status, const char *error)
{
	WeirWorkerSlot *slot = &workers->slots[number];

	lock_table(LW_EXCLUSIVE);
	slot->state = WEIR_WORKER_STOPPED;
	slot->wanted = true;
	set_status(slot, status);
	if (error != NULL)
		set_error(slot, error);
	unlock_table();
	ConditionVariableBroadcast(&workers->stopped);
}

/* If it ended because it was not wanted, note that; else false. */
bool
weir_slot_ended(int number)
{
	WeirWorkerSlot *slot = &workers->slots[number];
	bool		unwanted;

	lock_table(LW_EXCLUSIVE);
	unwanted = slot->unwanted;
	if (unwanted)
	{
		slot->state = WEIR_WORKER_STOPPED;
		slot->unwanted = false;
		set_status(slot, "stopped");
	}
	unlock_table();
	if (unwanted)
		ConditionVariableBroadcast(&workers->stopped);
	return unwanted;
}

/* Its database is gone, or takes no connections. */
void
weir_slot_unwant(int number)
{
	lock_table(LW_EXCLUSIVE);
	workers->slots[number].wanted = false;
	unlock_table();
}

/* Give a slot back that nobody wants and nobody holds. */
void
weir_slot_free(int number)
{
	WeirWorkerSlot *slot = &workers->slots[number];

	lock_table(LW_EXCLUSIVE);
	if (slot->state == WEIR_WORKER_STOPPED && !slot->wanted && slot->holds == 0)
		slot->kind = WEIR_FREE_SLOT;
	unlock_table();
}

/* ---- commands that need a database for themselves ---- */

/*
 * Have no worker started in this database and those that are there ended.
 * False: there is no room to note it.
 */
bool
weir_slots_hold(Oid database)
{
	bool		held = false;

	lock_table(LW_EXCLUSIVE);
	if (find_slot(WEIR_KEEPER, database) == NULL)
	{
		WeirWorkerSlot *slot = make_slot(WEIR_KEEPER, database);

		if (slot != NULL)
			set_status(slot, "held");
	}
	for (int i = 0; i < WEIR_WORKER_SLOTS; i++)
	{
		WeirWorkerSlot *slot = &workers->slots[i];

		if (slot->kind != WEIR_FREE_SLOT && slot->database == database)
		{
			slot->holds++;
			held = true;
		}
	}
	set_latch_of(&workers->slots[WEIR_LAUNCHER_SLOT]);
	unlock_table();
	return held;
}

static bool
all_stopped(Oid database)
{
	bool		result = true;

	lock_table(LW_SHARED);
	for (int i = 0; i < WEIR_WORKER_SLOTS && result; i++)
	{
		WeirWorkerSlot *slot = &workers->slots[i];

		/* Without a launcher nobody notes the end; see detach(). */
		if (slot->kind != WEIR_FREE_SLOT && slot->database == database)
			result = slot->state == WEIR_WORKER_STOPPED ||
				(slot->proc == NULL && workers->slots[WEIR_LAUNCHER_SLOT].proc == NULL);
	}
	unlock_table();
	return result;
}

/* Wait until all workers of a held database have ended.  False: too long. */
bool
weir_slots_wait_stopped(Oid database, int timeout_ms)
{
	static uint32 wait_event = 0;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	bool		stopped;

	if (wait_event == 0)
		wait_event = weir_wait_event("WeirWorkerStop");
	ConditionVariablePrepareToSleep(&workers->stopped);
	while (!(stopped = all_stopped(database)))
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (left <= 0)
			break;
		(void) ConditionVariableTimedSleep(&workers->stopped, left, wait_event);
	}
	ConditionVariableCancelSleep();
	return stopped;
}

void
weir_slots_release(Oid database)
{
	lock_table(LW_EXCLUSIVE);
	for (int i = 0; i < WEIR_WORKER_SLOTS; i++)
	{
		WeirWorkerSlot *slot = &workers->slots[i];

		if (slot->kind == WEIR_FREE_SLOT || slot->database != database ||
			slot->holds == 0)
			continue;
		slot->holds--;
		if (slot->holds == 0 && slot->state == WEIR_WORKER_STOPPED &&
			!slot->wanted && workers->slots[WEIR_LAUNCHER_SLOT].proc == NULL)
			slot->kind = WEIR_FREE_SLOT;
	}
	set_latch_of(&workers->slots[WEIR_LAUNCHER_SLOT]);
	unlock_table();
}

/* ---- for the view ---- */

/* All slots in use, into an array of WEIR_WORKER_SLOTS. */
int
weir_slots_copy(WeirWorkerSlot *copy)
{
	int			n = 0;

	lock_table(LW_SHARED);
	for (int i = 0; i < WEIR_WORKER_SLOTS; i++)
	{
		if (workers->slots[i].kind != WEIR_FREE_SLOT)
			copy[n++] = workers->slots[i];
	}
	unlock_table();
	return n;
}

/* A step was put off because somebody holds a lock. */
void
weir_worker_blocked(void)
{
	if (my_slot == NULL)
		return;
	lock_table(LW_EXCLUSIVE);
	my_slot->blocked++;
	unlock_table();
}
