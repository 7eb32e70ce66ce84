/*
 * drain.c
 *		Waiting until no publisher is under way in some partitions.
 *
 * Publishers hold RowExclusive on their partition to the end of their
 * transaction; ShareRowExclusive keeps them off.  To ask for it at once would
 * make every publisher queue behind us while we queue behind the slowest.  So:
 *
 * 1. Try all partitions without waiting.  Got them all: done.
 * 2. Wait for those who hold them now (WaitForLockers): nobody queues behind
 *	  that.
 * 3. Ask for the locks in earnest, for a slice of time: 20 ms at first, twice
 *	  as long each round, at most weir.pause_max_stall.  The slice must reach
 *	  the usual length of the publishers' transactions, or it never ends.  All
 *	  partitions, or all are let go again.
 *
 * until lock_timeout is over, counted from the beginning (0: for ever).  In
 * each of these waits the deadlock check runs within the slice, so it is the
 * drain that finds a deadlock with a publisher: its own waits are too short
 * for anybody else to see it.  One because of what step 3 got is no error:
 * that is let go again.  Any other is, if it is still there after some tries.
 *
 * On success the locks stay to the end of the transaction.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/subxact.h"
#include "life/drain.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define FIRST_SLICE		20		/* milliseconds */
#define DEADLOCK_CHECK	10
#define MOST_DEADLOCKS	10		/* one after another, before it is an error */

typedef enum Waited
{
	WAITED,
	WAITED_TOO_LONG,
	WAITED_DEADLOCK				/* nothing is held, so others go on */
} Waited;

/* ---- the pieces ---- */

/* Without waiting: all or none. */
bool
weir_try_all(List *relids, LOCKMODE mode)
{
	ListCell   *lc;

	foreach(lc, relids)
	{
		ListCell   *got;

		if (ConditionalLockRelationOid(lfirst_oid(lc), mode))
			continue;
		foreach(got, relids)
		{
			if (got == lc)
				break;
			UnlockRelationOid(lfirst_oid(got), mode);
		}
		return false;
	}
	return true;
}

/* What to wait for, and how long. */
typedef struct Slice
{
	List	   *relids;
	LOCKMODE	mode;
	int			milliseconds;	/* 0: no limit */
	TimestampTz until;
	void		(*step) (void *arg);	/* or what to do */
	void	   *arg;
	void		(*wait) (struct Slice *slice);	/* how */
} Slice;

static void
lock_all(Slice *slice)
{
	ListCell   *lc;

	foreach(lc, slice->relids)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   slice->until);

		LockTimeout = (int) Max(left, 1);
		LockRelationOid(lfirst_oid(lc), slice->mode);
	}
}

/* Nobody queues behind this wait. */
static void
wait_for_holders(Slice *slice)
{
	List	   *tags = NIL;
	ListCell   *lc;

	foreach(lc, slice->relids)
	{
		LOCKTAG    *tag = palloc(sizeof(LOCKTAG));

		SET_LOCKTAG_RELATION(*tag, MyDatabaseId, lfirst_oid(lc));
		tags = lappend(tags, tag);
	}
	LockTimeout = slice->milliseconds;
	WaitForLockersMultiple(tags, slice->mode, false);
}

static bool
wait_once(void *arg)
{
	Slice	   *slice = arg;

	DeadlockTimeout = slice->milliseconds > 0 ?
		Max(1, Min(slice->milliseconds / 2, DEADLOCK_CHECK)) : DEADLOCK_CHECK;
	slice->wait(slice);
	return true;
}

/*
 * Wait with the deadlock check early.  If time is over, or there is a deadlock
 * and the caller wants to know of it, nothing that was got meanwhile is held.
 * The deadlock is left in *deadlock, for who gives up.
 */
static Waited
wait_in_slice(void (*wait) (Slice *slice), Slice *slice, ErrorData **deadlock)
{
	int			lock_timeout = LockTimeout;
	int			deadlock_timeout = DeadlockTimeout;
	ErrorData  *error;

	slice->wait = wait;
	(void) weir_in_subtransaction(wait_once, slice, &error);
	LockTimeout = lock_timeout;
	DeadlockTimeout = deadlock_timeout;
	if (error == NULL)
		return WAITED;
	if (error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED && deadlock)
	{
		*deadlock = error;
		return WAITED_DEADLOCK;
	}
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	FreeErrorData(error);
	return WAITED_TOO_LONG;
}

/* Get all locks within a time, or none. */
bool
weir_lock_within(List *relids, LOCKMODE mode, int milliseconds)
{
	Slice		slice = {relids, mode, milliseconds};

	slice.until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
	return wait_in_slice(lock_all, &slice, NULL) == WAITED;
}

static void
run_step(Slice *slice)
{
	LockTimeout = slice->milliseconds;
	slice->step(slice->arg);
}


/* ---- a drain ---- */

/* What is left of lock_timeout; 0: no limit. */
static int
time_left(TimestampTz start)
{
	long		gone;

	if (LockTimeout <= 0)
		return 0;
	gone = TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());
	return (int) Max(LockTimeout - gone, 1);
}

static bool
is_over(TimestampTz start)
{
	return LockTimeout > 0 &&
		TimestampDifferenceMilliseconds(start, GetCurrentTimestamp()) >= LockTimeout;
}

/* The numbers of the processes that hold some of the partitions. */
static char *
holders_of(List *relids)
{
	StringInfoData pids;
	ListCell   *lc;

	initStringInfo(&pids);
	foreach(lc, relids)
	{
		LOCKTAG		tag;
		VirtualTransactionId *vxid;
		int			n;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, lfirst_oid(lc));
		vxid = GetLockConflicts(&tag, ShareRowExclusiveLock, &n);
		for (int i = 0; i < n && pids.len < 200; i++)
		{
			int			pid = weir_pid_of_vxid(vxid[i]);

			if (pid != 0)
				appendStringInfo(&pids, "%s%d", pids.len > 0 ? ", " : "", pid);
			else
				appendStringInfo(&pids, "%sa prepared transaction",
								 pids.len > 0 ? ", " : "");
		}
	}
	return pids.data;
}

static void
give_up(WeirStream *stream, List *relids, const char *what)
{
	char	   *who = holders_of(relids);

	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("cannot %s stream \"%s\": transactions that published to it are still open",
					what, get_rel_name(stream->oid)),
			 *who ? errdetail("Processes holding it: %s.", who) : 0,
			 errhint("Nothing was changed. Try again, or with a longer lock_timeout.")));
}

/*
 * Get all locks, as described above.  False: lock_timeout is over, and we have
 * none of them.
 */
bool
weir_lock_patiently(List *relids, LOCKMODE mode)
{
	TimestampTz start = GetCurrentTimestamp();
	Slice		holders = {relids, mode};
	int			slice = FIRST_SLICE;
	int			deadlocks = 0;
	ErrorData  *deadlock;
	Slice		wanted = {NIL, mode};

	relids = wanted.relids = holders.relids = list_copy(relids);

	while (!weir_try_all(relids, mode))
	{
		int			left = time_left(start);

		CHECK_FOR_INTERRUPTS();
		if (is_over(start))
			return false;
		holders.milliseconds = left;
		/*
		 * A deadlock here is one with what the transaction held before, and
		 * stays.  But for one with the keeper, which gives up in 20 ms.
		 */
		switch (wait_in_slice(wait_for_holders, &holders, &deadlock))
		{
			case WAITED:
				deadlocks = 0;
				break;
			case WAITED_TOO_LONG:
				return false;
			case WAITED_DEADLOCK:
				if (++deadlocks >= MOST_DEADLOCKS)
					ReThrowError(deadlock);
				continue;
		}
		left = time_left(start);
		wanted.milliseconds = left > 0 ? Min(slice, left) : slice;
		wanted.until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   wanted.milliseconds);
		switch (wait_in_slice(lock_all, &wanted, &deadlock))
		{
			case WAITED:
				return true;
			case WAITED_TOO_LONG:
				slice = Min(slice * 2, weir_pause_max_stall);
				break;
			case WAITED_DEADLOCK:
				/* What we got is let go again: try in another order. */
				relids = lappend_oid(list_delete_first(relids),
									 linitial_oid(relids));
				wanted.relids = holders.relids = relids;
				break;
		}
	}
	return true;
}

/*
 * Do something that waits for locks while it has AccessExclusive on a table:
 * when nobody holds that, within a slice or not at all, until lock_timeout.
 */
bool
weir_do_patiently(void (*step) (void *arg), void *arg, Oid relid)
{
	TimestampTz start = GetCurrentTimestamp();
	Slice		holders = {list_make1_oid(relid), AccessExclusiveLock};
	Slice		slice = {NIL, NoLock, FIRST_SLICE};
	ErrorData  *deadlock;

	slice.step = step;
	slice.arg = arg;
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		holders.milliseconds = time_left(start);
		if (is_over(start) ||
			wait_in_slice(wait_for_holders, &holders, NULL) != WAITED)
			return false;
		if (wait_in_slice(run_step, &slice, &deadlock) == WAITED)
			return true;
	}
}

/*
 * Lock partitions, by number, so that all publishers are decided and no new
 * one begins.  what is the verb for the error.
 */
void
weir_drain(WeirStream *stream, List *numbers, const char *what)
{
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, numbers)
		relids = lappend_oid(relids, stream->partitions[lfirst_int(lc)].oid);
	if (!weir_lock_patiently(relids, ShareRowExclusiveLock))
		give_up(stream, relids, what);
}
